//! Windows.

pub mod door;
pub mod expect;
mod misdeeds;
pub mod raw;
pub mod table;
pub mod weaker;

pub(crate) use misdeeds::MISDEEDS;
