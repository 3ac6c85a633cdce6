//! The operating system. The only unsafe code of the crate, one system call a block.
//!
//! Each platform provides, with owners for what it makes and [`std::io::Error`] for what fails:
//! - `handle`: duplicating a handle here, into a process, out of a process; closing one over there; its inherit flag,
//!   kind and granted access;
//! - `named`: creating objects, with a name or without, opening them by it, and what only one kind can;
//! - `memory`: sections in view; `pipe` and `transfer`: what channels run over; `user`: who somebody is;
//! - `wait`: waiting for one object for so many milliseconds;
//! - `process`: creating one from a finished plan, ending it, its exit code and identity;
//! - `pipe`: the two ends of a standard stream.
//!
//! - `job`: what ends processes together;
//! - `table`: a look at this process's own handles;
//! - `text`: what only the system knows about text and folders.
//!
//! A raw value gets its owner in the expression that makes it. An error is read before anything else is called.

#[cfg(feature = "faults")]
pub mod fault;

/// Called before each system call, by its name: the seam at which tests make one fail.
#[cfg(all(windows, not(feature = "faults")))]
#[inline(always)]
#[allow(clippy::unnecessary_wraps, reason = "with the feature, it fails")]
fn fault(_call: &'static str) -> std::io::Result<()> {
    Ok(())
}

/// Makes a call that Wine may never finish; in tests, somebody watches it.
#[cfg(all(windows, not(feature = "faults")))]
#[inline(always)]
fn watched(call: impl FnOnce()) {
    call();
}

#[cfg(all(windows, feature = "faults"))]
use fault::{fault, watched};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;
