//! The emulated board as a part that a test can start, watch, warm, freeze and kill.
//!
//! QEMU's own channels are the pipes of its process, so there is nothing to clean up and nothing to wait for: the control
//! channel is its standard input and output, and the board's log (serial 1) comes with QEMU's own complaints on its
//! standard error. Only the link (serial 0) is a socket: the test, or the agent under test, listens, and QEMU connects,
//! again every second when the other side has gone.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::qmp::Qmp;

/// Bytes in the board's flash, a W25Q32.
pub const FLASH_BYTES: usize = 4 * 1024 * 1024;

/// Set by `tests/run`: a part that this machine lacks fails the test instead of leaving it out.
pub const PARTS_REQUIRED: &str = "GRIDPOST_PARTS_REQUIRED";

const PROGRAM: &str = "qemu-system-arm";

/// Where QEMU finds the other end of the link.
#[derive(Clone, Debug)]
pub enum LinkAddress {
    /// A Unix socket that somebody listens on.
    Unix(PathBuf),
    /// A TCP port that somebody listens on.
    Tcp(SocketAddr),
}

/// What to start.
#[derive(Clone, Debug)]
pub struct QemuOptions {
    /// The board's image: see [`board_image`].
    pub elf: PathBuf,
    /// The file behind the board's flash: see [`new_flash_image`]. The board writes to it.
    pub flash_image: PathBuf,
    /// The other end of serial 0.
    pub link: LinkAddress,
    /// The folder with the samples that the board's microphone hears (`microphone.pcm`), for an image that has one.
    pub microphone: Option<PathBuf>,
    /// Gets a copy of everything that serial 1 and QEMU itself say; appended to, so that it spans restarts.
    pub log: PathBuf,
}

/// A running board. Dropping it kills it.
pub struct Qemu {
    process: Child,
    control: Qmp<ChildStdin>,
    log: Receiver<String>,
    /// The last lines of the log, for error messages.
    heard: Vec<String>,
}

/// Builds (if need be) an image of a board and gives the path of its ELF file; "" is the node itself.
///
/// `None` if this machine lacks QEMU or a Rust for the board, and nobody insists (see [`PARTS_REQUIRED`]): then the test
/// is to be left out, and the reason has been printed.
///
/// # Errors
/// The image does not build, or a part is lacking that is insisted on.
pub fn board_image(board: &str, image: &str) -> Result<Option<PathBuf>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's folder")?;
    let lacking = if Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status().is_err() {
        format!("{PROGRAM} is not installed; firmware/boards/install-toolchain installs it")
    } else {
        let build = Command::new(workspace.join("firmware/boards/build"))
            .args([board, image])
            .stderr(Stdio::piped())
            .output()
            .context("running firmware/boards/build")?;
        if build.status.success() {
            let said = String::from_utf8(build.stdout)?;
            let elf = said.lines().last().context("firmware/boards/build printed no path")?;
            return Ok(Some(PathBuf::from(elf)));
        }
        let said = String::from_utf8_lossy(&build.stderr).into_owned();
        // 3: no compiler for the board. Anything else is a fault of the firmware, or of the call.
        if build.status.code() != Some(3) {
            bail!("firmware/boards/build {board} {image} failed:\n{said}");
        }
        said
    };
    if env::var_os(PARTS_REQUIRED).is_some() {
        bail!("{lacking}");
    }
    eprintln!("LEFT OUT, needs the emulated board: {lacking}");
    Ok(None)
}

/// Makes the file of a flash as it leaves the factory: all ones.
///
/// # Errors
/// The file cannot be written.
pub fn new_flash_image(path: &Path) -> Result<()> {
    fs::write(path, vec![0xff; FLASH_BYTES]).with_context(|| format!("writing {}", path.display()))
}

impl Qemu {
    /// Starts the board. It runs when this returns; its link may still be connecting.
    ///
    /// # Errors
    /// QEMU is not installed or does not start; the error carries what it said.
    pub fn start(options: &QemuOptions) -> Result<Self> {
        let log_copy = File::options()
            .create(true)
            .append(true)
            .open(&options.log)
            .with_context(|| format!("opening {}", options.log.display()))?;
        let mut process = command(options).spawn().with_context(|| format!("starting {PROGRAM}"))?;
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let log = lines(stderr.context("QEMU's standard error")?, Some(log_copy));
        let answers = lines(stdout.context("QEMU's standard output")?, None);
        match Qmp::open(stdin.context("QEMU's standard input")?, answers) {
            Ok(control) => Ok(Self { process, control, log, heard: Vec::new() }),
            Err(error) => {
                process.kill()?;
                process.wait()?;
                let said: Vec<String> = log.iter().collect();
                Err(error.context(format!("QEMU did not start; it said:\n{}", said.join("\n"))))
            }
        }
    }

    /// Sets what the board's TMP105 measures, in thousandths of a degree Celsius: -128000 to 127999. The sensor rounds
    /// down to 1/16 degree.
    ///
    /// # Errors
    /// The temperature is out of range, or QEMU has ended.
    pub fn set_temperature(&mut self, milli_celsius: i32) -> Result<()> {
        let sensors = self.control.devices_of_board("tmp105")?;
        let path = sensors.first().context("this board has no TMP105")?;
        let arguments = json!({ "path": path, "property": "temperature", "value": milli_celsius });
        self.control.execute("qom-set", arguments).map(drop)
    }

    /// Reads the log until a line for which `wanted` holds, and gives that line. Lines before it are consumed.
    ///
    /// # Errors
    /// The board ended first, or `patience` ran out; the error carries the lines read.
    pub fn wait_for_log(&mut self, patience: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if wanted(&line) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the board ended; its log:\n{}", self.heard.join("\n"))
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the line did not come in {patience:?}; the log so far:\n{}", self.heard.join("\n"))
                }
            }
        }
    }

    /// Freezes the board and has everything that it wrote to its flash put into the file.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn stop(&mut self) -> Result<()> {
        self.control.execute("stop", json!({})).map(drop)
    }

    /// Lets a frozen board go on.
    ///
    /// # Errors
    /// QEMU has ended.
    pub fn go_on(&mut self) -> Result<()> {
        self.control.execute("cont", json!({})).map(drop)
    }

    /// Kills QEMU outright (SIGKILL). What it had not yet written to the flash's file is lost, which no power cut of a
    /// real flash does: a test that counts on every acknowledged write calls [`Qemu::stop`] first.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn kill9(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// QEMU's control channel, for what has no method here.
    pub fn control(&mut self) -> &mut Qmp<ChildStdin> {
        &mut self.control
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Either may fail because it has ended already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(options: &QemuOptions) -> Command {
    let link = match &options.link {
        LinkAddress::Unix(path) => format!("path={}", comma_doubled(path)),
        LinkAddress::Tcp(address) => format!("host={},port={},nodelay=on", address.ip(), address.port()),
    };
    let mut command = Command::new(PROGRAM);
    command
        .args(["-machine", "ast1030-evb,spi-model=w25q32", "-nodefaults", "-display", "none"])
        // A panic resets the board; a test had rather see it end.
        .arg("-no-reboot")
        .arg("-kernel")
        .arg(&options.elf)
        .arg("-drive")
        .arg(format!("if=mtd,index=2,format=raw,file={}", comma_doubled(&options.flash_image)))
        .args(["-chardev", &format!("socket,id=link,{link},reconnect=1"), "-serial", "chardev:link"])
        .args(["-chardev", "file,id=log,path=/dev/stderr,append=on", "-serial", "chardev:log"])
        .args(["-chardev", "stdio,id=control,signal=off", "-mon", "chardev=control,mode=control"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(folder) = &options.microphone {
        command.current_dir(folder).args(["-semihosting-config", "enable=on,target=native"]);
        // Time goes with the instructions, 16 ns each: a host that is busy slows the board's clock down. Else the board would miss
        // samples, and rightly call its microphone broken.
        command.args(["-icount", "shift=4,sleep=on"]);
    }
    command
}

/// In QEMU's options a comma ends a value, two make one.
fn comma_doubled(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Reads lines on a thread of its own until the stream ends, so that they can be waited for with a deadline and QEMU
/// never waits for a reader.
fn lines(stream: impl Read + Send + 'static, mut copy: Option<File>) -> Receiver<String> {
    let (sender, receiver): (Sender<String>, _) = mpsc::channel();
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            if let Some(copy) = &mut copy {
                // The copy is for a person to read after a failure; the test goes on without it.
                let _ = copy.write_all(&line);
            }
            // Nobody may be listening any more, but the stream has to be read all the same.
            let _ = sender.send(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    });
    receiver
}
