//! Handles: duplicating, closing elsewhere, flags, and what the kernel says about them.

use std::fmt;
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

use super::io::Owned;
use super::rights::Rights;
use super::{
    Argument, AsSlot, Duplicated, Effects, Outcome, Slot, SysError, SysResult, Table, always, always_ask,
    ask, call, succeeded, watched,
};
use crate::handle::{Access, HandleValue, ObjectKind};

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

/// A handle in another process's table.
struct There<'a> {
    value: RawHandle,
    process: BorrowedHandle<'a>,
}

impl Outcome for There<'_> {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:#x}", self.value.expose_provenance())
    }
}

impl AsSlot for There<'_> {
    fn slot(&self) -> Slot<'_> {
        Slot::new(self.value.expose_provenance() as u64, Table::Of(self.process))
    }
}

/// A handle that is moved here from another process's table.
struct Fetched<'a> {
    moved: Owned,
    from: Slot<'a>,
}

impl Outcome for Fetched<'_> {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.moved.result(to)
    }

    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        to.opened(self.moved.slot(), Some(self.from))?;
        to.closed(self.from)
    }
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
    let mut copy = null_mut();
    // SAFETY: both processes are borrowed, so they are open; `source` is only a number to the kernel, which
    // checks it; `copy` is a live place for the answer.
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
) -> SysResult<Owned> {
    let arguments = [("handle", handle.into()), said(access), INHERITABLE];
    let arguments = if inheritable { &arguments[..] } else { &arguments[..2] };
    let (access, options) = access_and_options(access);
    let this = current_process();
    let copy = call("DuplicateHandle", arguments, || {
        let copy = duplicate_raw(this, handle.as_raw_handle(), this, access, inheritable, options)?;
        // SAFETY: the duplicate was made for us just now, in this process, and nobody else knows it.
        let copy = unsafe { OwnedHandle::from_raw_handle(copy) }.into();
        Ok(Duplicated { copy, source: Slot::own(handle) })
    });
    copy.map(|made| made.copy)
}

/// Which access a copy is to have.
fn said(access: Rights) -> (&'static str, Argument<'static>) {
    match access {
        Some(access) => ("access", Argument::Flags(access.bits())),
        None => ("same access", Argument::Yes),
    }
}

const INHERITABLE: (&str, Argument<'_>) = ("inheritable", Argument::Yes);

/// A handle of this process to the object that another process has under this value, with the same access.
/// The other's handle isn't touched.
pub(crate) fn duplicate_from(process: BorrowedHandle<'_>, value: HandleValue) -> SysResult<Owned> {
    let arguments = [("handle", value.into()), ("out of", Argument::Process(process)), said(None)];
    let copy = call("DuplicateHandle", &arguments, || {
        let copy = duplicate_raw(process, raw(value), current_process(), 0, false, DUPLICATE_SAME_ACCESS)?;
        // SAFETY: the duplicate was made for us just now, in this process, and nobody else knows it.
        let copy = unsafe { OwnedHandle::from_raw_handle(copy) }.into();
        Ok(Duplicated { copy, source: Slot::new(value.get().into(), Table::Of(process)) })
    });
    copy.map(|made| made.copy)
}

/// A handle in another process's table to the object; that process has to close it, or [`close_in`] does.
pub(crate) fn duplicate_into(
    process: BorrowedHandle<'_>,
    handle: BorrowedHandle<'_>,
    access: Rights,
    inheritable: bool,
) -> SysResult<HandleValue> {
    let arguments =
        [("handle", handle.into()), ("into", Argument::Process(process)), said(access), INHERITABLE];
    let arguments = if inheritable { &arguments[..] } else { &arguments[..3] };
    let (access, options) = access_and_options(access);
    let made = call("DuplicateHandle", arguments, || {
        let (this, handle_here) = (current_process(), handle.as_raw_handle());
        let value = duplicate_raw(this, handle_here, process, access, inheritable, options)?;
        Ok(Duplicated { copy: There { value, process }, source: Slot::own(handle) })
    })?;
    let copy = made.copy.value;
    HandleValue::new(copy.expose_provenance() as u64).map_err(|_| {
        // No table has such a value; if one should, it is not left there.
        close_raw_in(process, copy);
        SysError::unexpected("DuplicateHandle", "the copy has a value that no handle can have")
    })
}

/// Closes a handle in another process's table, by moving it here and dropping it.
///
/// Without a target process the call is documented to close just as well, but Wine takes that for an invalid
/// handle.
///
/// Nothing can be done about a failure: if the process has ended, its handles are closed.
pub(crate) fn close_in(process: BorrowedHandle<'_>, value: HandleValue) {
    close_raw_in(process, raw(value));
}

fn close_raw_in(process: BorrowedHandle<'_>, value: RawHandle) {
    let number = value.expose_provenance();
    let arguments = [
        ("handle", Argument::Raw(number as u64)),
        ("out of", Argument::Process(process)),
        ("closed there", Argument::Yes),
    ];
    let moved = always("DuplicateHandle", &arguments, || {
        let process_number = process.as_raw_handle().expose_provenance();
        let silent = || io::Error::from(io::ErrorKind::TimedOut);
        let moved = watched(move || move_here(process_number, number)).ok_or_else(silent)??;
        Ok(Fetched { moved, from: Slot::new(number as u64, Table::Of(process)) })
    });
    // With this, nobody has it any more.
    drop(moved.map(|fetched| fetched.moved));
}

fn move_here(process: usize, value: usize) -> io::Result<Owned> {
    let mut moved = null_mut();
    // SAFETY: whoever calls borrows the process, so it is open; the value is an index that only the kernel
    // looks up; `moved` is a live place for the answer.
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
    succeeded(answer)?;
    // SAFETY: the duplicate was made for us just now, in this process, and nobody else knows it.
    Ok(unsafe { OwnedHandle::from_raw_handle(moved) }.into())
}

/// Makes this process the owner of a handle that another process put into its table.
///
/// Three callers may do this:
///
/// 1. `inherited`, for handles that were inheritable a moment ago: only an inherited handle that no Rust
///    object owns is.
/// 2. [`HandleValue::adopt`](crate::HandleValue::adopt), whose `unsafe` states that another process made the
///    handle.
/// 3. The weaker endpoint of a channel, for the handles that the stronger one gives it on the ownership page,
///    each once. The weaker process trusts the stronger one with all that it has.
pub(crate) fn own(value: HandleValue) -> Owned {
    // SAFETY: the value was found open, and another process made the handle for this one, by the rules above;
    // each of them lets it be taken once.
    unsafe { OwnedHandle::from_raw_handle(raw(value)) }.into()
}

/// Whether a handle of this process is open and inheritable, as one is that was handed down and not adopted
/// yet.
pub(crate) fn is_open_and_inheritable(value: HandleValue) -> SysResult<bool> {
    let flags = ask("GetHandleInformation", &[("handle", value.into())], || {
        let mut flags = 0;
        // SAFETY: the kernel checks the number; `flags` is a live place for the answer.
        let answer = unsafe { GetHandleInformation(raw(value), &raw mut flags) };
        match succeeded(answer) {
            Ok(()) => Ok(Some(flags)),
            Err(error) if is_invalid_handle(&error) => Ok(None),
            Err(error) => Err(error),
        }
    })?;
    Ok(flags.is_some_and(|flags| flags & HANDLE_FLAG_INHERIT != 0))
}

/// Takes the inherit flag off a handle of this process that is about to be owned.
pub(crate) fn clear_inheritable_of(value: HandleValue) -> SysResult<()> {
    let arguments = [("handle", value.into()), ("not inheritable", Argument::Yes)];
    call("SetHandleInformation", &arguments, || {
        // SAFETY: the kernel checks the number; the flag says nothing to code that uses the handle.
        let answer = unsafe { SetHandleInformation(raw(value), HANDLE_FLAG_INHERIT, 0) };
        succeeded(answer)
    })
}

/// A question about a handle, whatever number it is.
fn about(handle: RawHandle, what: &'static str) -> [(&'static str, Argument<'static>); 2] {
    [("handle", Argument::Raw(handle.expose_provenance() as u64)), (what, Argument::Yes)]
}

impl Outcome for Access {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:#010x}", self.bits())
    }
}

/// The rights that a handle of this process carries.
pub(crate) fn granted_access(handle: RawHandle) -> SysResult<Access> {
    ask("NtQueryObject", &about(handle, "access"), || {
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
    })
}

/// The kernel's name for the kind of object that a handle of this process refers to.
///
/// The type alone is asked for: a question for the object's name can hang on a pipe that somebody reads.
pub(crate) fn type_name(handle: RawHandle) -> SysResult<String> {
    ask("NtQueryObject", &about(handle, "type"), || ask_for_type_name(handle))
}

fn ask_for_type_name(handle: RawHandle) -> io::Result<String> {
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
    // SAFETY: the string lies in the same buffer, which lives on, and its length counts the bytes of whole
    // units.
    let units = unsafe { std::slice::from_raw_parts(name.Buffer, usize::from(name.Length) / 2) };
    Ok(String::from_utf16_lossy(units))
}

/// The kernel's answer to what a handle of this process refers to.
pub(crate) fn kind_of(handle: BorrowedHandle<'_>) -> SysResult<ObjectKind> {
    type_name(handle.as_raw_handle()).map(|name| ObjectKind::of_kernel_type(&name))
}

/// The same of the handle that has this value.
pub(crate) fn kind_of_value(value: HandleValue) -> SysResult<ObjectKind> {
    type_name(raw(value)).map(|name| ObjectKind::of_kernel_type(&name))
}

/// What the process's own record says of a standard stream.
fn in_the_record(which: usize) -> RawHandle {
    struct Recorded(RawHandle);
    impl Outcome for Recorded {
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(to, "{:#x}", self.0.expose_provenance())
        }
    }
    let recorded = always_ask("GetStdHandle", &[("stream", which.into())], || {
        let which = [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE][which];
        // SAFETY: the call takes a constant and only reads this process's own record.
        Ok(Recorded(unsafe { GetStdHandle(which) }))
    });
    recorded.map_or(null_mut(), |Recorded(handle)| handle)
}

/// One of the standard streams of this process, if it has that stream: a file, a pipe or a console, all of
/// which are files to the kernel.
pub(crate) fn standard_stream(which: usize) -> SysResult<Option<BorrowedHandle<'static>>> {
    let stream = in_the_record(which);
    // A program without a console has NULL there. INVALID, which stands for none too, is also the pseudo
    // handle of this process, and must never be duplicated.
    if HandleValue::new(stream.expose_provenance() as u64).is_err() {
        return Ok(None);
    }
    // A stream that was closed leaves its number behind, which something else may have by now.
    match type_name(stream) {
        // SAFETY: as std does for its own handles of the standard streams: they are the process's for all its
        // life. A program that closes one gets an error from the kernel for the number.
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
