//! The one contract between device, gateway and platform: what is said ([`reading`], [`record`]), how it is said
//! ([`frame`], [`seal`], [`session`]) and what it means ([`engine`], and `pack` with the `std` feature).
//!
//! `no_std` without `alloc` in everything that a sensor runs.
#![cfg_attr(not(any(test, feature = "std")), no_std)]

pub mod calibration;
pub mod engine;
pub mod event;
pub mod fault;
pub mod frame;
pub mod id;
pub mod message;
#[cfg(feature = "std")]
pub mod pack;
pub mod quantity;
pub mod reading;
pub mod record;
pub mod replay;
pub mod rule;
pub mod seal;
pub mod series;
pub mod session;
pub mod share;
pub mod summary;
pub mod time;
pub mod told;
