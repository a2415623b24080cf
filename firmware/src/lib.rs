//! What a Gridpost sensor node does, independent of the board it does it on: it measures ([`sensors`]), keeps what it measured
//! until the gateway has it ([`store`]), and talks ([`node`]). [`acoustics`] is its sound level meter.
#![cfg_attr(not(any(test, feature = "testing")), no_std)]

pub use gridpost_acoustics as acoustics;

pub mod node;
pub mod own_flash;
pub mod provision;
pub mod region;
pub mod sensors;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wall;
