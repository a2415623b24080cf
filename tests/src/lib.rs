//! What the whole-system tests share: starting and stopping the real parts.

pub mod agent;
pub mod bench;
pub mod certificates;
pub mod device;
pub mod faults;
pub mod listener;
pub mod metrology;
pub mod mosquitto;
pub mod nats;
pub mod program;
pub mod qemu;
pub mod qmp;
pub mod records;
pub mod scripted;
pub mod sim;
pub mod validators;
