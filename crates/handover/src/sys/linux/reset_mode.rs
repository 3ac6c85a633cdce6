//! Manual and automatic reset: whether a successful wait consumes the object's signaled state.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_int;

use super::handle::to;
use super::io::Owned;
use super::{Answered, SysResult, ask, call};

/// The effect of a successful wait on the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The wait only polls, so the object stays signaled for all waiters.
    Look,
    /// The wait reads the object, which resets it or decrements its count. Only one waiter succeeds.
    Take,
    /// The object has to be asked for its mode first.
    Unknown,
}

/// The mark of a manual-reset object: the signal that its open file description would send when it becomes ready, if
/// any code asked it to send one (`F_SETSIG`). It is passed on with the object. Other code changes the status flags of
/// descriptors that it doesn't know, as Python's `os.set_blocking` does, but not this number. An object without the mark
/// is read by a wait, as other programs do with these objects.
pub(super) const MANUAL_RESET: c_int = 62;

/// Marks an object as manual-reset, if it was created so.
pub(super) fn mark(object: &Owned, manual_reset: bool) -> SysResult<()> {
    const F_SETSIG: c_int = 10;
    if !manual_reset {
        return Ok(());
    }
    call("fcntl", &[("handle", object.into()), to("F_SETSIG")], || {
        // SAFETY: all arguments are numbers, and the descriptor is borrowed, so it is open.
        let answer = unsafe { libc::fcntl(object.as_raw_fd(), F_SETSIG, MANUAL_RESET) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    })
}

/// Returns how to wait for an event, a timer or a semaphore.
pub(crate) fn way_of(object: BorrowedFd<'_>) -> SysResult<Way> {
    const F_GETSIG: c_int = 11;
    let mark = ask("fcntl", &[("handle", object.into()), to("F_GETSIG")], || {
        // SAFETY: all arguments are numbers, and the descriptor is borrowed, so it is open.
        let answer = unsafe { libc::fcntl(object.as_raw_fd(), F_GETSIG) };
        if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(Answered(answer)) }
    });
    mark.map(|Answered(mark)| if mark == MANUAL_RESET { Way::Look } else { Way::Take })
}
