//! The Debian package: what is in it, that its example can be used, and what stays when it goes. `dpkg` itself installs and purges it, into a
//! folder.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use gridpost_tests::agent::gridpost;
use tempfile::TempDir;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/packaging")
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(said)
}

/// The package, with the program as the tests have it: built once.
fn package() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*built {
        return Ok(path.clone());
    }
    let mut build = Command::new(packaging().join("build-deb"));
    let said = said(build.arg("--program").arg(gridpost()?).arg(env!("CARGO_TARGET_TMPDIR")))?;
    let path = PathBuf::from(said.lines().find(|line| line.ends_with(".deb")).context("its path")?);
    *built = Some(path.clone());
    Ok(path)
}

/// Runs dpkg on a system of its own in a folder, whose maintainer scripts run here.
fn dpkg(root: &Path, arguments: &[&str]) -> Result<String> {
    let mut dpkg = Command::new("dpkg");
    dpkg.arg(format!("--root={}", root.display()));
    dpkg.args([
        "--force-script-chrootless",
        "--force-not-root",
        "--force-depends",
        "--force-bad-path",
        "--log=/dev/null",
    ]);
    said(dpkg.args(arguments))
}

#[test]
fn the_package_has_what_a_gateway_needs_and_its_example_can_be_filled_in() -> Result<()> {
    let folder = TempDir::new()?;
    let package = package()?;
    let depends = said(Command::new("dpkg-deb").arg("--field").arg(&package).arg("Depends"))?;
    ensure!(depends.contains("libc6 (>= 2."), "{depends}");
    let tree = folder.path().join("tree");
    said(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&tree))?;
    let program = tree.join("usr/bin/gridpost");
    ensure!(said(Command::new(&program).arg("--version"))?.starts_with("gridpost "));

    // As the example tells: a pack, keys, a name, a broker.
    let etc = tree.join("etc/gridpost");
    let configuration = etc.join("gridpost.toml");
    let check = || Command::new(&program).arg("check").arg("--config").arg(&configuration).output();
    let unfilled = check()?;
    ensure!(unfilled.status.code() == Some(3), "the example as it comes is no configuration: {unfilled:?}");
    let example = fs::read_to_string(&configuration)?;
    let spool = tree.join("spool.db");
    let filled = example
        .replace("id = \"\"", "id = \"gw-1\"")
        .replace("brokers = []", "brokers = [\"mqtt://broker.example\"]")
        .replace("/var/lib/gridpost/spool.db", &spool.display().to_string());
    fs::write(&configuration, &filled)?;
    said(Command::new("cp").arg("-r").arg(tree.join("usr/share/gridpost/sample")).arg(etc.join("pack")))?;
    let provision = ["provision", "--device", "677000000000000a", "--keys", "keys.toml", "--image", "a.img"];
    said(Command::new(&program).current_dir(&etc).args(provision))?;
    let checked = check()?;
    ensure!(checked.status.success(), "{checked:?}");

    // And what is commented out is right, too.
    let everything: Vec<&str> = filled
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|line| line.starts_with('[') || line.contains(" = "))
                .unwrap_or(line)
        })
        // These name files that are not here.
        .filter(|line| !line.contains("_file = ") && !line.starts_with("username"))
        .collect();
    fs::write(&configuration, everything.join("\n"))?;
    let checked = check()?;
    ensure!(checked.status.success(), "{checked:?}\n{}", everything.join("\n"));
    ensure!(String::from_utf8_lossy(&checked.stdout).contains("rs485"), "{checked:?}");
    Ok(())
}

#[test]
fn spool_and_keys_stay_when_the_package_goes() -> Result<()> {
    let folder = TempDir::new()?;
    let package = package()?;
    let root = folder.path().join("root");
    for part in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"] {
        fs::create_dir_all(root.join(part))?;
    }
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    let told = dpkg(&root, &["--install", &package.display().to_string()])?;
    ensure!(told.contains("gridpost check"), "{told}");
    let (keys, spool) = (root.join("etc/gridpost/keys.toml"), root.join("var/lib/gridpost/spool.db"));
    let mode = fs::metadata(&keys)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{mode:o}");
    fs::write(&keys, "[keys]\n# of devices in the street\n")?;
    fs::write(&spool, "events that nobody has yet")?;
    fs::write(root.join("etc/gridpost/gridpost.toml"), "# filled in\n")?;

    dpkg(&root, &["--install", &package.display().to_string()])?;
    ensure!(
        fs::read_to_string(root.join("etc/gridpost/gridpost.toml"))? == "# filled in\n",
        "an upgrade keeps it"
    );
    dpkg(&root, &["--remove", "gridpost"])?;
    ensure!(!root.join("usr/bin/gridpost").exists() && root.join("etc/gridpost/gridpost.toml").exists());
    let told = dpkg(&root, &["--purge", "gridpost"])?;
    ensure!(told.contains("/var/lib/gridpost is kept"), "{told}");
    ensure!(!root.join("etc/gridpost/gridpost.toml").exists());
    ensure!(fs::read_to_string(&keys)?.contains("in the street"));
    ensure!(fs::read_to_string(&spool)?.contains("nobody has yet"));
    Ok(())
}

#[test]
fn the_unit_is_one_that_systemd_takes() -> Result<()> {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        // Needs systemd's tools, which a container need not have.
        return Ok(());
    }
    let folder = TempDir::new()?;
    let unit = fs::read_to_string(packaging().join("gridpost.service"))?;
    ensure!(unit.contains("Type=notify") && unit.contains("WatchdogSec="));
    // The program has to be there; everything else is looked at as it is.
    let here = folder.path().join("gridpost.service");
    fs::write(&here, unit.replace("/usr/bin/gridpost", "/bin/true"))?;
    let told = said(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&here))?;
    ensure!(!told.contains("gridpost.service"), "{told}");
    Ok(())
}
