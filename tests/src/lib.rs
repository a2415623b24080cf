//! What the whole-system tests share: starting and stopping the real parts.

pub mod qemu;
pub mod qmp;
