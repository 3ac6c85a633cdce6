//! The API's behaviour on Linux: the kernel objects behind each type, and the differences from Windows.
//!
#![doc = include_str!("../../docs/linux.md")]

// docs.rs builds this module for Windows too, where these items don't exist.
#[cfg(target_os = "linux")]
pub use crate::channel::ChannelExt;
#[cfg(target_os = "linux")]
pub use crate::spawner::InheritExt;
