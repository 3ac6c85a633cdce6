//! Whether a wait takes the signal of an object, or leaves it for others.

use std::os::fd::BorrowedFd;

use rustix::fs::OFlags;

use super::handle::{ask_how_opened, to};
use super::io::Owned;
use super::{SysResult, call};

/// What a wait that succeeds does with the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing: it lets every waiter go.
    Look,
    /// Reads it, which unsets it or takes one from its count. Only one waiter can.
    Take,
    /// It has to be asked.
    Unknown,
}

/// The mark of an object that isn't unset by a wait. It is a status flag of the open file description, so it goes with
/// the object wherever that goes, and the kernel makes nothing of it where every write is a whole number. Without it, a
/// wait reads, as all other programs do with what the kernel gives them.
pub(super) const MANUAL_RESET: OFlags = OFlags::APPEND;

/// Marks an object that was created for manual reset.
pub(super) fn mark(object: &Owned, manual_reset: bool) -> SysResult<()> {
    if !manual_reset {
        return Ok(());
    }
    call("fcntl", &[("handle", object.into()), to("F_SETFL O_NONBLOCK O_APPEND")], || {
        Ok(rustix::fs::fcntl_setfl(object, OFlags::NONBLOCK | MANUAL_RESET)?)
    })
}

/// How an event, a timer or a semaphore is waited for.
pub(crate) fn way_of(object: BorrowedFd<'_>) -> SysResult<Way> {
    let is_marked = ask_how_opened(object)?.contains(MANUAL_RESET);
    Ok(if is_marked { Way::Look } else { Way::Take })
}
