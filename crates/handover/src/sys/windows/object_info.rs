//! The kernel's information about an object: its name, its number of handles, the mode of a file, and whether two handles
//! refer to the same object.

use std::io;
use std::mem::MaybeUninit;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, RawHandle};
use std::ptr::null_mut;

use windows_sys::Wdk::Foundation::{NtQueryObject, OBJECT_INFORMATION_CLASS};
use windows_sys::Wdk::Storage::FileSystem::{FileModeInformation, NtQueryInformationFile};
use windows_sys::Win32::Foundation::{CompareObjectHandles, ERROR_BAD_PATHNAME, UNICODE_STRING};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use super::handle::{OBJECT_BASIC_INFORMATION, PublicObjectBasicInformation, succeeded_nt};
use super::{SysResult, ask};

/// An information class of [`NtQueryObject`] that windows-sys doesn't define.
const OBJECT_NAME_INFORMATION: OBJECT_INFORMATION_CLASS = 1;

/// A buffer for the longest name, 64 KiB, and the structure in front of it. The element type provides the alignment.
pub(super) type NameBuffer = [u64; 8200];

/// Returns the name of an object, if it has one. For a file the call may never return; use
/// [`super::name_query_thread`] for files.
pub(crate) fn name_of(handle: BorrowedHandle<'_>) -> SysResult<Option<String>> {
    ask("NtQueryObject", &[("name of", handle.into())], || {
        let mut buffer = Box::new([0; 8200]);
        name_in(ask_for_name(handle.as_raw_handle(), &mut buffer), &buffer)
    })
}

/// Makes only the call, and allocates nothing.
pub(super) fn ask_for_name(handle: RawHandle, buffer: &mut NameBuffer) -> i32 {
    let mut length = 0;
    // SAFETY: the kernel checks the handle, which may be any number. The buffer is live and writable, and the kernel
    // writes at most the given size to it. `length` is a live variable.
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

/// Extracts the name from the answer of the call.
pub(super) fn name_in(status: i32, buffer: &NameBuffer) -> io::Result<Option<String>> {
    match succeeded_nt(status) {
        // Objects that weren't opened by a path, such as an end of a pipe, have no name.
        Err(error) if super::code(&error) == Some(ERROR_BAD_PATHNAME) => return Ok(None),
        outcome => outcome?,
    }
    // SAFETY: after a success, the answer begins with a `UNICODE_STRING`. The buffer is large enough and aligned for
    // it, and before the call it was initialized, so the read is of initialized memory.
    let name = unsafe { buffer.as_ptr().cast::<UNICODE_STRING>().read() };
    if name.Buffer.is_null() || name.Length == 0 {
        return Ok(None);
    }
    // SAFETY: after a success, the kernel has placed the characters in the same buffer, which the caller keeps
    // borrowed. `Buffer` is non-null, and `Length` is their size in bytes.
    let units = unsafe { std::slice::from_raw_parts(name.Buffer, usize::from(name.Length) / 2) };
    Ok(Some(String::from_utf16_lossy(units)))
}

/// Returns the number of handles to the object in all processes.
pub(crate) fn handle_count(handle: BorrowedHandle<'_>) -> SysResult<u32> {
    ask("NtQueryObject", &[("handles of", handle.into())], || {
        let mut answer = MaybeUninit::<PublicObjectBasicInformation>::zeroed();
        let length = super::size_of_u32::<PublicObjectBasicInformation>();
        // SAFETY: the handle is borrowed, so it is open. The kernel writes at most `length` bytes to `answer`, which
        // is live and has that size.
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
        // SAFETY: the structure consists of integers, was zeroed and then filled by the kernel, so it is initialized
        // and any bits are valid.
        Ok(unsafe { answer.assume_init() }.handle_count)
    })
}

/// Returns whether transfers over a pipe or file are overlapped. A call that begins another transfer could wait without a
/// limit.
pub(crate) fn is_overlapped(pipe: BorrowedHandle<'_>) -> SysResult<bool> {
    /// `FILE_SYNCHRONOUS_IO_ALERT` and `FILE_SYNCHRONOUS_IO_NONALERT`.
    const SYNCHRONOUS: u32 = 0x10 | 0x20;
    ask("NtQueryInformationFile", &[("mode of", pipe.into())], || {
        let (mut status, mut mode) = (IO_STATUS_BLOCK::default(), 0_u32);
        // SAFETY: the handle is borrowed, so it is open; the kernel checks that it is a file. `status` and `mode`, whose size
        // is passed, are live variables for the answer, which is a number.
        let answer = unsafe {
            NtQueryInformationFile(
                pipe.as_raw_handle(),
                &raw mut status,
                (&raw mut mode).cast(),
                super::size_of_u32::<u32>(),
                FileModeInformation,
            )
        };
        succeeded_nt(answer)?;
        Ok(mode & SYNCHRONOUS == 0)
    })
}

/// Returns whether two handles of this process refer to the same object.
pub(crate) fn is_same(one: BorrowedHandle<'_>, other: BorrowedHandle<'_>) -> SysResult<bool> {
    ask("CompareObjectHandles", &[("handle", one.into()), ("handle", other.into())], || {
        // SAFETY: both handles are borrowed, so they are open. The call accesses no memory of this process.
        Ok(unsafe { CompareObjectHandles(one.as_raw_handle(), other.as_raw_handle()) } != 0)
    })
}

#[cfg(test)]
mod tests {
    use std::os::windows::io::AsHandle;

    use super::*;
    use crate::sys::pipe::{Direction, pair};

    #[test]
    fn pipe_of_a_channel_is_overlapped_and_the_one_of_a_stream_is_not() -> io::Result<()> {
        let (server, client) = pair(Direction::Both, None)?;
        assert!(is_overlapped(server.as_handle())? && is_overlapped(client.as_handle())?);
        let (_ours, theirs) = pair(Direction::FromChild, None)?;
        assert!(!is_overlapped(theirs.as_handle())?);
        Ok(())
    }
}
