//! Signatures, made and checked by the real `minisign` and by `gridpost`, each taking what the other made.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use gridpost_tests::agent::GatewayFolder;

use super::{edit, fails, gateway};

const BROKER: &str = "mqtt://127.0.0.1:1";

/// Runs the real `minisign` in the gateway's folder; `typed` goes to its standard input.
pub(super) fn minisign(gateway: &GatewayFolder, arguments: &[&str], typed: &str) -> Result<bool> {
    let mut process = Command::new("minisign")
        .args(arguments)
        .current_dir(gateway.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("minisign: install it (apt install minisign)")?;
    process.stdin.take().context("its standard input")?.write_all(typed.as_bytes())?;
    Ok(process.wait()?.success())
}

/// A built pack, a key without a password (`a`), one with (`b`), and a stranger's (`c`).
fn signed() -> Result<GatewayFolder> {
    let gateway = gateway(BROKER)?;
    gateway.run(&["pack", "build", "pack", "-o", "district.pack"])?;
    for name in ["a", "c"] {
        let (public, secret) = (format!("{name}.pub"), format!("{name}.key"));
        ensure!(minisign(&gateway, &["-G", "-W", "-p", &public, "-s", &secret], "")?, "no key {name}");
    }
    ensure!(minisign(&gateway, &["-G", "-p", "b.pub", "-s", "b.key"], "secret\nsecret\n")?, "no key b");
    fs::write(gateway.path("password"), "secret\n")?;
    Ok(gateway)
}

#[test]
fn gridpost_and_minisign_take_each_others_signatures() -> Result<()> {
    let gateway = signed()?;
    let ways: [&[&str]; 2] = [&["--key", "a.key"], &["--key", "b.key", "--password-file", "password"]];
    for (key, way) in ["a.pub", "b.pub"].into_iter().zip(ways) {
        gateway.run(&[&["pack", "sign", "district.pack"], way].concat())?;
        ensure!(minisign(&gateway, &["-Vm", "district.pack", "-p", key], "")?, "minisign does not take ours");
        let said = gateway.run(&["pack", "verify", "district.pack", "--trust", key])?;
        ensure!(said.contains("signed by") && said.contains("division 440310"), "{said}");
        ensure!(!minisign(&gateway, &["-Vm", "district.pack", "-p", "c.pub"], "")?, "a stranger's key fits");
    }
    for (name, typed) in [("a", ""), ("b", "secret\n")] {
        let (secret, public) = (format!("{name}.key"), format!("{name}.pub"));
        ensure!(
            minisign(&gateway, &["-Sm", "district.pack", "-s", &secret], typed)?,
            "minisign does not sign"
        );
        gateway.run(&["pack", "verify", "district.pack", "--trust", "c.pub", "--trust", &public])?;
    }
    fs::write(gateway.path("password"), "wrong\n")?;
    let said = fails(
        &gateway,
        3,
        &["pack", "sign", "district.pack", "--key", "b.key", "--password-file", "password"],
    )?;
    ensure!(said.contains("b.key") && said.contains("password is wrong"), "{said}");
    Ok(())
}

#[test]
fn what_is_not_signed_by_a_trusted_key_is_not_verified_and_not_run() -> Result<()> {
    let gateway = signed()?;
    let verify = ["pack", "verify", "district.pack", "--trust", "a.pub"];
    ensure!(fails(&gateway, 3, &verify)?.contains("not signed"), "it has no signature");
    gateway.run(&["pack", "sign", "district.pack", "--key", "c.key"])?;
    ensure!(fails(&gateway, 3, &verify)?.contains("none of the 1 trusted keys"), "a stranger signed it");
    gateway.run(&["pack", "sign", "district.pack", "--key", "a.key", "--joined", "joined.pack"])?;
    gateway.run(&verify)?;
    gateway.run(&["pack", "verify", "joined.pack", "--trust", "a.pub"])?;
    let joined =
        [fs::read(gateway.path("district.pack.minisig"))?, fs::read(gateway.path("district.pack"))?].concat();
    ensure!(fs::read(gateway.path("joined.pack"))? == joined, "it is more than `cat` makes");
    // A signature over other bytes.
    edit(&gateway, "pack/pack.toml", |text| text.replacen("[periods.day]", "# later\n[periods.day]", 1))?;
    gateway.run(&["pack", "build", "pack", "-o", "district.pack"])?;
    ensure!(
        fails(&gateway, 3, &verify)?.contains("by the trusted key a.pub, and of something else"),
        "it is another pack"
    );

    let config = fs::read_to_string(gateway.path("gridpost.toml"))?;
    let with = |pack: &str, rest: &str| {
        gateway.configure(&format!(
            "{}[pack]\n{rest}\n",
            config.replace("pack = 'pack'", &format!("pack = '{pack}'"))
        ))
    };
    let check = ["check", "-c", "gridpost.toml"];
    with("pack", "trust = ['a.pub']")?;
    ensure!(fails(&gateway, 3, &check)?.contains("not signed"), "a folder cannot be signed");
    with("pack", "trust = ['a.pub']\nallow_unsigned = true")?;
    gateway.run(&check)?;
    let key = fs::read_to_string(gateway.path("a.pub"))?.lines().nth(1).context("the key's line")?.to_owned();
    with("joined.pack", &format!("trust = ['c.pub', '{key}']"))?;
    let said = gateway.run(&check)?;
    ensure!(said.contains("signed by c.pub or RW"), "{said}");
    with("joined.pack", "trust = ['c.pub']")?;
    ensure!(fails(&gateway, 3, &check)?.contains("trusted keys"), "it is signed by another");
    with("joined.pack", "trust = ['gridpost.toml']")?;
    ensure!(fails(&gateway, 3, &check)?.contains("no minisign public key"), "that is no key");
    Ok(())
}
