//! Handles: duplicating, closing elsewhere, flags, and what the kernel says about them.

use std::io;
use std::mem::MaybeUninit;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr::{null_mut, with_exposed_provenance_mut};

use windows_sys::Wdk::Foundation::{NtQueryObject, OBJECT_INFORMATION_CLASS, ObjectTypeInformation};
use windows_sys::Win32::Foundation::{
    DUPLICATE_CLOSE_SOURCE, DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_INVALID_HANDLE,
    GetHandleInformation, HANDLE_FLAG_INHERIT, RtlNtStatusToDosError, STATUS_INFO_LENGTH_MISMATCH,
    SetHandleInformation, UNICODE_STRING,
};
use windows_sys::Win32::System::Console::{
    GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::rights::Rights;
use super::{fault, succeeded, watched};
use crate::{Access, HandleValue, Kind};

/// The information class of [`NtQueryObject`] that windows-sys doesn't name.
pub(super) const OBJECT_BASIC_INFORMATION: OBJECT_INFORMATION_CLASS = 0;

/// What `ObjectBasicInformation` answers; the tail is documented as reserved.
#[repr(C)]
pub(super) struct PublicObjectBasicInformation {
    attributes: u32,
    granted_access: u32,
    pub(super) handle_count: u32,
    pointer_count: u32,
    reserved: [u32; 10],
}

/// This process, for calls that want a process; it needs no closing.
pub(super) fn current_process() -> BorrowedHandle<'static> {
    // SAFETY: the call takes nothing and can't fail; it returns a constant.
    let raw = unsafe { GetCurrentProcess() };
    // SAFETY: a pseudo handle names this process for as long as the process lives.
    unsafe { BorrowedHandle::borrow_raw(raw) }
}

/// A value of this process's table as the API takes it.
pub(crate) fn raw(value: HandleValue) -> RawHandle {
    with_exposed_provenance_mut(value.get() as usize)
}

/// A handle of this process as the API takes it.
pub(crate) fn raw_of(handle: BorrowedHandle<'_>) -> RawHandle {
    handle.as_raw_handle()
}

/// `DuplicateHandle` from one process's table into another's.
fn duplicate_raw(
    source_process: BorrowedHandle<'_>,
    source: RawHandle,
    target_process: BorrowedHandle<'_>,
    access: u32,
    inheritable: bool,
    options: u32,
) -> io::Result<RawHandle> {
    fault("DuplicateHandle")?;
    let mut copy = null_mut();
    // SAFETY: both processes are borrowed, so they are open; `source` is only a number to the kernel, which checks
    // it; `copy` is a live place for the answer.
    let answer = unsafe {
        DuplicateHandle(
            source_process.as_raw_handle(),
            source,
            target_process.as_raw_handle(),
            &raw mut copy,
            access,
            inheritable.into(),
            options,
        )
    };
    succeeded(answer)?;
    Ok(copy)
}

/// The two arguments of `DuplicateHandle` that say which access the copy has; `None` keeps it.
fn access_and_options(access: Rights) -> (u32, u32) {
    access.map_or((0, DUPLICATE_SAME_ACCESS), |access| (access.bits(), 0))
}

/// A second handle of this process to the same object.
pub(crate) fn duplicate_here(
    handle: BorrowedHandle<'_>,
    access: Rights,
    inheritable: bool,
) -> io::Result<OwnedHandle> {
    let (access, options) = access_and_options(access);
    let copy = duplicate_raw(
        current_process(),
        handle.as_raw_handle(),
        current_process(),
        access,
        inheritable,
        options,
    )?;
    // SAFETY: the duplicate was made for us just now, in this process, and nobody else knows it.
    Ok(unsafe { OwnedHandle::from_raw_handle(copy) })
}

/// A handle of this process to the object that another process has under this value, with the same access. The
/// other's handle isn't touched.
pub(crate) fn duplicate_from(process: BorrowedHandle<'_>, value: HandleValue) -> io::Result<OwnedHandle> {
    let copy = duplicate_raw(process, raw(value), current_process(), 0, false, DUPLICATE_SAME_ACCESS)?;
    // SAFETY: the duplicate was made for us just now, in this process, and nobody else knows it.
    Ok(unsafe { OwnedHandle::from_raw_handle(copy) })
}

/// A handle in another process's table to the object; that process has to close it, or [`close_in`] does.
pub(crate) fn duplicate_into(
    process: BorrowedHandle<'_>,
    handle: BorrowedHandle<'_>,
    access: Rights,
    inheritable: bool,
) -> io::Result<HandleValue> {
    let (access, options) = access_and_options(access);
    let copy =
        duplicate_raw(current_process(), handle.as_raw_handle(), process, access, inheritable, options)?;
    HandleValue::try_from(copy.expose_provenance()).map_err(|error| {
        // No table has such a value; if one should, it is not left there.
        close_raw_in(process, copy);
        io::Error::other(error)
    })
}

/// Closes a handle in another process's table, by moving it here and dropping it.
///
/// Without a target process the call is documented to close just as well, but Wine takes that for an invalid handle.
///
/// Nothing can be done about a failure: if the process has ended, its handles are closed.
pub(crate) fn close_in(process: BorrowedHandle<'_>, value: HandleValue) {
    close_raw_in(process, raw(value));
}

fn close_raw_in(process: BorrowedHandle<'_>, value: RawHandle) {
    let (process, value) = (process.as_raw_handle().expose_provenance(), value.expose_provenance());
    watched(move || move_and_close(process, value));
}

fn move_and_close(process: usize, value: usize) {
    let mut moved = null_mut();
    // SAFETY: whoever calls borrows the process, so it is open; the value is an index that only the kernel looks up;
    // `moved` is a live place for the answer.
    let answer = unsafe {
        DuplicateHandle(
            with_exposed_provenance_mut(process),
            with_exposed_provenance_mut(value),
            current_process().as_raw_handle(),
            &raw mut moved,
            0,
            0,
            DUPLICATE_SAME_ACCESS | DUPLICATE_CLOSE_SOURCE,
        )
    };
    if answer != 0 {
        // SAFETY: the duplicate was made for us just now, in this process, and nobody else knows it.
        drop(unsafe { OwnedHandle::from_raw_handle(moved) });
    }
}

/// Makes this process the owner of a handle that another process put into its table.
///
/// Three callers have the right to: [`crate::inherited`], for a handle that had its inherit flag until a moment ago, as
/// only one has that was handed down and that no Rust object owns; [`crate::Told`], which stands for the promise that
/// another process told the number, and can be made elsewhere only by unsafe code; and a [`crate::Channel`]'s weaker
/// end, for what the stronger one, which it trusts with all that it has, gives it in their ledger, each once.
pub(crate) fn own(value: HandleValue) -> OwnedHandle {
    // SAFETY: the value was found open, and another process made the handle for this one, by the two rules above;
    // each of them lets it be taken once.
    unsafe { OwnedHandle::from_raw_handle(raw(value)) }
}

/// Whether a handle of this process is open and inheritable, as one is that was handed down and not adopted yet.
pub(crate) fn is_open_and_inheritable(value: HandleValue) -> io::Result<bool> {
    fault("GetHandleInformation")?;
    let mut flags = 0;
    // SAFETY: the kernel checks the number; `flags` is a live place for the answer.
    let answer = unsafe { GetHandleInformation(raw(value), &raw mut flags) };
    match succeeded(answer) {
        Ok(()) => Ok(flags & HANDLE_FLAG_INHERIT != 0),
        Err(error) if is_invalid_handle(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a handle whose number was told can be one that nobody owns: nothing speaks against it here, where handles are
/// put into running processes too.
pub(crate) fn is_still_anybodys(_: HandleValue) -> bool {
    true
}

/// Takes the inherit flag off a handle of this process that is about to be owned.
pub(crate) fn clear_inheritable_of(value: HandleValue) -> io::Result<()> {
    fault("SetHandleInformation")?;
    // SAFETY: the kernel checks the number; the flag says nothing to code that uses the handle.
    let answer = unsafe { SetHandleInformation(raw(value), HANDLE_FLAG_INHERIT, 0) };
    succeeded(answer)
}

/// The rights that a handle of this process carries.
pub(crate) fn granted_access(handle: RawHandle) -> io::Result<Access> {
    fault("NtQueryObject")?;
    let mut answer = MaybeUninit::<PublicObjectBasicInformation>::zeroed();
    let length = super::size_of_u32::<PublicObjectBasicInformation>();
    // SAFETY: the kernel checks the number and writes at most `length` bytes to a place of that size.
    let status = unsafe {
        NtQueryObject(handle, OBJECT_BASIC_INFORMATION, answer.as_mut_ptr().cast(), length, null_mut())
    };
    succeeded_nt(status)?;
    // SAFETY: the place was zeroed and then filled, and every bit pattern is a value of these integers.
    let answer = unsafe { answer.assume_init() };
    Ok(Access::from_bits_retain(answer.granted_access))
}

/// The kernel's name for the kind of object that a handle of this process refers to.
///
/// The type alone is asked for: a question for the object's name can hang on a pipe that somebody reads.
pub(crate) fn type_name(handle: RawHandle) -> io::Result<String> {
    fault("NtQueryObject")?;
    // Of u64, so that the structure in front is aligned. The longest type names have some 40 letters.
    let mut buffer = [0_u64; 64];
    let mut length = 0;
    // SAFETY: the kernel checks the number, and writes no more to the buffer than the size given with it.
    let status = unsafe {
        NtQueryObject(
            handle,
            ObjectTypeInformation,
            buffer.as_mut_ptr().cast(),
            super::size_of_u32::<[u64; 64]>(),
            &raw mut length,
        )
    };
    if status == STATUS_INFO_LENGTH_MISMATCH {
        return Err(io::Error::other("the kernel's name for the type is longer than any known"));
    }
    succeeded_nt(status)?;
    // SAFETY: the answer starts with this structure, in a buffer that is large and aligned enough for it.
    let name = unsafe { buffer.as_ptr().cast::<UNICODE_STRING>().read() };
    if name.Buffer.is_null() {
        return Ok(String::new());
    }
    // SAFETY: the string lies in the same buffer, which lives on, and its length counts the bytes of whole units.
    let units = unsafe { std::slice::from_raw_parts(name.Buffer, usize::from(name.Length) / 2) };
    Ok(String::from_utf16_lossy(units))
}

/// The kernel's answer to what a handle of this process refers to.
pub(crate) fn kind_of(handle: BorrowedHandle<'_>) -> io::Result<Kind> {
    type_name(handle.as_raw_handle()).map(|name| from_type_name(&name))
}

/// The same of the handle that has this value.
pub(crate) fn kind_of_value(value: HandleValue) -> io::Result<Kind> {
    type_name(raw(value)).map(|name| from_type_name(&name))
}

/// The kind for which the kernel has this name.
fn from_type_name(name: &str) -> Kind {
    match name {
        "Event" => Kind::Event,
        "Mutant" => Kind::Mutex,
        "Semaphore" => Kind::Semaphore,
        "Section" => Kind::Section,
        "Timer" => Kind::Timer,
        "File" => Kind::File,
        "Process" => Kind::Process,
        "Thread" => Kind::Thread,
        "Job" => Kind::Job,
        "Token" => Kind::Token,
        other => Kind::Other(other.into()),
    }
}

/// What the process's own record says of its three standard streams.
fn standard_streams() -> [RawHandle; 3] {
    [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE].map(|which| {
        // SAFETY: the call takes a constant and only reads this process's own record.
        unsafe { GetStdHandle(which) }
    })
}

/// One of the standard streams of this process, if it has that stream: a file, a pipe or a console, all of which are
/// files to the kernel.
pub(crate) fn standard_stream(which: usize) -> io::Result<Option<BorrowedHandle<'static>>> {
    let stream = standard_streams()[which];
    // A program without a console has NULL there. INVALID, which stands for none too, is also the pseudo handle of
    // this process, and must never be duplicated.
    if HandleValue::try_from(stream.expose_provenance()).is_err() {
        return Ok(None);
    }
    // A stream that was closed leaves its number behind, which something else may have by now.
    match type_name(stream) {
        // SAFETY: as std does for its own handles of the standard streams: they are the process's for all its life. A
        // program that closes one gets an error from the kernel for the number.
        Ok(name) if name == "File" => Ok(Some(unsafe { BorrowedHandle::borrow_raw(stream) })),
        Ok(_) => Ok(None),
        Err(error) if is_invalid_handle(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a call failed because the handle isn't open.
pub(crate) fn is_invalid_handle(error: &io::Error) -> bool {
    super::code(error) == Some(ERROR_INVALID_HANDLE)
}

pub(super) fn succeeded_nt(status: i32) -> io::Result<()> {
    if status >= 0 {
        return Ok(());
    }
    // SAFETY: the call translates a number.
    let code = unsafe { RtlNtStatusToDosError(status) };
    #[allow(clippy::cast_possible_wrap, reason = "the codes are unsigned; std keeps them as i32")]
    Err(io::Error::from_raw_os_error(code as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_names_are_translated() {
        assert_eq!(from_type_name("Event"), Kind::Event);
        assert_eq!(from_type_name("Mutant"), Kind::Mutex);
        assert_eq!(from_type_name("event"), Kind::Other("event".into()));
        assert_eq!(from_type_name("Key").to_string(), "an object of the kernel's type \"Key\"");
    }
}
