//! Mosquitto as a part that a test can start, kill, freeze and start again.
//!
//! Every instance has a port and a folder of its own, and dies with its value. The broker says on its standard error when it
//! listens, when it saves and what it refuses, so nothing here waits for time to pass.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::agent::PATIENCE;
use crate::certificates::BrokerFiles;
use crate::qemu::PARTS_REQUIRED;

/// When this is set, brokers' logs are shown while the tests run.
const SHOW_LOG: &str = "GRIDPOST_SHOW_BROKER_LOG";
/// How often another port is tried when somebody else took the one that was free a moment ago.
const PORT_TRIES: usize = 5;

/// What kind of broker a test wants. The default lets everybody in and keeps nothing on disk.
#[derive(Clone, Debug, Default)]
pub struct MosquittoOptions {
    /// Only this user, with this password.
    pub user: Option<(String, String)>,
    /// Lines of an access list.
    pub acl: Option<String>,
    /// TLS with these files; clients must show a certificate of the same authority.
    pub tls: Option<BrokerFiles>,
    /// Sessions and queued messages survive a kill, as far as they were saved: see [`Mosquitto::save`].
    pub persistent: bool,
    /// Further lines of its configuration.
    pub extra: String,
}

/// A running broker. Dropping it kills it.
pub struct Mosquitto {
    process: Child,
    log: Receiver<String>,
    program: PathBuf,
    folder: TempDir,
    port: u16,
}

impl Mosquitto {
    /// Starts a broker on a free port of the loopback interface and waits until it listens.
    ///
    /// `None` if Mosquitto is not installed and nobody insists (`CI`, or what `tests/run` sets): then the test is to be left
    /// out, and the reason has been printed.
    ///
    /// # Errors
    /// It does not start, or is lacking and insisted on.
    pub fn start(options: &MosquittoOptions) -> Result<Option<Self>> {
        let Some(program) = find("mosquitto") else {
            let lacking = "Mosquitto is not installed: apt-get install mosquitto";
            if env::var_os(PARTS_REQUIRED).is_some() || env::var_os("CI").is_some() {
                bail!("{lacking}");
            }
            eprintln!("\n*** LEFT OUT: this test needs a real broker. {lacking} ***\n");
            return Ok(None);
        };
        let folder = TempDir::with_prefix("gridpost-mosquitto-")?;
        let mut last = None;
        for _ in 0..PORT_TRIES {
            let port = free_port()?;
            write_configuration(folder.path(), port, options)?;
            match launch(&program, folder.path()) {
                Ok((process, log)) => return Ok(Some(Self { process, log, program, folder, port })),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no port was tried")?)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address without TLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// `kill -9`: whatever it had not saved is gone.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again after [`Self::kill`], on the same port and with the same folder.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> Result<()> {
        (self.process, self.log) = launch(&self.program, self.folder.path())?;
        Ok(())
    }

    /// Stops it in its tracks: connections stay open and nothing is read or answered.
    ///
    /// # Errors
    /// The system refuses.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`Self::freeze`].
    ///
    /// # Errors
    /// The system refuses.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Has it save sessions and messages now. The broker does so in its only thread: what it does for a client after this
    /// returns, it does after saving.
    ///
    /// # Errors
    /// It does not say that it saves.
    pub fn save(&mut self) -> Result<()> {
        self.signal(Signal::USR1)?;
        self.wait_for_log(|line| line.contains("Saving in-memory database"))
    }

    /// Waits until it logs a line that fits.
    ///
    /// # Errors
    /// It ends, or says no such thing for a minute.
    pub fn wait_for_log(&mut self, fits: impl Fn(&str) -> bool) -> Result<()> {
        wait_for_line(&self.log, fits)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.process.id())?).context("the broker's process id")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write_configuration(folder: &Path, port: u16, options: &MosquittoOptions) -> Result<()> {
    let file = |name: &str| folder.join(name);
    // As root it would become another user, who may not read this folder.
    let mut lines = vec![
        "user root".to_owned(),
        format!("listener {port} 127.0.0.1"),
        "log_dest stderr".to_owned(),
        "log_type all".to_owned(),
        "max_queued_messages 1000000".to_owned(),
        "set_tcp_nodelay true".to_owned(),
        format!("allow_anonymous {}", options.user.is_none()),
    ];
    if let Some((user, password)) = &options.user {
        let passwords = file("passwords");
        let tool = find("mosquitto_passwd").context("mosquitto_passwd comes with Mosquitto")?;
        let made = Command::new(tool).arg("-c").arg("-b").arg(&passwords).args([user, password]).status()?;
        anyhow::ensure!(made.success(), "mosquitto_passwd failed: {made}");
        lines.push(format!("password_file {}", passwords.display()));
    }
    if let Some(acl) = &options.acl {
        fs::write(file("acl"), acl)?;
        lines.push(format!("acl_file {}", file("acl").display()));
    }
    if let Some(tls) = &options.tls {
        lines.push(format!("cafile {}", tls.ca.display()));
        lines.push(format!("certfile {}", tls.certificate.display()));
        lines.push(format!("keyfile {}", tls.key.display()));
        lines.push("require_certificate true".to_owned());
    }
    if options.persistent {
        lines.push("persistence true".to_owned());
        lines.push(format!("persistence_location {}/", folder.display()));
    }
    lines.push(options.extra.clone());
    let mut configuration =
        OpenOptions::new().create(true).write(true).truncate(true).open(file("mosquitto.conf"))?;
    configuration.write_all(lines.join("\n").as_bytes())?;
    Ok(())
}

fn launch(program: &Path, folder: &Path) -> Result<(Child, Receiver<String>)> {
    let mut process = Command::new(program)
        .arg("-c")
        .arg(folder.join("mosquitto.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting mosquitto")?;
    let stderr = process.stderr.take().context("the broker's log")?;
    let (sender, log) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if env::var_os(SHOW_LOG).is_some() {
                eprintln!("mosquitto: {line}");
            }
            // Read to the end also when nobody listens any more: a full pipe would stop the broker.
            let _ = sender.send(line);
        }
    });
    match wait_for_line(&log, |line| line.ends_with(" running")) {
        Ok(()) => Ok((process, log)),
        Err(error) => {
            let _ = process.kill();
            let _ = process.wait();
            Err(error.context("mosquitto does not start"))
        }
    }
}

fn wait_for_line(log: &Receiver<String>, fits: impl Fn(&str) -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut heard: Vec<String> = Vec::new();
    loop {
        match log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if fits(&line) => return Ok(()),
            Ok(line) => heard.push(line),
            Err(error) => {
                let tail = heard.split_off(heard.len().saturating_sub(20)).join("\n");
                bail!("waiting for the broker's log: {error}; it said last:\n{tail}");
            }
        }
    }
}

/// A port of the loopback interface that nobody listens on at this moment.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Where a program is: Debian keeps daemons where an ordinary user's `PATH` does not look.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
