//! The whole chain on one machine: a broker, nodes on a simulated street, the real agent, and the platform's side.
//!
//! What is simulated is the street and its time ([`street`]); the nodes run the firmware library ([`node`]) on a flash in memory, and
//! everything from the TCP link to the subscriber is what a district runs.

pub mod broker;
pub mod node;
pub mod sample;
pub mod street;
