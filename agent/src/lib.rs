//! The Gridpost gateway agent: links -> intake -> engine -> spool -> uplink.

pub mod counters;
pub mod keys;
pub mod links;
