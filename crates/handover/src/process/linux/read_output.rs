//! Reads the output of a child.

use std::io::ErrorKind::WouldBlock;
use std::os::fd::OwnedFd;
use std::process::{ChildStderr, ChildStdout};

use rustix::event::{PollFd, PollFlags};

use crate::sys::io::{HasHandle, Owned};
use crate::sys::{SysResult, stream, wait};
use crate::wait::Deadline;

/// Reads both streams to their ends, on this thread. Each is closed at its end. Returns `None` at the deadline.
pub(crate) fn read_output(
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    deadline: Deadline,
) -> SysResult<Option<[Vec<u8>; 2]>> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let streams = [(stdout.map(OwnedFd::from), &mut out), (stderr.map(OwnedFd::from), &mut err)];
    let with_stream =
        |(stream, bytes): (Option<OwnedFd>, _)| stream.map(|stream| (Owned::from(stream), bytes));
    let mut open: Vec<(Owned, &mut Vec<u8>)> = streams.into_iter().filter_map(with_stream).collect();
    let mut is_blocking = deadline.timeout().is_none();
    while !open.is_empty() {
        let mut is_ready = vec![true];
        // The last stream can be read without asking. One that can't be read then reports why.
        if open.len() > 1 || !is_blocking {
            let streams = open.iter().map(|(stream, _)| stream.handle());
            let mut polled: Vec<_> =
                streams.map(|stream| PollFd::from_borrowed_fd(stream, PollFlags::IN)).collect();
            if !wait::ready(&mut polled, deadline.timeout())? && deadline.has_passed() {
                return Ok(None);
            }
            is_ready = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        }
        let mut ready = is_ready.into_iter();
        let mut outcome = Ok(());
        open.retain_mut(|(stream, bytes)| {
            if outcome.is_err() || ready.next() != Some(true) {
                return true;
            }
            match stream::read(stream.handle(), bytes) {
                Ok(count) => count != 0,
                // Other code has made the stream non-blocking (`O_NONBLOCK`).
                Err(error) if error.kind() == WouldBlock => {
                    is_blocking = false;
                    true
                }
                Err(error) => {
                    outcome = Err(error);
                    true
                }
            }
        });
        outcome?;
    }
    Ok(Some([out, err]))
}
