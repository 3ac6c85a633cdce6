//! The marks of objects: whether a successful wait consumes the object's signaled state, and whether an eventfd is an event or
//! a semaphore.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_int;

use super::io::Owned;
use super::number::to;
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

/// The marks. A mark is the signal that an object's open file description would send when it becomes ready, if any code asked
/// it to send one (`F_SETSIG`). It is passed on with the object. Other code changes the status flags of descriptors that it
/// doesn't know, as Python's `os.set_blocking` does, but not this number.
///
/// This one is the mark of a manual-reset event or timer. An object with another mark or none is read by a wait, as other
/// programs do with these objects.
pub(super) const MANUAL_RESET: c_int = 62;
/// The mark of an auto-reset event. It spares receivers a look into /proc, where the mode of an eventfd is.
pub(super) const AUTO_RESET: c_int = 61;
/// The mark of a semaphore, for the same purpose.
pub(super) const SEMAPHORE: c_int = 60;

pub(super) const F_GETSIG: c_int = 11;

/// Marks an object that was just created.
pub(super) fn mark(object: &Owned, mark: c_int) -> SysResult<()> {
    const F_SETSIG: c_int = 10;
    call("fcntl", &[("handle", object.into()), to("F_SETSIG")], || {
        // SAFETY: all arguments are numbers, and the descriptor is borrowed, so it is open.
        let answer = unsafe { libc::fcntl(object.as_raw_fd(), F_SETSIG, mark) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    })
}

/// Returns how to wait for an event, a timer or a semaphore.
pub(crate) fn way_of(object: BorrowedFd<'_>) -> SysResult<Way> {
    let mark = ask("fcntl", &[("handle", object.into()), to("F_GETSIG")], || {
        // SAFETY: all arguments are numbers, and the descriptor is borrowed, so it is open.
        let answer = unsafe { libc::fcntl(object.as_raw_fd(), F_GETSIG) };
        if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(Answered(answer)) }
    });
    mark.map(|Answered(mark)| if mark == MANUAL_RESET { Way::Look } else { Way::Take })
}
