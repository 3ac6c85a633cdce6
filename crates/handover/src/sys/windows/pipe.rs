//! Pipes: for standard streams, between the endpoints of a channel, and under names that other processes know.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BAD_PIPE, ERROR_BROKEN_PIPE, ERROR_FILE_NOT_FOUND, ERROR_HANDLES_CLOSED,
    ERROR_INVALID_FUNCTION, ERROR_INVALID_PARAMETER, ERROR_NO_DATA, ERROR_NOT_SUPPORTED,
    ERROR_OPERATION_ABORTED, ERROR_PIPE_BUSY, ERROR_PIPE_NOT_CONNECTED, ERROR_SEM_TIMEOUT, GENERIC_READ,
    GENERIC_WRITE, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, OPEN_EXISTING, PIPE_ACCESS_DUPLEX,
    PIPE_ACCESS_INBOUND, PIPE_ACCESS_OUTBOUND, SECURITY_ANONYMOUS, SECURITY_SQOS_PRESENT,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, DisconnectNamedPipe, GetNamedPipeClientProcessId, GetNamedPipeInfo,
    GetNamedPipeServerProcessId, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_SERVER_END,
    PIPE_TYPE_BYTE, PIPE_TYPE_MESSAGE, PIPE_WAIT, PeekNamedPipe, WaitNamedPipeW,
};

use super::io::Owned;
use super::text::wide;
use super::token::{Protection, package};
use super::{Argument, SysResult, always_ask, ask, call, code, succeeded};

/// The direction in which bytes are transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToChild,
    FromChild,
    /// Both directions, between the endpoints of a channel.
    Both,
}

const CREATE: &str = "CreateNamedPipeW";
pub(super) const OPEN: &str = "CreateFileW";

/// Creates a pipe. Returns this process's end and the other process's end, neither of them inheritable.
///
/// This process's end is overlapped, as std's `ChildStdin` and similar types require. An anonymous pipe can't be
/// overlapped, so the pipe is a named one. The other end is synchronous, so that any program can use it; between the
/// endpoints of a channel it is overlapped too.
pub(crate) fn pair(direction: Direction, protection: Option<&Protection>) -> SysResult<(Owned, Owned)> {
    // Another process could create a pipe of this name first. Because the name is hard to guess, several such
    // failures mean an attack, and then the error is returned.
    let mut tries = 10;
    loop {
        match pair_named(&unlikely_name(), direction, protection) {
            Err(error) if tries > 1 && is_taken(&error) => tries -= 1,
            outcome => return outcome,
        }
    }
}

fn pair_named(
    name: &str,
    direction: Direction,
    protection: Option<&Protection>,
) -> SysResult<(Owned, Owned)> {
    let (ours, theirs, flags) = match direction {
        Direction::ToChild => (PIPE_ACCESS_OUTBOUND, GENERIC_READ, 0),
        Direction::FromChild => (PIPE_ACCESS_INBOUND, GENERIC_WRITE, 0),
        Direction::Both => (PIPE_ACCESS_DUPLEX, GENERIC_READ | GENERIC_WRITE, FILE_FLAG_OVERLAPPED),
    };
    let ours = create(name, ours, protection)?;
    let theirs = open(name, theirs, flags)?;
    Ok((ours, theirs))
}

/// Creates the server end of a pipe with this name, which serves one client at a time. Fails if the name is in use.
pub(crate) fn create_named(name: &str, protection: &Protection) -> SysResult<Owned> {
    create(name, PIPE_ACCESS_DUPLEX, Some(protection))
}

/// Opens the client end of the pipe with this name.
pub(crate) fn open_named(name: &str) -> SysResult<Owned> {
    open(name, GENERIC_READ | GENERIC_WRITE, FILE_FLAG_OVERLAPPED)
}

/// Returns the name of a pipe for the system's calls. In an app container, a process can create only pipes that belong to
/// its package (`LOCAL\`).
fn path(name: &str) -> SysResult<Vec<u16>> {
    let is_contained = package()?.is_some();
    Ok(wide(OsStr::new(&placed(name, is_contained))))
}

fn placed(name: &str, is_contained: bool) -> String {
    const PIPES: &str = r"\\.\pipe\";
    match name.strip_prefix(PIPES) {
        Some(rest) if is_contained => format!(r"{PIPES}LOCAL\{rest}"),
        _ => name.to_owned(),
    }
}

/// Creates the first and only instance of a pipe.
fn create(name: &str, access: u32, protection: Option<&Protection>) -> SysResult<Owned> {
    const BUFFER: u32 = 64 * 1024;
    let name = path(name)?;
    let attributes = protection.map(Protection::attributes);
    let mode = access | FILE_FLAG_FIRST_PIPE_INSTANCE | FILE_FLAG_OVERLAPPED;
    let kind = PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS;
    let arguments =
        [("name", Argument::Wide(&name)), ("mode", Argument::Flags(mode)), ("kind", Argument::Flags(kind))];
    call(CREATE, &arguments, || {
        // SAFETY: the name ends with NUL and lives during the call. The attributes are null or point to a live
        // structure, whose security descriptor `protection` keeps alive.
        let raw = unsafe {
            CreateNamedPipeW(
                name.as_ptr(),
                mode,
                kind,
                1,
                BUFFER,
                BUFFER,
                0,
                attributes.as_ref().map_or(null(), std::ptr::from_ref),
            )
        };
        owned(raw)
    })
}

fn open(name: &str, access: u32, flags: u32) -> SysResult<Owned> {
    let name = path(name)?;
    // With anonymous impersonation, the server can neither learn this process's identity nor act on its behalf.
    let flags = flags | SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS;
    let arguments = [
        ("name", Argument::Wide(&name)),
        ("access", Argument::Flags(access)),
        ("flags", Argument::Flags(flags)),
    ];
    call(OPEN, &arguments, || {
        // SAFETY: the name ends with NUL and lives during the call. The security attributes and the template handle
        // are optional and null.
        let raw = unsafe { CreateFileW(name.as_ptr(), access, 0, null(), OPEN_EXISTING, flags, null_mut()) };
        owned(raw)
    })
}

/// Opens the null device for reading or for writing.
pub(crate) fn null_device(writing: bool) -> SysResult<Owned> {
    const NAME: &str = "NUL";
    let purpose = (if writing { "to write" } else { "to read" }, Argument::Yes);
    call(OPEN, &[("name", NAME.into()), purpose], || {
        let file = File::options().read(!writing).write(writing).open(NAME)?;
        Ok(OwnedHandle::from(file).into())
    })
}

/// Waits until an instance of the pipe with this name may be free for a client. Returns `false` after the timeout.
pub(crate) fn wait_named(name: &str, milliseconds: u32) -> SysResult<bool> {
    let name = path(name)?;
    let arguments = [("name", Argument::Wide(&name)), ("for", Argument::Milliseconds(Some(milliseconds)))];
    call("WaitNamedPipeW", &arguments, || {
        // A timeout of zero would stand for the server's default.
        // SAFETY: the name ends with NUL and lives during the call; the timeout is a number.
        match succeeded(unsafe { WaitNamedPipeW(name.as_ptr(), milliseconds.max(1)) }) {
            Ok(()) => Ok(true),
            Err(error) if code(&error) == Some(ERROR_SEM_TIMEOUT) => Ok(false),
            // The server has closed the pipe meanwhile. An attempt to open the pipe reports that.
            Err(error) if code(&error) == Some(ERROR_HANDLES_CLOSED) => Ok(true),
            Err(error) => Err(error),
        }
    })
}

/// Returns whether a pipe with this name exists. On Windows, creating a pipe fails if the name is in use. Wine 8
/// allows it if the existing pipe has room for another instance, so this check is needed first.
pub(crate) fn exists(name: &str) -> SysResult<bool> {
    match wait_named(name, 1) {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Disconnects the client of a named pipe. Data that the client hasn't read is lost.
pub(crate) fn disconnect(pipe: BorrowedHandle<'_>) -> SysResult<()> {
    call("DisconnectNamedPipe", &[("pipe", pipe.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a pipe.
        succeeded(unsafe { DisconnectNamedPipe(pipe.as_raw_handle()) })
    })
}

/// Returns whether the other end of a pipe is open, or has left bytes. A read of nothing isn't the end of a pipe: a process
/// may have written nothing, which message pipes and .NET do.
pub(crate) fn is_connected(pipe: BorrowedHandle<'_>) -> bool {
    let peeked = always_ask("PeekNamedPipe", &[("pipe", pipe.into())], || {
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a pipe. All pointers are optional and
        // null.
        succeeded(unsafe {
            PeekNamedPipe(pipe.as_raw_handle(), null_mut(), 0, null_mut(), null_mut(), null_mut())
        })
    });
    peeked.is_ok()
}

/// Returns the number of bytes that can be read from a pipe now.
#[cfg_attr(not(feature = "_async"), allow(dead_code, reason = "no tasks exist"))]
pub(crate) fn available(pipe: BorrowedHandle<'_>) -> SysResult<usize> {
    ask("PeekNamedPipe", &[("pipe", pipe.into())], || {
        let mut available = 0;
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a pipe. `available` is a live variable for
        // the answer. The other pointers are optional and null.
        succeeded(unsafe {
            PeekNamedPipe(pipe.as_raw_handle(), null_mut(), 0, null_mut(), &raw mut available, null_mut())
        })?;
        Ok(available as usize)
    })
}

/// Returns the id of the process that opened the client end. It may have exited, and its id may belong to another
/// process by now.
pub(crate) fn client_id(pipe: BorrowedHandle<'_>) -> SysResult<u32> {
    ask("GetNamedPipeClientProcessId", &[("pipe", pipe.into())], || {
        let mut id = 0;
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a pipe. `id` is a live variable
        // for the answer.
        succeeded(unsafe { GetNamedPipeClientProcessId(pipe.as_raw_handle(), &raw mut id) })?;
        Ok(id)
    })
}

/// Returns the id of the process that created the pipe.
pub(crate) fn server_id(pipe: BorrowedHandle<'_>) -> SysResult<u32> {
    ask("GetNamedPipeServerProcessId", &[("pipe", pipe.into())], || {
        let mut id = 0;
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a pipe. `id` is a live variable
        // for the answer.
        succeeded(unsafe { GetNamedPipeServerProcessId(pipe.as_raw_handle(), &raw mut id) })?;
        Ok(id)
    })
}

/// Returns whether a handle is the server end of a byte pipe, and `None` if it isn't an end of one.
pub(crate) fn is_server_end(pipe: BorrowedHandle<'_>) -> SysResult<Option<bool>> {
    ask("GetNamedPipeInfo", &[("pipe", pipe.into())], || {
        let mut flags = 0;
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a pipe. `flags` is a live variable for
        // the answer. The other pointers are optional and null.
        let answer = unsafe {
            GetNamedPipeInfo(pipe.as_raw_handle(), &raw mut flags, null_mut(), null_mut(), null_mut())
        };
        match succeeded(answer) {
            Ok(()) if flags & PIPE_TYPE_MESSAGE != 0 => Ok(None),
            Ok(()) => Ok(Some(flags & PIPE_SERVER_END != 0)),
            Err(error) if is_of_another_kind(&error) => Ok(None),
            Err(error) => Err(error),
        }
    })
}

/// Returns whether a call failed because the handle isn't a pipe.
fn is_of_another_kind(error: &io::Error) -> bool {
    matches!(code(error), Some(ERROR_INVALID_FUNCTION | ERROR_INVALID_PARAMETER | ERROR_NOT_SUPPORTED))
}

fn owned(raw: *mut std::ffi::c_void) -> io::Result<Owned> {
    if raw == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the callers pass the result of a call that has just opened this handle for this process. It isn't
    // `INVALID_HANDLE_VALUE`, so the call succeeded, and no other owner exists.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) }.into())
}

/// Returns whether creating a pipe failed because the name is in use.
pub(crate) fn is_taken(error: &io::Error) -> bool {
    matches!(code(error), Some(ERROR_ACCESS_DENIED | ERROR_PIPE_BUSY))
}

/// Returns whether opening a pipe failed because it serves another client.
pub(crate) fn is_busy(error: &io::Error) -> bool {
    code(error) == Some(ERROR_PIPE_BUSY)
}

/// Returns whether opening a pipe failed because it doesn't exist.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    code(error) == Some(ERROR_FILE_NOT_FOUND)
}

/// Returns whether a transfer failed because the peer's end is closed.
pub(crate) fn is_end(error: &io::Error) -> bool {
    matches!(code(error), Some(ERROR_BROKEN_PIPE | ERROR_NO_DATA | ERROR_PIPE_NOT_CONNECTED | ERROR_BAD_PIPE))
}

/// Returns whether a transfer was cancelled before it was finished.
pub(crate) fn is_cancelled(error: &io::Error) -> bool {
    code(error) == Some(ERROR_OPERATION_ABORTED)
}

/// Returns a name that is unique and can't be guessed.
fn unlikely_name() -> String {
    use std::hash::{BuildHasher, RandomState};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let random = RandomState::new().hash_one(count);
    format!(r"\\.\pipe\handover.{}.{count}.{random:016x}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_a_pipe_differ() -> io::Result<()> {
        use std::os::windows::io::AsHandle;
        let (server, client) = pair(Direction::Both, None)?;
        assert_eq!(is_server_end(server.as_handle())?, Some(true));
        assert_eq!(is_server_end(client.as_handle())?, Some(false));
        let event = crate::sys::create_object::event(true)?;
        assert_eq!(is_server_end(null_device(true)?.as_handle()).ok().flatten(), None);
        assert!(is_server_end(event.as_handle()).ok().flatten().is_none());
        Ok(())
    }

    #[test]
    fn pipes_of_a_package_are_local() {
        assert_eq!(placed(r"\\.\pipe\handover.a", true), r"\\.\pipe\LOCAL\handover.a");
        assert_eq!(placed(r"\\.\pipe\handover.a", false), r"\\.\pipe\handover.a");
        assert!(package().is_ok_and(|package| package.is_none()), "no test runs in an app container");
    }
}
