//! Overlapped reads, writes and connects on a pipe. A transfer is started, waited for together with other objects,
//! and then finished or cancelled.

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, RawHandle};
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;
use std::{fmt, io};

use windows_sys::Win32::Foundation::{
    ERROR_IO_INCOMPLETE, ERROR_IO_PENDING, ERROR_PIPE_CONNECTED, ERROR_PIPE_NOT_CONNECTED,
};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Pipes::ConnectNamedPipe;

use super::create_object::show;
use super::io::Owned;
use super::{
    Argument, DeferredEvents, Length, Moved, Outcome, SysError, SysResult, always, call, code, fault,
    lasting_thread, succeeded, wait,
};
use crate::sys::mutex::Mutex;

/// The error of a transfer over a pipe that this process has closed.
#[allow(clippy::cast_possible_wrap, reason = "std keeps the codes as i32")]
const CLOSED: i32 = ERROR_PIPE_NOT_CONNECTED as i32;

/// An endpoint of an overlapped pipe, which can be closed while transfers use it.
#[derive(Debug)]
pub(crate) struct Pipe(
    /// Locked while a transfer is started, so that none starts after the pipe was closed.
    Mutex<Option<Arc<Owned>>>,
);

impl Pipe {
    pub(crate) fn new(handle: Arc<Owned>) -> Self {
        Self(Mutex::new(Some(handle)))
    }

    /// Returns the handle, unless the pipe is closed.
    pub(crate) fn handle(&self) -> Option<Arc<Owned>> {
        self.0.lock().clone()
    }

    /// Cancels all transfers, and lets none start from now on. The handle is closed once the transfers are finished.
    pub(crate) fn close(&self) {
        let Some(handle) = self.0.lock().take() else { return };
        // A failure means that no transfer is pending.
        let _ = always("CancelIoEx", &[("pipe", (&*handle).into())], || {
            // SAFETY: the pipe is open, because `handle` owns a reference to it. Without a record, the call cancels all
            // transfers that this process has started on it.
            succeeded(unsafe { CancelIoEx(handle.as_raw_handle(), null()) })
        });
    }

    /// Starts a transfer, unless the pipe is closed. Returns the handle, which has to stay open until the transfer is
    /// finished.
    fn start(
        &self,
        name: &'static str,
        start: impl FnOnce(&Owned) -> SysResult<Begun>,
    ) -> SysResult<(Begun, Arc<Owned>)> {
        let handle = self.0.lock();
        let Some(handle) = &*handle else {
            return Err(SysError::new(name, io::Error::from_raw_os_error(CLOSED)));
        };
        start(handle).map(|begun| (begun, Arc::clone(handle)))
    }
}

/// A buffer for transfers over a pipe, one at a time.
///
/// While a transfer is pending, the kernel uses the buffer, so the buffer can't be accessed. The buffer and the
/// `OVERLAPPED` structure are on the heap. No code of a subscriber runs between a call and the note that its transfer
/// is under way. If a `Transfer` is forgotten, they leak, so the kernel never writes to
/// memory that has been reused.
///
/// Windows cancels a pending transfer when the thread that started it exits. The transfer then fails with an error for
/// which [`is_cancelled`](super::pipe::is_cancelled) returns true.
pub(crate) struct Transfer {
    pipe: Arc<Pipe>,
    done: Arc<Owned>,
    record: NonNull<OVERLAPPED>,
    buffer: Vec<u8>,
    under_way: Option<UnderWay>,
}

/// A transfer that was started and isn't finished.
struct UnderWay {
    work: Work,
    /// The kernel uses the pipe until the transfer is finished.
    pipe: Arc<Owned>,
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

// SAFETY: no method that takes a shared reference accesses `record`.
unsafe impl Sync for Transfer {}

/// Whether a started transfer is already finished. If it is pending, its [event](Transfer::done) is set when it is
/// finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    Done,
    UnderWay,
}

impl Outcome for Begun {
    #[inline]
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

/// The result of a transfer, if it is finished: the number of transferred bytes, and the bytes themselves if they were
/// read.
enum Progress<'a> {
    Pending,
    Finished { moved: usize, read: &'a [u8] },
}

impl Outcome for Progress<'_> {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => Begun::UnderWay.result(to),
            Self::Finished { moved, read: [] } => Length(*moved).result(to),
            Self::Finished { read, .. } => Moved(read).result(to),
        }
    }
}

/// The arguments of a write, for the thread that starts it: of [`Transfer::start_write`] alone, which waits for that.
struct Write {
    pipe: RawHandle,
    bytes: *const u8,
    length: u32,
    record: *mut OVERLAPPED,
}

// SAFETY: the pointers refer to what a `Transfer` owns, and a transfer may be started by any thread.
unsafe impl Send for Write {}

impl Write {
    fn start(self) -> io::Result<Begun> {
        let Self { pipe, bytes, length, record } = self;
        // SAFETY: `start_write` borrows the pipe until this returns, so it is open, and `under_way` keeps it open until the
        // transfer is finished. `bytes` and `length` describe a part of the buffer, which is on the heap. Neither the buffer
        // nor the record is accessed or freed until the transfer is finished; `under_way`, which is set if the call succeeds,
        // ensures that.
        begun(unsafe { WriteFile(pipe, bytes, length, null_mut(), record) })
    }
}

/// Makes [`Transfer::write_lasting`] possible, unless the system can't start another thread.
#[cfg_attr(not(feature = "_async"), allow(dead_code, reason = "no tasks exist"))]
pub(crate) fn prepare_lasting() -> SysResult<()> {
    lasting_thread::start()
}

impl Transfer {
    /// Creates a transfer for an overlapped pipe. `done` must be a manual-reset event.
    pub(crate) fn new(pipe: Arc<Pipe>, done: Arc<Owned>) -> Self {
        let record = NonNull::from(Box::leak(Box::new(OVERLAPPED::default())));
        Self { pipe, done, record, buffer: Vec::new(), under_way: None }
    }

    /// Returns the buffer: bytes that were read and not removed yet, or bytes to be written.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        self.assert_free();
        &mut self.buffer
    }

    /// Returns the event that is set when the transfer is finished.
    pub(crate) fn done(&self) -> BorrowedHandle<'_> {
        self.done.as_handle()
    }

    /// Returns whether this is the event that is set when the transfer is finished.
    pub(crate) fn sets(&self, event: &Arc<Owned>) -> bool {
        Arc::ptr_eq(&self.done, event)
    }

    /// Makes the next transfer set this manual-reset event when it is finished.
    pub(crate) fn set_done(&mut self, done: &Arc<Owned>) {
        self.assert_free();
        self.done = Arc::clone(done);
    }

    /// Returns whether a transfer was started and not finished.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Returns whether a write was started and not finished.
    #[cfg_attr(not(feature = "_async"), allow(dead_code, reason = "no tasks exist"))]
    pub(crate) fn is_writing(&self) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.work == Work::Write)
    }

    fn assert_free(&self) {
        assert!(self.under_way.is_none(), "the kernel has the buffer");
    }

    /// Starts to read at most `most` bytes, which are appended to the buffer.
    pub(crate) fn read(&mut self, most: usize) -> SysResult<Begun> {
        const READ: &str = "ReadFile";
        let _events = DeferredEvents::begin();
        self.buffer().reserve(most);
        let most = u32::try_from(most).map_err(|error| SysError::new(READ, io::Error::other(error)))?;
        let record = self.new_record();
        let room = self.buffer.spare_capacity_mut().as_mut_ptr();
        let begun = self.pipe.start(READ, |pipe| {
            call(READ, &[("pipe", pipe.into()), ("room", most.into())], || {
                // SAFETY: the pipe is borrowed, so it is open, and `under_way` keeps it open until the transfer is
                // finished. `room` points to the spare capacity of the buffer, which is on the heap and has at least
                // `most` bytes. Neither the buffer nor the record is accessed or freed until the transfer is finished;
                // `under_way`, which is set if the call succeeds, ensures that.
                let answer = unsafe { ReadFile(pipe.as_raw_handle(), room.cast(), most, null_mut(), record) };
                begun(answer)
            })
        });
        self.note(Work::Read, begun)
    }

    /// Starts to write the buffer's bytes from the offset `from` on, at most `most` of them.
    pub(crate) fn write(&mut self, from: usize, most: usize) -> SysResult<Begun> {
        self.start_write(from, most, false)
    }

    /// Starts to write as [`write`](Self::write) does, from a thread that exits only with the process. A write that Windows
    /// cancels because its thread exits may have moved some bytes, and Windows doesn't say how many.
    #[cfg_attr(not(feature = "_async"), allow(dead_code, reason = "no tasks exist"))]
    pub(crate) fn write_lasting(&mut self, from: usize, most: usize) -> SysResult<Begun> {
        lasting_thread::start()?;
        self.start_write(from, most, true)
    }

    fn start_write(&mut self, from: usize, most: usize, is_lasting: bool) -> SysResult<Begun> {
        const WRITE: &str = "WriteFile";
        let _events = DeferredEvents::begin();
        let end = self.buffer().len().min(from + most);
        let record = self.new_record();
        let bytes = &self.buffer[from..end];
        let length =
            u32::try_from(bytes.len()).map_err(|error| SysError::new(WRITE, io::Error::other(error)))?;
        let begun = self.pipe.start(WRITE, |pipe| {
            call(WRITE, &[("pipe", pipe.into()), ("", Argument::Bytes(bytes))], || {
                let write = Write { pipe: pipe.as_raw_handle(), bytes: bytes.as_ptr(), length, record };
                if is_lasting { lasting_thread::run(move || write.start())? } else { write.start() }
            })
        });
        self.note(Work::Write, begun)
    }

    /// Starts to wait for a client of this server end of a named pipe. If it returns `Done`, a client was first, and the
    /// event isn't set.
    pub(crate) fn connect(&mut self) -> SysResult<Begun> {
        const CONNECT: &str = "ConnectNamedPipe";
        self.assert_free();
        let _events = DeferredEvents::begin();
        let record = self.new_record();
        let mut is_connected = false;
        let begun = self.pipe.start(CONNECT, |pipe| {
            call(CONNECT, &[("pipe", pipe.into())], || {
                // SAFETY: the pipe is borrowed, so it is open, and `under_way` keeps it open until the transfer is
                // finished. The record is on the heap and is neither accessed nor freed until the transfer is finished;
                // `under_way`, which is set if the call starts it, ensures that.
                match begun(unsafe { ConnectNamedPipe(pipe.as_raw_handle(), record) }) {
                    // The client connected before the call.
                    Err(error) if code(&error) == Some(ERROR_PIPE_CONNECTED) => {
                        is_connected = true;
                        Ok(Begun::Done)
                    }
                    outcome => outcome,
                }
            })
        });
        if is_connected { begun.map(|(begun, _)| begun) } else { self.note(Work::Connect, begun) }
    }

    fn new_record(&mut self) -> *mut OVERLAPPED {
        let record = OVERLAPPED { hEvent: self.done.as_raw_handle(), ..Default::default() };
        // SAFETY: `record` was allocated by `new`, is valid for writes, and lives as long as `self`. Each caller has
        // checked that no transfer is pending, so the kernel doesn't use it.
        unsafe { self.record.write(record) };
        self.record.as_ptr()
    }

    /// Records that a transfer was started, if the call succeeded.
    fn note(&mut self, work: Work, begun: SysResult<(Begun, Arc<Owned>)>) -> SysResult<Begun> {
        begun.map(|(begun, pipe)| {
            self.under_way = Some(UnderWay { work, pipe });
            begun
        })
    }

    /// Returns the number of transferred bytes if the transfer is finished, and `None` while it is pending. It never
    /// waits.
    pub(crate) fn try_finish(&mut self) -> Option<SysResult<usize>> {
        let Some(UnderWay { work, pipe }) = self.under_way.take() else { return Some(Ok(0)) };
        let _events = DeferredEvents::begin();
        let (record, buffer) = (self.record.as_ptr(), &mut self.buffer);
        let mut is_pending = false;
        let finished = always("GetOverlappedResult", &[("pipe", (&*pipe).into())], || {
            let mut moved = 0;
            // SAFETY: the pipe is open, because `pipe` owns a reference to it. The record is the one of the transfer,
            // and `moved` is a live variable for the answer.
            let answer = unsafe { GetOverlappedResult(pipe.as_raw_handle(), record, &raw mut moved, 0) };
            let outcome = succeeded(answer);
            if let Err(error) = &outcome {
                is_pending = code(error) == Some(ERROR_IO_INCOMPLETE);
            }
            if is_pending {
                return Ok(Progress::Pending);
            }
            // The transfer has succeeded, failed or been cancelled, so the kernel no longer uses the buffer and the
            // record.
            let (moved, before) = (moved as usize, buffer.len());
            if work == Work::Read && outcome.is_ok() {
                // SAFETY: the kernel has initialized `moved` bytes behind the first `before`. They are within the
                // capacity, because `read` reserved as many bytes as it allowed the kernel to write.
                unsafe { buffer.set_len(before + moved) };
            }
            // An injected failure doesn't prevent this call, because the kernel uses the buffer until then. So the
            // failure is only reported afterwards.
            fault("GetOverlappedResult").and(outcome)?;
            Ok(Progress::Finished { moved, read: &buffer[before..] })
        });
        let finished = finished.map(|progress| match progress {
            Progress::Pending => 0,
            Progress::Finished { moved, .. } => moved,
        });
        if is_pending {
            self.under_way = Some(UnderWay { work, pipe });
            return None;
        }
        Some(finished)
    }

    /// Waits until the transfer is finished, and returns the number of transferred bytes. Call it once the kernel has set
    /// [`done`](Self::done), or after a cancel, so that it doesn't block.
    pub(crate) fn finish(&mut self) -> SysResult<usize> {
        loop {
            if let Some(finished) = self.try_finish_exactly() {
                return finished;
            }
            wait::for_own_event(self.done.as_handle());
        }
    }

    /// Does what [`try_finish`](Self::try_finish) does. While the transfer is pending, the event isn't set afterwards, unless other
    /// code sets it again.
    pub(crate) fn try_finish_exactly(&mut self) -> Option<SysResult<usize>> {
        if let Some(finished) = self.try_finish() {
            return Some(finished);
        }
        // Other code may have set the event while the transfer was pending.
        show(self.done.as_handle(), false);
        // The kernel may have set it just before it was reset.
        self.try_finish().inspect(|_| show(self.done.as_handle(), true))
    }

    /// Cancels the transfer. If it has finished just before, it returns the number of transferred bytes.
    pub(crate) fn cancel(&mut self) -> SysResult<usize> {
        let _events = DeferredEvents::begin();
        if let Some(UnderWay { pipe, .. }) = &self.under_way {
            // A failure means that the transfer has already finished; `finish` returns its result.
            let _ = always("CancelIoEx", &[("pipe", (&**pipe).into())], || {
                // SAFETY: the pipe is open, because `under_way` owns a reference to it. The record is the one of the
                // pending transfer; the call only uses its address to find the transfer.
                succeeded(unsafe { CancelIoEx(pipe.as_raw_handle(), self.record.as_ptr()) })
            });
        }
        self.finish()
    }
}

impl fmt::Debug for Transfer {
    /// The bytes are left out: they may be many, and confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let work = self.under_way.as_ref().map(|under_way| under_way.work);
        f.debug_struct("Transfer").field("pipe", &self.pipe).field("under_way", &work).finish()
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
    use crate::sys::pipe::{Direction, is_cancelled, is_end, pair};

    fn transfer(pipe: &Arc<Pipe>) -> io::Result<Transfer> {
        Ok(Transfer::new(Arc::clone(pipe), Arc::new(create_object::event(true)?)))
    }

    #[test]
    fn dropped_transfer_consumes_no_bytes() -> io::Result<()> {
        let (ours, theirs) = pair(Direction::Both, None)?;
        let pipe = |handle: Owned| Arc::new(Pipe::new(Arc::new(handle)));
        let (ours, theirs) = (pipe(ours), pipe(theirs));
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
        let mut transfer = transfer(&Arc::new(Pipe::new(Arc::new(ours))))?;
        assert_eq!(transfer.read(3)?, Begun::UnderWay);
        assert!(transfer.try_finish().is_none(), "it is pending");
        // An event that is set too early ends no transfer.
        show(transfer.done(), true);
        assert!(transfer.try_finish().is_none(), "it is still pending");
        let error = transfer.cancel().expect_err("nothing was sent");
        assert_eq!(code(&error), Some(ERROR_OPERATION_ABORTED));
        assert_eq!(transfer.finish()?, 0);
        Ok(())
    }

    #[test]
    fn transfer_of_an_exited_thread_is_cancelled_and_can_be_repeated() -> io::Result<()> {
        let (ours, theirs) = pair(Direction::Both, None)?;
        let mut reader = transfer(&Arc::new(Pipe::new(Arc::new(ours))))?;
        let begun = std::thread::scope(|scope| scope.spawn(|| reader.read(3)).join().expect("no panic"));
        assert_eq!(begun?, Begun::UnderWay);
        wait::for_own_event(reader.done());
        assert!(reader.finish().is_err_and(|error| is_cancelled(&error)));
        let mut writer = transfer(&Arc::new(Pipe::new(Arc::new(theirs))))?;
        *writer.buffer() = b"abc".to_vec();
        writer.write(0, 3)?;
        reader.read(3)?;
        assert_eq!(reader.finish()?, 3);
        writer.finish()?;
        Ok(())
    }

    #[test]
    fn lasting_write_outlives_the_thread_that_asks_for_it() -> io::Result<()> {
        const LENGTH: usize = 1 << 20;
        let (ours, theirs) = pair(Direction::Both, None)?;
        let mut writer = transfer(&Arc::new(Pipe::new(Arc::new(ours))))?;
        *writer.buffer() = (0..LENGTH).map(|index| index.to_le_bytes()[1]).collect();
        let expected = writer.buffer().clone();
        let write = || writer.write_lasting(0, LENGTH);
        let begun = std::thread::scope(|scope| scope.spawn(write).join().expect("no panic"));
        assert_eq!(begun?, Begun::UnderWay);
        std::thread::sleep(std::time::Duration::from_millis(100));
        let mut reader = transfer(&Arc::new(Pipe::new(Arc::new(theirs))))?;
        while reader.buffer().len() < LENGTH {
            reader.read(100_000)?;
            reader.finish()?;
        }
        assert!(*reader.buffer() == expected);
        assert_eq!(writer.finish()?, LENGTH);
        Ok(())
    }

    #[test]
    fn closing_a_pipe_ends_its_transfers_and_lets_none_start() -> io::Result<()> {
        let (ours, theirs) = pair(Direction::Both, None)?;
        let (ours, theirs) = (Arc::new(Pipe::new(Arc::new(ours))), Arc::new(Pipe::new(Arc::new(theirs))));
        let (mut reader, mut writer) = (transfer(&ours)?, transfer(&ours)?);
        assert_eq!(reader.read(3)?, Begun::UnderWay);
        *writer.buffer() = vec![7; 1 << 20];
        assert_eq!(writer.write(0, 1 << 20)?, Begun::UnderWay);
        ours.close();
        assert!(reader.finish().is_err_and(|error| is_cancelled(&error)));
        assert!(writer.finish().is_err_and(|error| is_cancelled(&error)));
        assert!(reader.read(3).is_err_and(|error| is_end(&error)));
        // The other end sees that the pipe is closed, once it has read what was written.
        let mut other = transfer(&theirs)?;
        let end = loop {
            match other.read(1 << 20).and_then(|_| other.finish()) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(is_end(&end), "{end}");
        ours.close();
        Ok(())
    }
}
