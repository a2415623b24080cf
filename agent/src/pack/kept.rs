//! The pack that a gateway runs, as it keeps it: beside its spool, in one file with its signature, and the one before it.
//!
//! | file | what |
//! | --- | --- |
//! | `<spool>.pack` | what runs |
//! | `<spool>.pack.old` | what ran before; used when the other one cannot be read |
//! | `<spool>.pack.new` | being written; means nothing |
//!
//! A change is written aside, synced, and renamed over the old one: whenever the power goes, there is the old pack or the new
//! one, whole. All else that a change of packs does (episodes of withdrawn rules, windows, devices' shares) follows from
//! which pack is there, and a start does it again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::source::PIECE_BYTES_MAX;
use crate::files;

/// Where a gateway keeps its pack.
#[derive(Clone, Debug)]
pub struct Kept {
    current: PathBuf,
    old: PathBuf,
    new: PathBuf,
}

/// One thing that is done to the disk. A change is all of them in order, and may end after any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    WriteNew,
    ForgetOld,
    KeepOld,
    Rename,
    SyncFolder,
}

const STEPS: [Step; 5] = [Step::WriteNew, Step::ForgetOld, Step::KeepOld, Step::Rename, Step::SyncFolder];

impl Kept {
    /// Beside this spool.
    #[must_use]
    pub fn beside(spool: &Path) -> Self {
        let with = |suffix: &str| {
            let mut name = spool.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        Self { current: with(".pack"), old: with(".pack.old"), new: with(".pack.new") }
    }

    /// Where the pack that runs is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.current
    }

    /// What ran last, and what ran before it; each only where it is there and can be read.
    #[must_use]
    pub fn pieces(&self) -> Vec<Vec<u8>> {
        [&self.current, &self.old].into_iter().filter_map(|path| read(path).ok()).collect()
    }

    /// Makes this what runs. When it returns it is durable; when it fails the old one is.
    ///
    /// # Errors
    /// When the disk is full, or the folder cannot be written.
    pub fn keep(&self, piece: &[u8]) -> io::Result<()> {
        if read(&self.current).is_ok_and(|has| has == piece) {
            return Ok(());
        }
        STEPS.iter().try_for_each(|step| self.step(*step, piece))
    }

    fn step(&self, step: Step, piece: &[u8]) -> io::Result<()> {
        match step {
            Step::WriteNew => {
                let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&self.new)?;
                file.write_all(piece)?;
                file.sync_all()
            }
            Step::ForgetOld => gone_is_fine(fs::remove_file(&self.old)),
            // A second name, so that there is no moment without the current one. Where the disk knows no second names, a copy.
            Step::KeepOld => gone_is_fine(
                fs::hard_link(&self.current, &self.old)
                    .or_else(|_| fs::copy(&self.current, &self.old).map(drop)),
            ),
            Step::Rename => fs::rename(&self.new, &self.current),
            Step::SyncFolder => {
                let folder = self.current.parent().filter(|folder| !folder.as_os_str().is_empty());
                File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
            }
        }
    }
}

fn gone_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // More than may be is no pack, which whoever reads it says.
    files::open(path)?.take(PIECE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a start finds when the change to `new` ended after so many steps, the last of them half done.
    fn after(steps: usize, half: Option<usize>) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::beside(&folder.path().join("spool.db"));
        kept.keep(b"older").unwrap();
        kept.keep(b"old").unwrap();
        let new = b"the new one";
        for step in &STEPS[..steps] {
            kept.step(*step, new).unwrap();
        }
        if let Some(bytes) = half {
            fs::write(&kept.new, &new[..bytes]).unwrap();
        }
        let found = kept.pieces();
        // And the next change works, whatever was left lying about.
        kept.keep(b"newest").unwrap();
        assert_eq!(kept.pieces()[0], b"newest");
        assert_eq!(kept.pieces()[1], found[0]);
        found
    }

    #[test]
    fn the_power_may_go_after_any_step_and_in_the_middle_of_writing() {
        for steps in 0..=STEPS.len() {
            let renamed = STEPS[..steps].contains(&Step::Rename);
            let expected: &[u8] = if renamed { b"the new one" } else { b"old" };
            assert_eq!(after(steps, None)[0], expected, "after {steps} steps");
        }
        for bytes in 0..11 {
            assert_eq!(after(0, Some(bytes))[0], b"old", "with {bytes} bytes of it written");
        }
    }

    #[test]
    fn what_is_there_already_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::beside(&folder.path().join("spool.db"));
        kept.keep(b"one").unwrap();
        kept.keep(b"two").unwrap();
        kept.keep(b"two").unwrap();
        assert_eq!(kept.pieces(), [b"two".to_vec(), b"one".to_vec()]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::beside(&folder.path().join("spool.db"));
        kept.keep(b"one").unwrap();
        fs::create_dir(&kept.new).unwrap();
        assert!(kept.keep(b"two").is_err());
        assert_eq!(kept.pieces()[0], b"one");
    }
}
