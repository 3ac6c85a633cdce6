//! Kernel objects made by bare Win32 calls, without the library under test, including kinds for which it has no type.

#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{
    AsHandle, AsRawHandle, BorrowedSocket, FromRawHandle, IntoRawSocket, OwnedHandle, OwnedSocket,
};
use std::ptr::{null, null_mut, with_exposed_provenance_mut};
use std::sync::atomic::AtomicU64;

use handover::ObjectKind;
use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, INVALID_HANDLE_VALUE, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, GetSecurityInfo, SDDL_REVISION_1, SE_KERNEL_OBJECT,
};
use windows_sys::Win32::Security::{DACL_SECURITY_INFORMATION, TOKEN_QUERY};
use windows_sys::Win32::System::Diagnostics::Debug::{DebugBreak, OutputDebugStringA, RaiseException};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOBOBJECT_BASIC_ACCOUNTING_INFORMATION,
    JobObjectBasicAccountingInformation, QueryInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile,
    PAGE_READWRITE, UnmapViewOfFile,
};
use windows_sys::Win32::System::Pipes::CreatePipe;
use windows_sys::Win32::System::Threading::{
    CreateMutexW, CreateSemaphoreW, CreateWaitableTimerW, GetCurrentProcess, GetCurrentThread,
    GetStartupInfoW, OpenProcessToken, STARTF_USESHOWWINDOW, STARTUPINFOW, TerminateThread,
    WaitForSingleObject,
};

use super::table;

/// An object with its name in a test and its kind.
pub type Object = (&'static str, OwnedHandle, ObjectKind);

/// Returns one object of each kind that gives no power over a process, made without the library.
#[must_use]
pub fn objects() -> Vec<Object> {
    vec![
        ("mutex", mutex(), ObjectKind::Mutex),
        ("semaphore", semaphore(), ObjectKind::Semaphore),
        ("section", section(), ObjectKind::SharedMemory),
        ("timer", timer(), ObjectKind::Timer),
    ]
}

/// Returns objects that give power over a process.
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
    // SAFETY: each caller passes the result of a call that has just created the handle, and the assertion excludes its
    // failure, so no other object owns it.
    unsafe { OwnedHandle::from_raw_handle(raw) }
}

/// Opens the token of this process.
#[must_use]
pub fn token() -> OwnedHandle {
    // SAFETY: the call has no arguments and returns a constant.
    let process = unsafe { GetCurrentProcess() };
    let mut token = null_mut();
    // SAFETY: the process is the current one; `token` is writable memory for the result.
    unsafe { OpenProcessToken(process, TOKEN_QUERY, &raw mut token) };
    owned(token)
}

/// Returns a real handle to this thread, instead of a pseudo handle.
#[must_use]
pub fn thread() -> OwnedHandle {
    // SAFETY: the call has no arguments and returns a constant.
    let process = unsafe { GetCurrentProcess() };
    // SAFETY: the call has no arguments and returns a constant.
    let thread = unsafe { GetCurrentThread() };
    let mut copy = null_mut();
    // SAFETY: the pseudo handles of the current process and thread are always valid; `copy` is writable memory for the
    // result.
    unsafe { DuplicateHandle(process, thread, process, &raw mut copy, 0, 0, DUPLICATE_SAME_ACCESS) };
    owned(copy)
}

/// Creates an anonymous pipe and returns its read end and write end.
#[must_use]
pub fn pipe() -> (OwnedHandle, OwnedHandle) {
    let (mut from, mut to) = (null_mut(), null_mut());
    // SAFETY: `from` and `to` are writable memory for the results; the security attributes may be NULL.
    unsafe { CreatePipe(&raw mut from, &raw mut to, null(), 0) };
    (owned(from), owned(to))
}

/// Returns whether shared memory can be mapped for reading, or also for writing.
#[must_use]
pub fn can_map(section: &impl AsHandle, writing: bool) -> bool {
    let access = if writing { FILE_MAP_READ | FILE_MAP_WRITE } else { FILE_MAP_READ };
    // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a section.
    let view = unsafe { MapViewOfFile(section.as_handle().as_raw_handle(), access, 0, 0, 0) };
    if view.Value.is_null() {
        return false;
    }
    // SAFETY: the view was mapped by this function, and no pointer into it exists.
    unsafe { UnmapViewOfFile(view) };
    true
}

/// Maps shared memory as words, for the rest of the process.
///
/// # Panics
///
/// Panics if it can't be mapped.
#[must_use]
pub fn words(section: &impl AsHandle, count: usize) -> &'static [AtomicU64] {
    // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a section of at least this size.
    let MEMORY_MAPPED_VIEW_ADDRESS { Value: view } = unsafe {
        MapViewOfFile(section.as_handle().as_raw_handle(), FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, count * 8)
    };
    assert!(!view.is_null(), "{}", io::Error::last_os_error());
    // SAFETY: the mapping succeeded, so the view holds `count` words. It is page-aligned, never unmapped, and accessed
    // only atomically.
    unsafe { std::slice::from_raw_parts(view.cast(), count) }
}

/// Returns an object's discretionary access control list, in the security descriptor definition language.
///
/// # Panics
///
/// Panics if the handle lacks the right to read it.
#[must_use]
pub fn access_list(object: &impl AsHandle) -> String {
    let (mut descriptor, mut list, mut text) = (null_mut(), null_mut(), null_mut());
    // SAFETY: the handle is borrowed, so it is open; `list` and `descriptor` are writable memory for the results, and
    // results that aren't requested may be NULL.
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
    // SAFETY: the descriptor is the result of the successful call before and is never freed; `text` is writable memory
    // for the result.
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
        // SAFETY: the text ends with NUL, and the loop returns at the NUL, so each read is within the text.
        let unit = unsafe { text.wrapping_add(units.len()).read() };
        if unit == 0 {
            return String::from_utf16(&units).expect("ASCII");
        }
        units.push(unit);
    }
}

/// Creates a mutex.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn mutex() -> OwnedHandle {
    // SAFETY: the security attributes and the name may be NULL.
    let raw = unsafe { CreateMutexW(null(), 0, null()) };
    owned(raw)
}

/// Creates a semaphore.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn semaphore() -> OwnedHandle {
    // SAFETY: the security attributes and the name may be NULL.
    let raw = unsafe { CreateSemaphoreW(null(), 0, 1, null()) };
    owned(raw)
}

/// Creates shared memory of one page, backed by the page file.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn section() -> OwnedHandle {
    // SAFETY: INVALID_HANDLE_VALUE selects the page file; the security attributes and the name may be NULL.
    let raw = unsafe { CreateFileMappingW(INVALID_HANDLE_VALUE, null(), PAGE_READWRITE, 0, 4096, null()) };
    owned(raw)
}

/// Creates a waitable timer.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn timer() -> OwnedHandle {
    // SAFETY: the security attributes and the name may be NULL.
    let raw = unsafe { CreateWaitableTimerW(null(), 1, null()) };
    owned(raw)
}

/// Creates a job.
///
/// # Panics
///
/// Panics if the system cannot create it.
#[must_use]
pub fn job() -> OwnedHandle {
    // SAFETY: the security attributes and the name may be NULL.
    let raw = unsafe { CreateJobObjectW(null(), null()) };
    owned(raw)
}

/// Returns whether a manual-reset event or a process is signaled now.
///
/// # Panics
///
/// Panics if the system refuses.
pub fn is_signaled(handle: &impl AsHandle) -> bool {
    // SAFETY: the handle is borrowed, so it is open. The call accesses no memory of this process.
    match unsafe { WaitForSingleObject(handle.as_handle().as_raw_handle(), 0) } {
        WAIT_OBJECT_0 => true,
        WAIT_TIMEOUT => false,
        _ => panic!("{}", io::Error::last_os_error()),
    }
}

/// Returns the number of running processes in a job.
///
/// # Panics
///
/// Panics if the system refuses.
pub fn processes_in(job: &impl AsHandle) -> u32 {
    let mut answer = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
    let length = u32::try_from(size_of_val(&answer)).unwrap();
    // SAFETY: the job's handle is borrowed, so it is open. `answer` is the structure of this information class, it is
    // live and writable, and the length is its size.
    let answered = unsafe {
        QueryInformationJobObject(
            job.as_handle().as_raw_handle(),
            JobObjectBasicAccountingInformation,
            (&raw mut answer).cast(),
            length,
            null_mut(),
        )
    };
    assert_ne!(answered, 0, "{}", io::Error::last_os_error());
    answer.ActiveProcesses
}

/// Terminates the processes of a job.
///
/// # Panics
///
/// Panics if the system refuses.
pub fn terminate(job: &impl AsHandle) {
    // SAFETY: the job's handle is borrowed, so it is open.
    let answer = unsafe { TerminateJobObject(job.as_handle().as_raw_handle(), 1) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// Opens a real handle to this process, instead of a pseudo handle.
///
/// # Panics
///
/// Panics if it can't be opened.
#[must_use]
pub fn this_process() -> OwnedHandle {
    table::open(std::process::id()).expect("a process can open itself")
}

/// Borrows a socket by its number, which may be another handle's.
#[must_use]
pub fn borrowed_socket(number: u32) -> BorrowedSocket<'static> {
    // SAFETY: the callers use the number of an open handle, and only pass the result to the library, which passes it to
    // Winsock. Winsock checks it.
    unsafe { BorrowedSocket::borrow_raw(number.into()) }
}

/// Converts a socket into an owned handle, as code does that doesn't check the kind of its handle.
#[must_use]
pub fn handle_of_socket(socket: impl Into<OwnedSocket>) -> OwnedHandle {
    let raw = socket.into().into_raw_socket();
    // SAFETY: `into_raw_socket` has given up ownership, so nothing else closes the handle. Closing a socket by
    // `CloseHandle` leaks at most Winsock's own data.
    unsafe {
        OwnedHandle::from_raw_handle(with_exposed_provenance_mut(usize::try_from(raw).expect("32 bits")))
    }
}

/// Kills a thread of this process.
///
/// # Panics
///
/// Panics if the system refuses it.
pub fn terminate_thread(thread: &impl AsHandle) {
    // SAFETY: the handle is borrowed, so it is open. The caller's thread only makes system calls, so it holds no lock of this
    // process.
    let answer = unsafe { TerminateThread(thread.as_handle().as_raw_handle(), 0) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// Executes a breakpoint, which kills this process unless a debugger is attached.
pub fn break_into_a_debugger() {
    // SAFETY: the call has no arguments.
    unsafe { DebugBreak() };
}

/// Raises an exception, which ends this process.
pub fn raise(code: u32) {
    // SAFETY: the exception has no arguments, so the pointer to them may be null.
    unsafe { RaiseException(code, 0, 0, null()) };
}

/// Sends a text to the debugger, if one is attached.
pub fn say_to_a_debugger() {
    // SAFETY: the text is a C string literal, which ends with NUL.
    unsafe { OutputDebugStringA(c"a test for a debugger".as_ptr().cast()) };
}

/// Puts this process into a new job, which lives as long as this process.
///
/// # Panics
///
/// Panics if the system refuses.
pub fn enter_new_job() {
    // SAFETY: both pointers may be null.
    let job = unsafe { CreateJobObjectW(null(), null()) };
    assert!(!job.is_null(), "{}", io::Error::last_os_error());
    // SAFETY: the call has no arguments.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: the job's handle is open, and stays open until this process exits. The other one is the pseudo handle for
    // this process.
    let answer = unsafe { AssignProcessToJobObject(job, this) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// Makes a standard stream of a handle's value.
#[must_use]
pub fn stdio_of_number(handle: OwnedHandle) -> handover::Stdio {
    // SAFETY: the value is that of an open handle, whose owner has just given it up.
    unsafe { handover::Stdio::from_raw_handle(std::os::windows::io::IntoRawHandle::into_raw_handle(handle)) }
}

/// Makes an owner of a child's handle, by its value.
#[must_use]
pub fn handle_of_child(child: handover::Child) -> OwnedHandle {
    // SAFETY: the value is that of an open handle, which the child has just given up.
    unsafe { OwnedHandle::from_raw_handle(std::os::windows::io::IntoRawHandle::into_raw_handle(child)) }
}

/// Returns what this process was told about its first window: whether `wShowWindow` counts, and its value.
#[must_use]
pub fn first_window() -> (bool, u16) {
    let mut startup = STARTUPINFOW::default();
    // SAFETY: the pointer refers to a live, writable structure of this type.
    unsafe { GetStartupInfoW(&raw mut startup) };
    (startup.dwFlags & STARTF_USESHOWWINDOW != 0, startup.wShowWindow)
}
