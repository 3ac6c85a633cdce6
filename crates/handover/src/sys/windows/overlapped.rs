//! Overlapped reads, writes and connects on a pipe. A transfer is started, waited for together with other objects,
//! and then finished or cancelled.

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::{fmt, io};

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, ERROR_PIPE_CONNECTED};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::ConnectNamedPipe;

use super::io::Owned;
use super::{
    Argument, DeferredEvents, Length, Moved, Outcome, SysError, SysResult, always, call, code, fault,
    succeeded,
};

/// An endpoint of an overlapped pipe, with a buffer for one transfer at a time.
///
/// While a transfer is pending, the kernel uses the buffer, so the buffer can't be accessed. The buffer and the
/// `OVERLAPPED` structure are on the heap. No code of a subscriber runs between a call and the note that its transfer
/// is under way. If a `Transfer` is forgotten, they leak, so the kernel never writes to
/// memory that has been reused.
pub(crate) struct Transfer {
    pipe: Arc<Owned>,
    done: Owned,
    record: NonNull<OVERLAPPED>,
    buffer: Vec<u8>,
    under_way: Option<Work>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Read,
    Write,
    Connect,
}

// SAFETY: `record` is a heap allocation that only this value accesses, besides the kernel. A transfer may be started,
// finished and cancelled by different threads.
unsafe impl Send for Transfer {}

/// Whether a started transfer is already finished. If it is pending, its [event](Transfer::done) is set when it is
/// finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    Done,
    UnderWay,
}

impl Outcome for Begun {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Done => "ok",
            Self::UnderWay => "under way",
        })
    }
}

/// Returns whether a call has finished or only started its transfer.
fn begun(answer: i32) -> io::Result<Begun> {
    match succeeded(answer) {
        Ok(()) => Ok(Begun::Done),
        Err(error) if code(&error) == Some(ERROR_IO_PENDING) => Ok(Begun::UnderWay),
        Err(error) => Err(error),
    }
}

/// The number of transferred bytes, and the bytes themselves if they were read.
struct Finished<'a> {
    moved: usize,
    read: &'a [u8],
}

impl Outcome for Finished<'_> {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.read.is_empty() { Length(self.moved).result(to) } else { Moved(self.read).result(to) }
    }
}

impl Transfer {
    /// Creates a transfer for an overlapped pipe. `done` must be a manual-reset event.
    pub(crate) fn new(pipe: Arc<Owned>, done: Owned) -> Self {
        let record = NonNull::from(Box::leak(Box::new(OVERLAPPED::default())));
        Self { pipe, done, record, buffer: Vec::new(), under_way: None }
    }

    /// Returns the buffer: bytes that were read and not removed yet, or bytes to be written.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        assert!(self.under_way.is_none(), "the kernel has the buffer");
        &mut self.buffer
    }

    /// Returns the event that is set when the transfer is finished.
    pub(crate) fn done(&self) -> BorrowedHandle<'_> {
        self.done.as_handle()
    }

    /// Starts to read at most `most` bytes, which are appended to the buffer.
    pub(crate) fn read(&mut self, most: usize) -> SysResult<Begun> {
        let _events = DeferredEvents::begin();
        self.buffer().reserve(most);
        let most = u32::try_from(most).map_err(|error| SysError::new("ReadFile", io::Error::other(error)))?;
        let record = self.new_record();
        let room = self.buffer.spare_capacity_mut().as_mut_ptr();
        let begun = call("ReadFile", &[("pipe", (&*self.pipe).into()), ("room", most.into())], || {
            // SAFETY: the pipe is open, because `self` owns a reference to it. `room` points to the spare capacity of
            // the buffer, which is on the heap and has at least `most` bytes. Neither the buffer nor the record is
            // accessed or freed until the transfer is finished; `under_way`, which is set if the call succeeds,
            // ensures that.
            let answer =
                unsafe { ReadFile(self.pipe.as_raw_handle(), room.cast(), most, null_mut(), record) };
            begun(answer)
        });
        self.note(Work::Read, begun)
    }

    /// Starts to write the buffer's bytes from the offset `from` on, at most `most` of them.
    pub(crate) fn write(&mut self, from: usize, most: usize) -> SysResult<Begun> {
        let _events = DeferredEvents::begin();
        let end = self.buffer().len().min(from + most);
        let record = self.new_record();
        let bytes = &self.buffer[from..end];
        let length = u32::try_from(bytes.len())
            .map_err(|error| SysError::new("WriteFile", io::Error::other(error)))?;
        let begun =
            call("WriteFile", &[("pipe", (&*self.pipe).into()), ("", Argument::Bytes(bytes))], || {
                // SAFETY: the pipe is open, because `self` owns a reference to it. `bytes` and `length` describe a
                // part of the buffer, which is on the heap. Neither the buffer nor the record is accessed or freed
                // until the transfer is finished; `under_way`, which is set if the call succeeds, ensures that.
                let answer = unsafe {
                    WriteFile(self.pipe.as_raw_handle(), bytes.as_ptr(), length, null_mut(), record)
                };
                begun(answer)
            });
        self.note(Work::Write, begun)
    }

    /// Starts to wait for a client of this server end of a named pipe.
    pub(crate) fn connect(&mut self) -> SysResult<Begun> {
        assert!(self.under_way.is_none(), "one transfer at a time");
        let _events = DeferredEvents::begin();
        let record = self.new_record();
        let mut is_connected = false;
        let begun = call("ConnectNamedPipe", &[("pipe", (&*self.pipe).into())], || {
            // SAFETY: the pipe is open, because `self` owns a reference to it. The record is on the heap and is
            // neither accessed nor freed until the transfer is finished; `under_way`, which is set if the call starts
            // it, ensures that.
            match begun(unsafe { ConnectNamedPipe(self.pipe.as_raw_handle(), record) }) {
                // The client connected before the call.
                Err(error) if code(&error) == Some(ERROR_PIPE_CONNECTED) => {
                    is_connected = true;
                    Ok(Begun::Done)
                }
                outcome => outcome,
            }
        });
        if is_connected { begun } else { self.note(Work::Connect, begun) }
    }

    fn new_record(&mut self) -> *mut OVERLAPPED {
        let record = OVERLAPPED { hEvent: self.done.as_raw_handle(), ..Default::default() };
        // SAFETY: `record` was allocated by `new`, is valid for writes, and lives as long as `self`. Each caller has
        // checked that no transfer is pending, so the kernel doesn't use it.
        unsafe { self.record.write(record) };
        self.record.as_ptr()
    }

    /// Records that a transfer was started, if the call succeeded.
    fn note(&mut self, work: Work, begun: SysResult<Begun>) -> SysResult<Begun> {
        if begun.is_ok() {
            self.under_way = Some(work);
        }
        begun
    }

    /// Waits until the transfer is finished, and returns the number of transferred bytes. Call it once
    /// [`done`](Self::done) is set, so that it doesn't block.
    pub(crate) fn finish(&mut self) -> SysResult<usize> {
        let Some(work) = self.under_way else { return Ok(0) };
        let _events = DeferredEvents::begin();
        let (pipe, record) = (&*self.pipe, self.record.as_ptr());
        let (buffer, under_way) = (&mut self.buffer, &mut self.under_way);
        let finished = always("GetOverlappedResult", &[("pipe", pipe.into())], || {
            let mut moved = 0;
            // SAFETY: the pipe is open, because `self` owns a reference to it. The record is the one of the pending
            // transfer, and `moved` is a live variable for the answer.
            let answer = unsafe { GetOverlappedResult(pipe.as_raw_handle(), record, &raw mut moved, 1) };
            let outcome = succeeded(answer);
            // The call waits until the transfer has succeeded, failed or been cancelled, so the kernel no longer uses
            // the buffer and the record.
            *under_way = None;
            let (moved, before) = (moved as usize, buffer.len());
            if work == Work::Read && outcome.is_ok() {
                // SAFETY: the kernel has initialized `moved` bytes behind the first `before`. They are within the
                // capacity, because `read` reserved as many bytes as it allowed the kernel to write.
                unsafe { buffer.set_len(before + moved) };
            }
            // An injected failure doesn't prevent this call, because the kernel uses the buffer until it returns. So
            // the failure is only reported afterwards.
            fault("GetOverlappedResult").and(outcome).map(|()| Finished { moved, read: &buffer[before..] })
        });
        finished.map(|finished| finished.moved)
    }

    /// Cancels the transfer. If it has finished just before, it returns the number of transferred bytes.
    pub(crate) fn cancel(&mut self) -> SysResult<usize> {
        let _events = DeferredEvents::begin();
        if self.under_way.is_some() {
            // A failure means that the transfer has already finished; `finish` returns its result.
            let _ = always("CancelIoEx", &[("pipe", (&*self.pipe).into())], || {
                // SAFETY: the pipe is open, because `self` owns a reference to it. The record is the one of the
                // pending transfer; the call only uses its address to find the transfer.
                succeeded(unsafe { CancelIoEx(self.pipe.as_raw_handle(), self.record.as_ptr()) })
            });
        }
        self.finish()
    }
}

impl fmt::Debug for Transfer {
    /// The bytes are left out: they may be many, and confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer").field("pipe", &self.pipe).field("under_way", &self.under_way).finish()
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        // The result of the transfer is no longer needed.
        let _ = self.cancel();
        // SAFETY: `new` leaked the record from a `Box`, and it is freed only here. `cancel` has waited for the
        // transfer, so the kernel no longer uses the record.
        drop(unsafe { Box::from_raw(self.record.as_ptr()) });
    }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Foundation::ERROR_OPERATION_ABORTED;

    use super::*;
    use crate::sys::create_object;
    use crate::sys::pipe::{Direction, pair};

    #[test]
    fn dropped_transfer_consumes_no_bytes() -> io::Result<()> {
        let (ours, theirs) = pair(Direction::Both, None)?;
        let (ours, theirs) = (Arc::new(ours), Arc::new(theirs));
        let transfer = |pipe: &Arc<Owned>| {
            Ok::<_, io::Error>(Transfer::new(Arc::clone(pipe), create_object::event(true)?))
        };
        let mut dropped = transfer(&ours)?;
        assert_eq!(dropped.read(3)?, Begun::UnderWay);
        drop(dropped);
        let mut writer = transfer(&theirs)?;
        *writer.buffer() = b"abc".to_vec();
        writer.write(0, 3)?;
        assert_eq!(writer.finish()?, 3);
        let mut reader = transfer(&ours)?;
        if reader.read(3)? == Begun::UnderWay {
            assert_eq!(reader.cancel().ok(), Some(3), "another reader has taken the bytes");
        }
        reader.finish()?;
        assert_eq!(reader.buffer(), b"abc");
        Ok(())
    }

    #[test]
    fn cancelled_transfer_fails_with_operation_aborted() -> io::Result<()> {
        let (ours, _theirs) = pair(Direction::Both, None)?;
        let mut transfer = Transfer::new(Arc::new(ours), create_object::event(true)?);
        assert_eq!(transfer.read(3)?, Begun::UnderWay);
        let error = transfer.cancel().expect_err("nothing was sent");
        assert_eq!(code(&error), Some(ERROR_OPERATION_ABORTED));
        assert_eq!(transfer.finish()?, 0);
        Ok(())
    }
}
