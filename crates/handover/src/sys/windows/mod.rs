//! Win32.

#![allow(unsafe_code)]

pub(crate) mod call;
pub(crate) mod create_object;
pub(crate) mod debug;
mod grow_buffer;
pub(crate) mod handle;
pub(crate) mod io;
pub(crate) mod job;
pub(crate) mod memory;
pub(crate) mod name_query_thread;
pub(crate) mod object_info;
pub(crate) mod overlapped;
pub(crate) mod peb;
pub(crate) mod pipe;
pub(crate) mod process;
pub(crate) mod rights;
pub(crate) mod socket;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod token;
pub(crate) mod value;
pub(crate) mod wait;

use std::io::Error;

use super::call_info::{
    Answered, Argument, AsSlot, Duplicated, Effects, Length, Moved, Outcome, Slot, Table,
};
use super::error::{SysError, SysResult};
use super::fault;
#[cfg(feature = "faults")]
use super::fault_injection::watched;
use super::syscall::{always, always_ask, ask, call};

/// What a thread counts its calls on. A process that is made here has no part in it: it runs nothing of this
/// program.
#[cfg(feature = "faults")]
pub(super) fn shared_board() -> &'static super::fault_injection::Board {
    Box::leak(Box::default())
}

/// Makes a call that Wine may never finish; in tests, somebody watches it. `None` if it doesn't.
#[cfg(not(feature = "faults"))]
#[inline(always)]
#[allow(clippy::unnecessary_wraps, reason = "with the feature, it may not finish")]
fn watched<T>(call: impl FnOnce() -> T) -> Option<T> {
    Some(call())
}

/// Sets what the system's last error was.
#[cfg(feature = "tracing")]
#[allow(clippy::cast_sign_loss, reason = "the codes are unsigned; std keeps them as i32")]
pub(super) fn set_last_error(code: i32) {
    // SAFETY: the call takes a number.
    unsafe { windows_sys::Win32::Foundation::SetLastError(code as u32) };
}

/// The outcome of a call that answers zero for a failure; to be called right after it.
fn succeeded(answer: i32) -> std::io::Result<()> {
    if answer == 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// The system's code in an error, as its documentation names them.
#[allow(clippy::cast_sign_loss, reason = "the codes are unsigned; std keeps them as i32")]
fn code(error: &Error) -> Option<u32> {
    error.raw_os_error().map(|code| code as u32)
}

/// The size of a structure as the API takes it.
#[allow(clippy::cast_possible_truncation, reason = "no structure of the API is near 4 GiB")]
const fn size_of_u32<T>() -> u32 {
    size_of::<T>() as u32
}
