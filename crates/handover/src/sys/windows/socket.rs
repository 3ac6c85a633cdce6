//! Tells sockets from other handles.

use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::sync::mpsc::channel;
use std::time::Duration;

use windows_sys::Win32::Networking::WinSock::{SO_TYPE, SOL_SOCKET, getsockopt};

use super::handle::type_name;
use super::{Argument, SysError, SysResult, always_ask, fault};
use crate::sys::begin_thread;

/// Returns whether a copy of the handle would lose something that belongs to it, which is the case for sockets.
/// Winsock decides whether a handle is a socket. A process that hasn't started Winsock has no sockets. Winsock may not
/// recognize a handle that was duplicated from a socket's, and then the result is `false`.
///
/// Winsock's query goes to the device behind the handle, and on a pipe it waits for a pending read or write.
/// Therefore a separate thread makes it, with a time limit. A query for a socket doesn't wait, so no answer in time
/// means that the handle isn't a socket.
pub(crate) fn is_lost_in_a_copy(handle: BorrowedHandle<'_>) -> SysResult<bool> {
    if type_name(handle.as_raw_handle())? != "File" {
        return Ok(false);
    }
    // Tests inject failures into the calls of this thread, so the check is made here and not in the new thread.
    fault("getsockopt").map_err(SysError::of("getsockopt"))?;
    let number = handle.as_raw_handle().expose_provenance();
    let (sender, receiver) = channel();
    // The send fails if the answer comes after the time limit, when the receiver is gone.
    let ask = move || sender.send(is_winsock_socket(number)).is_ok();
    begin_thread(|| std::thread::Builder::new().spawn(ask))?;
    Ok(receiver.recv_timeout(Duration::from_millis(200)).unwrap_or(false))
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
