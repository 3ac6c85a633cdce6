//! Waiting.

use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};

use windows_sys::Win32::Foundation::{WAIT_ABANDONED, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{INFINITE, WaitForSingleObject};

use super::fault;

/// The most milliseconds that one call can wait; one more means for ever.
pub(crate) const LONGEST: u32 = INFINITE - 1;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Signaled,
    TimedOut,
}

/// Waits for an object, for so many milliseconds or, with `None`, for as long as it takes.
pub(crate) fn wait(object: BorrowedHandle<'_>, milliseconds: Option<u32>) -> io::Result<Waited> {
    fault("WaitForSingleObject")?;
    let milliseconds = milliseconds.map_or(INFINITE, |some| some.min(LONGEST));
    // SAFETY: the handle is borrowed, so it stays open through the wait.
    let answer = unsafe { WaitForSingleObject(object.as_raw_handle(), milliseconds) };
    match answer {
        // Abandoned: the wait has succeeded too. Only mutexes can be.
        WAIT_OBJECT_0 | WAIT_ABANDONED => Ok(Waited::Signaled),
        WAIT_TIMEOUT => Ok(Waited::TimedOut),
        _ => Err(io::Error::last_os_error()),
    }
}
