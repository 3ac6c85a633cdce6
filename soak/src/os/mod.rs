//! What the system says of a process, without the library that is looked at, and work that only one system has.
//!
//! Each provides:
//! - `handles`: how many handles a process has;
//! - `memory`: how many bytes of memory it has for itself alone;
//! - `MORE_WORK`: work beyond what both have, and `answer_to_more`, the other process's half of it;
//! - `SHORT`: how many hand-overs and spawns take some seconds.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;
