//! The listener's named pipe, as a client without the library finds it.

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

/// Returns the path of a listener's pipe.
///
/// # Panics
///
/// Panics if the current user can't be queried.
#[must_use]
pub fn path(name: &str) -> String {
    format!(r"\\.\pipe\handover.{}.{name}", handover::User::current().expect("a process has a user"))
}

/// Creates the pipe of a listener's name, as a squatter does that waits for another server's clients.
///
/// # Errors
///
/// Returns the system's error if the name is in use.
pub fn squat(name: &str) -> io::Result<OwnedHandle> {
    let path: Vec<u16> = OsStr::new(&path(name)).encode_wide().chain(Some(0)).collect();
    let access = PIPE_ACCESS_DUPLEX | FILE_FLAG_FIRST_PIPE_INSTANCE;
    // SAFETY: the name ends with NUL; the security attributes may be NULL.
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
    // SAFETY: the pipe is open and not overlapped, so the OVERLAPPED pointer may be NULL. A failure means that a client
    // is connected already.
    unsafe { ConnectNamedPipe(pipe.as_raw_handle(), null_mut()) };
}

/// Opens the listener's pipe for reading.
///
/// # Errors
///
/// Returns the system's error if there is no listener, or if the pipe is busy.
pub fn connect(name: &str) -> io::Result<OwnedHandle> {
    let path: Vec<u16> = OsStr::new(&path(name)).encode_wide().chain(Some(0)).collect();
    // SAFETY: the name ends with NUL; the security attributes and the template may be NULL.
    let raw = unsafe { CreateFileW(path.as_ptr(), GENERIC_READ, 0, null(), OPEN_EXISTING, 0, null_mut()) };
    if raw == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    Ok(owned(raw))
}

/// Returns whether a name is left over: never, because Windows removes a name with its last handle.
#[must_use]
pub const fn exists(_name: &str) -> bool {
    false
}
