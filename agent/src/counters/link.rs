//! What is counted for one link, and whether it is open.

use std::fmt::{self, Display};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a frame is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// It was cut, too long or not COBS.
    Damaged,
    /// It is no frame of this version, or sealed with a suite that this version does not have.
    Malformed,
    /// There is no key for its device.
    UnknownDevice,
    /// The pack does not place its device at a site.
    UnplacedDevice,
    /// It was made with the wrong key, or changed on its way.
    NotAuthentic,
    /// It was seen before.
    Replayed,
    /// Its device numbers its records from before the cursor.
    Regressed,
    /// Its device sends more than is taken of one: it comes again later.
    OverRate,
}

impl Rejected {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::Damaged,
        Self::Malformed,
        Self::UnknownDevice,
        Self::UnplacedDevice,
        Self::NotAuthentic,
        Self::Replayed,
        Self::Regressed,
        Self::OverRate,
    ];
}

impl Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Damaged => "damaged",
            Self::Malformed => "malformed",
            Self::UnknownDevice => "unknown_device",
            Self::UnplacedDevice => "unplaced_device",
            Self::NotAuthentic => "not_authentic",
            Self::Replayed => "replayed",
            Self::Regressed => "regressed",
            Self::OverRate => "over_rate",
        })
    }
}

/// One link's counters.
#[derive(Debug)]
pub struct LinkCounters {
    records: AtomicU64,
    rejected: [AtomicU64; Rejected::ALL.len()],
    /// Why devices cannot come in, if they cannot.
    closed: Mutex<Option<String>>,
    started: AtomicBool,
}

impl Default for LinkCounters {
    fn default() -> Self {
        Self {
            records: AtomicU64::new(0),
            rejected: Default::default(),
            closed: Mutex::new(Some("not started".to_owned())),
            started: AtomicBool::new(false),
        }
    }
}

impl LinkCounters {
    /// A frame is not taken.
    pub fn reject(&self, why: Rejected) {
        self.rejected[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many frames were not taken for this reason.
    #[must_use]
    pub fn rejected(&self, why: Rejected) -> u64 {
        self.rejected[why as usize].load(Ordering::Relaxed)
    }

    /// Records were received for the first time, and committed.
    pub fn received(&self, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    /// How many records were received for the first time, and committed.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Devices can come in for as long as what this returns is kept.
    #[must_use = "the link counts as closed when this is dropped"]
    pub fn open(self: &Arc<Self>) -> Open {
        self.set_closed(None);
        Open(self.clone())
    }

    /// Devices cannot come in.
    pub fn close(&self, reason: &str) {
        self.set_closed(Some(reason.to_owned()));
    }

    /// Why devices cannot come in, if they cannot.
    #[must_use]
    pub fn why_closed(&self) -> Option<String> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it has tried to open, with whatever success.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }

    fn set_closed(&self, reason: Option<String>) {
        self.started.store(true, Ordering::Relaxed);
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// An open link. However its task ends, the link counts as closed then.
#[derive(Debug)]
pub struct Open(Arc<LinkCounters>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close("stopped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_whose_task_ends_counts_as_closed() {
        let link = Arc::new(LinkCounters::default());
        assert_eq!(link.why_closed().unwrap(), "not started");
        let open = link.open();
        assert_eq!(link.why_closed(), None);
        let task = std::thread::spawn(move || {
            let _open = open;
            panic!("as a task may");
        });
        assert!(task.join().is_err());
        assert_eq!(link.why_closed().unwrap(), "stopped");
    }

    #[test]
    fn each_reason_has_a_place_and_a_name_of_its_own() {
        let link = LinkCounters::default();
        for (place, why) in Rejected::ALL.into_iter().enumerate() {
            (0..=place).for_each(|_| link.reject(why));
        }
        let counts: Vec<_> = Rejected::ALL.into_iter().map(|why| link.rejected(why)).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8]);
        let names: std::collections::BTreeSet<_> = Rejected::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), Rejected::ALL.len());
    }
}
