//! The pipe behind a standard stream.

use std::ffi::OsStr;
use std::io;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_PIPE_BUSY, GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, OPEN_EXISTING, PIPE_ACCESS_INBOUND,
    PIPE_ACCESS_OUTBOUND, SECURITY_ANONYMOUS, SECURITY_SQOS_PRESENT,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_WAIT,
};

use super::fault;
use super::text::wide;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToChild,
    FromChild,
}

/// The two ends of a pipe, neither inheritable: ours, and the child's.
///
/// Ours is overlapped, which std's `ChildStdin` and its kin need; anonymous pipes can't be, so this is a named one.
/// The child's is synchronous, which any program can read and write.
///
/// An error comes with the call that failed.
pub(crate) fn pair(direction: Direction) -> Result<(OwnedHandle, OwnedHandle), (&'static str, io::Error)> {
    // Another process can take a name before us. With an unlikely name, a few tries mean that somebody does it on
    // purpose, and the error should say so.
    let mut tries = 10;
    loop {
        match pair_named(&unlikely_name(), direction) {
            Err((_, error)) if tries > 1 && is_taken(&error) => tries -= 1,
            outcome => return outcome,
        }
    }
}

fn pair_named(
    name: &str,
    direction: Direction,
) -> Result<(OwnedHandle, OwnedHandle), (&'static str, io::Error)> {
    const BUFFER: u32 = 64 * 1024;
    let name = wide(OsStr::new(name));
    let (ours, childs) = match direction {
        Direction::ToChild => (PIPE_ACCESS_OUTBOUND, GENERIC_READ),
        Direction::FromChild => (PIPE_ACCESS_INBOUND, GENERIC_WRITE),
    };
    const SERVER: &str = "CreateNamedPipeW";
    const CLIENT: &str = "CreateFileW";
    fault(SERVER).map_err(|error| (SERVER, error))?;
    // SAFETY: the name ends with NUL and lives through the call; no security attributes are documented as NULL.
    let raw = unsafe {
        CreateNamedPipeW(
            name.as_ptr(),
            ours | FILE_FLAG_FIRST_PIPE_INSTANCE | FILE_FLAG_OVERLAPPED,
            PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
            1,
            BUFFER,
            BUFFER,
            0,
            null(),
        )
    };
    let ours = owned(raw).map_err(|error| (SERVER, error))?;
    fault(CLIENT).map_err(|error| (CLIENT, error))?;
    // SAFETY: as above. Anonymous impersonation: whoever has the other end learns nothing of us.
    let raw = unsafe {
        CreateFileW(
            name.as_ptr(),
            childs,
            0,
            null(),
            OPEN_EXISTING,
            SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS,
            null_mut(),
        )
    };
    let childs = owned(raw).map_err(|error| (CLIENT, error))?;
    Ok((ours, childs))
}

fn owned(raw: *mut std::ffi::c_void) -> io::Result<OwnedHandle> {
    if raw == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was made for us just now.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) })
}

fn is_taken(error: &io::Error) -> bool {
    matches!(super::code(error), Some(ERROR_ACCESS_DENIED | ERROR_PIPE_BUSY))
}

/// A name that nobody else uses or can foresee.
fn unlikely_name() -> String {
    use std::hash::{BuildHasher, RandomState};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let random = RandomState::new().hash_one(count);
    format!(r"\\.\pipe\handover.{}.{count}.{random:016x}", std::process::id())
}
