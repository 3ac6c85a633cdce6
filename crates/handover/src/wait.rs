//! Waiting for an object, with or without a deadline.

use std::io;
use std::os::windows::io::BorrowedHandle;
use std::time::{Duration, Instant};

use crate::sys::wait::{LONGEST, Waited, wait};

/// Waits for as long as it takes.
pub(crate) fn for_ever(object: BorrowedHandle<'_>) -> io::Result<()> {
    while wait(object, None)? != Waited::Signaled {}
    Ok(())
}

/// Waits until the object is signaled (true) or the time is over (false).
///
/// Zero looks without waiting. A part of a millisecond counts as a whole one: to be late is better than to have
/// looked only once.
pub(crate) fn for_at_most(object: BorrowedHandle<'_>, time: Duration) -> io::Result<bool> {
    let started = Instant::now();
    loop {
        let left = time.saturating_sub(started.elapsed());
        let milliseconds = u32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(LONGEST).min(LONGEST);
        if wait(object, Some(milliseconds))? == Waited::Signaled {
            return Ok(true);
        }
        // One call can wait for 49 days, so a longer time takes several; and it can end a tick of the clock early.
        if started.elapsed() >= time {
            return Ok(false);
        }
    }
}
