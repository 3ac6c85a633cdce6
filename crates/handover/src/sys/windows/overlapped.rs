//! Reading from and writing to an overlapped pipe: begun, waited for together with other things, finished or
//! cancelled.

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle};
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::{fmt, io};

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, ERROR_PIPE_CONNECTED};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::ConnectNamedPipe;

use super::io::Owned;
use super::{Argument, Length, Moved, Outcome, SysError, SysResult, always, call, code, fault, succeeded};

/// One transfer at a time, over and over, with a buffer of its own.
///
/// While one is under way, the kernel has the buffer, which therefore can't be seen. The buffer and the
/// record of the transfer are on the heap; to forget this leaks them, and never gives the kernel memory that
/// is somebody else's.
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

// SAFETY: the record is this value's alone, and the kernel doesn't care which thread asks for the outcome.
unsafe impl Send for Transfer {}

/// Whether a transfer is finished already; if not, it is when its [event](Transfer::done) is set.
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

/// Whether a call has begun a transfer.
fn begun(answer: i32) -> io::Result<Begun> {
    match succeeded(answer) {
        Ok(()) => Ok(Begun::Done),
        Err(error) if code(&error) == Some(ERROR_IO_PENDING) => Ok(Begun::UnderWay),
        Err(error) => Err(error),
    }
}

/// How much a transfer has moved, and what it has read.
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
    /// Over an overlapped pipe, with a manual-reset event.
    pub(crate) fn new(pipe: Arc<Owned>, done: Owned) -> Self {
        let record = NonNull::from(Box::leak(Box::new(OVERLAPPED::default())));
        Self { pipe, done, record, buffer: Vec::new(), under_way: None }
    }

    /// What was read and not removed, or what is to be written.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        assert!(self.under_way.is_none(), "the kernel has the buffer");
        &mut self.buffer
    }

    /// The event that is set when the transfer is finished.
    pub(crate) fn done(&self) -> BorrowedHandle<'_> {
        self.done.as_handle()
    }

    /// Begins to read at most so many bytes, which come to the end of the buffer.
    pub(crate) fn read(&mut self, most: usize) -> SysResult<Begun> {
        self.buffer().reserve(most);
        let most = u32::try_from(most).map_err(|error| SysError::new("ReadFile", io::Error::other(error)))?;
        let record = self.new_record();
        let room = self.buffer.spare_capacity_mut().as_mut_ptr();
        let begun = call("ReadFile", &[("pipe", (&*self.pipe).into()), ("room", most.into())], || {
            // SAFETY: the pipe is open; the room is on the heap, large enough, and not touched until the
            // transfer is finished, which `under_way` stands for; so is the record.
            let answer =
                unsafe { ReadFile(self.pipe.as_raw_handle(), room.cast(), most, null_mut(), record) };
            begun(answer)
        });
        self.note(Work::Read, begun)
    }

    /// Begins to write what is in the buffer from this place on, at most so many bytes.
    pub(crate) fn write(&mut self, from: usize, most: usize) -> SysResult<Begun> {
        let end = self.buffer().len().min(from + most);
        let record = self.new_record();
        let bytes = &self.buffer[from..end];
        let length = u32::try_from(bytes.len())
            .map_err(|error| SysError::new("WriteFile", io::Error::other(error)))?;
        let begun =
            call("WriteFile", &[("pipe", (&*self.pipe).into()), ("", Argument::Bytes(bytes))], || {
                // SAFETY: as for reading; the bytes stay as they are until the transfer is finished.
                let answer = unsafe {
                    WriteFile(self.pipe.as_raw_handle(), bytes.as_ptr(), length, null_mut(), record)
                };
                begun(answer)
            });
        self.note(Work::Write, begun)
    }

    /// Begins to wait for a client of this end of a named pipe.
    pub(crate) fn connect(&mut self) -> SysResult<Begun> {
        assert!(self.under_way.is_none(), "one at a time");
        let record = self.new_record();
        let mut was_there = false;
        let begun = call("ConnectNamedPipe", &[("pipe", (&*self.pipe).into())], || {
            // SAFETY: the pipe is open; the record is on the heap and not touched until the transfer is
            // finished.
            match begun(unsafe { ConnectNamedPipe(self.pipe.as_raw_handle(), record) }) {
                // The client came before the call.
                Err(error) if code(&error) == Some(ERROR_PIPE_CONNECTED) => {
                    was_there = true;
                    Ok(Begun::Done)
                }
                outcome => outcome,
            }
        });
        if was_there { begun } else { self.note(Work::Connect, begun) }
    }

    fn new_record(&mut self) -> *mut OVERLAPPED {
        let record = OVERLAPPED { hEvent: self.done.as_raw_handle(), ..Default::default() };
        // SAFETY: nothing is under way, so the record, which lives as long as this, is ours to write.
        unsafe { self.record.write(record) };
        self.record.as_ptr()
    }

    /// Notes that a transfer was begun, if one was.
    fn note(&mut self, work: Work, begun: SysResult<Begun>) -> SysResult<Begun> {
        if begun.is_ok() {
            self.under_way = Some(work);
        }
        begun
    }

    /// How many bytes the transfer has moved. Waits for it, so this comes after [`done`](Self::done) was set.
    pub(crate) fn finish(&mut self) -> SysResult<usize> {
        let Some(work) = self.under_way else { return Ok(0) };
        let (pipe, record) = (&*self.pipe, self.record.as_ptr());
        let (buffer, under_way) = (&mut self.buffer, &mut self.under_way);
        let finished = always("GetOverlappedResult", &[("pipe", pipe.into())], || {
            let mut moved = 0;
            // SAFETY: the pipe is open, and the record is the one that the transfer was begun with.
            let answer = unsafe { GetOverlappedResult(pipe.as_raw_handle(), record, &raw mut moved, 1) };
            let outcome = succeeded(answer);
            // Finished in any case: with a success, a failure, or because it was cancelled.
            *under_way = None;
            let (moved, before) = (moved as usize, buffer.len());
            if work == Work::Read && outcome.is_ok() {
                // SAFETY: the kernel has written so many bytes behind those that were there.
                unsafe { buffer.set_len(before + moved) };
            }
            // Not by `call`: it is made in any case, because the kernel has the buffer until then, and fails
            // only afterwards.
            fault("GetOverlappedResult").and(outcome).map(|()| Finished { moved, read: &buffer[before..] })
        });
        finished.map(|finished| finished.moved)
    }

    /// Ends the transfer now. It may have finished just before, and then this is how many bytes it moved.
    pub(crate) fn cancel(&mut self) -> SysResult<usize> {
        if self.under_way.is_some() {
            // A failure means that there is nothing to cancel any more, and finishing tells.
            let _ = always("CancelIoEx", &[("pipe", (&*self.pipe).into())], || {
                // SAFETY: the pipe is open, and the record is the one that the transfer was begun with.
                succeeded(unsafe { CancelIoEx(self.pipe.as_raw_handle(), self.record.as_ptr()) })
            });
        }
        self.finish()
    }
}

impl fmt::Debug for Transfer {
    /// Without the bytes: they may be many, and secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer").field("pipe", &self.pipe).field("under_way", &self.under_way).finish()
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        // What comes of it is nobody's any more.
        let _ = self.cancel();
        // SAFETY: the record was leaked from a box, and the kernel is done with it.
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
    fn a_transfer_that_is_dropped_takes_nothing_with_it() -> io::Result<()> {
        let (ours, theirs) = pair(Direction::Both, None)?;
        let (ours, theirs) = (Arc::new(ours), Arc::new(theirs));
        let transfer = |pipe: &Arc<Owned>| {
            Ok::<_, io::Error>(Transfer::new(Arc::clone(pipe), create_object::event(true)?))
        };
        let mut forgotten = transfer(&ours)?;
        assert_eq!(forgotten.read(3)?, Begun::UnderWay);
        drop(forgotten);
        let mut writer = transfer(&theirs)?;
        *writer.buffer() = b"abc".to_vec();
        writer.write(0, 3)?;
        assert_eq!(writer.finish()?, 3);
        let mut reader = transfer(&ours)?;
        if reader.read(3)? == Begun::UnderWay {
            assert_eq!(reader.cancel().ok(), Some(3), "somebody else has got it");
        }
        reader.finish()?;
        assert_eq!(reader.buffer(), b"abc");
        Ok(())
    }

    #[test]
    fn a_transfer_that_is_taken_back_has_failed_by_itself() -> io::Result<()> {
        let (ours, _theirs) = pair(Direction::Both, None)?;
        let mut transfer = Transfer::new(Arc::new(ours), create_object::event(true)?);
        assert_eq!(transfer.read(3)?, Begun::UnderWay);
        let error = transfer.cancel().expect_err("nothing came");
        assert_eq!(code(&error), Some(ERROR_OPERATION_ABORTED));
        assert_eq!(transfer.finish()?, 0);
        Ok(())
    }
}
