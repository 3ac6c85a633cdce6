//! Telling sockets from other handles.

use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::sync::mpsc::channel;
use std::time::Duration;

use windows_sys::Win32::Networking::WinSock::{SO_TYPE, SOL_SOCKET, getsockopt};

use super::handle::type_name;
use super::{Argument, SysError, SysResult, always_ask, fault};
use crate::sys::begin_thread;

/// Whether a copy of the handle would lose what belongs to it: whether Winsock takes the handle for a socket.
/// A process that has not started Winsock has no sockets. A handle that was duplicated from a socket's is
/// none to Winsock, and isn't known here either.
///
/// The question goes to the device behind the handle, and waits for a read or write under way on a pipe. So a
/// thread asks it, and silence is an answer too: a socket doesn't keep one waiting.
pub(crate) fn is_lost_in_a_copy(handle: BorrowedHandle<'_>) -> SysResult<bool> {
    if type_name(handle.as_raw_handle())? != "File" {
        return Ok(false);
    }
    // Here, because a test lets this thread's calls fail.
    fault("getsockopt").map_err(SysError::of("getsockopt"))?;
    let number = handle.as_raw_handle().expose_provenance();
    let (sender, receiver) = channel();
    // Nobody may listen any more when the answer comes.
    let ask = move || sender.send(winsock_knows(number)).is_ok();
    begin_thread(|| std::thread::Builder::new().spawn(ask))?;
    Ok(receiver.recv_timeout(Duration::from_millis(200)).unwrap_or(false))
}

fn winsock_knows(number: usize) -> bool {
    let known = always_ask("getsockopt", &[("handle", Argument::Raw(number as u64))], || {
        let mut kind = [0_u8; 4];
        let mut length = 4;
        // SAFETY: Winsock checks the number, which may have been closed by now and be another object's: the
        // answer is then about that one, and nothing is changed. The place for the answer has the length that
        // is passed with it.
        let answer = unsafe { getsockopt(number, SOL_SOCKET, SO_TYPE, kind.as_mut_ptr(), &raw mut length) };
        Ok(answer == 0)
    });
    known.unwrap_or(false)
}
