//! The number of a descriptor, and arguments for events.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::Argument;
use crate::handle::HandleValue;

/// Returns a handle value of this process in the form that the system calls take.
pub(super) fn raw(value: HandleValue) -> RawFd {
    RawFd::try_from(value.get()).expect("no value has more than 31 bits")
}

/// A number that is passed as a descriptor, whether or not one is open under it. The kernel answers a call for a number
/// that isn't open with EBADF. A `BorrowedFd` promises an open descriptor, so it can't stand for such a number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub(super) RawFd);

impl From<BorrowedFd<'_>> for Number {
    fn from(handle: BorrowedFd<'_>) -> Self {
        Self(handle.as_raw_fd())
    }
}

impl From<HandleValue> for Number {
    fn from(value: HandleValue) -> Self {
        Self(raw(value))
    }
}

impl Number {
    pub(super) fn argument(self) -> (&'static str, Argument<'static>) {
        ("handle", Argument::Raw(self.0.unsigned_abs().into()))
    }
}

/// Returns the argument that names an operation of `fcntl` or a flag.
pub(super) fn to(what: &'static str) -> (&'static str, Argument<'static>) {
    (what, Argument::Yes)
}
