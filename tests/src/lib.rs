//! What the whole-system tests share: starting and stopping the real parts.

pub mod certificates;
pub mod listener;
pub mod mosquitto;
pub mod qemu;
pub mod qmp;
