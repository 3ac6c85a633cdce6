//! A channel's end in the hands of a program that doesn't play by the rules: a pipe, a page and an event.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::ERROR_IO_PENDING;
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Threading::{CreateEventW, WaitForSingleObject};

use super::raw::owned;
use super::{door, raw, table};

/// The names under which a child gets its end; nobody else can use them.
pub const RESERVED_NAMES: [&str; 3] = ["handover/pipe", "handover/ledger", "handover/fetched"];

/// How many words the page has that both ends share.
pub(crate) const WORDS: usize = 16;
/// Where in it the weaker end says that it has taken its handles.
pub(crate) const END: usize = 5;

/// A child's end, as its environment names it, or a client's.
#[derive(Debug)]
pub struct End {
    /// The pipe, the page that both ends share, and the event.
    pub handles: [BorrowedHandle<'static>; 3],
    /// Whether they are this value's to close.
    is_own: Cell<bool>,
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
        Self { handles, is_own: Cell::new(false) }
    }

    /// A client's, that comes in as an honest one does; it is closed when it is dropped.
    ///
    /// # Errors
    ///
    /// The system's, if there is no listener, or what it says instead.
    pub fn at_door(listener: &str) -> io::Result<Self> {
        let (end, door) = Self::in_door(listener)?;
        raw::words(&end.handles[1], WORDS)[END].store(1, SeqCst);
        end.is_own.set(true);
        drop(door);
        Ok(end)
    }

    /// A client that was told its handles, and hasn't taken them.
    ///
    /// # Errors
    ///
    /// The system's, if there is no listener, or what it says instead.
    pub(crate) fn in_door(listener: &str) -> io::Result<(Self, OwnedHandle)> {
        const ANSWER: usize = 24;
        let time = Duration::from_secs(20);
        let deadline = Instant::now() + time;
        loop {
            let door = match door::knock(listener) {
                Err(_) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                outcome => outcome?,
            };
            match read(door.as_handle(), time) {
                Some(answer) if answer.len() == ANSWER => {
                    let value = |place: usize| {
                        let bytes = answer[4 + 4 * place..][..4].try_into().expect("four bytes");
                        table::borrowed(u32::from_le_bytes(bytes))
                    };
                    let handles = [value(0), value(1), value(2)];
                    return Ok((Self { handles, is_own: Cell::new(false) }, door));
                }
                // Somebody who was there before has been sent away, and with him all who had come.
                None if Instant::now() < deadline => {}
                other => return Err(io::Error::other(format!("the listener said {other:?}"))),
            }
        }
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
        self.is_own.set(false);
        table::close_value(table::value(&self.handles[0]));
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if self.is_own.get() {
            self.handles.iter().for_each(|handle| table::close_value(table::value(handle)));
        }
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
