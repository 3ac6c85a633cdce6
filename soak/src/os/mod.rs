//! The parts that differ between the systems. They query handle counts and memory without handover, which is under
//! test.
//!
//! The module of each system provides:
//! - `handles`: returns the number of handles of a process;
//! - `memory`: returns the private memory of a process in bytes;
//! - `MORE_WORK`: the kinds of work that only this system has, and `answer_to_more`, the peer's half of them;
//! - `SHORT`: the numbers of hand-overs and spawns that take some seconds.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;
