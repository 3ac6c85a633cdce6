//! Linux: file descriptors, and what stands for each kind of object.

#![allow(unsafe_code)]

pub(crate) mod call;
mod clone;
pub(crate) mod handle;
pub(crate) mod io;
pub(crate) mod lock;
pub(crate) mod look;
pub(crate) mod memory;
pub(crate) mod named;
mod newborn;
pub(crate) mod process;
pub(crate) mod rights;
pub(crate) mod socket;
pub(crate) mod spawn;
pub(crate) mod stream;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod trace;
pub(crate) mod user;
pub(crate) mod value;
pub(crate) mod wait;

#[cfg(feature = "faults")]
pub(super) use clone::shared_board;

use super::fault;
use super::seam::{
    Answered, Argument, Duplicated, Effects, Length, Moved, Outcome, Slot, Table, always, ask, call,
};

/// Sets what the system's last error was.
#[cfg(feature = "tracing")]
pub(super) fn set_last_error(code: i32) {
    // SAFETY: the call takes nothing.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the place is this thread's alone, for as long as the thread lives.
    unsafe { place.write(code) };
}
