//! The floor, which each system has its own of, and who else can do the same there.
//!
//! Each provides:
//! - `floor`: the same work in C, and what a measurement asks of its own process;
//! - `peer`: the crates that can start a child with objects, or hand objects over, on this system;
//! - `SEALING_COSTS`: whether a sealed spawn does more than another.

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
