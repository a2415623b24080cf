//! `gridpost pack build` and `show`, and a gateway that runs the file.

use std::fs;

use anyhow::{Result, ensure};
use gridpost_tests::agent::{GatewayFolder, PATIENCE};
use rustix::process::Signal;

use super::gateway;

const BROKER: &str = "mqtt://127.0.0.1:1";

fn use_file(gateway: &GatewayFolder) -> Result<()> {
    let text = fs::read_to_string(gateway.path("gridpost.toml"))?;
    gateway.configure(&text.replace("pack = 'pack'", "pack = 'district.pack'"))
}

#[test]
fn a_folder_becomes_one_file_that_a_gateway_runs() -> Result<()> {
    let gateway = gateway(BROKER)?;
    let said = gateway.run(&["pack", "build", "pack", "-o", "district.pack"])?;
    ensure!(said.contains("sample-district version"), "{said}");
    let first = fs::read(gateway.path("district.pack"))?;
    gateway.run(&["pack", "build", "pack", "-o", "again.pack"])?;
    ensure!(first == fs::read(gateway.path("again.pack"))?, "the same folder gives other bytes");
    // A pack built of a pack is that pack.
    gateway.run(&["pack", "build", "district.pack", "-o", "again.pack"])?;
    ensure!(first == fs::read(gateway.path("again.pack"))?, "the same pack gives other bytes");

    let shown = gateway.run(&["pack", "show", "district.pack"])?;
    let of_folder = gateway.run(&["pack", "show", "pack"])?;
    let content = |text: &str| text.lines().find(|line| line.starts_with("content")).map(str::to_owned);
    ensure!(content(&shown).is_some() && content(&shown) == content(&of_folder), "{shown}\n{of_folder}");
    let rules = gateway.run(&["pack", "show", "district.pack", "--print", "rules.toml"])?;
    ensure!(rules == fs::read_to_string(gateway.path("pack/rules.toml"))?, "the file is not what it was");

    use_file(&gateway)?;
    let checked = gateway.run(&["check", "-c", "gridpost.toml"])?;
    ensure!(checked.contains("sample-district version"), "{checked}");
    let agent = gateway.start()?;
    agent.signal(Signal::TERM)?;
    ensure!(agent.wait(PATIENCE)?.0.success(), "it does not stop in order");
    Ok(())
}

#[test]
fn a_file_that_is_no_right_pack_is_refused_with_its_place() -> Result<()> {
    let gateway = gateway(BROKER)?;
    gateway.run(&["pack", "build", "pack", "-o", "district.pack"])?;
    use_file(&gateway)?;
    let right = fs::read(gateway.path("district.pack"))?;
    let newer = [b"gridpost-pack 2\n", &right[16..]].concat();
    let mut turned = right.clone();
    turned[100] ^= 4;
    let cases: [(&[u8], &[&str]); 5] = [
        (&right[..right.len() - 1], &["header says", "copy it again"]),
        (b"", &["is no pack", "gridpost pack build"]),
        (b"PK\x03\x04\x14\x00", &["is no pack"]),
        (&newer, &["format \"2\"", "update gridpost"]),
        (&turned, &["byte ", "damaged"]),
    ];
    for (bytes, expected) in cases {
        fs::write(gateway.path("district.pack"), bytes)?;
        for command in [&["check", "-c", "gridpost.toml"][..], &["pack", "show", "district.pack"]] {
            let output = gateway.command(command).output()?;
            let said = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(3), "{command:?}: {:?} {said}", output.status);
            for part in expected.iter().chain(&["district.pack"]) {
                ensure!(said.contains(part), "no {part:?} in {said}");
            }
        }
    }
    // A folder that is not right is not built, and what was built before stays.
    fs::write(gateway.path("district.pack"), &right)?;
    let rules = fs::read_to_string(gateway.path("pack/rules.toml"))?;
    fs::write(gateway.path("pack/rules.toml"), rules.replacen("0102003", "9999999", 1))?;
    let output = gateway.command(&["pack", "build", "pack", "-o", "district.pack"]).output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(3) && said.contains("rules.toml:"), "{said}");
    ensure!(fs::read(gateway.path("district.pack"))? == right, "the old pack is gone");
    Ok(())
}
