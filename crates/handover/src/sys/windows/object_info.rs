//! What the kernel says of an object behind a handle: its name, how many handles it has, whether two are one.

use std::io;
use std::mem::MaybeUninit;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, RawHandle};
use std::ptr::null_mut;

use windows_sys::Wdk::Foundation::{NtQueryObject, OBJECT_INFORMATION_CLASS};
use windows_sys::Win32::Foundation::{CompareObjectHandles, ERROR_BAD_PATHNAME, UNICODE_STRING};

use super::handle::{OBJECT_BASIC_INFORMATION, PublicObjectBasicInformation, succeeded_nt};
use super::{SysResult, ask};

/// The information class of [`NtQueryObject`] that windows-sys doesn't name.
const OBJECT_NAME_INFORMATION: OBJECT_INFORMATION_CLASS = 1;

/// Room for the longest name, of 64 KiB, and the structure in front of it, which the elements' type aligns.
pub(super) type NameBuffer = [u64; 8200];

/// Asks for an object's name. For a file, this can take for ever: [`super::name_query_thread`] is for those.
pub(crate) fn name_of(handle: BorrowedHandle<'_>) -> SysResult<Option<String>> {
    ask("NtQueryObject", &[("name of", handle.into())], || {
        let mut buffer = Box::new([0; 8200]);
        name_in(ask_for_name(handle.as_raw_handle(), &mut buffer), &buffer)
    })
}

/// The call alone, which allocates nothing.
pub(super) fn ask_for_name(handle: RawHandle, buffer: &mut NameBuffer) -> i32 {
    let mut length = 0;
    // SAFETY: the kernel checks the number, and writes no more to the buffer than the size given with it.
    unsafe {
        NtQueryObject(
            handle,
            OBJECT_NAME_INFORMATION,
            buffer.as_mut_ptr().cast(),
            super::size_of_u32::<NameBuffer>(),
            &raw mut length,
        )
    }
}

/// The name in the call's answer.
pub(super) fn name_in(status: i32, buffer: &NameBuffer) -> io::Result<Option<String>> {
    match succeeded_nt(status) {
        // What was never opened by a path, such as one end of a pipe, has none.
        Err(error) if super::code(&error) == Some(ERROR_BAD_PATHNAME) => return Ok(None),
        outcome => outcome?,
    }
    // SAFETY: the answer starts with this structure, in a buffer that is large and aligned enough for it.
    let name = unsafe { buffer.as_ptr().cast::<UNICODE_STRING>().read() };
    if name.Buffer.is_null() || name.Length == 0 {
        return Ok(None);
    }
    // SAFETY: the string lies in the same buffer, which lives on, and its length counts the bytes of whole
    // units.
    let units = unsafe { std::slice::from_raw_parts(name.Buffer, usize::from(name.Length) / 2) };
    Ok(Some(String::from_utf16_lossy(units)))
}

/// How many handles there are to the object, of all processes.
pub(crate) fn handle_count(handle: BorrowedHandle<'_>) -> SysResult<u32> {
    ask("NtQueryObject", &[("handles of", handle.into())], || {
        let mut answer = MaybeUninit::<PublicObjectBasicInformation>::zeroed();
        let length = super::size_of_u32::<PublicObjectBasicInformation>();
        // SAFETY: the handle is borrowed, so it is open; the kernel writes at most `length` bytes to a place
        // of that size.
        let status = unsafe {
            NtQueryObject(
                handle.as_raw_handle(),
                OBJECT_BASIC_INFORMATION,
                answer.as_mut_ptr().cast(),
                length,
                null_mut(),
            )
        };
        succeeded_nt(status)?;
        // SAFETY: the place was zeroed and then filled, and every bit pattern is a value of these integers.
        Ok(unsafe { answer.assume_init() }.handle_count)
    })
}

/// Whether two handles of this process refer to one object.
pub(crate) fn is_same(one: BorrowedHandle<'_>, other: BorrowedHandle<'_>) -> SysResult<bool> {
    ask("CompareObjectHandles", &[("handle", one.into()), ("handle", other.into())], || {
        // SAFETY: both handles are borrowed, so they are open.
        Ok(unsafe { CompareObjectHandles(one.as_raw_handle(), other.as_raw_handle()) } != 0)
    })
}
