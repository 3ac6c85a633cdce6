//! A channel's end in the hands of a program that doesn't play by the rules: a pipe, a page and an event.

#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::ptr::{null, null_mut};
use std::time::Duration;

use windows_sys::Win32::Foundation::ERROR_IO_PENDING;
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Threading::{CreateEventW, WaitForSingleObject};

use super::{raw::owned, table};

/// The names under which a child gets its end; nobody else can use them.
pub const RESERVED_NAMES: [&str; 3] = ["handover/pipe", "handover/ledger", "handover/fetched"];

/// A child's end, as its environment names it.
#[derive(Debug)]
pub struct End {
    /// The pipe, the page that both ends share, and the event.
    pub handles: [BorrowedHandle<'static>; 3],
}

impl End {
    /// What the parent of this process gave.
    ///
    /// # Panics
    ///
    /// If it gave nothing.
    #[must_use]
    pub fn inherited() -> Self {
        let manifest = std::env::var("HANDOVER_INHERITED").expect("the parent gave a manifest");
        let handles = RESERVED_NAMES.map(|name| {
            let value = manifest.split(' ').find_map(|word| word.strip_suffix(name)?.strip_suffix('='));
            table::borrowed(value.expect("the parent gave it").parse().expect("a number"))
        });
        Self { handles }
    }

    /// Writes so much of a frame; false if it can't be done within this time. The objects stand in the frame's table.
    #[must_use]
    pub fn write(&self, bytes: &[u8], _objects: &[u32], time: Duration) -> bool {
        write(self.handles[0], bytes, time)
    }

    /// Reads once; `None` if nothing comes within this time.
    #[must_use]
    pub fn read(&self, time: Duration) -> Option<Vec<u8>> {
        read(self.handles[0], time)
    }

    /// Closes it, though the process lives on.
    pub fn close(&self) {
        table::close_value(table::value(&self.handles[0]));
    }
}

/// What stands in a frame's table for where an object is.
#[must_use]
pub fn place(value: u32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
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
