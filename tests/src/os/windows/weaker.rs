//! A channel's endpoint, without the library, for programs that break the protocol: a pipe, a shared page and an event.

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

/// The names of a child's endpoint in its manifest, which users cannot use.
pub const RESERVED_NAMES: [&str; 3] = ["handover/pipe", "handover/page", "handover/fetched"];

/// The number of words of the shared page.
pub(crate) const WORDS: usize = 16;
/// The word by which the weaker endpoint says that it has taken its handles.
pub(crate) const END: usize = 5;

/// A child's endpoint, or a client's.
#[derive(Debug)]
pub struct Endpoint {
    /// The pipe, the shared page and the event.
    pub handles: [BorrowedHandle<'static>; 3],
    /// Whether dropping this value closes the handles.
    is_own: Cell<bool>,
}

impl Endpoint {
    /// Returns the endpoint that this process inherited.
    ///
    /// # Panics
    ///
    /// Panics if it inherited none.
    #[must_use]
    pub fn inherited() -> Self {
        let manifest = std::env::var("HANDOVER_INHERITED").expect("the parent gave a manifest");
        let handles = RESERVED_NAMES.map(|name| {
            let value = manifest.split(' ').find_map(|word| word.strip_suffix(name)?.strip_suffix('='));
            table::borrowed(value.expect("the parent gave it").parse().expect("a number"))
        });
        Self { handles, is_own: Cell::new(false) }
    }

    /// Connects as an honest client does. Dropping the result closes it.
    ///
    /// # Errors
    ///
    /// Returns the system's error if there is no listener, and an error with the listener's answer if it doesn't
    /// accept.
    pub fn connect(listener: &str) -> io::Result<Self> {
        let (end, door) = Self::connect_without_taking(listener)?;
        raw::words(&end.handles[1], WORDS)[END].store(1, SeqCst);
        end.is_own.set(true);
        drop(door);
        Ok(end)
    }

    /// Connects up to the point where the client knows its handle values, and doesn't take them. Also returns the
    /// listener's pipe.
    ///
    /// # Errors
    ///
    /// Returns the system's error if there is no listener, and an error with the listener's answer if it doesn't
    /// accept.
    pub(crate) fn connect_without_taking(listener: &str) -> io::Result<(Self, OwnedHandle)> {
        const ANSWER: usize = 24;
        let time = Duration::from_secs(20);
        let deadline = Instant::now() + time;
        loop {
            let door = match door::connect(listener) {
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
                // The listener has disconnected an earlier client, and with it all clients that were waiting. Try
                // again.
                None if Instant::now() < deadline => {}
                other => return Err(io::Error::other(format!("the listener said {other:?}"))),
            }
        }
    }

    /// Writes bytes. Returns false if the write fails or times out. `_objects` is unused, because the frame's table
    /// contains the handle values.
    #[must_use]
    pub fn write(&self, bytes: &[u8], _objects: &[u32], time: Duration) -> bool {
        write(self.handles[0], bytes, time)
    }

    /// Reads once. Returns `None` on a timeout or an error.
    #[must_use]
    pub fn read(&self, time: Duration) -> Option<Vec<u8>> {
        read(self.handles[0], time)
    }

    /// Closes the endpoint's pipe, while the process goes on.
    pub fn close(&self) {
        self.is_own.set(false);
        table::close_value(table::value(&self.handles[0]));
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if self.is_own.get() {
            self.handles.iter().for_each(|handle| table::close_value(table::value(handle)));
        }
    }
}

/// The maximum number of bytes that stand for an object in a frame's table, besides its name: a value, and a socket's record.
pub const MAX_PLACE: usize = 4 + 628;

/// Returns the bytes that stand for an object in a frame's table: its handle value.
#[must_use]
pub fn place(value: u32) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// Writes to a pipe, overlapped or not. Returns false if the write fails or times out.
///
/// # Panics
///
/// Panics if the system can't create an event.
pub fn write(pipe: BorrowedHandle<'_>, bytes: &[u8], time: Duration) -> bool {
    transfer(pipe, time, |record| {
        let length = u32::try_from(bytes.len()).expect("short");
        // SAFETY: the pipe is open; the bytes and the record live until the transfer has completed.
        unsafe { WriteFile(pipe.as_raw_handle(), bytes.as_ptr(), length, null_mut(), record) }
    })
    .is_some_and(|written| written == bytes.len())
}

/// Reads once from a pipe, overlapped or not. Returns `None` on a timeout or an error.
#[must_use]
pub fn read(pipe: BorrowedHandle<'_>, time: Duration) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 64 * 1024];
    let length = u32::try_from(buffer.len()).ok()?;
    let read = transfer(pipe, time, |record| {
        // SAFETY: the pipe is open; the buffer and the record live until the transfer has completed.
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
    // SAFETY: the security attributes and the name may be NULL.
    let done = owned(unsafe { CreateEventW(null(), 1, 0, null()) });
    let mut record = OVERLAPPED { hEvent: done.as_raw_handle(), ..Default::default() };
    let answer = begin(&raw mut record);
    let pending = i32::try_from(ERROR_IO_PENDING).expect("a small code");
    if answer == 0 && io::Error::last_os_error().raw_os_error() != Some(pending) {
        return None;
    }
    let milliseconds = u32::try_from(time.as_millis()).expect("a short time");
    // SAFETY: the event is owned, so it is open.
    if unsafe { WaitForSingleObject(done.as_raw_handle(), milliseconds) } != 0 {
        // SAFETY: the pipe is borrowed, so it is open; the record is the one of the pending transfer.
        unsafe { CancelIoEx(pipe.as_raw_handle(), &raw const record) };
    }
    let mut moved = 0;
    // SAFETY: the pipe is open, and the record is the one of the transfer. The call waits until the transfer has
    // completed, so the kernel doesn't use the record afterwards.
    let answer = unsafe { GetOverlappedResult(pipe.as_raw_handle(), &raw const record, &raw mut moved, 1) };
    (answer != 0).then_some(moved as usize)
}
