//! Tells sockets from other handles, and from each other.

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::time::Duration;

use windows_sys::Win32::Networking::WinSock::{SO_TYPE, SOL_SOCKET, getsockopt};

use super::handle::type_name;
use super::{Argument, SysError, SysResult, always_ask, fault};
use crate::sys::begin_thread;
pub(crate) use crate::sys::socket_type::SocketType;
pub(crate) use crate::sys::windows::winsock::socket_of;

/// Returns whether a copy of the handle would lose something that belongs to it, which is the case for sockets.
/// Winsock decides whether a handle is a socket. A process that hasn't started Winsock has no sockets. Winsock may not
/// recognize a handle that was duplicated from a socket's, and then the result is `false`.
///
/// Winsock's query goes to the device behind the handle, and on a pipe it waits for a pending read or write.
/// Therefore a separate thread makes it, with a time limit. A query for a socket doesn't wait, so no answer in time
/// means that the handle isn't a socket.
///
/// On a pipe that a thread is reading, the query waits for data, and so does its thread. At most [`MAX_WAITING`] threads
/// may wait in this way; then the call fails.
pub(crate) fn is_lost_in_a_copy(handle: BorrowedHandle<'_>) -> SysResult<bool> {
    if &*type_name(handle.as_raw_handle())? != "File" {
        return Ok(false);
    }
    // Tests inject failures into the calls of this thread, so the check is made here and not in the new thread.
    fault("getsockopt").map_err(SysError::of("getsockopt"))?;
    let number = handle.as_raw_handle().expose_provenance();
    let Some(query) = Query::begin() else {
        let reason = format!(
            "{MAX_WAITING} earlier queries whether a handle is a socket are still waiting, because a thread reads from \
             each of these pipes; share a pipe as a File, which isn't asked for"
        );
        return Err(SysError::new("getsockopt", io::Error::other(reason)));
    };
    let (sender, receiver) = channel();
    // The send fails if the answer comes after the time limit, when the receiver is gone.
    let ask = move || {
        let is_socket = is_winsock_socket(number);
        drop(query);
        sender.send(is_socket).is_ok()
    };
    begin_thread(|| std::thread::Builder::new().spawn(ask))?;
    Ok(receiver.recv_timeout(Duration::from_millis(200)).unwrap_or(false))
}

/// The maximum number of queries that wait at the same time.
const MAX_WAITING: usize = 64;

static QUERIES: AtomicUsize = AtomicUsize::new(0);

/// A query that hasn't been answered yet.
struct Query;

impl Query {
    /// Counts a query, unless too many wait already.
    fn begin() -> Option<Self> {
        let is_possible = |count| (count < MAX_WAITING).then_some(count + 1);
        QUERIES.fetch_update(Relaxed, Relaxed, is_possible).ok().map(|_| Self)
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        QUERIES.fetch_sub(1, Relaxed);
    }
}

fn is_winsock_socket(number: usize) -> bool {
    let known = always_ask("getsockopt", &[("handle", Argument::Raw(number as u64))], || {
        let mut kind = [0_u8; 4];
        let mut length = 4;
        // SAFETY: Winsock checks the number. If the handle has been closed and its number reused meanwhile, the
        // answer is about the other object, but the call changes nothing. `kind` is live and writable, and `length`
        // is its size.
        let answer = unsafe { getsockopt(number, SOL_SOCKET, SO_TYPE, kind.as_mut_ptr(), &raw mut length) };
        Ok(answer == 0)
    });
    known.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_counted_until_they_are_answered() {
        // Other tests of this process may ask too, but never as many.
        let waiting: Vec<Query> = std::iter::from_fn(Query::begin).collect();
        assert!(waiting.len() > MAX_WAITING / 2 && Query::begin().is_none());
        drop(waiting);
        assert!(Query::begin().is_some());
    }
}
