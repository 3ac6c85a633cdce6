//! Whether a copy of a descriptor would lose something.

use super::SysResult;
use std::os::fd::BorrowedFd;

/// Returns whether a copy would lose something that belongs to the descriptor. On Linux it never does. A descriptor
/// that isn't open is found when it is copied.
#[allow(clippy::unnecessary_wraps, reason = "the Windows version asks the system, which can fail")]
pub(crate) fn is_lost_in_a_copy(_: BorrowedFd<'_>) -> SysResult<bool> {
    Ok(false)
}
