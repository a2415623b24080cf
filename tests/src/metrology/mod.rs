//! Holds the sound level meter to IEC 61672-1 and IEC 61260-1: what the program `metrology` is made of.

pub mod board;
pub mod case;
pub mod check;
pub mod cost;
pub mod fields;
pub mod filters;
pub mod measure;
pub mod quantity;
pub mod report;
pub mod signal;
pub mod standard;
pub mod tables;
pub mod window;
