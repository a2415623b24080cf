//! Disks for a spool that can be filled up or go bad: a small file system in memory, and one in a file.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// The size of such a disk, in MB: some minutes of a spool at full load.
const SIZE_MB: u32 = 64;
/// Bytes of ballast written at once.
const BALLAST_BYTES: usize = 64 << 10;

/// A mounted file system. Dropping it unmounts it.
pub struct Disk {
    folder: TempDir,
    image: Option<PathBuf>,
}

impl Disk {
    /// A file system in memory.
    pub(super) fn in_memory() -> Result<Self> {
        Self::in_memory_of(SIZE_MB)
    }

    /// One of so many MB.
    ///
    /// # Errors
    /// It cannot be mounted: that takes root.
    pub fn in_memory_of(size_mb: u32) -> Result<Self> {
        let folder = TempDir::with_prefix("gridpost-disk-")?;
        let disk = Self { image: None, folder };
        fs::create_dir(disk.path())?;
        tool("mount", &["-t", "tmpfs", "-o", &format!("size={size_mb}m"), "tmpfs"], Some(&disk.path()))?;
        Ok(disk)
    }

    /// An ext4 in a file.
    pub(super) fn in_file() -> Result<Self> {
        let folder = TempDir::with_prefix("gridpost-disk-")?;
        let image = folder.path().join("image");
        File::create(&image)?.set_len(u64::from(SIZE_MB) << 20)?;
        tool("mkfs.ext4", &["-q", "-F"], Some(&image))?;
        let disk = Self { image: Some(image), folder };
        fs::create_dir(disk.path())?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn mount(&self) -> Result<()> {
        let image = self.image.as_ref().context("it is in memory")?.display().to_string();
        tool("mount", &["-o", "loop,errors=remount-ro", &image], Some(&self.path()))
    }

    /// Writes until there is no room left.
    pub(super) fn fill(&self) -> Result<()> {
        let mut ballast = fs::OpenOptions::new().create(true).append(true).open(self.ballast())?;
        for bytes in [BALLAST_BYTES, 4096, 1] {
            loop {
                match ballast.write(&vec![0x5a; bytes]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// There is room again.
    pub(super) fn empty(&self) -> Result<()> {
        match fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Has the kernel find an error in it, upon which it takes no more writes, whoever has files open.
    pub(super) fn fail(&self) -> Result<()> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let here = self.path();
        // Only ever the loop device that is mounted here.
        let device = mounts
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(_, rest)| rest.split(' ').next().map(Path::new) == Some(&here))
            .and_then(|(device, _)| device.strip_prefix("/dev/loop"))
            .context("no loop device is mounted here")?;
        fs::write(format!("/sys/fs/ext4/loop{device}/trigger_fs_error"), "tried on purpose")
            .context("the kernel has no such switch")
    }

    /// What a technician does: unmounts it, has it checked, and mounts it. Nobody may have files open there.
    pub(super) fn repair(&self) -> Result<()> {
        let image = self.image.as_ref().context("it is in memory")?;
        tool("umount", &[], Some(&self.path()))?;
        // Exit code 1: errors were corrected.
        let status = Command::new("e2fsck").args(["-f", "-y"]).arg(image).output()?.status;
        ensure!(status.code().is_some_and(|code| code <= 1), "e2fsck: {status}");
        self.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while somebody still has files there: it goes when they go.
        let _ = tool("umount", &["-l"], Some(&self.path()));
    }
}

fn tool(name: &str, arguments: &[&str], path: Option<&Path>) -> Result<()> {
    let done = Command::new(name).args(arguments).args(path).output().with_context(|| name.to_owned())?;
    ensure!(done.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
