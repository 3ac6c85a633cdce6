//! The program that is started: it ends at once.

fn main() {}
