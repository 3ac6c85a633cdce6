//! Locks on files, which the system takes off with the process.

use std::fs::File;
use std::io;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::fault;

/// Opening a file with it doesn't follow a link.
pub(crate) const NO_LINK: i32 = libc::O_NOFOLLOW;

/// Locks a file, if nobody has locked it.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    fault("flock")?;
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
