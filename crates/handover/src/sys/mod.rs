//! The operating system. The only unsafe code of the crate, one system call a block.
//!
//! Each platform provides, with owners for what it makes and [`std::io::Error`] for what fails:
//! - `io`: std's handle types under one name, the owner that tells of its close, and `value`: which numbers can be handles;
//! - `handle`: duplicating a handle here and out of a process; its inherit flag and kind; `rights`: what it carries;
//! - `named`: creating objects and what only one kind can; `memory`: sections in view, which
//!   `bytes` looks at;
//! - `wait`: waiting for one object or several, for so many milliseconds;
//! - `process`: ending a process, its exit status and creation time;
//! - `table`: a look at this process's own handles; `socket`: what a copy of a handle would lose;
//! - `text`: what only the system knows about text;
//! - `call`: the names of its calls and rights, for errors.
//!
//! What else is in there is for its own half of `os`. A raw value gets its owner in the expression that makes it. An error
//! is read before anything else is called.
//!
//! Each call is made through `syscall`, where tests let it fail, and from where `trace_event` tells of it.

pub(crate) mod bytes;
#[allow(
    dead_code,
    reason = "not every system has a use for each, and without the feature nothing asks for the texts"
)]
mod call_info;
mod error;
#[cfg(feature = "faults")]
pub mod fault_injection;

/// Called before each system call, by its name: the seam at which tests make one fail.
#[cfg(not(feature = "faults"))]
#[inline(always)]
#[allow(clippy::unnecessary_wraps, reason = "with the feature, it fails")]
fn fault(_call: &'static str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "faults")]
pub(crate) use fault_injection::Errand;
#[cfg(feature = "faults")]
use fault_injection::fault;

/// What of a thread's calls is to fail, for another thread that makes some of them in its stead: nothing.
#[cfg(not(feature = "faults"))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand;

#[cfg(not(feature = "faults"))]
impl Errand {
    #[inline(always)]
    pub(crate) fn of_this_thread() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn run<T>(self, work: impl FnOnce() -> T) -> T {
        work()
    }
}

/// Begins a thread by a call that can fail for a test, as those that are made through the seam do.
pub(crate) fn begin_thread<T>(begin: impl FnOnce() -> std::io::Result<T>) -> SysResult<T> {
    fault(call::BEGIN_THREAD).and_then(|()| begin()).map_err(SysError::of(call::BEGIN_THREAD))
}

pub(crate) mod owned_handle;
#[allow(
    dead_code,
    reason = "not every system has a use for each, and without the feature nobody asks for the texts"
)]
mod syscall;
#[cfg(feature = "tracing")]
mod trace_event;

#[allow(unused_imports, reason = "not every system has a use for each")]
pub(crate) use call_info::{
    Answered, Argument, AsSlot, Closed, Duplicated, Effects, Length, Moved, Outcome, Slot, Table,
};
pub(crate) use error::{SysError, SysResult};
#[allow(unused_imports, reason = "not every system has a use for each")]
pub(crate) use syscall::{always, always_ask, ask, call, composed};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
