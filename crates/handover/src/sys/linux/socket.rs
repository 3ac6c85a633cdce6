//! What a copy of a descriptor would lose.

use std::io;
use std::os::fd::BorrowedFd;

use super::handle::check_open;

/// Whether a copy would lose something that belongs to the descriptor: nothing here does, so it has only to be open.
pub(crate) fn is_lost_in_a_copy(handle: BorrowedFd<'_>) -> io::Result<bool> {
    check_open(handle).map(|()| false)
}
