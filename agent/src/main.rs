//! The Hydrant binary.
fn main() {}
