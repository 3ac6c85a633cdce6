//! A program that exits at once, to measure spawning.

fn main() {}
