//! Shows how one process gives another its kernel objects.

pub mod demo;
