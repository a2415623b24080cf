//! The pack that this gateway runs: found at a start, changed while it runs, kept on disk.
//!
//! Packs come from the path in the configuration (at a start, and on SIGHUP, which has the policy read again too) and from the platform (the retained topic
//! `…/gateway/<gateway>/pack`). From the platform only a pack that a trust anchor signed is taken; nothing of another one is
//! even unpacked. What is taken is kept first ([`Kept`]) and activated then; what is refused changes nothing, and is said in the
//! log, in the gateway's status and in a counter.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gridpost_protocol::pack::Pack;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::admit::{self, Because, Identity, PackStatus, Refusal, Start, Verdict};
use super::container::ContainerError;
use super::envelope;
use super::kept::Kept;
use super::source::{self, Loaded};
use super::trust::{Origin, Trust, TrustError};
use crate::counters::Counters;

/// Which packs are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Whose.
    pub trust: Trust,
    /// The one version that is taken even though a later one ran.
    pub allow_version: Option<u32>,
}

/// Why a pack cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Source(#[from] source::SourceError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("{path}: {error}", path = path.display())]
    Local { path: PathBuf, error: TrustError },
    #[error(
        "this gateway has no trust anchor, and without one takes no pack from the platform; name the office's public key under [pack] trust in gridpost.toml"
    )]
    NoAnchor,
    #[error("it has {bytes} bytes, and from the platform at most {most} are taken; hand it over as a file")]
    TooLong { bytes: usize, most: usize },
}

/// Loads the pack at the configured path, and looks at its signature.
fn load_local(path: &Path, trust: &Trust) -> Result<(Loaded, Origin), Unusable> {
    let loaded = source::load(path)?;
    let origin = match &loaded.bytes {
        Some(bytes) => trust.verify_local(bytes, loaded.signature.as_deref()),
        // A folder has no signature.
        None => trust.verify_local(&[], None),
    };
    let origin = origin.map_err(|error| Unusable::Local { path: path.to_owned(), error })?;
    Ok((loaded, origin))
}

/// Loads a pack that the platform sent: its signature first.
fn load_sent(piece: &[u8], trust: &Trust) -> Result<(Loaded, Origin), Unusable> {
    if trust.anchors.is_empty() {
        return Err(Unusable::NoAnchor);
    }
    let (signature, bytes) = envelope::open(piece);
    let origin = trust.verify(bytes, signature)?;
    Ok((Loaded::from_bytes(piece)?, origin))
}

/// The pack that a start goes on with.
#[derive(Debug)]
pub struct Found {
    /// The pack, and what it was made of.
    pub loaded: Loaded,
    /// Whether it is not the configured one, but the one that ran last.
    pub is_kept: bool,
    /// Why it takes the place of the one that ran last.
    pub because: Option<Because>,
    /// Why the configured one was refused.
    pub refused: Option<String>,
    /// The configured one's version, where it could be read.
    pub configured_version: Option<u32>,
}

/// Finds the pack to run: the configured one, or the one that ran last when that is newer or the configured one cannot be
/// used. Writes nothing.
///
/// # Errors
/// Why the configured pack cannot be used, when there is no other.
pub fn find(configured: &Path, kept: &Kept, policy: &Policy) -> Result<Found, String> {
    let named = load_local(configured, &policy.trust);
    let ran = kept.pieces().iter().find_map(|piece| {
        let loaded = Loaded::from_bytes(piece).ok()?;
        policy.trust.verify_local(loaded.bytes.as_deref()?, loaded.signature.as_deref()).ok()?;
        Some(loaded)
    });
    let why = named.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let named_identity = named.as_ref().ok().map(|(loaded, origin)| (Identity::of(&loaded.pack), origin));
    let ran_identity = ran.as_ref().map(|loaded| Identity::of(&loaded.pack));
    let configured_version = named_identity.as_ref().map(|(identity, _)| identity.version);
    let offered = named_identity.as_ref().map(|(identity, origin)| (identity, *origin)).ok_or(why.as_str());
    let (start, refused) =
        admit::at_start(offered, ran_identity.as_ref(), policy.allow_version).map_err(str::to_owned)?;
    let (loaded, because) = match start {
        Start::Configured(because) => (named.ok().map(|(loaded, _)| loaded), because),
        Start::Kept => (ran, None),
    };
    let loaded = loaded.ok_or_else(|| why.clone())?;
    Ok(Found { loaded, is_kept: start == Start::Kept, because, refused, configured_version })
}

/// Where a pack comes from.
#[derive(Clone, Copy, Debug)]
pub enum Offer<'o> {
    /// From the platform, in one piece.
    Platform(&'o [u8]),
    /// From the platform, and longer than what comes from there may be.
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
    /// From the configured path: somebody says that it changed.
    File,
}

/// The pack of a running gateway.
#[derive(Debug)]
pub struct Rollout {
    policy: Policy,
    kept: Kept,
    configured: PathBuf,
    running: Identity,
    counters: Arc<Counters>,
    status: watch::Sender<PackStatus>,
    /// The SHA-256 of what the platform sent and was settled: it is retained, and comes with every connection.
    settled: Option<[u8; 32]>,
    /// The same of what is to run as soon as it can be activated.
    pending: Option<[u8; 32]>,
}

impl Rollout {
    /// Of a gateway that starts with the pack that was [found](find): keeps it, and says what was refused.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn start(
        found: &Found,
        policy: Policy,
        kept: Kept,
        configured: PathBuf,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let piece = found.loaded.to_bytes().map_err(io::Error::other)?;
        kept.keep(&piece)?;
        let pack = &found.loaded.pack;
        let (status, _) = watch::channel(PackStatus::of(pack));
        let running = Identity::of(pack);
        let rollout =
            Self { policy, kept, configured, running, counters, status, settled: None, pending: None };
        if let Some(because) = found.because {
            rollout.say_taken(because, &rollout.running, "file");
        }
        if let Some(why) = &found.refused {
            rollout.refuse("file", found.configured_version, why);
        }
        Ok(rollout)
    }

    /// Goes by another policy from now on. What was refused before is looked at again when it is offered again.
    pub fn go_by(&mut self, policy: Policy) {
        if policy == self.policy {
            return;
        }
        let trusted: Vec<&str> = policy.trust.anchors.iter().map(|anchor| anchor.name.as_str()).collect();
        let allow_version = policy.allow_version;
        tracing::info!(?trusted, allow_version, "which packs are taken is another matter now");
        (self.policy, self.settled) = (policy, None);
    }

    /// What this counts with.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Which pack runs, and what was refused: for whoever tells the platform.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<PackStatus> {
        self.status.subscribe()
    }

    /// Looks at an offered pack. Gives it out when it is to run from now on; it is kept on disk by then, and [`Self::runs`] is to
    /// follow. Refusals are said here.
    ///
    /// # Errors
    /// When it cannot be kept: it is to be offered again.
    pub fn offer(&mut self, offer: Offer<'_>) -> io::Result<Option<Pack>> {
        let (from, sent) = match offer {
            Offer::Platform(piece) => ("platform", Some(<[u8; 32]>::from(Sha256::digest(piece)))),
            Offer::TooLong { .. } => ("platform", None),
            Offer::File => ("file", None),
        };
        if sent.is_some() && sent == self.settled {
            return Ok(None);
        }
        // An empty retained message is how one is removed from a broker.
        if matches!(offer, Offer::Platform(b"")) {
            return Ok(None);
        }
        let loaded = match offer {
            Offer::Platform(piece) => load_sent(piece, &self.policy.trust),
            Offer::TooLong { bytes, most } => Err(Unusable::TooLong { bytes, most }),
            Offer::File => load_local(&self.configured, &self.policy.trust),
        };
        let (loaded, origin) = match loaded {
            Ok(loaded) => loaded,
            Err(why) => {
                self.settled = sent.or(self.settled);
                self.refuse(from, None, &why.to_string());
                return Ok(None);
            }
        };
        let offered = Identity::of(&loaded.pack);
        match admit::verdict(&self.running, &offered, &origin, self.policy.allow_version) {
            Verdict::Same => {
                self.settled = sent.or(self.settled);
                tracing::info!(
                    from,
                    version = offered.version,
                    digest = offered.digest.short(),
                    "this pack runs already"
                );
                Ok(None)
            }
            Verdict::Refuse(why) => {
                self.settled = sent.or(self.settled);
                self.refuse(from, Some(offered.version), &why);
                Ok(None)
            }
            Verdict::Take(because) => {
                self.kept.keep(&loaded.to_bytes().map_err(io::Error::other)?)?;
                self.pending = sent;
                self.say_taken(because, &offered, from);
                Ok(Some(loaded.pack))
            }
        }
    }

    /// This pack decides from now on.
    pub fn runs(&mut self, pack: &Pack) {
        self.running = Identity::of(pack);
        // What was refused may be taken now: it was held against another pack.
        self.settled = self.pending.take();
        self.status.send_replace(PackStatus::of(pack));
        Counters::count(&self.counters.packs_activated);
        tracing::info!(
            name = pack.name,
            version = pack.version,
            digest = pack.digest().short(),
            "this pack decides now"
        );
    }

    fn say_taken(&self, because: Because, pack: &Identity, from: &str) {
        let (name, version, digest) = (&pack.name, pack.version, pack.digest.short());
        match because {
            Because::Newer => tracing::info!(from, name, version, digest, "a new pack"),
            Because::Allowed => tracing::warn!(
                from,
                name,
                version,
                digest,
                running = self.running.version,
                "OVERRIDE: an older pack is taken, because allow_version names it; remove that line when it is no longer meant"
            ),
            Because::Edited => tracing::warn!(
                from,
                name,
                version,
                digest,
                "the pack was edited and its version stayed; on the bench that is fine, and events of both name the same version"
            ),
        }
    }

    fn refuse(&self, from: &'static str, version: Option<u32>, reason: &str) {
        Counters::count(&self.counters.packs_refused);
        tracing::error!(
            from,
            version,
            running = self.running.version,
            "a pack is refused, and the one that runs stays: {reason}"
        );
        let refusal = Refusal { from, version, reason: shortened(reason) };
        self.status.send_modify(|status| status.pack_refused = Some(refusal));
    }
}

/// The most bytes of a reason in the status: a pack can have many errors.
const REASON_BYTES_MAX: usize = 1000;

fn shortened(reason: &str) -> String {
    if reason.len() <= REASON_BYTES_MAX {
        return reason.to_owned();
    }
    let end = (0..=REASON_BYTES_MAX).rev().find(|at| reason.is_char_boundary(*at)).unwrap_or(0);
    format!("{} …", &reason[..end])
}
