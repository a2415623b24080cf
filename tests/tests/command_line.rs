//! What the program says when it is given something wrong: what, where, the way out, and an exit code for scripts.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use gridpost_agent::spool::Spool;
use gridpost_tests::agent::{GatewayFolder, gridpost};
use rustix::process::{Signal, geteuid};

const DEVICE: &str = "677000000000000a";

fn gateway() -> Result<GatewayFolder> {
    let gateway = GatewayFolder::new("mqtt://127.0.0.1:1")?;
    gateway.run(&["provision", "--device", DEVICE, "--keys", "keys.toml", "--image", "flash.img"])?;
    Ok(gateway)
}

fn check(gateway: &GatewayFolder) -> Result<Output> {
    gateway.command(&["check", "-c", "gridpost.toml"]).output().context("gridpost check")
}

/// Edits a file, and says what `gridpost check` then says.
fn complaint(gateway: &GatewayFolder, file: &str, from: &str, to: &str) -> Result<String> {
    let path = gateway.path(file);
    let before = fs::read_to_string(&path)?;
    ensure!(before.contains(from), "{file} has no {from:?}");
    fs::write(&path, before.replacen(from, to, 1))?;
    let output = check(gateway)?;
    fs::write(&path, before)?;
    ensure!(output.status.code() == Some(3), "exit code {:?}", output.status.code());
    Ok(String::from_utf8(output.stderr)?)
}

#[test]
fn check_says_what_there_is_and_touches_nothing() -> Result<()> {
    let gateway = gateway()?;
    let output = check(&gateway)?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success() && text.contains("sample-district version 1"), "{text}");
    ensure!(text.contains("has no key here"), "the other sample devices: {text}");
    ensure!(!gateway.path("spool.db").exists() && !gateway.path("link").exists(), "check made something");
    Ok(())
}

#[test]
fn check_notes_what_is_allowed_and_hardly_meant() -> Result<()> {
    let gateway = gateway()?;
    fs::write(gateway.path("pack/rules.toml"), "# to come\n")?;
    let output = check(&gateway)?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "it is usable");
    ensure!(
        text.contains("note: rules.toml:1:1: rule: there is no rule") && text.contains("[[rule]]"),
        "{text}"
    );
    ensure!(text.ends_with("usable, with the notes above\n"), "{text}");
    Ok(())
}

#[test]
fn errors_name_the_file_the_line_and_the_way_out() -> Result<()> {
    let gateway = gateway()?;
    let cases = [
        ("gridpost.toml", "listen", "lissen", &["gridpost.toml", "line 8", "lissen", "listen"][..]),
        ("gridpost.toml", "id = 'gw-1'", "id = 5", &["line 2", "string"]),
        ("gridpost.toml", "'pack'", "'none'", &["none", "pack.toml"]),
        ("gridpost.toml", "'keys.toml'", "'none.toml'", &["none.toml", "agent's user"]),
        ("gridpost.toml", "mqtt://", "http://", &["gridpost.toml", "brokers", "mqtt://HOST"]),
        ("gridpost.toml", "'spool.db'", "'pack'", &["[gateway] spool", "is a folder", "gridpost.toml"]),
        (
            "gridpost.toml",
            "'spool.db'",
            "'none/spool.db'",
            &["[gateway] spool", "none", "make the folder", "gridpost.toml"],
        ),
        (
            "gridpost.toml",
            "'spool.db'",
            "'keys.toml'",
            &["[gateway] spool", "keys.toml is no spool", "path", "gridpost.toml"],
        ),
        ("keys.toml", "= \"", "= \"x", &["keys.toml:3", "64 hexadecimal digits"]),
        ("pack/rules.toml", "\"0102003\"", "\"9999999\"", &["rules.toml", "9999999", "matter"]),
        ("pack/rules.toml", "\nhysteresis", "\nhysterisis", &["rules.toml", "hysterisis", "hysteresis"]),
        ("pack/devices.csv", "PS-0002", "PS-9999", &["devices.csv", "PS-9999"]),
        ("pack/devices.csv", ",PS-0002,", ",,", &["devices.csv", "site"]),
        ("pack/catalogue.csv", "0101002", "0101001", &["catalogue.csv", "0101001"]),
        ("pack/catalogue.csv", "matter,0101001,0101,", "matter,0101001,0777,", &["catalogue.csv", "0777"]),
    ];
    for (file, from, to, expected) in cases {
        let said = complaint(&gateway, file, from, to)?;
        for part in expected {
            ensure!(said.contains(part), "{file} with {to:?} for {from:?}: no {part:?} in\n{said}");
        }
    }
    Ok(())
}

#[test]
fn links_that_cannot_work_are_refused_before_anything_starts() -> Result<()> {
    let gateway = gateway()?;
    let cases = [
        ("[[link.tcp]]\nname = 'a'\nlisten = '0.0.0.0'\n", &["\"a\", listen", "HOST:PORT"][..]),
        ("[[link.tcp]]\nname = 'a'\nlisten = '0.0.0.0:70001'\n", &["\"a\", listen", "70001", "HOST:PORT"]),
        (
            "[[link.tcp]]\nname = 'a'\nlisten = '0.0.0.0:1'\n[[link.tcp]]\nname = 'b'\nlisten = '0.0.0.0:1'\n",
            &["\"b\", listen", "link \"a\""],
        ),
        ("[[link.serial]]\nname = 'a'\nport = '/dev/ttyS9'\nbaud = 0\n", &["\"a\", baud"]),
    ];
    for (links, expected) in cases {
        gateway.configure(&format!(
            "[gateway]\nid = 'gw-1'\npack = 'pack'\nkeys = 'keys.toml'\nspool = 'spool.db'\n\
             {links}[uplink]\nbrokers = ['mqtt://127.0.0.1:1']\n"
        ))?;
        for command in ["check", "run"] {
            let output = gateway.command(&[command, "-c", "gridpost.toml"]).output()?;
            let said = String::from_utf8(output.stderr)?;
            ensure!(
                output.status.code() == Some(3),
                "{command}: exit code {:?}: {said}",
                output.status.code()
            );
            for part in expected.iter().chain(&["gridpost.toml"]) {
                ensure!(said.contains(part), "{command}: no {part:?} in\n{said}");
            }
        }
    }
    ensure!(
        !gateway.path("spool.db").exists() && !gateway.path("spool.db.lock").exists(),
        "something was made"
    );
    Ok(())
}

#[test]
fn wrong_usage_is_told_from_failure_and_repeats_no_password() -> Result<()> {
    let gateway = gateway()?;
    let cases: [(&[&str], &[&str]); 7] = [
        (&["watch"], &["--config", "--broker"]),
        (&["watch", "--broker", "mqtt://u:hunter2@b"], &["--broker", "password_file"]),
        (&["watch", "--broker", "http://u:hunter2@b:x"], &["--broker", "mqtt://HOST"]),
        (&["demo", "--broker", "mqtt://u:hunter2@b"], &["--broker", "password_file"]),
        (&["watch", "--broker", "mqtts://b"], &["--broker", "--config"]),
        (&["watch", "--broker", "mqtt://b", "--department", "a/b"], &["a/b", "department"]),
        (&["demo", "--for", "soon"], &["--for", "20s"]),
    ];
    for (arguments, expected) in cases {
        let output = gateway.command(arguments).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(2),
            "{arguments:?}: exit code {:?}: {said}",
            output.status.code()
        );
        ensure!(!said.contains("hunter2"), "{said}");
        for part in expected {
            ensure!(said.contains(part), "{arguments:?}: no {part:?} in\n{said}");
        }
    }
    Ok(())
}

#[test]
fn output_that_cannot_be_written_is_a_failure() -> Result<()> {
    let gateway = gateway()?;
    for arguments in [&["check", "-c", "gridpost.toml"][..], &["demo", "--for", "30s"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full")?;
        let output = gateway.command(arguments).stdout(full).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(1),
            "{arguments:?}: exit code {:?}: {said}",
            output.status.code()
        );
        ensure!(said.contains("standard output"), "{said}");
    }
    Ok(())
}

#[test]
fn no_command_writes_over_what_it_reads_or_replaces_a_device() -> Result<()> {
    let gateway = gateway()?;
    gateway.run(&["pack", "build", "pack", "-o", "d.pack"])?;
    fs::write(gateway.path("list.csv"), "事项名称,主管部门,实施层级,办理时限\n施工,住建局,区,2小时\n")?;
    gateway.start()?.signal(Signal::TERM)?;
    let cases: [(&[&str], &str); 6] = [
        (&["spool", "export", "events", "-c", "gridpost.toml", "-o", "spool.db"], "spool.db"),
        (&["pack", "build", "pack", "-o", "pack/../pack/rules.toml"], "pack/rules.toml"),
        (&["pack", "check", "d.pack", "-o", "d.pack"], "d.pack"),
        (&["pack", "sign", "d.pack", "--key", "keys.toml", "-o", "d.pack"], "d.pack"),
        (&["catalogue", "import", "list.csv", "-o", "list.csv"], "list.csv"),
        (&["catalogue", "import", "list.csv", "-o", "c.csv", "--departments", "list.csv"], "list.csv"),
    ];
    for (arguments, file) in cases {
        let before = fs::read(gateway.path(file))?;
        let output = gateway.command(arguments).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2), "{arguments:?}: {:?}: {said}", output.status.code());
        ensure!(said.contains(file) && said.contains("another file"), "{arguments:?}: {said}");
        ensure!(fs::read(gateway.path(file))? == before, "{arguments:?} changed {file}");
    }
    gateway.run(&["pack", "check", "pack", "--format", "html", "-o", "/dev/null"])?;
    ensure!(!fs::metadata("/dev/null")?.is_file(), "/dev/null became a file");
    Ok(())
}

#[test]
fn what_is_not_there_says_where_it_may_be() -> Result<()> {
    let gateway = gateway()?;
    let cases: [(&[&str], &[&str]); 4] = [
        (&["check", "-c", "none.toml"], &["none.toml", "-c FILE"]),
        (&["pack", "check", "none"], &["none", "pack.toml"]),
        (&["pack", "build", "pack", "--overlay", "none"], &["none/catalogue.csv", "overlays", "--overlay"]),
        (&["pack", "verify", "pack", "--trust", "none.pub"], &["none.pub", "RW"]),
    ];
    for (arguments, expected) in cases {
        let output = gateway.command(arguments).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(3), "{arguments:?}: {:?}: {said}", output.status.code());
        for part in expected {
            ensure!(said.contains(part), "{arguments:?}: no {part:?} in\n{said}");
        }
    }
    Ok(())
}

#[test]
fn keys_that_others_can_read_are_refused() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let gateway = gateway()?;
    let mode = fs::metadata(gateway.path("keys.toml"))?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "provision makes it private, not {mode:o}");
    fs::set_permissions(gateway.path("keys.toml"), fs::Permissions::from_mode(0o644))?;
    let said = String::from_utf8(check(&gateway)?.stderr)?;
    ensure!(said.contains("chmod 600"), "{said}");
    Ok(())
}

#[test]
fn a_second_agent_on_the_same_spool_does_not_start() -> Result<()> {
    let gateway = gateway()?;
    let first = gateway.start()?;
    let second = gateway.command(&["run", "-c", "gridpost.toml"]).output()?;
    let said = String::from_utf8(second.stderr)?;
    ensure!(second.status.code() == Some(4), "exit code {:?}: {said}", second.status.code());
    ensure!(said.contains("in use by another agent (process "), "{said}");
    first.signal(Signal::TERM)?;
    let (status, _) = first.wait(gridpost_tests::agent::PATIENCE)?;
    ensure!(status.success(), "the first was not disturbed");
    Ok(())
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let gateway = gateway()?;
    gateway.configure(&format!(
        "[gateway]\nid = 'gw-1'\npack = 'pack'\nkeys = 'keys.toml'\nspool = 'spool.db'\n\
         [[link.tcp]]\nname = 'lan'\nlisten = '{address}'\n[uplink]\nbrokers = ['mqtt://127.0.0.1:1']\n"
    ))?;
    let output = gateway.command(&["run", "-c", "gridpost.toml"]).output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "exit code {:?}: {said}", output.status.code());
    ensure!(said.contains(&address.to_string()) && said.contains("choose another port"), "{said}");
    Ok(())
}

#[test]
fn an_unplugged_serial_port_is_waited_for() -> Result<()> {
    let gateway = gateway()?;
    gateway.configure(
        "[gateway]\nid = 'gw-1'\npack = 'pack'\nkeys = 'keys.toml'\nspool = 'spool.db'\n\
         [[link.serial]]\nname = 'pole'\nport = 'no-such-port'\n[uplink]\nbrokers = ['mqtt://127.0.0.1:1']\n",
    )?;
    let mut agent = gateway.start()?;
    let line = agent.wait_for_text(gridpost_tests::agent::PATIENCE, "serial port not usable")?;
    ensure!(line.contains("no-such-port") && line.contains("trying again"), "{line}");
    agent.wait_for_text(gridpost_tests::agent::PATIENCE, "serial port not usable")?;
    Ok(())
}

#[test]
fn an_identity_is_not_replaced_by_accident() -> Result<()> {
    let gateway = gateway()?;
    let again = ["provision", "--device", "6770000000000001", "--keys", "keys.toml", "--image", "flash.img"];
    let output = gateway.command(&again).output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(!output.status.success() && said.contains(DEVICE) && said.contains("--force"), "{said}");
    Ok(())
}

/// Provisions a second device, with these arguments beside it.
fn provision(gateway: &GatewayFolder, more: &[&str]) -> Result<Output> {
    let arguments = [&["provision", "--device", "6770000000000001"], more].concat();
    gateway.command(&arguments).output().context("gridpost provision")
}

#[test]
fn an_image_that_no_node_can_use_is_refused_and_no_key_is_made() -> Result<()> {
    let gateway = gateway()?;
    let keys = fs::read(gateway.path("keys.toml"))?;
    let cases = [
        (0, "at least 45056"),
        (57, "at least 45056"),
        (40_960, "at least 45056"),
        (45_057, "multiple of the 4096"),
    ];
    for (bytes, expected) in cases {
        let image = vec![0xff; bytes];
        fs::write(gateway.path("small.img"), &image)?;
        for force in [&["--force"][..], &[]] {
            let output =
                provision(&gateway, &[&["--keys", "keys.toml", "--image", "small.img"], force].concat())?;
            let said = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(1), "{bytes}: exit code {:?}: {said}", output.status.code());
            ensure!(said.contains("small.img") && said.contains(expected), "{bytes}: {said}");
            ensure!(fs::read(gateway.path("small.img"))? == image, "the image was changed");
            ensure!(fs::read(gateway.path("keys.toml"))? == keys, "a key was made");
        }
    }
    fs::write(gateway.path("small.img"), vec![0xff; 45_056])?;
    let output = provision(&gateway, &["--keys", "keys.toml", "--image", "small.img"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn a_first_number_that_leaves_none_for_what_follows_is_refused() -> Result<()> {
    let gateway = gateway()?;
    for number in ["0", "18446744073709551615", "9223372036854775808"] {
        let output =
            provision(&gateway, &["--keys", "keys.toml", "--image", "b.img", "--first-seq", number])?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2), "exit code {:?}: {said}", output.status.code());
        ensure!(said.contains("--first-seq") && said.contains("9223372036854775807"), "{said}");
        ensure!(!gateway.path("b.img").exists(), "an image was made");
    }
    Ok(())
}

#[test]
fn a_key_is_written_to_where_a_symbolic_link_leads() -> Result<()> {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let gateway = gateway()?;
    fs::create_dir(gateway.path("secrets"))?;
    fs::rename(gateway.path("keys.toml"), gateway.path("secrets/keys.toml"))?;
    symlink("secrets/keys.toml", gateway.path("keys.toml"))?;
    let output = provision(&gateway, &["--keys", "keys.toml", "--image", "b.img"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(fs::symlink_metadata(gateway.path("keys.toml"))?.is_symlink(), "the link was replaced");
    let keys = fs::read_to_string(gateway.path("secrets/keys.toml"))?;
    ensure!(keys.contains(DEVICE) && keys.contains("6770000000000001"), "both keys are where they belong");
    let mode = fs::metadata(gateway.path("secrets/keys.toml"))?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{mode:o}");
    ensure!(fs::read_dir(gateway.path("secrets"))?.count() == 1, "nothing is left beside it");

    fs::remove_file(gateway.path("secrets/keys.toml"))?;
    let output = provision(&gateway, &["--keys", "keys.toml", "--image", "c.img"])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(!output.status.success() && said.contains("leads nowhere"), "{said}");
    Ok(())
}

#[test]
fn a_districts_list_is_taken_over_or_nothing_is_written() -> Result<()> {
    let gateway = gateway()?;
    let list = "序号,编码,一级事项,二级事项,事项名称,主管部门,实施层级,办理时限(小时),备注\n\
                1,0102003,噪声管理,施工噪声,夜间施工噪声,区住建局,街道,2,甲\n\
                2,0102004,,,昼间施工噪声,,街道,2,乙\n";
    fs::write(gateway.path("list.csv"), list)?;
    let import = |more: &[&str]| {
        let arguments = ["catalogue", "import", "list.csv", "-o", "new.csv", "--departments", "who.csv"];
        gateway.command(&[&arguments[..], more].concat()).output().context("gridpost catalogue import")
    };
    let output = import(&[])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(3), "exit code {:?}", output.status.code());
    ensure!(said.contains("row 3, 主管部门: the cell is empty; fill it in"), "{said}");
    ensure!(said.contains("--skip-bad; nothing was written") && !gateway.path("new.csv").exists(), "{said}");

    let output = import(&["--skip-bad"])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ensure!(text.contains("主管部门 → department") && text.contains("备注: NOT UNDERSTOOD"), "{text}");
    ensure!(text.contains("1 matters in 2 groups; 1 departments, 1 of them new; 1 row not usable"), "{text}");
    ensure!(String::from_utf8(output.stderr)?.contains("1 row left out:\n  row 3, "));
    ensure!(fs::read_to_string(gateway.path("who.csv"))?.contains("dept-001,区住建局,"));
    ensure!(
        fs::read_to_string(gateway.path("new.csv"))?.contains("matter,0102003,0102,夜间施工噪声,,dept-001,,")
    );

    // Into a copy of the sample, as the README says: a list without codes cannot take the place of another in silence.
    let list =
        "一级事项,二级事项,事项名称,主管部门,实施层级,办理时限(小时)\n市容,道路,路面破损,区城管局,街道,2\n";
    fs::write(gateway.path("list.csv"), list)?;
    let over = || {
        gateway
            .command(&["catalogue", "import", "list.csv", "-o", "pack/catalogue.csv"])
            .output()
            .context("import")
    };
    let output = over()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(3) && said.contains("--earlier pack/catalogue.csv"), "{said}");
    ensure!(said.contains("a copy of the sample, remove pack/catalogue.csv and import again"), "{said}");
    fs::remove_file(gateway.path("pack/catalogue.csv"))?;
    let output = over()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn a_review_on_standard_output_is_the_page_alone_and_its_chinese_has_no_english_note() -> Result<()> {
    let gateway = gateway()?;
    let rules = fs::read_to_string(gateway.path("pack/rules.toml"))?;
    fs::write(gateway.path("pack/rules.toml"), rules.replacen("window = ", "min_capture = 0\nwindow = ", 1))?;
    let arguments = ["pack", "check", "pack", "--format", "html", "-o", "/dev/stdout"];
    let output = gateway.command(&arguments).output().context("gridpost pack check")?;
    let page = String::from_utf8(output.stdout)?;
    ensure!(
        page.starts_with("<!doctype html>") && page.ends_with("</html>\n"),
        "{}",
        &page[page.len() - 80..]
    );
    ensure!(page.contains("min_capture: 为 0 时，窗口内只剩一个读数也会判定；通常为 50</span>"), "{page}");
    ensure!(page.contains("min_capture: with 0 a window decides"), "{page}");
    Ok(())
}

/// Runs a command about the spool in this folder as somebody who may write nothing there.
fn as_a_guest(program: &Path, what: &str, spool: &Path) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(["spool", what, "--spool"]).arg(spool);
    if geteuid().is_root() {
        command.uid(65_534);
    }
    Ok(command.output()?)
}

#[test]
fn a_spool_can_be_looked_at_where_nothing_can_be_written() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (program, inside) = (folder.path().join("gridpost"), folder.path().join("spool"));
    fs::copy(gridpost()?, &program)?;
    fs::create_dir(&inside)?;
    let [sound, left, secret] = ["a?b #1.db", "left.db", "secret.db"].map(|name| inside.join(name));
    drop(Spool::open(&sound)?);
    fs::copy(&sound, &secret)?;
    let spool = Spool::open(&left)?;
    let log = |path: &Path| path.with_extension("db-wal");
    let copies = [fs::read(&left)?, fs::read(log(&left))?];
    drop(spool);
    fs::write(&left, &copies[0])?;
    fs::write(log(&left), &copies[1])?;
    for (path, mode) in [(&secret, 0o000), (&inside, 0o555), (&folder.path().to_owned(), 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    for what in ["status", "verify"] {
        let output = as_a_guest(&program, what, &sound)?;
        ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        for (path, way_out) in [(&left, "look at the copy"), (&secret, "as the agent's user")] {
            let output = as_a_guest(&program, what, path)?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(!output.status.success() && said.contains(way_out), "{what}: {said}");
        }
    }
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
