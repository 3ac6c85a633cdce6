//! Text as the API takes it, and what only the system knows about text.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use windows_sys::Win32::Globalization::{CSTR_EQUAL, CSTR_LESS_THAN, CompareStringOrdinal};
use windows_sys::Win32::System::SystemInformation::{GetSystemDirectoryW, GetWindowsDirectoryW};

/// UTF-16 with the NUL that ends it.
pub(crate) fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain(Some(0)).collect()
}

/// The order in which the system keeps the names of environment variables, blind to case.
pub(crate) fn compare_ignoring_case(left: &[u16], right: &[u16]) -> Ordering {
    let length = |text: &[u16]| i32::try_from(text.len()).unwrap_or(i32::MAX);
    // SAFETY: both texts are passed with their lengths, and are only read.
    let answer =
        unsafe { CompareStringOrdinal(left.as_ptr(), length(left), right.as_ptr(), length(right), 1) };
    match answer {
        CSTR_LESS_THAN => Ordering::Less,
        CSTR_EQUAL => Ordering::Equal,
        _ => Ordering::Greater,
    }
}

/// The folder of the system's own programs.
pub(crate) fn system_directory() -> io::Result<PathBuf> {
    folder(|buffer, length| {
        // SAFETY: the buffer has that length, and the call writes no more.
        unsafe { GetSystemDirectoryW(buffer, length) }
    })
}

/// The folder of Windows.
pub(crate) fn windows_directory() -> io::Result<PathBuf> {
    folder(|buffer, length| {
        // SAFETY: the buffer has that length, and the call writes no more.
        unsafe { GetWindowsDirectoryW(buffer, length) }
    })
}

/// Asks for a path, with a larger buffer if the first is too small.
fn folder(ask: impl Fn(*mut u16, u32) -> u32) -> io::Result<PathBuf> {
    let mut buffer = vec![0; 260];
    loop {
        let length = u32::try_from(buffer.len()).map_err(io::Error::other)?;
        let answer = ask(buffer.as_mut_ptr(), length);
        if answer == 0 {
            return Err(io::Error::last_os_error());
        }
        let needed = answer as usize;
        if needed < buffer.len() {
            return Ok(OsString::from_wide(&buffer[..needed]).into());
        }
        buffer.resize(needed + 1, 0);
    }
}
