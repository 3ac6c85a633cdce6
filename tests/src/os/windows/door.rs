//! A listener's door: a pipe.

#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};

use windows_sys::Win32::Foundation::{GENERIC_READ, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, OPEN_EXISTING, PIPE_ACCESS_DUPLEX,
};
use windows_sys::Win32::System::Pipes::{ConnectNamedPipe, CreateNamedPipeW, PIPE_UNLIMITED_INSTANCES};

use super::raw::owned;

/// Where a listener of this name is found.
///
/// # Panics
///
/// If the system doesn't tell whose process this is.
#[must_use]
pub fn path(name: &str) -> String {
    format!(r"\\.\pipe\handover.{}.{name}", handover::User::current().expect("a process has a user"))
}

/// The server's end of the door of this name, made by somebody who is after the clients of another.
///
/// # Errors
///
/// The system's, if the name is in use.
pub fn squat(name: &str) -> io::Result<OwnedHandle> {
    let path: Vec<u16> = OsStr::new(&path(name)).encode_wide().chain(Some(0)).collect();
    let access = PIPE_ACCESS_DUPLEX | FILE_FLAG_FIRST_PIPE_INSTANCE;
    // SAFETY: the name ends with NUL; no attributes are documented as NULL.
    let raw = unsafe {
        CreateNamedPipeW(path.as_ptr(), access, 0, PIPE_UNLIMITED_INSTANCES, 4096, 4096, 0, null())
    };
    if raw == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    Ok(owned(raw))
}

/// Waits for a client of such a pipe.
pub fn wait_for_client(pipe: &OwnedHandle) {
    // SAFETY: the pipe is open, and not overlapped. A failure means that the client is there already.
    unsafe { ConnectNamedPipe(pipe.as_raw_handle(), null_mut()) };
}

/// The client's end of the door of this name, to read from.
///
/// # Errors
///
/// The system's, if there is none or it is busy.
pub fn knock(name: &str) -> io::Result<OwnedHandle> {
    let path: Vec<u16> = OsStr::new(&path(name)).encode_wide().chain(Some(0)).collect();
    // SAFETY: the name ends with NUL; no attributes and no template are documented as NULL.
    let raw = unsafe { CreateFileW(path.as_ptr(), GENERIC_READ, 0, null(), OPEN_EXISTING, 0, null_mut()) };
    if raw == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    Ok(owned(raw))
}

/// Whether anything is left of a name: nothing ever is, because the system takes it away with the last handle.
#[must_use]
pub const fn is_left(_name: &str) -> bool {
    false
}
