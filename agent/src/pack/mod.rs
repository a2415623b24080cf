//! A district's pack outside the engine: as one file, and where it is read from.

pub mod container;
pub mod source;
