//! Manual and automatic reset: whether a successful wait consumes the object's signaled state.

use std::os::fd::BorrowedFd;

use rustix::fs::OFlags;

use super::handle::{ask_how_opened, to};
use super::io::Owned;
use super::{SysResult, call};

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

/// The mark of a manual-reset object. It is a status flag of the open file description, so it is passed on with the
/// object. `O_APPEND` has no effect on an eventfd or a timerfd. An object without it is read by a wait, as other
/// programs do with these objects.
pub(super) const MANUAL_RESET: OFlags = OFlags::APPEND;

/// Marks an object as manual-reset, if it was created so.
pub(super) fn mark(object: &Owned, manual_reset: bool) -> SysResult<()> {
    if !manual_reset {
        return Ok(());
    }
    call("fcntl", &[("handle", object.into()), to("F_SETFL O_NONBLOCK O_APPEND")], || {
        Ok(rustix::fs::fcntl_setfl(object, OFlags::NONBLOCK | MANUAL_RESET)?)
    })
}

/// Returns how to wait for an event, a timer or a semaphore.
pub(crate) fn way_of(object: BorrowedFd<'_>) -> SysResult<Way> {
    let is_marked = ask_how_opened(object)?.contains(MANUAL_RESET);
    Ok(if is_marked { Way::Look } else { Way::Take })
}
