//! The `gridpost` command.
fn main() {}
