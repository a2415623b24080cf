//! How a command ends when it cannot do its work.

use std::error::Error;
use std::fmt;
use std::path::Path;

use super::print::without_controls;

/// Failed while running.
pub const FAILED: u8 = 1;
/// Asked for something that there is not.
pub const USAGE: u8 = 2;
/// Configuration, keys or pack are not usable.
pub const CONFIGURATION: u8 = 3;
/// Another agent uses the spool.
pub const SPOOL_IN_USE: u8 = 4;

/// What went wrong, for a person, and the exit code for a script.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code.
    pub code: u8,
    message: String,
}

impl Failure {
    /// A failure while running.
    pub fn running(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into() }
    }

    /// The command was not used as it is to be.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into() }
    }

    /// A file that was given cannot be used.
    pub fn unusable(message: impl Into<String>) -> Self {
        Self { code: CONFIGURATION, message: message.into() }
    }

    /// Standard output cannot be written to. When merely nobody reads it any more (`gridpost check | head -1`), that is
    /// no failure: [`None`].
    pub fn of_output(error: &std::io::Error) -> Option<Self> {
        (error.kind() != std::io::ErrorKind::BrokenPipe)
            .then(|| Self::running(format!("cannot write to standard output: {error}")))
    }

    /// Something that an error says, with all its causes.
    pub fn because(code: u8, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors already say what their cause says.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        Self { code, message }
    }

    /// What a configuration file says is not usable, by an error that does not name that file.
    pub fn in_configuration(file: &Path, error: &dyn Error) -> Self {
        let Self { code, message } = Self::configuration(error);
        Self { code, message: format!("{}: {message}", file.display()) }
    }

    /// A configuration, keys file or pack that is not usable.
    pub fn configuration(error: &dyn Error) -> Self {
        Self::because(CONFIGURATION, error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may repeat what stands in a file that somebody sent, and a terminal obeys control characters.
        for (index, line) in self.message.lines().enumerate() {
            let end = if index > 0 { "\n" } else { "" };
            write!(f, "{end}{}", without_controls(line))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_does_not_command_the_terminal() {
        let said = Failure::unusable("tests.toml:\n 1 | \u{1b}[2J\r\n").to_string();
        assert_eq!(said, "tests.toml:\n 1 | \\u{1b}[2J");
    }
}
