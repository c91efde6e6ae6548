//! Boveda: the command line.
fn main() {}
