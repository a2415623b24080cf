//! A district's pack as one file, with the real program.

mod file;
