//! The operating-system layer: all unsafe code of the crate, with one system call in each unsafe block.
//!
//! Each platform provides these modules. They return owners for the handles that they open, and [`SysError`] for
//! failures:
//! - `io`: std's handle types under common names, and the owner whose close is traced; `value`: the numbers that can
//!   be handle values;
//! - `handle`: duplicating a handle within this process and out of another one, its inherit flag and its kind;
//!   `rights`: the rights that a copy carries;
//! - `create_object`: creating objects, and operations that only one kind of object has;
//! - `memory`: mapped views of shared memory, which `bytes` reads and writes;
//! - `wait`: waiting for one object or several, with a timeout in milliseconds;
//! - `process`: terminating a process, its exit status and its creation time;
//! - `table`: the inheritable handles of this process; `socket`: the types of sockets, and whether a copy of a handle would
//!   lose something;
//! - `text`: text comparisons that only the system can make;
//! - `call`: the names of the system's calls and rights, for errors.
//!
//! The other modules of a platform serve only that platform's code. Two rules hold in all of them: the expression
//! that receives a raw handle also creates its owner, and the system's last error is read before any other call can
//! change it.
//!
//! Each call is made through `syscall`, which lets tests inject a failure and reports the call to `trace_event`. The
//! locks of all layers are `mutex`, which keeps those reports back until it is unlocked.

pub(crate) mod bytes;
#[allow(
    dead_code,
    reason = "some items are used on one system only, and without the `tracing` feature nothing formats the texts"
)]
mod call_info;
mod copy;
#[cfg_attr(not(feature = "_async"), allow(dead_code, reason = "no tasks exist"))]
mod deferred_wakes;
#[cfg(feature = "_async")]
pub(crate) use deferred_wakes::DeferredWakes;
pub(crate) use deferred_wakes::{drop_waker, wake};

/// Stands for the guard that keeps wakes back. Without an asynchronous feature, no tasks exist.
#[cfg(not(feature = "_async"))]
#[must_use]
#[derive(Debug)]
pub(crate) struct DeferredWakes;

#[cfg(not(feature = "_async"))]
impl DeferredWakes {
    #[inline(always)]
    pub(crate) fn begin() -> Self {
        Self
    }
}

pub(crate) mod creator;
mod error;
#[cfg(feature = "faults")]
pub mod fault_injection;

/// Does nothing. It is called before each system call, with the call's name. With the `faults` feature, another version
/// of it lets tests make the call fail.
#[cfg(not(feature = "faults"))]
#[inline(always)]
#[allow(clippy::unnecessary_wraps, reason = "the `faults` feature has a version that can fail")]
fn fault(_call: &'static str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(all(not(feature = "faults"), target_os = "linux"))]
use fault as fault_in_new_process;
#[cfg(feature = "faults")]
pub(crate) use fault_injection::Errand;
#[cfg(feature = "faults")]
use fault_injection::fault;
#[cfg(all(feature = "faults", target_os = "linux"))]
use fault_injection::fault_in_new_process;

/// The failures that a test has planned for a thread's calls, for use by another thread that makes some of these
/// calls on its behalf. Without the `faults` feature it is empty.
#[cfg(not(feature = "faults"))]
#[cfg_attr(windows, allow(dead_code, reason = "only `inspect` uses it there"))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand;

#[cfg(not(feature = "faults"))]
#[cfg_attr(windows, allow(dead_code, reason = "only `inspect` uses it there"))]
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

/// Starts a thread through `begin`. Tests can inject a failure, as for the calls that are made through `syscall`.
pub(crate) fn begin_thread<T>(begin: impl FnOnce() -> std::io::Result<T>) -> SysResult<T> {
    fault(call::BEGIN_THREAD).and_then(|()| begin()).map_err(SysError::of(call::BEGIN_THREAD))
}

#[cfg_attr(windows, allow(dead_code, reason = "only Linux asks without waiting"))]
pub(crate) mod handoff;
pub(crate) mod mutex;
pub(crate) mod owned_handle;
#[cfg(feature = "inspect")]
pub(crate) mod read_whole;
mod socket_type;
#[allow(
    dead_code,
    reason = "some items are used on one system only, and without the `tracing` feature nothing formats the texts"
)]
mod syscall;
#[cfg(feature = "tracing")]
mod trace_event;
#[cfg(feature = "tracing")]
pub(crate) use trace_event::DeferredEvents;

/// Stands for the guard that keeps events back. Without the feature `tracing`, no events exist.
#[cfg(not(feature = "tracing"))]
#[must_use]
#[derive(Debug)]
pub(crate) struct DeferredEvents;

#[cfg(not(feature = "tracing"))]
impl DeferredEvents {
    #[inline(always)]
    pub(crate) fn begin() -> Self {
        Self
    }
}

#[allow(unused_imports, reason = "some items are used on one system only")]
pub(crate) use call_info::{
    Answered, Argument, AsSlot, Closed, Duplicated, Effects, Length, Moved, Outcome, Slot, Table,
};
pub(crate) use error::{SysError, SysResult};
#[allow(unused_imports, reason = "some items are used on one system only")]
pub(crate) use syscall::{always, always_ask, ask, call, composed};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
