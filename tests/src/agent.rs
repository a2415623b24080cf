//! The real `gridpost` program, and a gateway's folder for it: configuration, keys, pack and spool.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::program::Program;

/// Long enough for a machine that is busy with everything else; reached only when something hangs.
pub const PATIENCE: Duration = Duration::from_secs(300);

fn workspace() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's folder")
}

fn is_of_test(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"].iter().any(|start| name.starts_with(start))
        || name == "CARGO_CRATE_NAME"
}

/// Builds (if need be) the `gridpost` program and gives its path.
///
/// # Errors
/// It does not build.
pub fn gridpost() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // What cargo says to a test of its package: build scripts that look at it would run anew, back and forth.
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_test(name)) {
        build.env_remove(name);
    }
    let build = build
        .current_dir(workspace()?)
        .args(["build", "--quiet", "--locked", "--package", "gridpost-agent", "--bin", "gridpost"])
        .args(["--message-format", "json-render-diagnostics"])
        .output()
        .context("running cargo")?;
    if !build.status.success() {
        bail!("gridpost does not build:\n{}", String::from_utf8_lossy(&build.stderr));
    }
    String::from_utf8(build.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo names no executable")
}

/// A gateway's folder: the sample district, a Unix socket as its link, a spool.
pub struct GatewayFolder {
    folder: TempDir,
    program: PathBuf,
}

impl GatewayFolder {
    /// Makes the folder, for a gateway that publishes to `broker`.
    ///
    /// # Errors
    /// Files cannot be written, or the program does not build.
    pub fn new(broker: &str) -> Result<Self> {
        let this = Self { folder: TempDir::with_prefix("gridpost-gw-")?, program: gridpost()? };
        let sample = workspace()?.join("agent/sample");
        fs::create_dir(this.path("pack"))?;
        for file in fs::read_dir(sample)? {
            let file = file?;
            fs::copy(file.path(), this.path("pack").join(file.file_name()))?;
        }
        this.configure(&format!(
            "[gateway]\nid = 'gw-1'\npack = 'pack'\nkeys = 'keys.toml'\nspool = 'spool.db'\n\
             [[link.unix]]\nname = 'board'\nlisten = 'link'\n\
             [uplink]\nbrokers = ['{broker}']\n"
        ))?;
        Ok(this)
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn configure(&self, text: &str) -> Result<()> {
        fs::write(self.path("gridpost.toml"), text).context("writing gridpost.toml")
    }

    /// The `gridpost` program with a subcommand, in this folder.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.folder.path()).args(arguments).env("GRIDPOST_LOG", "info");
        command
    }

    /// Runs a subcommand to its end; gives what it printed.
    ///
    /// # Errors
    /// It fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output()?;
        if !output.status.success() {
            bail!("gridpost {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Has one device of the pack decide itself, and no other.
    ///
    /// # Errors
    /// The pack's devices cannot be read or written.
    pub fn let_decide(&self, device: &str) -> Result<()> {
        let path = self.path("pack/devices.csv");
        let devices = fs::read_to_string(&path).context("reading devices.csv")?;
        let devices: String = devices
            .lines()
            .enumerate()
            .map(|(number, line)| match number {
                0 => format!("{line},decides\n"),
                _ if line.starts_with(device) => format!("{line},device\n"),
                _ => format!("{line},\n"),
            })
            .collect();
        fs::write(path, devices).context("writing devices.csv")
    }

    /// Starts the gateway, and waits for nothing: what it says before it is ready can be heard.
    ///
    /// # Errors
    /// It does not start.
    pub fn launch(&self) -> Result<Program> {
        Program::start(&mut self.command(&["run", "-c", "gridpost.toml"]))
    }

    /// Starts the gateway, and returns when it is ready.
    ///
    /// # Errors
    /// It does not become ready.
    pub fn start(&self) -> Result<Program> {
        let mut agent = self.launch()?;
        agent.wait_for_text(PATIENCE, "\"ready\"")?;
        Ok(agent)
    }
}
