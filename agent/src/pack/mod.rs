//! A district's pack outside the engine: as one file, where it is read from, whose it is, and which one runs.

pub mod above;
pub mod admit;
pub mod container;
pub mod diff;
pub mod envelope;
pub mod find;
pub mod fold;
pub mod kept;
pub mod overlay;
pub mod review;
pub mod rollout;
pub mod source;
pub mod trust;
