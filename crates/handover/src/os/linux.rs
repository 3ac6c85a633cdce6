//! The API's behaviour on Linux: the kernel objects behind each type, and the differences from Windows.
//!
#![doc = include_str!("../../docs/linux.md")]

pub use crate::channel::ChannelExt;
pub use crate::spawner::InheritExt;
