//! A district's pack as one file, reviewed, compared, searched and signed, with the real program.

mod crosswalk;
mod file;
mod review;
mod rollout;
mod signing;

use std::fs;

use anyhow::{Context as _, Result, ensure};
use gridpost_tests::agent::GatewayFolder;

/// A gateway's folder with a device's key and the sample pack.
fn gateway(broker: &str) -> Result<GatewayFolder> {
    let gateway = GatewayFolder::new(broker)?;
    let image = ["--keys", "keys.toml", "--image", "flash.img"];
    gateway.run(&[&["provision", "--device", "677000000000000a"][..], &image].concat())?;
    Ok(gateway)
}

/// Changes a file of the gateway's folder.
fn edit(gateway: &GatewayFolder, file: &str, change: impl Fn(&str) -> String) -> Result<()> {
    let path = gateway.path(file);
    let before = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let after = change(&before);
    ensure!(before != after, "the change changes nothing in {file}");
    Ok(fs::write(path, after)?)
}

/// Makes it another version.
fn version(gateway: &GatewayFolder, version: u32) -> Result<()> {
    edit(gateway, "pack/pack.toml", |text| {
        text.lines()
            .map(|line| match line.starts_with("version") {
                true => format!("version = {version}\n"),
                false => format!("{line}\n"),
            })
            .collect()
    })
}

/// What a command says when it fails with this exit code.
fn fails(gateway: &GatewayFolder, code: i32, arguments: &[&str]) -> Result<String> {
    let output = gateway.command(arguments).output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(code), "{arguments:?}: {:?}\n{said}", output.status);
    Ok(said)
}
