//! Reads the output of a child.

use std::os::windows::io::{AsHandle, OwnedHandle};
use std::process::{ChildStderr, ChildStdout};
use std::sync::Arc;

use crate::sys::io::Owned;
use crate::sys::overlapped::{Begun, Pipe, Transfer};
use crate::sys::{SysResult, create_object, pipe};
use crate::wait::{self, Deadline};

/// The maximum number of bytes that are read at once.
const MAX_READ: usize = 64 * 1024;

/// Reads both streams to their ends, on this thread. Each is closed at its end. Returns `None` at the deadline.
pub(crate) fn read_output(
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    deadline: Deadline,
) -> SysResult<Option<[Vec<u8>; 2]>> {
    let [stdout, stderr] = [stdout.map(OwnedHandle::from), stderr.map(OwnedHandle::from)];
    let open = |handle: Option<OwnedHandle>| handle.map(|handle| Stream::new(handle.into())).transpose();
    let mut streams = [open(stdout)?, open(stderr)?];
    let mut outputs = [Vec::new(), Vec::new()];
    loop {
        for (stream, output) in streams.iter_mut().zip(&mut outputs) {
            let Some(open) = stream else { continue };
            if open.read_on()? {
                *output = std::mem::take(open.transfer.buffer());
                *stream = None;
            }
        }
        let pending: Vec<_> = streams.iter().flatten().map(|stream| stream.transfer.done()).collect();
        if pending.is_empty() {
            return Ok(Some(outputs));
        }
        if wait::any(&pending, deadline)?.is_none() {
            return Ok(None);
        }
    }
}

/// A stream that is read.
struct Stream {
    handle: Arc<Owned>,
    transfer: Transfer,
}

impl Stream {
    fn new(handle: Owned) -> SysResult<Self> {
        let handle = Arc::new(handle);
        let done = Arc::new(create_object::event(true)?);
        Ok(Self { transfer: Transfer::new(Arc::new(Pipe::new(Arc::clone(&handle))), done), handle })
    }

    /// Reads what has arrived, and begins to wait for more. Returns whether the stream has ended.
    fn read_on(&mut self) -> SysResult<bool> {
        loop {
            let outcome = if self.transfer.is_under_way() {
                match self.transfer.try_finish() {
                    None => return Ok(false),
                    Some(outcome) => outcome,
                }
            } else {
                match self.transfer.read(MAX_READ) {
                    Ok(Begun::UnderWay) => return Ok(false),
                    Ok(Begun::Done) => self.transfer.finish(),
                    Err(error) => Err(error),
                }
            };
            match outcome {
                // A process may have written nothing, which isn't the end.
                Ok(0) if !pipe::is_connected(self.handle.as_handle()) => return Ok(true),
                Ok(_) => {}
                Err(error) if pipe::is_end(&error) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }
}
