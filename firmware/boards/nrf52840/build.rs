//! Linker arguments, for the board's own target only: on the host this crate is an ordinary program.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=memory.x");
    if env::var("CARGO_CFG_TARGET_OS")? != "none" {
        return Ok(());
    }
    // The linker looks for memory.x in its search path; the working directory of a workspace build is elsewhere.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::copy("memory.x", out.join("memory.x"))?;
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg-bins=--nmagic");
    // Functions with the same instructions are kept once.
    println!("cargo::rustc-link-arg-bins=--icf=all");
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    Ok(())
}
