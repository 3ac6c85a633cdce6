//! Objects as bare Win32 has them, without the library that is tested, and of kinds that it has no type for.

#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, IntoRawSocket, OwnedHandle, OwnedSocket};
use std::ptr::{null, null_mut, with_exposed_provenance_mut};
use std::sync::atomic::AtomicU64;

use handover::ObjectKind;
use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1, SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{DACL_SECURITY_INFORMATION, TOKEN_QUERY};
use windows_sys::Win32::System::Diagnostics::Debug::{DebugBreak, OutputDebugStringA};
use windows_sys::Win32::System::JobObjects::CreateJobObjectW;
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile,
    PAGE_READWRITE, UnmapViewOfFile,
};
use windows_sys::Win32::System::Pipes::CreatePipe;
use windows_sys::Win32::System::Threading::{
    CreateMutexW, CreateSemaphoreW, CreateWaitableTimerW, GetCurrentProcess, GetCurrentThread,
    OpenProcessToken,
};

use super::table;

/// An object by its name, as a test tells it, and by its kind.
pub type Object = (&'static str, OwnedHandle, ObjectKind);

/// One of each kind that does no harm in another process and that the library didn't make.
#[must_use]
pub fn objects() -> Vec<Object> {
    vec![
        ("mutex", mutex(), ObjectKind::Mutex),
        ("semaphore", semaphore(), ObjectKind::Semaphore),
        ("section", section(), ObjectKind::SharedMemory),
        ("timer", timer(), ObjectKind::Timer),
    ]
}

/// What is power over a process.
#[must_use]
pub fn power() -> Vec<Object> {
    vec![
        ("process", this_process(), ObjectKind::Process),
        ("thread", thread(), ObjectKind::Thread),
        ("job", job(), ObjectKind::Job),
        ("token", token(), ObjectKind::Token),
    ]
}

pub(super) fn owned(raw: *mut std::ffi::c_void) -> OwnedHandle {
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
pub fn can_map(section: &impl AsHandle, writing: bool) -> bool {
    let access = if writing { FILE_MAP_READ | FILE_MAP_WRITE } else { FILE_MAP_READ };
    // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a section.
    let view = unsafe { MapViewOfFile(section.as_handle().as_raw_handle(), access, 0, 0, 0) };
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
pub fn words(section: &impl AsHandle, count: usize) -> &'static [AtomicU64] {
    // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a section with room for so much.
    let MEMORY_MAPPED_VIEW_ADDRESS { Value: view } = unsafe {
        MapViewOfFile(section.as_handle().as_raw_handle(), FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, count * 8)
    };
    assert!(!view.is_null(), "{}", io::Error::last_os_error());
    // SAFETY: the view has room for the words, and is never unmapped.
    unsafe { std::slice::from_raw_parts(view.cast(), count) }
}

/// Who may do what with an object, in the security descriptor definition language.
///
/// # Panics
///
/// If the handle doesn't let one ask.
#[must_use]
pub fn who_is_let_in(object: &impl AsHandle) -> String {
    let (mut descriptor, mut list, mut text) = (null_mut(), null_mut(), null_mut());
    // SAFETY: the handle is borrowed, so it is open; the places for the answers are live, and the others are not asked for.
    let code = unsafe {
        GetSecurityInfo(
            object.as_handle().as_raw_handle(),
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

/// A mutex.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn mutex() -> OwnedHandle {
    // SAFETY: neither attributes nor a name are documented as NULL.
    let raw = unsafe { CreateMutexW(null(), 0, null()) };
    owned(raw)
}

/// A semaphore.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn semaphore() -> OwnedHandle {
    // SAFETY: neither attributes nor a name are documented as NULL.
    let raw = unsafe { CreateSemaphoreW(null(), 0, 1, null()) };
    owned(raw)
}

/// A section of one page, backed by the page file.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn section() -> OwnedHandle {
    // SAFETY: INVALID_HANDLE_VALUE stands for the page file; neither attributes nor a name are documented as NULL.
    let raw = unsafe { CreateFileMappingW(INVALID_HANDLE_VALUE, null(), PAGE_READWRITE, 0, 4096, null()) };
    owned(raw)
}

/// A waitable timer.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn timer() -> OwnedHandle {
    // SAFETY: neither attributes nor a name are documented as NULL.
    let raw = unsafe { CreateWaitableTimerW(null(), 1, null()) };
    owned(raw)
}

/// A job.
///
/// # Panics
///
/// If the system has no room.
#[must_use]
pub fn job() -> OwnedHandle {
    // SAFETY: neither attributes nor a name are documented as NULL.
    let raw = unsafe { CreateJobObjectW(null(), null()) };
    owned(raw)
}

/// A handle to this process that is no pseudo handle.
///
/// # Panics
///
/// If it can't be opened.
#[must_use]
pub fn this_process() -> OwnedHandle {
    table::open(std::process::id()).expect("a process can open itself")
}

/// A socket as an owner of handles has it that doesn't look what it owns.
#[must_use]
pub fn handle_of_socket(socket: impl Into<OwnedSocket>) -> OwnedHandle {
    let raw = socket.into().into_raw_socket();
    // SAFETY: the socket's owner has given it away just now; closing it as a handle leaks at most what Winsock keeps.
    unsafe {
        OwnedHandle::from_raw_handle(with_exposed_provenance_mut(usize::try_from(raw).expect("32 bits")))
    }
}

/// Comes to a breakpoint, which without a debugger is the end of this process.
pub fn break_into_a_debugger() {
    // SAFETY: the call takes nothing.
    unsafe { DebugBreak() };
}

/// Says something that only a debugger hears.
pub fn say_to_a_debugger() {
    // SAFETY: the text ends with NUL.
    unsafe { OutputDebugStringA(c"is there one?".as_ptr().cast()) };
}
