//! The floor, which each system has its own of, and who else can do the same there.
//!
//! Each provides:
//! - `floor`: starting a child with objects and handing objects to one, in C;
//! - `peer`: a crate that only this system has, if there is one;
//! - `SEALING_COSTS`: whether a sealed spawn does more than another.

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
