//! QEMU's control channel (QMP): one JSON object a line, each command answered before the next is sent.

use std::{
    io::Write,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

/// QEMU answers in milliseconds; when it has not answered for this long it never will.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A QMP session.
pub struct Qmp<W> {
    to: W,
    from: Receiver<String>,
}

impl<W: Write> Qmp<W> {
    /// Waits for QEMU's greeting and opens the session.
    ///
    /// # Errors
    /// QEMU ended, did not answer, or speaks something else.
    pub fn open(to: W, from: Receiver<String>) -> Result<Self> {
        let mut session = Self { to, from };
        let greeting = session.receive().context("QEMU's greeting")?;
        if greeting.get("QMP").is_none() {
            bail!("not a QMP greeting: {greeting}");
        }
        session.execute("qmp_capabilities", json!({}))?;
        Ok(session)
    }

    /// Runs one command and gives what it returns. Events that come in between are passed over.
    ///
    /// # Errors
    /// QEMU ended, did not answer, or refused the command; the error carries its words.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let mut line = serde_json::to_vec(&json!({ "execute": command, "arguments": arguments }))?;
        line.push(b'\n');
        self.to
            .write_all(&line)
            .and_then(|()| self.to.flush())
            .with_context(|| format!("sending {command}"))?;
        loop {
            let mut message = self.receive().with_context(|| format!("the answer to {command}"))?;
            if let Some(refusal) = message.get("error") {
                bail!("QEMU refused {command} {arguments}: {refusal}");
            }
            if let Some(returned) = message.get_mut("return") {
                return Ok(returned.take());
            }
        }
    }

    /// The paths of the devices of one type that the board has itself, in QEMU's order of making.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn devices_of_board(&mut self, kind: &str) -> Result<Vec<String>> {
        const PARENT: &str = "/machine/unattached";
        let wanted = format!("child<{kind}>");
        let children = self.execute("qom-list", json!({ "path": PARENT }))?;
        let children = children.as_array().context("qom-list gave no list")?;
        let named = |child: &Value| Some(format!("{PARENT}/{}", child.get("name")?.as_str()?));
        Ok(children
            .iter()
            .filter(|child| child.get("type").and_then(Value::as_str) == Some(&wanted))
            .filter_map(named)
            .collect())
    }

    fn receive(&mut self) -> Result<Value> {
        let line = self.from.recv_timeout(ANSWER_MAX).map_err(|error| match error {
            RecvTimeoutError::Disconnected => anyhow!("QEMU has ended; its last words are in its log"),
            RecvTimeoutError::Timeout => anyhow!("QEMU has not answered for {ANSWER_MAX:?}"),
        })?;
        serde_json::from_str(&line).with_context(|| format!("QEMU's line {line:?}"))
    }
}
