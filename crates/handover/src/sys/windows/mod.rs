//! The Windows implementation, on Win32 and on some calls of the native API.

#![allow(unsafe_code)]

pub(crate) mod call;
pub(crate) mod create_object;
#[cfg(feature = "inspect")]
pub(crate) mod debug;
pub(crate) mod exit_watch;
mod grow_buffer;
pub(crate) mod handle;
pub(crate) mod io;
pub(crate) mod job;
#[cfg_attr(not(feature = "_async"), allow(dead_code, reason = "no tasks exist"))]
mod lasting_thread;
pub(crate) mod memory;
#[cfg(feature = "inspect")]
pub(crate) mod name_query_thread;
#[cfg_attr(not(feature = "inspect"), allow(dead_code, reason = "only `inspect` uses some of its items"))]
pub(crate) mod object_info;
pub(crate) mod overlapped;
#[cfg_attr(not(feature = "inspect"), allow(dead_code, reason = "only `inspect` uses some of its items"))]
pub(crate) mod peb;
pub(crate) mod pipe;
pub(crate) mod pool_wait;
pub(crate) mod process;
pub(crate) mod rights;
pub(crate) mod socket;
#[cfg_attr(not(feature = "inspect"), allow(dead_code, reason = "only `inspect` uses some of its items"))]
pub(crate) mod table;
#[cfg(feature = "inspect")]
pub(crate) mod temporary_file;
pub(crate) mod text;
pub(crate) mod token;
#[cfg(all(feature = "observe", target_arch = "x86_64"))]
pub(crate) mod tracee;
pub(crate) mod value;
pub(crate) mod wait;
#[cfg(feature = "_async")]
pub(crate) mod waking_wait;
pub(crate) mod winsock;

use std::io::Error;

use super::call_info::{
    Answered, Argument, AsSlot, Duplicated, Effects, Length, Moved, Outcome, Slot, Table,
};
use super::error::{SysError, SysResult};
#[cfg(feature = "faults")]
use super::fault_injection::watched;
use super::syscall::{always, always_ask, ask, call};
use super::{DeferredEvents, fault};

/// Creates the counters for a thread's calls. On Windows they aren't shared with a new process, because it runs no
/// code of this program before its own.
#[cfg(feature = "faults")]
pub(super) fn shared_board() -> &'static super::fault_injection::Board {
    Box::leak(Box::default())
}

/// Makes a call that may never return under Wine. Tests run it with a time limit and get `None` if it doesn't return;
/// without the `faults` feature it is just called.
#[cfg(not(feature = "faults"))]
#[inline(always)]
#[allow(clippy::unnecessary_wraps, reason = "the `faults` feature has a version that can return `None`")]
fn watched<T>(call: impl FnOnce() -> T) -> Option<T> {
    Some(call())
}

/// Sets this thread's last error.
#[cfg(feature = "tracing")]
#[allow(clippy::cast_sign_loss, reason = "the codes are unsigned; std keeps them as i32")]
pub(super) fn set_last_error(code: i32) {
    // SAFETY: the call only stores a number for this thread.
    unsafe { windows_sys::Win32::Foundation::SetLastError(code as u32) };
}

/// Returns the outcome of a call that returns zero for a failure. It reads the last error, so it must be called right
/// after the call.
fn succeeded(answer: i32) -> std::io::Result<()> {
    if answer == 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Returns an error's Win32 code.
#[allow(clippy::cast_sign_loss, reason = "the codes are unsigned; std keeps them as i32")]
fn code(error: &Error) -> Option<u32> {
    error.raw_os_error().map(|code| code as u32)
}

/// Returns the size of a structure in the type that Win32 takes.
#[allow(clippy::cast_possible_truncation, reason = "no structure of the API is near 4 GiB")]
const fn size_of_u32<T>() -> u32 {
    size_of::<T>() as u32
}
