//! Win32.

#![allow(unsafe_code)]

pub(crate) mod call;
pub(crate) mod debug;
pub(crate) mod handle;
pub(crate) mod io;
pub(crate) mod job;
pub(crate) mod memory;
pub(crate) mod named;
pub(crate) mod parameters;
pub(crate) mod pipe;
pub(crate) mod process;
pub(crate) mod rights;
pub(crate) mod socket;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod transfer;
pub(crate) mod user;
pub(crate) mod value;
pub(crate) mod wait;

use std::io::{Error, Result};

use super::fault;
#[cfg(feature = "faults")]
use super::fault::watched;

/// Makes a call that Wine may never finish; in tests, somebody watches it.
#[cfg(not(feature = "faults"))]
#[inline(always)]
fn watched(call: impl FnOnce()) {
    call();
}

/// The outcome of a call that answers zero for a failure; to be called right after it.
fn succeeded(answer: i32) -> Result<()> {
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
