//! A program as a part that a test can start, listen to, signal and kill.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A running program. Dropping it kills it.
pub struct Program {
    process: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Program {
    /// Starts it; both of its outputs come as lines.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let (sender, lines) = mpsc::channel();
        forward(process.stdout.take().context("its standard output")?, sender.clone());
        forward(process.stderr.take().context("its standard error")?, sender);
        Ok(Self { process, lines, heard: Vec::new() })
    }

    /// Reads lines until one for which `wanted` gives something. Lines before it are consumed.
    ///
    /// # Errors
    /// The program ended first, or `patience` ran out; the error carries the lines read.
    pub fn wait_for<T>(&mut self, patience: Duration, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = wanted(&line);
                    self.heard.push(line);
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the program ended; it said:\n{}", self.heard.join("\n"))
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("what is wanted did not come in {patience:?}; it said:\n{}", self.heard.join("\n"))
                }
            }
        }
    }

    /// Reads lines until one contains `text`.
    ///
    /// # Errors
    /// As [`Program::wait_for`].
    pub fn wait_for_text(&mut self, patience: Duration, text: &str) -> Result<String> {
        self.wait_for(patience, |line| line.contains(text).then(|| line.to_owned()))
            .with_context(|| format!("waiting for {text:?}"))
    }

    /// All lines that have come and were not waited for.
    pub fn drain(&mut self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.try_wait()?.is_some())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The system refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).context("its process id")?;
        kill_process(pid, signal).map_err(|error| anyhow!("signal: {error}"))
    }

    /// Kills it outright (SIGKILL).
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill9(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Waits for its end, and gives all that it said.
    ///
    /// # Errors
    /// It does not end within `patience`.
    pub fn wait(mut self, patience: Duration) -> Result<(ExitStatus, Vec<String>)> {
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.heard.push(line),
                // Both outputs are closed: it has ended, or is about to.
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok((self.process.wait()?, std::mem::take(&mut self.heard)));
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the program does not end; it said:\n{}", self.heard.join("\n"))
                }
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Either may fail because it has ended already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn forward(stream: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { break };
            // Nobody may be listening any more, but the stream has to be read all the same.
            let _ = to.send(line);
        }
    });
}
