//! How fast the chain is, beside what it is made of alone, in the same run on the same machine.
//!
//! Simulated devices over TCP, the gateway of the agent in this process, a real Mosquitto, a subscriber. The bare limits are SQLite
//! committing the same rows, and rumqttc publishing the same payloads.

pub mod backlog;
pub mod device;
mod measure;

pub use measure::{Report, run};
