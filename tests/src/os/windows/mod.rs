//! Windows.

pub mod door;
pub mod expect;
pub mod raw;
pub mod table;
pub mod weaker;
