//! What happened, in numbers: nothing is dropped or refused without being counted here.
//!
//! Each counter is a metric too ([`crate::observe::exposition`]): its name there is `gridpost_<name>_total`, and its
//! documentation is what the metric's help says. What is counted for each link is in [`link`].

pub mod link;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

pub use link::{LinkCounters, Rejected};

/// A counter with its name and what it counts.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Its name.
    pub name: &'static str,
    /// What it counts, in a sentence.
    pub what: &'static str,
    /// How many.
    pub count: u64,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),* $(,)?) => {
        /// Counters since the start of the process.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)*
            /// Devices of which something authentic came lately: a number that goes up and down.
            pub devices_heard: AtomicU64,
            /// Devices in the pack that decides: a number that goes up and down.
            pub devices: AtomicU64,
            /// By name. The configuration bounds how many there are.
            links: RwLock<BTreeMap<Arc<str>, Arc<LinkCounters>>>,
        }

        impl Counters {
            /// What is counted for all links together, in the order in which data flows.
            pub fn all(&self) -> impl Iterator<Item = Counted> + '_ {
                [$(Counted {
                    name: stringify!($name),
                    what: concat!($($doc),+).trim_ascii(),
                    count: self.$name.load(Ordering::Relaxed),
                }),*]
                .into_iter()
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
    /// Authentic messages of a kind that this version does not know.
    messages_unknown,
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
    /// Packs that were refused.
    packs_refused,
    /// Packs that took another one's place while the gateway ran.
    packs_activated,
    /// Dispositions that were taken, repetitions included.
    dispositions_taken,
    /// Dispositions that were refused, and changed nothing.
    dispositions_refused,
    /// Transactions that failed; what they held was asked for again.
    commits_failed,
    /// Events put into the spool.
    events_made,
    /// Messages from the platform.
    inbound_received,
    /// Messages from the platform that were not taken: too long, unknown, or retained where nothing is to be.
    inbound_dropped,
    /// Subscriptions that a broker refused.
    subscriptions_refused,
    /// Requests of the platform that were answered, with an error or without.
    requests_answered,
    /// Requests that were answered with "busy" or "too long" only.
    requests_dropped,
    /// Answers that nobody took, because there was no connection.
    replies_dropped,
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

    /// A link's own counters; they begin when it is first named.
    #[must_use]
    pub fn link(&self, name: &Arc<str>) -> Arc<LinkCounters> {
        if let Some(link) = self.links.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return link.clone();
        }
        self.links.write().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default().clone()
    }

    /// All links, by name.
    #[must_use]
    pub fn links(&self) -> Vec<(Arc<str>, Arc<LinkCounters>)> {
        let links = self.links.read().unwrap_or_else(PoisonError::into_inner);
        links.iter().map(|(name, link)| (name.clone(), link.clone())).collect()
    }

    /// A frame that came over a link is not taken.
    pub fn reject(&self, link: &Arc<str>, why: Rejected) {
        self.link(link).reject(why);
    }

    /// Records received for the first time, and committed, over all links.
    #[must_use]
    pub fn records_received(&self) -> u64 {
        self.links().iter().map(|(_, link)| link.records()).sum()
    }

    /// What is not zero, as `name=count`, for the log.
    #[must_use]
    pub fn summary(&self) -> String {
        let counted: Vec<String> = self.not_zero().map(|(name, count)| format!("{name}={count}")).collect();
        counted.join(" ")
    }

    /// What is not zero, all links together.
    pub fn not_zero(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let links = self.links();
        let rejected = Rejected::ALL.into_iter().map(move |why| {
            (format!("frames_{why}"), links.iter().map(|(_, link)| link.rejected(why)).sum())
        });
        let received = [("records_received".to_owned(), self.records_received())];
        rejected
            .chain(received)
            .chain(self.all().map(|counted| (counted.name.to_owned(), counted.count)))
            .filter(|(_, count): &(String, u64)| *count > 0)
    }
}
