//! Handles: duplication, closing in another process, flags, and the kernel's information about them.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::ptr::{null_mut, with_exposed_provenance_mut};
use std::str::from_utf8;

use windows_sys::Wdk::Foundation::{NtQueryObject, OBJECT_INFORMATION_CLASS, ObjectTypeInformation};
use windows_sys::Win32::Foundation::{
    DUPLICATE_CLOSE_SOURCE, DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_COMMITMENT_LIMIT,
    ERROR_INVALID_HANDLE, ERROR_NO_SYSTEM_RESOURCES, ERROR_NOT_ENOUGH_MEMORY, ERROR_NOT_ENOUGH_QUOTA,
    ERROR_OUTOFMEMORY, ERROR_TOO_MANY_OPEN_FILES, GetHandleInformation, HANDLE_FLAG_INHERIT,
    RtlNtStatusToDosError, STATUS_INFO_LENGTH_MISMATCH, SetHandleInformation, UNICODE_STRING,
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

/// An information class of [`NtQueryObject`] that windows-sys doesn't define.
pub(super) const OBJECT_BASIC_INFORMATION: OBJECT_INFORMATION_CLASS = 0;

/// The answer for `ObjectBasicInformation`. Its last fields are documented as reserved.
#[repr(C)]
pub(super) struct PublicObjectBasicInformation {
    attributes: u32,
    granted_access: u32,
    pub(super) handle_count: u32,
    pointer_count: u32,
    reserved: [u32; 10],
}

/// Returns the pseudo handle of this process. It doesn't need to be closed.
pub(super) fn current_process() -> BorrowedHandle<'static> {
    // SAFETY: the call takes no arguments and returns a constant.
    let raw = unsafe { GetCurrentProcess() };
    // SAFETY: the pseudo handle is a constant that refers to this process as long as it runs, so it is valid for
    // `'static`.
    unsafe { BorrowedHandle::borrow_raw(raw) }
}

/// Returns a handle value of this process in the form that the API takes.
pub(crate) fn raw(value: HandleValue) -> RawHandle {
    with_exposed_provenance_mut(value.get() as usize)
}

/// Returns a handle of this process in the form that the API takes.
pub(crate) fn raw_of(handle: BorrowedHandle<'_>) -> RawHandle {
    handle.as_raw_handle()
}

/// A handle in another process's table.
struct RemoteValue<'a> {
    value: RawHandle,
    process: BorrowedHandle<'a>,
}

impl Outcome for RemoteValue<'_> {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:#x}", self.value.expose_provenance())
    }
}

impl AsSlot for RemoteValue<'_> {
    fn slot(&self) -> Slot<'_> {
        Slot::new(self.value.expose_provenance() as u64, Table::Of(self.process))
    }
}

/// A handle that was moved from another process's table into this one's.
struct Fetched<'a> {
    moved: Owned,
    from: Slot<'a>,
}

impl Outcome for Fetched<'_> {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.moved.result(to)
    }

    #[inline]
    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        to.opened(self.moved.slot(), Some(self.from))?;
        to.closed(self.from)
    }
}

/// Calls `DuplicateHandle` from one process's table to another's.
fn duplicate_raw(
    source_process: BorrowedHandle<'_>,
    source: RawHandle,
    target_process: BorrowedHandle<'_>,
    access: u32,
    inheritable: bool,
    options: u32,
) -> io::Result<RawHandle> {
    let mut copy = null_mut();
    // SAFETY: both process handles are borrowed, so they are open. `source` may be any number, which the kernel looks
    // up in the source process's table. `copy` is a live variable for the answer.
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

/// Returns the arguments of `DuplicateHandle` for the access of the copy; `None` keeps the access of the original.
fn access_and_options(access: Rights) -> (u32, u32) {
    access.map_or((0, DUPLICATE_SAME_ACCESS), |access| (access.bits(), 0))
}

/// Duplicates a handle within this process.
pub(crate) fn duplicate_here(
    handle: BorrowedHandle<'_>,
    access: Rights,
    inheritable: bool,
) -> SysResult<Owned> {
    let arguments = [("handle", handle.into()), access_argument(access), INHERITABLE];
    let arguments = if inheritable { &arguments[..] } else { &arguments[..2] };
    let (access, options) = access_and_options(access);
    let this = current_process();
    let copy = call("DuplicateHandle", arguments, || {
        let copy = duplicate_raw(this, handle.as_raw_handle(), this, access, inheritable, options)?;
        // SAFETY: the successful call has just opened this handle in this process, and `copy` is the only place where
        // its value is stored, so no other owner exists.
        let copy = unsafe { OwnedHandle::from_raw_handle(copy) }.into();
        Ok(Duplicated { copy, source: Slot::own(handle) })
    });
    copy.map(|made| made.copy)
}

/// Returns the argument by which events show the access of a copy.
fn access_argument(access: Rights) -> (&'static str, Argument<'static>) {
    match access {
        Some(access) => ("access", Argument::Flags(access.bits())),
        None => ("same access", Argument::Yes),
    }
}

const INHERITABLE: (&str, Argument<'_>) = ("inheritable", Argument::Yes);

/// Duplicates the handle with this value out of another process, with the same access. The other process's handle
/// doesn't change.
pub(crate) fn duplicate_from(process: BorrowedHandle<'_>, value: HandleValue) -> SysResult<Owned> {
    let arguments = [("handle", value.into()), ("out of", Argument::Process(process)), access_argument(None)];
    let copy = call("DuplicateHandle", &arguments, || {
        let copy = duplicate_raw(process, raw(value), current_process(), 0, false, DUPLICATE_SAME_ACCESS)?;
        // SAFETY: the successful call has just opened this handle in this process, and `copy` is the only place where
        // its value is stored, so no other owner exists.
        let copy = unsafe { OwnedHandle::from_raw_handle(copy) }.into();
        Ok(Duplicated { copy, source: Slot::new(value.get().into(), Table::Of(process)) })
    });
    copy.map(|made| made.copy)
}

/// Duplicates a handle into another process's table. That process must close it, or [`close_in`] does.
pub(crate) fn duplicate_into(
    process: BorrowedHandle<'_>,
    handle: BorrowedHandle<'_>,
    access: Rights,
    inheritable: bool,
) -> SysResult<HandleValue> {
    let arguments = [
        ("handle", handle.into()),
        ("into", Argument::Process(process)),
        access_argument(access),
        INHERITABLE,
    ];
    let arguments = if inheritable { &arguments[..] } else { &arguments[..3] };
    let (access, options) = access_and_options(access);
    let made = call("DuplicateHandle", arguments, || {
        let (this, source) = (current_process(), handle.as_raw_handle());
        let value = duplicate_raw(this, source, process, access, inheritable, options)?;
        Ok(Duplicated { copy: RemoteValue { value, process }, source: Slot::own(handle) })
    })?;
    let copy = made.copy.value;
    HandleValue::new(copy.expose_provenance() as u64).map_err(|_| {
        // Windows assigns no such value. If it should, the remote handle is closed, so that it doesn't leak.
        close_raw_in(process, copy);
        SysError::unexpected("DuplicateHandle", "the copy has a value that no handle can have")
    })
}

/// Closes a handle in another process's table, by moving it into this process and closing it.
///
/// Without a target process, `DuplicateHandle` is documented to only close the source. Wine treats that as an invalid
/// handle, so the handle is moved.
///
/// A failure is ignored: if the process has exited, its handles are already closed.
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
        let no_answer = || io::Error::from(io::ErrorKind::TimedOut);
        let moved =
            watched(move || move_into_this_process(process_number, number)).ok_or_else(no_answer)??;
        Ok(Fetched { moved, from: Slot::new(number as u64, Table::Of(process)) })
    });
    // Dropping the moved handle closes it.
    drop(moved.map(|fetched| fetched.moved));
}

fn move_into_this_process(process: usize, value: usize) -> io::Result<Owned> {
    let mut moved = null_mut();
    // SAFETY: both handles are numbers that the kernel checks: `process` in this process's table, and `value` in that
    // process's. The caller of `close_in` borrows the process handle, so it is open; only if a test gives up on this
    // call can it be closed meanwhile. `moved` is a live variable for the answer.
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
    // SAFETY: the successful call has just opened this handle in this process, and `moved` is the only place where
    // its value is stored, so no other owner exists.
    Ok(unsafe { OwnedHandle::from_raw_handle(moved) }.into())
}

/// Makes this process the owner of a handle that another process put into its table.
///
/// Four callers may do this, and each takes a handle once:
///
/// 1. The inherited objects: a handle that was inheritable a moment ago. The only inheritable handles are those that
///    were inherited and have no Rust owner.
/// 2. [`HandleValue::adopt`](crate::HandleValue::adopt), whose `unsafe` states that another process made the handle
///    for this one.
/// 3. The weaker endpoint of a channel, for the handles that the stronger one gives it on the ownership page. The
///    weaker process trusts the stronger one completely, because that one has full access to it anyway. An endpoint whose
///    other endpoint is in this process too does the same.
/// 4. `Stdio::from_raw_handle`, whose `unsafe` states that the handle is open and has no other owner.
pub(crate) fn own(value: HandleValue) -> Owned {
    // SAFETY: the callers, listed above, have checked that the handle is open or got it from a process that they
    // trust with that. It was made for this process by another one, so no other owner exists in this process, and
    // each caller takes a value only once; or their caller has promised both.
    unsafe { OwnedHandle::from_raw_handle(raw(value)) }.into()
}

/// Returns whether a handle of this process is open and inheritable. This holds for an inherited handle that hasn't
/// been adopted yet.
pub(crate) fn is_open_and_inheritable(value: HandleValue) -> SysResult<bool> {
    let flags = ask("GetHandleInformation", &[("handle", value.into())], || {
        let mut flags = 0;
        // SAFETY: the kernel checks the handle, which may be any number. `flags` is a live variable for the answer.
        let answer = unsafe { GetHandleInformation(raw(value), &raw mut flags) };
        match succeeded(answer) {
            Ok(()) => Ok(Some(flags)),
            Err(error) if is_invalid_handle(&error) => Ok(None),
            Err(error) => Err(error),
        }
    })?;
    Ok(flags.is_some_and(|flags| flags & HANDLE_FLAG_INHERIT != 0))
}

/// Makes a handle of this process not inheritable, before it gets an owner.
pub(crate) fn clear_inheritable_of(value: HandleValue) -> SysResult<()> {
    let arguments = [("handle", value.into()), ("not inheritable", Argument::Yes)];
    call("SetHandleInformation", &arguments, || {
        // SAFETY: the kernel checks the handle, which may be any number. The inherit flag has no effect on code that
        // uses the handle.
        let answer = unsafe { SetHandleInformation(raw(value), HANDLE_FLAG_INHERIT, 0) };
        succeeded(answer)
    })
}

/// Returns the arguments by which events show a query about a handle.
fn about(handle: RawHandle, what: &'static str) -> [(&'static str, Argument<'static>); 2] {
    [("handle", Argument::Raw(handle.expose_provenance() as u64)), (what, Argument::Yes)]
}

impl Outcome for Access {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:#010x}", self.bits())
    }
}

/// Returns the rights that a handle of this process carries.
pub(crate) fn granted_access(handle: RawHandle) -> SysResult<Access> {
    ask("NtQueryObject", &about(handle, "access"), || {
        let mut answer = MaybeUninit::<PublicObjectBasicInformation>::zeroed();
        let length = super::size_of_u32::<PublicObjectBasicInformation>();
        // SAFETY: the kernel checks the handle, which may be any number. It writes at most `length` bytes to
        // `answer`, which is live and has that size.
        let status = unsafe {
            NtQueryObject(handle, OBJECT_BASIC_INFORMATION, answer.as_mut_ptr().cast(), length, null_mut())
        };
        succeeded_nt(status)?;
        // SAFETY: the structure consists of integers, was zeroed and then filled by the kernel, so it is initialized
        // and any bits are valid.
        let answer = unsafe { answer.assume_init() };
        Ok(Access::from_bits_retain(answer.granted_access))
    })
}

/// Returns the rights that the handle with this value carries, if it is open.
pub(crate) fn granted_access_of(value: HandleValue) -> SysResult<Access> {
    granted_access(raw(value))
}

/// The kernel's name for the type of an object. A receive asks for that of each object, so a short name, which all known types
/// have, needs no allocation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TypeName {
    Short { text: [u8; Self::SHORT], length: usize },
    Long(String),
}

impl TypeName {
    const SHORT: usize = 40;

    fn new(units: &[u16]) -> Self {
        let mut text = [0; Self::SHORT];
        if units.len() > text.len() {
            return Self::Long(String::from_utf16_lossy(units));
        }
        for (byte, unit) in text.iter_mut().zip(units) {
            match u8::try_from(*unit) {
                Ok(ascii) if ascii.is_ascii() => *byte = ascii,
                _ => return Self::Long(String::from_utf16_lossy(units)),
            }
        }
        Self::Short { text, length: units.len() }
    }
}

impl Deref for TypeName {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Short { text, length } => from_utf8(&text[..*length]).expect("it is ASCII"),
            Self::Long(name) => name,
        }
    }
}

impl Outcome for TypeName {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(self)
    }
}

/// Returns the kernel's name for the type of the object that a handle of this process refers to.
///
/// It queries only the type. A query for the object's name can hang on a pipe while another thread reads from it.
pub(crate) fn type_name(handle: RawHandle) -> SysResult<TypeName> {
    ask("NtQueryObject", &about(handle, "type"), || ask_for_type_name(handle))
}

fn ask_for_type_name(handle: RawHandle) -> io::Result<TypeName> {
    // The elements are `u64` for the alignment of the structure at the front. The longest type names have about 40
    // characters.
    let mut buffer = [0_u64; 64];
    let mut length = 0;
    // SAFETY: the kernel checks the handle, which may be any number. The buffer is live and writable, the kernel
    // writes at most its given size, and `length` is a live variable.
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
    // SAFETY: after a success, the answer begins with a `UNICODE_STRING`. The buffer is initialized, and large enough
    // and aligned for it.
    let name = unsafe { buffer.as_ptr().cast::<UNICODE_STRING>().read() };
    if name.Buffer.is_null() {
        return Ok(TypeName::new(&[]));
    }
    // SAFETY: after a success, the kernel has placed the characters in the same buffer, which is alive. `Buffer` is
    // non-null, and `Length` is their size in bytes.
    let units = unsafe { std::slice::from_raw_parts(name.Buffer, usize::from(name.Length) / 2) };
    Ok(TypeName::new(units))
}

/// Returns the kind of object that a handle of this process refers to, as the kernel reports it.
pub(crate) fn kind_of(handle: BorrowedHandle<'_>) -> SysResult<ObjectKind> {
    type_name(handle.as_raw_handle()).map(|name| ObjectKind::of_kernel_type(&name))
}

/// Returns the kind of object that this process owns. A socket is known by its owner: to the kernel it is a file.
pub(crate) fn kind_of_owned(handle: &Owned) -> SysResult<ObjectKind> {
    if super::winsock::is_socket(handle) {
        return Ok(ObjectKind::Socket);
    }
    kind_of(handle.borrowed())
}

/// Returns whether an object of this kind is more than its handle, so that a plain handle can't own it.
pub(crate) fn is_more_than_a_handle(kind: &ObjectKind) -> bool {
    *kind == ObjectKind::Socket
}

/// Returns none, because [`kind_of`] costs little.
#[allow(clippy::unnecessary_wraps, reason = "the Linux version asks the system")]
pub(crate) fn possible_kinds(
    _: BorrowedHandle<'_>,
    _is_no_semaphore: bool,
) -> SysResult<&'static [ObjectKind]> {
    Ok(&[])
}

/// Returns whether an object that was reported as the kind `found` can be of the expected kind. Windows reports each
/// object's own kind.
pub(crate) fn can_be(found: &ObjectKind, expected: &ObjectKind) -> bool {
    found == expected
}

/// Returns the kind of object that the handle with this value refers to.
pub(crate) fn kind_of_value(value: HandleValue) -> SysResult<ObjectKind> {
    type_name(raw(value)).map(|name| ObjectKind::of_kernel_type(&name))
}

/// Returns the handle of a standard stream in this process's startup parameters.
fn recorded_stream(which: usize) -> RawHandle {
    struct Recorded(RawHandle);
    impl Outcome for Recorded {
        #[inline]
        fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(to, "{:#x}", self.0.expose_provenance())
        }
    }
    let recorded = always_ask("GetStdHandle", &[("stream", which.into())], || {
        let which = [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE][which];
        // SAFETY: the argument is one of the three documented constants, and the call only reads this process's own
        // parameters.
        Ok(Recorded(unsafe { GetStdHandle(which) }))
    });
    recorded.map_or(null_mut(), |Recorded(handle)| handle)
}

/// Returns whether more of the standard input can follow a read of nothing: it is a pipe that can still be written to.
pub(crate) fn input_goes_on() -> bool {
    standard_stream(0).ok().flatten().is_some_and(super::pipe::is_connected)
}

/// Returns a standard stream of this process, if it has that stream. It may be a file, a pipe or a console, all of
/// which are files to the kernel.
pub(crate) fn standard_stream(which: usize) -> SysResult<Option<BorrowedHandle<'static>>> {
    let stream = recorded_stream(which);
    // A program without a console has NULL. `INVALID_HANDLE_VALUE` also stands for no stream; it is the pseudo handle
    // of this process too, and must never be duplicated.
    if HandleValue::new(stream.expose_provenance() as u64).is_err() {
        return Ok(None);
    }
    // If a stream was closed, its value is still recorded, and may by now belong to an object of another kind.
    match type_name(stream) {
        Ok(name) if ObjectKind::of_kernel_type(&name) == ObjectKind::File => {
            // SAFETY: the handle was just found open. Standard streams belong to the process and stay open as long as it
            // runs, which std relies on in the same way. If a program closes one nevertheless, the kernel answers calls
            // with an error.
            Ok(Some(unsafe { BorrowedHandle::borrow_raw(stream) }))
        }
        Ok(_) => Ok(None),
        Err(error) if is_invalid_handle(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether an error code says that no handle or no memory is free, which may change.
pub(crate) fn is_out_of_room(code: i32) -> bool {
    const NO_ROOM: [u32; 6] = [
        ERROR_TOO_MANY_OPEN_FILES,
        ERROR_NOT_ENOUGH_MEMORY,
        ERROR_OUTOFMEMORY,
        ERROR_NO_SYSTEM_RESOURCES,
        ERROR_COMMITMENT_LIMIT,
        ERROR_NOT_ENOUGH_QUOTA,
    ];
    u32::try_from(code).is_ok_and(|code| NO_ROOM.contains(&code))
}

/// Returns whether a call failed because the handle isn't open.
pub(crate) fn is_invalid_handle(error: &io::Error) -> bool {
    super::code(error) == Some(ERROR_INVALID_HANDLE)
}

/// Returns the outcome of a native call, with the Win32 error code for a failed status.
pub(super) fn succeeded_nt(status: i32) -> io::Result<()> {
    if status >= 0 {
        return Ok(());
    }
    // SAFETY: the call translates a number and accesses no memory of this process.
    let code = unsafe { RtlNtStatusToDosError(status) };
    #[allow(clippy::cast_possible_wrap, reason = "the codes are unsigned; std keeps them as i32")]
    Err(io::Error::from_raw_os_error(code as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_name_is_the_kernels_text_whether_short_or_long() {
        let texts = [String::new(), "Event".into(), "x".repeat(40), "x".repeat(41), "Ereignis \u{e4}".into()];
        for text in texts {
            let units: Vec<u16> = text.encode_utf16().collect();
            let name = TypeName::new(&units);
            assert_eq!(&*name, text);
            let is_short = text.is_ascii() && text.len() <= TypeName::SHORT;
            assert_eq!(matches!(name, TypeName::Short { .. }), is_short, "{text}");
        }
        // Half of a pair is no text.
        assert_eq!(&*TypeName::new(&[0x45, 0xd800]), "E\u{fffd}");
    }
}
