//! The operating system. The only unsafe code of the crate, one system call a block.
//!
//! Each platform provides, with owners for what it makes and [`std::io::Error`] for what fails:
//! - `handle`: duplicating a handle here, into a process, out of a process; closing one over there; its inherit flag,
//!   kind and granted access;
//! - `event`: making, setting and resetting one;
//! - `wait`: waiting for one object for so many milliseconds;
//! - `process`: creating one from a finished plan, ending it, its exit code and identity;
//! - `pipe`: the two ends of a standard stream.
//!
//! A raw value gets its owner in the expression that makes it. An error is read before anything else is called.

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;
