//! What happened, in numbers: nothing is dropped or refused without being counted here.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters since the start of the process.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl Counters {
            /// All counters with their names, in the order in which data flows.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name.load(Ordering::Relaxed))),*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections or ports that failed.
    link_failures,
    /// Connections that were refused because there were too many from one peer.
    connections_refused,
    /// Connections that were cut off because nothing authentic came, or too much else.
    connections_cut_off,
    /// Frames that were cut, too long or not COBS.
    frames_damaged,
    /// Frames that are no frame of this version, or sealed with a suite this version does not have.
    frames_malformed,
    /// Frames of devices for which there is no key.
    frames_unknown_device,
    /// Frames of devices that the pack does not place at a site.
    frames_unplaced_device,
    /// Frames with the wrong key, or changed on their way.
    frames_not_authentic,
    /// Frames seen before.
    frames_replayed,
    /// Frames whose device numbers its records from before the cursor.
    frames_regressed,
    /// Authentic messages of a kind that this version does not know.
    messages_unknown,
    /// Records received for the first time, and committed.
    records_received,
    /// Frames that held nothing new.
    frames_duplicate,
    /// Records of a kind that this version does not know; kept count of, not decided on.
    records_unknown,
    /// Records that a device gave up and reported, or that are missing in its numbering.
    records_given_up_by_device,
    /// Readings whose time nobody knows: kept as evidence, not decided on.
    readings_without_time,
    /// Readings that came too late for their window.
    readings_late,
    /// Reports whose matter is not in the catalogue.
    reports_unknown_matter,
    /// Episodes' messages of devices that decided by a rule that is not in the pack.
    episodes_unknown_rule,
    /// Transactions that failed; what they held was asked for again.
    commits_failed,
    /// Events put into the spool.
    events_made,
}

impl Counters {
    /// Adds one.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds some.
    pub fn add(counter: &AtomicU64, some: u64) {
        counter.fetch_add(some, Ordering::Relaxed);
    }

    /// Reads one.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
