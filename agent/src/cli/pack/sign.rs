//! `gridpost pack sign` and `verify`: minisign signatures, so that gateways take only what the office signed.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use minisign::{SecretKey, SecretKeyBox};

use super::super::exit::Failure;
use super::super::print;
use super::super::save::{not_over, save, wrote};
use crate::config::folder_of;
use crate::files;
use crate::pack::envelope;
use crate::pack::source::{self, Loaded};
use crate::pack::trust::{Origin, Trust};

/// A secret key's file has two lines; a password one.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// Arguments of `gridpost pack sign`.
#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// The pack, as gridpost pack build made it
    #[arg(value_name = "FILE")]
    pack: PathBuf,
    /// The secret key, as minisign -G makes it; its password is asked for
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A file with the key's password, for scripts
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Where to write the signature [default: FILE.minisig, beside the pack]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write signature and pack in one file too: what is published to gateways over MQTT
    #[arg(long, value_name = "FILE")]
    joined: Option<PathBuf>,
}

/// Arguments of `gridpost pack verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The pack; its signature is in FILE.minisig, or before it in the same file
    #[arg(value_name = "FILE")]
    pack: PathBuf,
    /// A trusted public key: its file, or the key itself; may be repeated
    #[arg(long, value_name = "KEY", required = true)]
    trust: Vec<String>,
}

pub(super) fn sign(args: &SignArgs) -> Result<(), Failure> {
    let loaded = source::load(&args.pack).map_err(|error| Failure::configuration(&error))?;
    let Some(bytes) = &loaded.bytes else {
        let message = format!("{} is a folder; build it first: gridpost pack build", args.pack.display());
        return Err(Failure::usage(message));
    };
    let output = args.output.clone().unwrap_or_else(|| source::signature_path(&args.pack));
    not_over(&output, &[&args.pack, &args.key])?;
    if let Some(joined) = &args.joined {
        not_over(joined, &[&args.key, &output])?;
    }
    let key = secret_key(args)?;
    let pack = &loaded.pack;
    let comment = format!("gridpost pack {} version {} division {}", pack.name, pack.version, pack.division);
    let signature =
        minisign::sign(None, &key, &bytes[..], Some(&comment), Some("signature of a gridpost pack"))
            .map_err(|error| Failure::unusable(format!("{}: cannot sign: {error}", args.key.display())))?
            .into_string();
    save(&output, signature.as_bytes())?;
    wrote(&output, &format!(": {comment}"))?;
    if let Some(joined) = &args.joined {
        save(joined, &envelope::close(Some(&signature), bytes))?;
        wrote(joined, ": signature and pack")?;
    }
    Ok(())
}

fn secret_key(args: &SignArgs) -> Result<SecretKey, Failure> {
    let unusable =
        |what: &dyn std::fmt::Display| Failure::unusable(format!("{}: {what}", args.key.display()));
    let text = read(&args.key)?;
    let boxed = || SecretKeyBox::from_string(&text).map_err(|error| unusable(&error));
    // A key without a password is one that this opens; one with a password it refuses.
    if let Ok(key) = SecretKey::from_unencrypted_box(boxed()?) {
        return Ok(key);
    }
    if let Some(key) = without_checksum(&text) {
        return Ok(key);
    }
    let password = match &args.password_file {
        Some(file) => Some(read(file)?.trim_end_matches(['\r', '\n']).to_owned()),
        None => None,
    };
    SecretKey::from_box(boxed()?, password).map_err(|error| {
        let asked =
            if args.password_file.is_none() { ", or cannot be asked for here: --password-file" } else { "" };
        unusable(&format!("is no minisign secret key, or the password is wrong{asked} ({error})"))
    })
}

/// A key without a password as `minisign -G -W` writes it: the crate misses the checksum, of which minisign leaves zeros there.
fn without_checksum(text: &str) -> Option<SecretKey> {
    /// Where the algorithm of the password stands, and the checksum begins, in a key of this many bytes.
    const PASSWORD_BY: std::ops::Range<usize> = 2..4;
    const CHECKSUM: usize = 126;
    const BYTES: usize = 158;
    let bytes = BASE64_STANDARD.decode(text.lines().nth(1)?.trim()).ok()?;
    let zero = |part: &[u8]| part.iter().all(|byte| *byte == 0);
    let is_one = bytes.len() == BYTES && zero(&bytes[PASSWORD_BY]) && zero(&bytes[CHECKSUM..]);
    if is_one { SecretKey::from_bytes(&bytes).ok() } else { None }
}

fn read(path: &Path) -> Result<String, Failure> {
    files::text(path, KEY_FILE_BYTES_MAX).map_err(|error| {
        let way_out = "minisign -G makes a pair of keys";
        Failure::unusable(format!("{}: cannot be read: {error}; {way_out}", path.display()))
    })
}

pub(super) fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let here = folder_of(Path::new(""));
    let trust =
        Trust::read(&args.trust, &here, false).map_err(|error| Failure::unusable(error.to_string()))?;
    let loaded = source::load(&args.pack).map_err(|error| Failure::configuration(&error))?;
    let Loaded { pack, bytes: Some(bytes), signature, .. } = &loaded else {
        return Err(Failure::usage(format!(
            "{} is a folder; only a built pack is signed",
            args.pack.display()
        )));
    };
    let origin = trust
        .verify(bytes, signature.as_deref())
        .map_err(|error| Failure::unusable(format!("{}: {error}", args.pack.display())))?;
    let Origin::Signed { by, comment } = origin else { return Ok(()) };
    print::all(&format!(
        "{} version {} for division {} is signed by {by}\nsigned comment: {}\n",
        pack.name,
        pack.version,
        pack.division,
        print::without_controls(&comment)
    ))
}
