//! Reads handle tables from the kernel, without the library under test.
//!
//! It contains unsafe code because it makes system calls directly, like the library's `sys`.

#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null_mut, with_exposed_provenance_mut};

use windows_sys::Wdk::System::SystemInformation::NtQuerySystemInformation;
use windows_sys::Win32::Foundation::{
    CloseHandle, CompareObjectHandles, DUPLICATE_SAME_ACCESS, DuplicateHandle, GetHandleInformation,
    HANDLE_FLAG_INHERIT, HANDLE_FLAG_PROTECT_FROM_CLOSE, INVALID_HANDLE_VALUE, LocalFree,
    STATUS_INFO_LENGTH_MISMATCH, SetHandleInformation,
};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
    TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetThreadDescription, OpenProcess, OpenThread, PROCESS_DUP_HANDLE,
    PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, ResumeThread, SuspendThread, THREAD_QUERY_LIMITED_INFORMATION,
    THREAD_SUSPEND_RESUME, TerminateProcess, WaitForSingleObject,
};

pub use super::raw::{mutex, semaphore};

/// A handle of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The handle's value in that process.
    pub value: u32,
    /// The access mask.
    pub access: u32,
    /// Whether every child that inherits handles gets this one.
    pub inheritable: bool,
}

/// An entry of `SYSTEM_HANDLE_INFORMATION_EX`, which begins with two words, followed by the entries.
#[repr(C)]
#[derive(Clone, Copy)]
struct SystemHandle {
    object: usize,
    process: usize,
    value: usize,
    access: u32,
    creator_back_trace_index: u16,
    object_type_index: u16,
    attributes: u32,
    reserved: u32,
}

/// Returns the handles of a process. This counts handles too, because Wine has `GetProcessHandleCount` only as a stub.
///
/// # Panics
///
/// Panics if the query fails.
#[must_use]
pub fn of(process: u32) -> Vec<Entry> {
    const SYSTEM_EXTENDED_HANDLE_INFORMATION: i32 = 64;
    const HEADER: usize = 2 * size_of::<usize>();
    let mut buffer = vec![0_u64; 64 * 1024];
    loop {
        let size = u32::try_from(size_of_val(buffer.as_slice())).expect("the table is smaller than 4 GiB");
        // SAFETY: the buffer has `size` bytes, and the call writes at most that many.
        let status = unsafe {
            NtQuerySystemInformation(
                SYSTEM_EXTENDED_HANDLE_INFORMATION,
                buffer.as_mut_ptr().cast(),
                size,
                null_mut(),
            )
        };
        if status == STATUS_INFO_LENGTH_MISMATCH {
            buffer.resize(buffer.len() * 2, 0);
            continue;
        }
        assert!(status >= 0, "NtQuerySystemInformation: {status:#x}");
        break;
    }
    // SAFETY: the buffer begins with the count, a word of this process's width, and is aligned for it.
    let count = unsafe { buffer.as_ptr().cast::<usize>().read() };
    let room = (size_of_val(buffer.as_slice()) - HEADER) / size_of::<SystemHandle>();
    assert!(count <= room);
    // SAFETY: the buffer is longer than the header of two words, so the address is within it.
    let first = unsafe { buffer.as_ptr().byte_add(HEADER) }.cast::<SystemHandle>();
    // SAFETY: the call has written `count` entries, and the assertion checks that the buffer holds them. The fields are
    // integers, for which any bits are valid, and a `u64` buffer is aligned for them.
    let handles = unsafe { std::slice::from_raw_parts(first, count) };
    let entry = |handle: &SystemHandle| Entry {
        value: u32::try_from(handle.value).expect("a handle has 32 bits"),
        access: handle.access,
        inheritable: handle.attributes & 2 != 0,
    };
    handles.iter().filter(|handle| handle.process == process as usize).map(entry).collect()
}

/// Returns the number of this process's handles.
#[must_use]
pub fn count() -> usize {
    of(std::process::id()).len()
}

/// Returns the entry of one handle of a process, if it is open.
#[must_use]
pub fn entry(process: u32, value: u32) -> Option<Entry> {
    of(process).into_iter().find(|entry| entry.value == value)
}

/// Opens a process by its id.
///
/// # Errors
///
/// Returns the system's error if the process doesn't exist or can't be opened.
pub fn open(process: u32) -> io::Result<OwnedHandle> {
    // SAFETY: the call takes only integers.
    let raw =
        unsafe { OpenProcess(PROCESS_DUP_HANDLE | PROCESS_SYNCHRONIZE | PROCESS_TERMINATE, 0, process) };
    owned(raw)
}

/// Kills a process.
///
/// # Panics
///
/// Panics if it can't be killed.
pub fn kill(process: u32) {
    let process = open(process).expect("the process is there");
    // SAFETY: the handle is owned, so it is open.
    let answer = unsafe { TerminateProcess(process.as_raw_handle(), 77) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// Returns whether a process exits within this time. A process that can't be opened has exited.
#[must_use]
pub fn ends_within(process: u32, milliseconds: u32) -> bool {
    let Ok(process) = open(process) else { return true };
    // SAFETY: the handle is owned, so it stays open through the wait.
    unsafe { WaitForSingleObject(process.as_raw_handle(), milliseconds) == 0 }
}

/// Returns the values of the handles by which a process refers to this object.
///
/// # Panics
///
/// Panics if the process can't be opened.
#[must_use]
pub fn values_of(object: &impl AsHandle, process: u32) -> Vec<u32> {
    let source = open(process).expect("the process is there");
    let is_same = |entry: &Entry| pull(&source, entry.value).is_ok_and(|copy| same_object(&copy, object));
    of(process).into_iter().filter(is_same).map(|entry| entry.value).collect()
}

/// Returns the value of a handle of this process.
///
/// # Panics
///
/// Panics if it has more than 32 bits, which no handle value has.
#[must_use]
pub fn value(handle: &impl AsHandle) -> u32 {
    u32::try_from(handle.as_handle().as_raw_handle().expose_provenance()).expect("a handle has 32 bits")
}

/// Returns whether handles of two processes refer to the same object.
///
/// # Panics
///
/// Panics if one of the handles isn't open.
#[must_use]
pub fn is_same_elsewhere(process: u32, value: u32, other_process: u32, other_value: u32) -> bool {
    let [one, other] = [(process, value), (other_process, other_value)].map(|(process, value)| {
        let process = open(process).expect("the process is there");
        pull(&process, value).expect("the handle is open")
    });
    same_object(&one, &other)
}

fn pull(source: &OwnedHandle, value: u32) -> io::Result<OwnedHandle> {
    let mut copy = null_mut();
    // SAFETY: the call has no arguments and returns a constant.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: both process handles are open; the kernel looks up the value and fails if it isn't a handle of the
    // source; `copy` is writable memory for the result.
    let answer = unsafe {
        DuplicateHandle(
            source.as_raw_handle(),
            with_exposed_provenance_mut(value as usize),
            this,
            &raw mut copy,
            0,
            0,
            DUPLICATE_SAME_ACCESS,
        )
    };
    if answer == 0 {
        return Err(io::Error::last_os_error());
    }
    owned(copy)
}

/// Returns whether two handles of this process refer to the same object.
#[must_use]
pub fn same_object(one: &impl AsHandle, other: &impl AsHandle) -> bool {
    let (one, other) = (one.as_handle(), other.as_handle());
    // SAFETY: both handles are borrowed, so they are open.
    unsafe { CompareObjectHandles(one.as_raw_handle(), other.as_raw_handle()) != 0 }
}

/// Closes a handle by its value, without owning it.
///
/// # Panics
///
/// Panics if it isn't open.
pub fn close_value(value: u32) {
    // SAFETY: no Rust object owns the handle: this process inherited it and has not adopted it.
    let answer = unsafe { CloseHandle(with_exposed_provenance_mut(value as usize)) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// Returns the pseudo handle of the current process, which has the same value as `INVALID_HANDLE_VALUE`.
#[must_use]
pub fn current_process() -> BorrowedHandle<'static> {
    // SAFETY: the call has no arguments and returns a constant.
    let raw = unsafe { GetCurrentProcess() };
    // SAFETY: the pseudo handle is a constant that is valid as long as the process runs.
    unsafe { BorrowedHandle::borrow_raw(raw) }
}

/// Borrows a handle by its value. The caller keeps it open.
#[must_use]
pub fn borrowed(value: u32) -> BorrowedHandle<'static> {
    // SAFETY: each caller is a test that keeps the handle open while it uses the result.
    unsafe { BorrowedHandle::borrow_raw(with_exposed_provenance_mut(value as usize)) }
}

/// Returns an owner of `INVALID_HANDLE_VALUE`, which std allows. Code that ignores a failure of `CreateFile` has one.
#[must_use]
pub fn invalid_owned() -> OwnedHandle {
    // SAFETY: closing the pseudo handle of the current process has no effect.
    unsafe { OwnedHandle::from_raw_handle(INVALID_HANDLE_VALUE) }
}

/// Returns a handle that isn't open, as a program has that closed one too early.
#[must_use]
pub fn closed_handle() -> BorrowedHandle<'static> {
    // SAFETY: this breaks the rule that a borrowed handle is open, on purpose: the tests expect an error. No test opens
    // enough handles for another one to get this value.
    unsafe { BorrowedHandle::borrow_raw(with_exposed_provenance_mut(0x7_fff0)) }
}

/// Returns whether a handle of this process is inheritable.
///
/// # Panics
///
/// Panics if it isn't open.
#[must_use]
pub fn is_inheritable(handle: &impl AsHandle) -> bool {
    let mut flags = 0;
    // SAFETY: the handle is borrowed, so it is open; `flags` is writable memory for the result.
    let answer = unsafe { GetHandleInformation(handle.as_handle().as_raw_handle(), &raw mut flags) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
    flags & HANDLE_FLAG_INHERIT != 0
}

/// Makes a handle inheritable, as careless code in the same process might.
///
/// # Panics
///
/// Panics if the call fails.
pub fn make_inheritable(handle: &impl AsHandle) {
    // SAFETY: the handle is borrowed, so it is open.
    let answer = unsafe {
        SetHandleInformation(handle.as_handle().as_raw_handle(), HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT)
    };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// Sets or clears a handle's protection from being closed.
///
/// # Panics
///
/// Panics if the call fails.
pub fn protect_from_close(handle: &impl AsHandle, protect: bool) {
    let flag = HANDLE_FLAG_PROTECT_FROM_CLOSE;
    let value = if protect { flag } else { 0 };
    // SAFETY: the handle is borrowed, so it is open.
    let answer = unsafe { SetHandleInformation(handle.as_handle().as_raw_handle(), flag, value) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// Does nothing: Windows has no such low limit of handles.
pub const fn make_room(_handles: usize) {}

/// Does nothing: on Windows, no leaked handles of the test program's parent need to be cleared.
pub const fn keep_what_is_left_open() {}

/// Makes this process's inherited handles, except its streams, not inheritable. They are the streams of the processes
/// before it, if std's `Command` started it.
///
/// # Panics
///
/// Panics if a call fails.
pub fn keep_what_came() {
    keep(|is_stream| !is_stream);
}

/// Makes this process's streams not inheritable. std copies a stream that a child is to get, so children still get
/// theirs.
///
/// # Panics
///
/// Panics if a call fails.
pub fn keep_streams() {
    keep(|is_stream| is_stream);
}

/// Sets this process's standard input to this handle value.
///
/// # Panics
///
/// Panics if the call fails.
pub fn be_standard_input(value: u32) {
    use windows_sys::Win32::System::Console::{STD_INPUT_HANDLE, SetStdHandle};
    // SAFETY: the call only stores the number in this process's parameters; the kernel checks it at each use.
    let answer = unsafe { SetStdHandle(STD_INPUT_HANDLE, with_exposed_provenance_mut(value as usize)) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// Clears the inherit flag of the selected handles of this process.
fn keep(is_to_be_kept: impl Fn(bool) -> bool) {
    use windows_sys::Win32::System::Console::{
        GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
    };
    let streams = [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE].map(|which| {
        // SAFETY: the call takes a constant and only reads this process's parameters.
        let stream = unsafe { GetStdHandle(which) };
        stream.addr()
    });
    let inherited = of(std::process::id());
    let kept = |entry: &&Entry| entry.inheritable && is_to_be_kept(streams.contains(&(entry.value as usize)));
    for entry in inherited.iter().filter(kept) {
        let raw = with_exposed_provenance_mut(entry.value as usize);
        // SAFETY: the kernel checks the value, and the flag doesn't affect how the handle's owner uses it.
        let answer = unsafe { SetHandleInformation(raw, HANDLE_FLAG_INHERIT, 0) };
        assert_ne!(answer, 0, "{}", io::Error::last_os_error());
    }
}

/// Returns whether this process runs under Wine, which lacks some features of Windows. A test that leaves something out
/// for this reason reports it.
#[must_use]
pub fn is_wine() -> bool {
    // SAFETY: the name is a C string literal, which ends with NUL.
    let library = unsafe { GetModuleHandleA(c"ntdll.dll".as_ptr().cast()) };
    // SAFETY: ntdll is loaded in every process and never unloaded; the name ends with NUL; the address is never called.
    unsafe { GetProcAddress(library, c"wine_get_version".as_ptr().cast()) }.is_some()
}

/// Returns the ids of a process's children, from a Toolhelp snapshot.
///
/// # Panics
///
/// Panics if the snapshot fails.
#[must_use]
pub fn children_of(parent: u32) -> Vec<u32> {
    ids_where(|entry| entry.th32ParentProcessID == parent)
}

/// Returns the ids of the processes that run a program of this file name.
///
/// # Panics
///
/// Panics if the snapshot fails.
#[must_use]
pub fn processes_of(file_name: &str) -> Vec<u32> {
    ids_where(|entry| {
        let name = entry.szExeFile.split(|unit| *unit == 0).next().unwrap_or_default();
        String::from_utf16_lossy(name).eq_ignore_ascii_case(file_name)
    })
}

/// Returns the ids of some of all processes.
fn ids_where(is_one: impl Fn(&PROCESSENTRY32W) -> bool) -> Vec<u32> {
    // SAFETY: the call takes only integers.
    let raw = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    assert_ne!(raw, INVALID_HANDLE_VALUE, "{}", io::Error::last_os_error());
    let snapshot = owned(raw).expect("it is not NULL");
    let mut entry = PROCESSENTRY32W {
        dwSize: u32::try_from(size_of::<PROCESSENTRY32W>()).expect("a small structure"),
        ..Default::default()
    };
    let mut ids = Vec::new();
    // SAFETY: the snapshot is owned, so it is open; `entry` is writable and contains its own size.
    let mut more = unsafe { Process32FirstW(snapshot.as_raw_handle(), &raw mut entry) };
    while more != 0 {
        if is_one(&entry) {
            ids.push(entry.th32ProcessID);
        }
        // SAFETY: the snapshot is owned, so it is open; `entry` is writable and contains its own size.
        more = unsafe { Process32NextW(snapshot.as_raw_handle(), &raw mut entry) };
    }
    ids
}

/// Suspends a process's only thread once more.
///
/// # Panics
///
/// Panics if the system refuses it.
pub fn suspend(process: u32) {
    let thread = only_thread(process);
    // SAFETY: the handle is owned, so it is open, and it is a thread's.
    assert_ne!(unsafe { SuspendThread(thread.as_raw_handle()) }, u32::MAX, "{}", io::Error::last_os_error());
}

/// Resumes a process's only thread.
///
/// # Panics
///
/// Panics if the system refuses it.
pub fn resume(process: u32) {
    let thread = only_thread(process);
    // SAFETY: the handle is owned, so it is open, and it is a thread's.
    assert_ne!(unsafe { ResumeThread(thread.as_raw_handle()) }, u32::MAX, "{}", io::Error::last_os_error());
}

/// Returns the number of this process's threads.
///
/// # Panics
///
/// Panics if the system refuses the query.
#[must_use]
pub fn threads() -> usize {
    thread_ids(std::process::id()).len()
}

/// Returns the number of threads by which Wine's thread pool waits for this process's handles. Each of them has an event,
/// which it closes when it exits, five seconds after the pool's last wait. Windows has no such threads.
///
/// # Panics
///
/// Panics if the system refuses the query.
#[must_use]
pub fn wine_pool_waiters() -> usize {
    thread_ids(std::process::id()).into_iter().filter(|id| is_wine_pool_waiter(*id)).count()
}

fn is_wine_pool_waiter(id: u32) -> bool {
    // SAFETY: the call takes only integers.
    let Ok(thread) = owned(unsafe { OpenThread(THREAD_QUERY_LIMITED_INFORMATION, 0, id) }) else {
        // It has exited.
        return false;
    };
    let mut name = null_mut();
    // SAFETY: the handle is owned, so it is open; `name` is writable memory for the result.
    let answer = unsafe { GetThreadDescription(thread.as_raw_handle(), &raw mut name) };
    assert!(answer >= 0, "GetThreadDescription: {answer:#x}");
    let units = (0..).map(|index| name.wrapping_add(index).cast_const());
    // SAFETY: the call has succeeded, so `name` is a string that ends with NUL, and the closure reads no unit after that.
    let length = units.take_while(|unit| unsafe { unit.read() } != 0).count();
    // SAFETY: the string has that many units, and stays allocated until the call below.
    let units = unsafe { std::slice::from_raw_parts(name, length) };
    let is_one = String::from_utf16_lossy(units) == "wine_threadpool_waitqueue";
    // SAFETY: the call has allocated the string, its documentation names this function to free it, and `units` isn't
    // used afterwards.
    unsafe { LocalFree(name.cast()) };
    is_one
}

/// Returns the ids of a process's threads.
fn thread_ids(process: u32) -> Vec<u32> {
    // SAFETY: the call takes only integers.
    let raw = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    assert_ne!(raw, INVALID_HANDLE_VALUE, "{}", io::Error::last_os_error());
    let snapshot = owned(raw).expect("it is not NULL");
    let mut entry = THREADENTRY32 {
        dwSize: u32::try_from(size_of::<THREADENTRY32>()).expect("a small structure"),
        ..Default::default()
    };
    // SAFETY: the snapshot is owned, so it is open; `entry` is writable and contains its own size.
    let mut more = unsafe { Thread32First(snapshot.as_raw_handle(), &raw mut entry) };
    let mut ids = Vec::new();
    while more != 0 {
        if entry.th32OwnerProcessID == process {
            ids.push(entry.th32ThreadID);
        }
        // SAFETY: the snapshot is owned, so it is open; `entry` is writable and contains its own size.
        more = unsafe { Thread32Next(snapshot.as_raw_handle(), &raw mut entry) };
    }
    ids
}

fn only_thread(process: u32) -> OwnedHandle {
    let ids = thread_ids(process);
    let id = ids.first().unwrap_or_else(|| panic!("process {process} has no thread"));
    // SAFETY: the call takes only integers.
    owned(unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, *id) }).expect("the thread can be opened")
}

fn owned(raw: *mut std::ffi::c_void) -> io::Result<OwnedHandle> {
    if raw.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: each caller passes the result of a call that has just created the handle, and it isn't NULL, so no other
    // object owns it.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) })
}

/// Reads from an unmapped address, which kills this process.
pub fn touch_no_memory() -> ! {
    // SAFETY: this breaks the rule that the address is readable, on purpose: the system kills the process.
    unsafe { std::ptr::without_provenance::<u8>(8).read_volatile() };
    panic!("there is memory at 8");
}
