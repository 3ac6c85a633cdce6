//! Pipes: behind a standard stream, between the ends of a channel, and under a name that others know.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_BAD_PIPE, ERROR_BROKEN_PIPE, ERROR_FILE_NOT_FOUND, ERROR_HANDLES_CLOSED,
    ERROR_NO_DATA, ERROR_OPERATION_ABORTED, ERROR_PIPE_BUSY, ERROR_PIPE_NOT_CONNECTED, ERROR_SEM_TIMEOUT,
    GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, OPEN_EXISTING, PIPE_ACCESS_DUPLEX,
    PIPE_ACCESS_INBOUND, PIPE_ACCESS_OUTBOUND, SECURITY_ANONYMOUS, SECURITY_SQOS_PRESENT,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, DisconnectNamedPipe, GetNamedPipeClientProcessId, GetNamedPipeServerProcessId,
    PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_WAIT, WaitNamedPipeW,
};

use super::io::Owned;
use super::text::wide;
use super::token::Protection;
use super::{Argument, SysResult, ask, call, code, succeeded};

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToChild,
    FromChild,
    /// Both ways, between the ends of a channel.
    Both,
}

const CREATE: &str = "CreateNamedPipeW";
const OPEN: &str = "CreateFileW";

/// The two ends of a pipe, neither inheritable: ours, and the other process's.
///
/// Ours is overlapped, which std's `ChildStdin` and its kin need; anonymous pipes can't be, so this is a
/// named one. The other is synchronous, which any program can read and write; between the ends of a channel
/// it is overlapped too.
pub(crate) fn pair(direction: Direction, protection: Option<&Protection>) -> SysResult<(Owned, Owned)> {
    // Another process can take a name before us. With an unlikely name, a few tries mean that somebody does
    // it on purpose, and the error should say so.
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

/// The end of a pipe of this name that serves clients, one at a time; an error if the name is in use.
pub(crate) fn create_named(name: &str, protection: &Protection) -> SysResult<Owned> {
    create(name, PIPE_ACCESS_DUPLEX, Some(protection))
}

/// The client's end of a pipe of this name.
pub(crate) fn open_named(name: &str) -> SysResult<Owned> {
    open(name, GENERIC_READ, FILE_FLAG_OVERLAPPED)
}

/// The first and only instance of a pipe.
fn create(name: &str, access: u32, protection: Option<&Protection>) -> SysResult<Owned> {
    const BUFFER: u32 = 64 * 1024;
    let name = wide(OsStr::new(name));
    let attributes = protection.map(Protection::attributes);
    let mode = access | FILE_FLAG_FIRST_PIPE_INSTANCE | FILE_FLAG_OVERLAPPED;
    let kind = PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS;
    let arguments =
        [("name", Argument::Wide(&name)), ("mode", Argument::Flags(mode)), ("kind", Argument::Flags(kind))];
    call(CREATE, &arguments, || {
        // SAFETY: the name ends with NUL; the attributes, if there are any, and what they point to live
        // through the call.
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
    let name = wide(OsStr::new(name));
    // Anonymous impersonation: whoever has the other end learns nothing of us and can't act as us.
    let flags = flags | SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS;
    let arguments = [
        ("name", Argument::Wide(&name)),
        ("access", Argument::Flags(access)),
        ("flags", Argument::Flags(flags)),
    ];
    call(OPEN, &arguments, || {
        // SAFETY: the name ends with NUL.
        let raw = unsafe { CreateFileW(name.as_ptr(), access, 0, null(), OPEN_EXISTING, flags, null_mut()) };
        owned(raw)
    })
}

/// The null device, to read from or to write to.
pub(crate) fn null_device(writing: bool) -> SysResult<Owned> {
    const NAME: &str = "NUL";
    let way = (if writing { "to write" } else { "to read" }, Argument::Yes);
    call(OPEN, &[("name", NAME.into()), way], || {
        let file = File::options().read(!writing).write(writing).open(NAME)?;
        Ok(OwnedHandle::from(file).into())
    })
}

/// Waits until a pipe of this name may be free for a client, so many milliseconds at most; false if it
/// wasn't.
pub(crate) fn wait_named(name: &str, milliseconds: u32) -> SysResult<bool> {
    let name = wide(OsStr::new(name));
    let arguments = [("name", Argument::Wide(&name)), ("for", Argument::Milliseconds(Some(milliseconds)))];
    call("WaitNamedPipeW", &arguments, || {
        // Zero would mean the server's own choice.
        // SAFETY: the name ends with NUL.
        match succeeded(unsafe { WaitNamedPipeW(name.as_ptr(), milliseconds.max(1)) }) {
            Ok(()) => Ok(true),
            Err(error) if code(&error) == Some(ERROR_SEM_TIMEOUT) => Ok(false),
            // The server has gone meanwhile; whoever opens the pipe now hears so.
            Err(error) if code(&error) == Some(ERROR_HANDLES_CLOSED) => Ok(true),
            Err(error) => Err(error),
        }
    })
}

/// Whether there is a pipe of this name. Windows tells whoever creates one; Wine 8 lets a second one be
/// created beside a first that has room for it.
pub(crate) fn exists(name: &str) -> SysResult<bool> {
    match wait_named(name, 1) {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends the client of a named pipe away; what it has not read is lost.
pub(crate) fn disconnect(pipe: BorrowedHandle<'_>) -> SysResult<()> {
    call("DisconnectNamedPipe", &[("pipe", pipe.into())], || {
        // SAFETY: the handle is borrowed, so it is open.
        succeeded(unsafe { DisconnectNamedPipe(pipe.as_raw_handle()) })
    })
}

/// The process that opened the client's end. It may have ended, and the id may be another's by now.
pub(crate) fn client_id(pipe: BorrowedHandle<'_>) -> SysResult<u32> {
    ask("GetNamedPipeClientProcessId", &[("pipe", pipe.into())], || {
        let mut id = 0;
        // SAFETY: the handle is borrowed, so it is open; `id` is a live place for the answer.
        succeeded(unsafe { GetNamedPipeClientProcessId(pipe.as_raw_handle(), &raw mut id) })?;
        Ok(id)
    })
}

/// The process that created the pipe.
pub(crate) fn server_id(pipe: BorrowedHandle<'_>) -> SysResult<u32> {
    ask("GetNamedPipeServerProcessId", &[("pipe", pipe.into())], || {
        let mut id = 0;
        // SAFETY: the handle is borrowed, so it is open; `id` is a live place for the answer.
        succeeded(unsafe { GetNamedPipeServerProcessId(pipe.as_raw_handle(), &raw mut id) })?;
        Ok(id)
    })
}

fn owned(raw: *mut std::ffi::c_void) -> io::Result<Owned> {
    if raw == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was made for us just now.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) }.into())
}

/// Whether a pipe wasn't created because somebody has the name.
pub(crate) fn is_taken(error: &io::Error) -> bool {
    matches!(code(error), Some(ERROR_ACCESS_DENIED | ERROR_PIPE_BUSY))
}

/// Whether a pipe wasn't opened because it serves another client.
pub(crate) fn is_busy(error: &io::Error) -> bool {
    code(error) == Some(ERROR_PIPE_BUSY)
}

/// Whether a pipe wasn't opened because there is none.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    code(error) == Some(ERROR_FILE_NOT_FOUND)
}

/// Whether a transfer failed because nobody has the other end any more.
pub(crate) fn is_end(error: &io::Error) -> bool {
    matches!(code(error), Some(ERROR_BROKEN_PIPE | ERROR_NO_DATA | ERROR_PIPE_NOT_CONNECTED | ERROR_BAD_PIPE))
}

/// Whether a transfer was cancelled before it was finished.
pub(crate) fn is_cancelled(error: &io::Error) -> bool {
    code(error) == Some(ERROR_OPERATION_ABORTED)
}

/// A name that nobody else uses or can foresee.
fn unlikely_name() -> String {
    use std::hash::{BuildHasher, RandomState};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let random = RandomState::new().hash_one(count);
    format!(r"\\.\pipe\handover.{}.{count}.{random:016x}", std::process::id())
}
