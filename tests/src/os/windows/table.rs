//! Handle tables as the kernel has them, seen from outside and without the library that is tested.
//!
//! Unsafe, like the library's `sys`, for the same reason: these are system calls.

#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::{null_mut, with_exposed_provenance_mut};

use windows_sys::Wdk::System::SystemInformation::NtQuerySystemInformation;
use windows_sys::Win32::Foundation::{
    CloseHandle, CompareObjectHandles, DUPLICATE_SAME_ACCESS, DuplicateHandle, GetHandleInformation,
    HANDLE_FLAG_INHERIT, HANDLE_FLAG_PROTECT_FROM_CLOSE, INVALID_HANDLE_VALUE, STATUS_INFO_LENGTH_MISMATCH,
    SetHandleInformation,
};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, OpenProcess, PROCESS_DUP_HANDLE, PROCESS_SYNCHRONIZE, PROCESS_TERMINATE,
    TerminateProcess, WaitForSingleObject,
};

pub use super::raw::{mutex, semaphore};

/// One handle of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its value in that process.
    pub value: u32,
    /// The access mask.
    pub access: u32,
    /// Whether a child created with inheritance of all would get it.
    pub inheritable: bool,
}

/// `SYSTEM_HANDLE_INFORMATION_EX` starts with two words; one entry follows the other.
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

/// The handles of a process. `GetProcessHandleCount` would be the short way to their number, but Wine has it only as
/// a stub.
///
/// # Panics
///
/// If the system doesn't tell.
#[must_use]
pub fn of(process: u32) -> Vec<Entry> {
    const SYSTEM_EXTENDED_HANDLE_INFORMATION: i32 = 64;
    const HEADER: usize = 2 * size_of::<usize>();
    let mut buffer = vec![0_u64; 64 * 1024];
    loop {
        let size = u32::try_from(size_of_val(buffer.as_slice())).expect("the table is smaller than 4 GiB");
        // SAFETY: the buffer has that size, and the call writes no more.
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
    let count = usize::try_from(buffer[0]).expect("a count fits");
    let room = (size_of_val(buffer.as_slice()) - HEADER) / size_of::<SystemHandle>();
    assert!(count <= room);
    // SAFETY: two words of the buffer are the header.
    let first = unsafe { buffer.as_ptr().byte_add(HEADER) }.cast::<SystemHandle>();
    // SAFETY: the call filled that many entries, which the buffer has room for; any bits are a value of their integers.
    let handles = unsafe { std::slice::from_raw_parts(first, count) };
    let entry = |handle: &SystemHandle| Entry {
        value: u32::try_from(handle.value).expect("a handle has 32 bits"),
        access: handle.access,
        inheritable: handle.attributes & 2 != 0,
    };
    handles.iter().filter(|handle| handle.process == process as usize).map(entry).collect()
}

/// How many handles this process has.
#[must_use]
pub fn count() -> usize {
    of(std::process::id()).len()
}

/// The entry of one handle of a process, if it has it.
#[must_use]
pub fn entry(process: u32, value: u32) -> Option<Entry> {
    of(process).into_iter().find(|entry| entry.value == value)
}

/// A process by its id.
///
/// # Errors
///
/// The system's, if there is no such process or it can't be opened.
pub fn open(process: u32) -> io::Result<OwnedHandle> {
    // SAFETY: the call takes numbers.
    let raw =
        unsafe { OpenProcess(PROCESS_DUP_HANDLE | PROCESS_SYNCHRONIZE | PROCESS_TERMINATE, 0, process) };
    owned(raw)
}

/// Ends a process.
///
/// # Panics
///
/// If it can't be ended.
pub fn kill(process: u32) {
    let process = open(process).expect("the process is there");
    // SAFETY: the handle is owned, so it is open.
    let answer = unsafe { TerminateProcess(process.as_raw_handle(), 77) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// Whether a process ends within this time; one that can't be opened has ended.
#[must_use]
pub fn ends_within(process: u32, milliseconds: u32) -> bool {
    let Ok(process) = open(process) else { return true };
    // SAFETY: the handle is owned, so it stays open through the wait.
    unsafe { WaitForSingleObject(process.as_raw_handle(), milliseconds) == 0 }
}

/// The values under which a process has this very object.
///
/// # Panics
///
/// If the process can't be opened.
#[must_use]
pub fn values_of(object: &impl AsHandle, process: u32) -> Vec<u32> {
    let source = open(process).expect("the process is there");
    let is_same = |entry: &Entry| pull(&source, entry.value).is_ok_and(|copy| same_object(&copy, object));
    of(process).into_iter().filter(is_same).map(|entry| entry.value).collect()
}

/// The value of a handle of this process.
///
/// # Panics
///
/// If it has more than 32 bits, which no handle has.
#[must_use]
pub fn value(handle: &impl AsHandle) -> u32 {
    u32::try_from(handle.as_handle().as_raw_handle().expose_provenance()).expect("a handle has 32 bits")
}

/// Whether two processes have one object, under these values.
///
/// # Panics
///
/// If one of the handles isn't open.
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
    // SAFETY: the call takes nothing and returns a constant.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: the processes are open; the value is a number that the kernel looks up; `copy` is a live place.
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

/// Whether two handles of this process refer to one object.
#[must_use]
pub fn same_object(one: &impl AsHandle, other: &impl AsHandle) -> bool {
    let (one, other) = (one.as_handle(), other.as_handle());
    // SAFETY: both handles are borrowed, so they are open.
    unsafe { CompareObjectHandles(one.as_raw_handle(), other.as_raw_handle()) != 0 }
}

/// Closes a handle by its number, as code does that closes what isn't its own.
///
/// # Panics
///
/// If it isn't open.
pub fn close_value(value: u32) {
    // SAFETY: no Rust object owns the handle: it came by inheritance and was not adopted.
    let answer = unsafe { CloseHandle(with_exposed_provenance_mut(value as usize)) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// The pseudo handle of the current process, which is `INVALID_HANDLE_VALUE` too.
#[must_use]
pub fn current_process() -> BorrowedHandle<'static> {
    // SAFETY: the call takes nothing and returns a constant.
    let raw = unsafe { GetCurrentProcess() };
    // SAFETY: the constant names the process for as long as it lives.
    unsafe { BorrowedHandle::borrow_raw(raw) }
}

/// A handle by its number, for as long as the caller keeps it open.
#[must_use]
pub fn borrowed(value: u32) -> BorrowedHandle<'static> {
    // SAFETY: the callers are tests that own what they name.
    unsafe { BorrowedHandle::borrow_raw(with_exposed_provenance_mut(value as usize)) }
}

/// An owner of `INVALID_HANDLE_VALUE`, which std allows: a failed `CreateFile` leaves one to whoever doesn't look.
#[must_use]
pub fn invalid_owned() -> OwnedHandle {
    // SAFETY: closing the pseudo handle of the current process does nothing.
    unsafe { OwnedHandle::from_raw_handle(INVALID_HANDLE_VALUE) }
}

/// A handle that isn't open: what a program has that closed one too early.
#[must_use]
pub fn closed_handle() -> BorrowedHandle<'static> {
    // SAFETY: it breaks the promise that the handle is open on purpose, to see it noticed; no table here is so large
    // that another handle gets this value.
    unsafe { BorrowedHandle::borrow_raw(with_exposed_provenance_mut(0x7_fff0)) }
}

/// Whether a handle of this process is inheritable.
///
/// # Panics
///
/// If it isn't open.
#[must_use]
pub fn is_inheritable(handle: &impl AsHandle) -> bool {
    let mut flags = 0;
    // SAFETY: the handle is borrowed, so it is open; `flags` is a live place for the answer.
    let answer = unsafe { GetHandleInformation(handle.as_handle().as_raw_handle(), &raw mut flags) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
    flags & HANDLE_FLAG_INHERIT != 0
}

/// Makes a handle inheritable, as code that nobody should write does.
///
/// # Panics
///
/// If it can't be done.
pub fn make_inheritable(handle: &impl AsHandle) {
    // SAFETY: the handle is borrowed, so it is open.
    let answer = unsafe {
        SetHandleInformation(handle.as_handle().as_raw_handle(), HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT)
    };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// Keeps a handle from being closed, or no longer.
///
/// # Panics
///
/// If it can't be done.
pub fn protect_from_close(handle: &impl AsHandle, protect: bool) {
    let flag = HANDLE_FLAG_PROTECT_FROM_CLOSE;
    let value = if protect { flag } else { 0 };
    // SAFETY: the handle is borrowed, so it is open.
    let answer = unsafe { SetHandleInformation(handle.as_handle().as_raw_handle(), flag, value) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// Lets this process have so many handles, which it always may here.
pub const fn make_room(_handles: usize) {}

/// Keeps from all that this process starts what whoever has started the tests has left open: nothing, here.
pub const fn keep_what_is_left_open() {}

/// Keeps from all that this process starts what it has inherited beside its streams itself: those of whoever has started
/// the tests, if std's `Command` did.
///
/// # Panics
///
/// If it can't be done.
pub fn keep_what_came() {
    keep(|is_stream| !is_stream);
}

/// Lets no child have this process's streams beside its own. Whatever it passes on as a stream std copies.
///
/// # Panics
///
/// If it can't be done.
pub fn keep_streams() {
    keep(|is_stream| is_stream);
}

/// Lets this process's record have this number for its standard input.
///
/// # Panics
///
/// If it can't be done.
pub fn be_standard_input(value: u32) {
    use windows_sys::Win32::System::Console::{STD_INPUT_HANDLE, SetStdHandle};
    // SAFETY: the call writes a number into this process's own record; who uses it hears from the kernel what it is.
    let answer = unsafe { SetStdHandle(STD_INPUT_HANDLE, with_exposed_provenance_mut(value as usize)) };
    assert_ne!(answer, 0, "{}", io::Error::last_os_error());
}

/// Takes the inherit flag off those of this process's handles that are to be kept.
fn keep(is_to_be_kept: impl Fn(bool) -> bool) {
    use windows_sys::Win32::System::Console::{
        GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
    };
    let streams = [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE].map(|which| {
        // SAFETY: the call takes a constant and only reads this process's own record.
        let stream = unsafe { GetStdHandle(which) };
        stream.addr()
    });
    let came = of(std::process::id());
    let kept = |entry: &&Entry| entry.inheritable && is_to_be_kept(streams.contains(&(entry.value as usize)));
    for entry in came.iter().filter(kept) {
        let raw = with_exposed_provenance_mut(entry.value as usize);
        // SAFETY: the kernel checks the number, and whoever has the handle goes on to use it as before.
        let answer = unsafe { SetHandleInformation(raw, HANDLE_FLAG_INHERIT, 0) };
        assert_ne!(answer, 0, "{}", io::Error::last_os_error());
    }
}

/// Whether this is Wine, which lacks some of what Windows can. A test that asks says what it leaves out.
#[must_use]
pub fn is_wine() -> bool {
    // SAFETY: both names end with NUL; the library is loaded in every process and stays.
    let library = unsafe { GetModuleHandleA(c"ntdll.dll".as_ptr().cast()) };
    // SAFETY: as above; the address is only compared.
    unsafe { GetProcAddress(library, c"wine_get_version".as_ptr().cast()) }.is_some()
}

/// The ids of the processes that are children of another, by the system's list.
///
/// # Panics
///
/// If the system doesn't tell.
#[must_use]
pub fn children_of(parent: u32) -> Vec<u32> {
    // SAFETY: the call takes numbers.
    let raw = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
    assert_ne!(raw, INVALID_HANDLE_VALUE, "{}", io::Error::last_os_error());
    let snapshot = owned(raw).expect("it is not NULL");
    let mut entry = PROCESSENTRY32W {
        dwSize: u32::try_from(size_of::<PROCESSENTRY32W>()).expect("a small structure"),
        ..Default::default()
    };
    let mut children = Vec::new();
    // SAFETY: the snapshot is owned, so it is open; the entry is a live place with its size in it.
    let mut more = unsafe { Process32FirstW(snapshot.as_raw_handle(), &raw mut entry) };
    while more != 0 {
        if entry.th32ParentProcessID == parent {
            children.push(entry.th32ProcessID);
        }
        // SAFETY: as above.
        more = unsafe { Process32NextW(snapshot.as_raw_handle(), &raw mut entry) };
    }
    children
}

fn owned(raw: *mut std::ffi::c_void) -> io::Result<OwnedHandle> {
    if raw.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was made for us by the call right before.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) })
}

/// Reads where there is no memory, which ends this process.
pub fn touch_no_memory() -> ! {
    // SAFETY: it breaks the promise that there is something to read on purpose: the system ends the process.
    unsafe { std::ptr::without_provenance::<u8>(8).read_volatile() };
    panic!("there is memory at 8");
}
