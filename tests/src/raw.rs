//! The other side as bare Win32 has it, without the library that is tested: objects of kinds that it has no type for,
//! and a channel's end in the hands of a program that doesn't play by the rules.

#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_IO_PENDING, GENERIC_READ, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1, SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{DACL_SECURITY_INFORMATION, TOKEN_QUERY};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_FIRST_PIPE_INSTANCE, OPEN_EXISTING, PIPE_ACCESS_DUPLEX, ReadFile, WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Memory::{
    FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, UnmapViewOfFile,
};
use windows_sys::Win32::System::Pipes::{
    ConnectNamedPipe, CreateNamedPipeW, CreatePipe, PIPE_UNLIMITED_INSTANCES,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, GetCurrentProcess, GetCurrentThread, OpenProcessToken, WaitForSingleObject,
};

fn owned(raw: *mut std::ffi::c_void) -> OwnedHandle {
    assert!(!raw.is_null() && raw != INVALID_HANDLE_VALUE, "{}", io::Error::last_os_error());
    // SAFETY: the handle was made for us by the call right before.
    unsafe { OwnedHandle::from_raw_handle(raw) }
}

/// The token of this process.
#[must_use]
pub fn token() -> OwnedHandle {
    // SAFETY: the call takes nothing and returns a constant.
    let process = unsafe { GetCurrentProcess() };
    let mut token = null_mut();
    // SAFETY: the process is this one; `token` is a live place for the answer.
    unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) };
    owned(token)
}

/// A handle to this thread that is no pseudo handle.
#[must_use]
pub fn thread() -> OwnedHandle {
    // SAFETY: the call takes nothing and returns a constant.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: likewise.
    let thread = unsafe { GetCurrentThread() };
    let mut copy = null_mut();
    // SAFETY: both are this process's own; `copy` is a live place for the answer.
    unsafe { DuplicateHandle(process, thread, process, &raw mut copy, 0, 0, DUPLICATE_SAME_ACCESS) };
    owned(copy)
}

/// An anonymous pipe, the end to read from first.
#[must_use]
pub fn pipe() -> (OwnedHandle, OwnedHandle) {
    let (mut from, mut to) = (null_mut(), null_mut());
    // SAFETY: both are live places for the answers; no attributes are documented as NULL.
    unsafe { CreatePipe(&raw mut from, &raw mut to, null(), 0) };
    (owned(from), owned(to))
}

/// Whether a section can be mapped for reading, or for writing too.
#[must_use]
pub fn can_map(section: BorrowedHandle<'_>, writing: bool) -> bool {
    let access = if writing { FILE_MAP_READ | FILE_MAP_WRITE } else { FILE_MAP_READ };
    // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a section.
    let view = unsafe { MapViewOfFile(section.as_raw_handle(), access, 0, 0, 0) };
    if view.Value.is_null() {
        return false;
    }
    // SAFETY: the view was made just now, and nobody has a pointer into it.
    unsafe { UnmapViewOfFile(view) };
    true
}

/// The words of a section, to read and to scribble on; mapped for the rest of the process.
///
/// # Panics
///
/// If it can't be mapped.
#[must_use]
pub fn words(section: BorrowedHandle<'_>, count: usize) -> &'static [AtomicU64] {
    // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a section with room for so much.
    let MEMORY_MAPPED_VIEW_ADDRESS { Value: view } =
        unsafe { MapViewOfFile(section.as_raw_handle(), FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, count * 8) };
    assert!(!view.is_null(), "{}", io::Error::last_os_error());
    // SAFETY: the view has room for the words, and is never unmapped.
    unsafe { std::slice::from_raw_parts(view.cast(), count) }
}

/// The server's end of a pipe of this name, made by somebody who is after the clients of another.
///
/// # Errors
///
/// The system's, if the name is in use.
pub fn squat(path: &str) -> io::Result<OwnedHandle> {
    let path: Vec<u16> = OsStr::new(path).encode_wide().chain(Some(0)).collect();
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

/// Who may do what with an object, in the security descriptor definition language.
///
/// # Panics
///
/// If the handle doesn't let one ask.
#[must_use]
pub fn who_is_let_in(object: BorrowedHandle<'_>) -> String {
    let (mut descriptor, mut list, mut text) = (null_mut(), null_mut(), null_mut());
    // SAFETY: the handle is borrowed, so it is open; the places for the answers are live, and the others are not asked for.
    let code = unsafe {
        GetSecurityInfo(
            object.as_raw_handle(),
            SE_KERNEL_OBJECT,
            DACL_SECURITY_INFORMATION,
            null_mut(),
            null_mut(),
            &raw mut list,
            null_mut(),
            &raw mut descriptor,
        )
    };
    assert_eq!(code, 0);
    // SAFETY: the descriptor is the system's answer, which nobody frees; `text` is a live place for the answer.
    let answer = unsafe {
        ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor,
            SDDL_REVISION_1,
            DACL_SECURITY_INFORMATION,
            &raw mut text,
            null_mut(),
        )
    };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
    let mut units = Vec::new();
    loop {
        // SAFETY: the text ends with NUL, behind which nothing is read.
        let unit = unsafe { text.wrapping_add(units.len()).read() };
        if unit == 0 {
            return String::from_utf16(&units).expect("ASCII");
        }
        units.push(unit);
    }
}

/// Waits for a client of such a pipe.
pub fn wait_for_client(pipe: &OwnedHandle) {
    // SAFETY: the pipe is open, and not overlapped. A failure means that the client is there already.
    unsafe { ConnectNamedPipe(pipe.as_raw_handle(), null_mut()) };
}

/// The client's end of a pipe of this name, to read from.
///
/// # Errors
///
/// The system's, if there is none or it is busy.
pub fn knock(path: &str) -> io::Result<OwnedHandle> {
    let path: Vec<u16> = OsStr::new(path).encode_wide().chain(Some(0)).collect();
    // SAFETY: the name ends with NUL; no attributes and no template are documented as NULL.
    let raw = unsafe { CreateFileW(path.as_ptr(), GENERIC_READ, 0, null(), OPEN_EXISTING, 0, null_mut()) };
    if raw == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    Ok(owned(raw))
}

/// Writes to a pipe, overlapped or not; false if it can't be done within this time.
///
/// # Panics
///
/// If the system has no room for an event.
pub fn write(pipe: BorrowedHandle<'_>, bytes: &[u8], time: Duration) -> bool {
    transfer(pipe, time, |record| {
        let length = u32::try_from(bytes.len()).expect("short");
        // SAFETY: the pipe is open; the bytes and the record live until the transfer is over.
        unsafe { WriteFile(pipe.as_raw_handle(), bytes.as_ptr(), length, null_mut(), record) }
    })
    .is_some_and(|written| written == bytes.len())
}

/// Reads once from a pipe, overlapped or not; `None` if nothing comes within this time.
#[must_use]
pub fn read(pipe: BorrowedHandle<'_>, time: Duration) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 64 * 1024];
    let length = u32::try_from(buffer.len()).ok()?;
    let read = transfer(pipe, time, |record| {
        // SAFETY: the pipe is open; the buffer and the record live until the transfer is over.
        unsafe { ReadFile(pipe.as_raw_handle(), buffer.as_mut_ptr(), length, null_mut(), record) }
    })?;
    buffer.truncate(read);
    Some(buffer)
}

fn transfer(
    pipe: BorrowedHandle<'_>,
    time: Duration,
    begin: impl FnOnce(*mut OVERLAPPED) -> i32,
) -> Option<usize> {
    // SAFETY: neither attributes nor a name are documented as NULL.
    let done = owned(unsafe { CreateEventW(null(), 1, 0, null()) });
    let mut record = OVERLAPPED { hEvent: done.as_raw_handle(), ..Default::default() };
    let answer = begin(&raw mut record);
    let pending = i32::try_from(ERROR_IO_PENDING).expect("a small code");
    if answer == 0 && io::Error::last_os_error().raw_os_error() != Some(pending) {
        return None;
    }
    let milliseconds = u32::try_from(time.as_millis()).expect("a short time");
    // SAFETY: the event is open.
    if unsafe { WaitForSingleObject(done.as_raw_handle(), milliseconds) } != 0 {
        // SAFETY: the pipe is open, and the record is the transfer's.
        unsafe { CancelIoEx(pipe.as_raw_handle(), &raw const record) };
    }
    let mut moved = 0;
    // SAFETY: as above; the call waits for the end of the transfer, after which nobody has the record.
    let answer = unsafe { GetOverlappedResult(pipe.as_raw_handle(), &raw const record, &raw mut moved, 1) };
    (answer != 0).then_some(moved as usize)
}
