//! The Gridpost gateway agent: links -> intake -> engine -> spool -> uplink.

pub mod access;
pub mod cases;
pub mod cli;
pub mod config;
pub mod counters;
pub mod decide;
pub mod demo;
pub mod event;
pub mod evicted;
pub mod files;
pub mod gateway;
pub mod hourly;
pub mod import;
pub mod inbound;
pub mod intake;
pub mod keys;
pub mod links;
pub mod observe;
pub mod pack;
pub mod pipeline;
pub mod requests;
pub mod silence;
pub mod spool;
pub mod trial;
pub mod uplink;
pub mod withdrawn;
