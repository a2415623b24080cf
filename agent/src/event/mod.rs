//! From a decision to what the platform gets: who must handle it, said in the topic, in the attributes and in the data.

pub mod cloudevent;
pub mod fault;
pub mod hourly;
mod labels;
pub mod make;
pub mod rank;
pub mod silence;
pub mod told;
pub mod withdraw;

pub use labels::Labels;

/// An event as it lies in the spool: ready to be published, the same bytes on every retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The CloudEvents id: the same on every retry, replay and restart.
    pub id: String,
    /// Where it is published.
    pub topic: String,
    /// Its [`rank`]: when the spool is full, the lowest go first.
    pub severity: u8,
    /// The structured CloudEvent.
    pub payload: Vec<u8>,
}
