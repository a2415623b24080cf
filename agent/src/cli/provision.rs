//! `gridpost provision`: gives a device its identity. The key goes into the gateway's keys file and into the start of the
//! device's flash image, and is shown nowhere.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use gridpost_firmware::provision::{IDENTITY_BYTES, IDENTITY_OFFSET, Identity, NoIdentity};
use gridpost_firmware::store::SECTORS_MIN;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::seal::Key;

use super::exit::Failure;
use super::print;
use super::save::not_over;
use crate::files;
use crate::keys::Keys;
use crate::pipeline::system_clock;

/// Arguments of `gridpost provision`.
#[derive(Debug, Args)]
pub struct ProvisionArgs {
    /// The device's id, 16 hexadecimal digits
    #[arg(long, value_name = "ID")]
    pub device: DeviceId,
    /// The gateway's keys file; made when it is not there
    #[arg(long, value_name = "FILE")]
    pub keys: PathBuf,
    /// The device's flash image; made (of 4 MiB, empty) when it is not there. Its identity is replaced, records stay
    #[arg(long, value_name = "FILE")]
    pub image: PathBuf,
    /// The number of the device's first record, at least 1. Without it: high enough never to have been used
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=FIRST_SEQ_MAX))]
    pub first_seq: Option<u64>,
    /// Replace an identity or key that is there already
    #[arg(long)]
    pub force: bool,
}

/// A new flash image's size, in bytes: a W25Q32.
const IMAGE_BYTES: usize = 4 << 20;
/// What a node's flash chip erases at once, in bytes: all serial NOR has sectors of this size.
const ERASE_BYTES: u64 = 4096;
/// The smallest image that a node can work with.
const IMAGE_BYTES_MIN: u64 = SECTORS_MIN as u64 * ERASE_BYTES;
/// The highest first number: half of all, so that numbers never run out.
const FIRST_SEQ_MAX: u64 = u64::MAX / 2;
/// Bits by which the seconds since 1970 are shifted to make a first number: room for a million records a second, so a
/// later provisioning always begins higher.
const FIRST_SEQ_SHIFT: u32 = 20;

/// Makes a key and writes it to both places.
///
/// # Errors
/// When a file cannot be read or written, or there is an identity already.
pub fn provision(args: &ProvisionArgs) -> Result<(), Failure> {
    let failed = |what: &str, path: &Path, error: &dyn std::error::Error| {
        Failure::running(format!("cannot {what} {}: {error}", path.display()))
    };
    not_over(&args.image, &[&args.keys])?;
    if args.keys.exists() {
        let keys = Keys::load(&args.keys).map_err(|error| Failure::configuration(&error))?;
        if !args.force && keys.get(args.device).is_some() {
            return Err(Failure::running(format!(
                "{} already holds a key for device {}; --force replaces it, and the device that has the old one is no longer heard",
                args.keys.display(),
                args.device
            )));
        }
    }
    if !args.image.exists() {
        private(&args.image)
            .and_then(|mut image| image.write_all(&vec![0xff; IMAGE_BYTES]))
            .map_err(|error| failed("make the flash image", &args.image, &error))?;
    }
    let mut image = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&args.image)
        .map_err(|error| failed("open the flash image", &args.image, &error))?;
    let found = image.metadata().map_err(|error| failed("look at the flash image", &args.image, &error))?;
    check_size(&found, args)?;
    if !args.force {
        refuse_to_replace(&mut image, args)?;
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| Failure::running(format!("no random numbers: {error}")))?;
    let seconds = u64::try_from(system_clock().0 / 1000).unwrap_or(0);
    let identity = Identity {
        device: args.device,
        key: Key(key),
        first_seq: Seq(args.first_seq.unwrap_or(seconds << FIRST_SEQ_SHIFT).max(1)),
    };
    // The gateway first: a key that no device has harms nobody, a device whose key nobody has is lost.
    add_key(&args.keys, args.device, &key)?;
    image
        .seek(SeekFrom::Start(u64::from(IDENTITY_OFFSET)))
        .and_then(|_| image.write_all(&identity.encode()))
        .and_then(|()| image.sync_all())
        .map_err(|error| failed("write the flash image", &args.image, &error))?;
    print::all(&format!(
        "device {} provisioned\n  its key        {}  (restart the gateway to use it)\n  its identity   {}\n  first record   {}\n\
         Place it at a site in the pack's devices.csv.\n",
        args.device,
        args.keys.display(),
        args.image.display(),
        identity.first_seq
    ))
}

/// Makes a file that only its owner can read: it holds a key.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A node refuses to start on an image of the wrong size: better now than on the street.
fn check_size(image: &Metadata, args: &ProvisionArgs) -> Result<(), Failure> {
    let bytes = image.len();
    let wrong = |what: &str| {
        Err(Failure::running(format!(
            "{} is no flash image: it has {bytes} bytes, {what}; name an image of the chip's size, or one that does not exist yet \
             (it is made with {IMAGE_BYTES})",
            args.image.display()
        )))
    };
    if !image.is_file() {
        return Err(Failure::running(format!("{} is no file", args.image.display())));
    }
    if bytes < IMAGE_BYTES_MIN {
        return wrong(&format!("and a node needs at least {IMAGE_BYTES_MIN}"));
    }
    if !bytes.is_multiple_of(ERASE_BYTES) {
        return wrong(&format!("which is not a multiple of the {ERASE_BYTES} that flash erases at once"));
    }
    Ok(())
}

fn refuse_to_replace(image: &mut File, args: &ProvisionArgs) -> Result<(), Failure> {
    let mut bytes = [0; IDENTITY_BYTES];
    image
        .seek(SeekFrom::Start(u64::from(IDENTITY_OFFSET)))
        .and_then(|_| image.read_exact(&mut bytes))
        .map_err(|error| Failure::running(format!("{} is no flash image: {error}", args.image.display())))?;
    match Identity::decode(&bytes) {
        Err(NoIdentity::Blank) => Ok(()),
        Ok(identity) => Err(Failure::running(format!(
            "{} already is device {}; --force replaces its identity and key",
            args.image.display(),
            identity.device
        ))),
        Err(error) => Err(Failure::running(format!(
            "{} begins with something else ({error}); --force overwrites it",
            args.image.display()
        ))),
    }
}

fn add_key(path: &Path, device: DeviceId, key: &[u8; 32]) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::running(format!("cannot write the keys file {}: {error}", path.display()))
    };
    let line = format!("{device} = \"{}\"", key.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let mut lines: Vec<String> = if path.exists() {
        // What is there must be sound before something is added to it.
        Keys::load(path).map_err(|error| Failure::configuration(&error))?;
        files::text(path, files::TEXT_BYTES_MAX).map_err(failed)?.lines().map(str::to_owned).collect()
    } else {
        vec!["# The devices' keys. Secret: chmod 600.".to_owned(), "[keys]".to_owned()]
    };
    let own = device.to_string();
    let is_own =
        |line: &str| line.trim().trim_start_matches(['"', '\'']).to_ascii_lowercase().starts_with(&own);
    lines.retain(|line| !is_own(line));
    lines.push(line);
    let text = lines.join("\n") + "\n";
    replace(path, text.as_bytes()).map_err(failed)
}

/// Writes a file that only its owner can read: beside it and then into its place, so that it is there whole or as it was.
/// A symbolic link is followed, so that it still leads to the keys afterwards; the owner stays who it was.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let target = match fs::symlink_metadata(path) {
        Ok(_) => path.canonicalize().map_err(|error| {
            io::Error::new(error.kind(), format!("{error}; it is a symbolic link that leads nowhere"))
        })?,
        Err(_) => path.to_owned(),
    };
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // With a name that nobody can know before, and mode 600.
    let mut file = tempfile::Builder::new().prefix(".gridpost-keys-").tempfile_in(folder)?;
    file.write_all(content)?;
    #[cfg(unix)]
    if let Ok(before) = fs::metadata(&target) {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        let made = file.as_file().metadata()?;
        if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
            // Else the agent, as another user, could not read it any more.
            fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
        }
    }
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}
