//! Helpers for Linux.

mod attacks;
pub mod door;
pub mod expect;
pub mod raw;
pub mod table;
pub mod weaker;

pub(crate) use attacks::ATTACKS;
