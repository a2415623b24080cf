//! The Gridpost gateway agent: links -> intake -> engine -> spool -> uplink.

pub mod counters;
pub mod event;
pub mod keys;
pub mod links;
pub mod spool;
pub mod uplink;
