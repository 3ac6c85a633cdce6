//! What a copy of a descriptor would lose.

use super::SysResult;
use std::os::fd::BorrowedFd;

/// Whether a copy would lose something that belongs to the descriptor: nothing here does. That it isn't open, the copy says.
#[allow(clippy::unnecessary_wraps, reason = "elsewhere the system has to be asked")]
pub(crate) fn is_lost_in_a_copy(_: BorrowedFd<'_>) -> SysResult<bool> {
    Ok(false)
}
