//! Other people's validators for JSON Schema, CloudEvents and AsyncAPI: from npm, kept in `target/validators`.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::qemu::PARTS_REQUIRED;

/// What is installed, and in which versions.
const FILES: [&str; 3] = ["package.json", "package-lock.json", "validate.mjs"];

/// A folder with the validators.
pub struct Validators {
    folder: PathBuf,
}

impl Validators {
    /// Installs them, if they are not there.
    ///
    /// `None` if there is no Node.js, or npm cannot fetch them, and nobody insists (`CI`, or what `tests/run` sets).
    ///
    /// # Errors
    /// They are lacking and insisted on.
    pub fn install() -> Result<Option<Self>> {
        let insisted = env::var_os(PARTS_REQUIRED).is_some() || env::var_os("CI").is_some();
        match Self::installed() {
            Ok(found) => Ok(Some(found)),
            Err(error) if insisted => Err(error),
            Err(error) => {
                eprintln!("\n*** LEFT OUT: this test needs validators from npm. {error:#} ***\n");
                Ok(None)
            }
        }
    }

    fn installed() -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| source.join("../../target"), PathBuf::from);
        let folder = target.join("validators");
        fs::create_dir_all(&folder)?;
        // Tests run side by side, and one installation is enough.
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        let stamp = folder.join("installed");
        let wanted = fs::read(source.join("package-lock.json"))?;
        for file in FILES {
            fs::copy(source.join(file), folder.join(file))?;
        }
        if fs::read(&stamp).ok().as_deref() != Some(&wanted) {
            let npm = Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
                .current_dir(&folder)
                .output()
                .context("npm is not there: apt-get install nodejs npm")?;
            ensure!(npm.status.success(), "npm ci: {}", String::from_utf8_lossy(&npm.stderr));
            fs::write(&stamp, wanted)?;
        }
        Ok(Self { folder })
    }

    /// Holds the document in `schemas` against its standard, and messages, each an object with `topic` and `payload`, against the
    /// document. Returns how many messages each channel had.
    ///
    /// # Errors
    /// What deviates.
    pub fn check(&self, schemas: &Path, messages: &[Value]) -> Result<Value> {
        let lines: Vec<_> = messages.iter().map(Value::to_string).collect();
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), lines.join("\n"))?;
        let node = Command::new("node")
            .arg(self.folder.join("validate.mjs"))
            .arg(schemas)
            .arg(file.path())
            .output()
            .context("node is not there: apt-get install nodejs")?;
        if !node.status.success() {
            bail!("{}", String::from_utf8_lossy(&node.stderr));
        }
        Ok(serde_json::from_slice(&node.stdout)?)
    }
}
