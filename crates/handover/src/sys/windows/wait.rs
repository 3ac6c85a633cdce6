//! Waiting.

use std::fmt;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};

use windows_sys::Win32::Foundation::{WAIT_ABANDONED, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::SystemServices::MAXIMUM_WAIT_OBJECTS;
use windows_sys::Win32::System::Threading::{INFINITE, WaitForMultipleObjects, WaitForSingleObject};

use super::handle::{granted_access, raw_of};
use super::{Argument, Outcome, SysError, SysResult, call};
use crate::handle::Access;

/// The most milliseconds that one call can wait; one more means for ever.
pub(crate) const LONGEST: u32 = INFINITE - 1;

/// What is waited for.
pub(crate) type Target<'a> = BorrowedHandle<'a>;

/// The end of a process, as it is waited for.
pub(crate) fn end_of(process: BorrowedHandle<'_>) -> Target<'_> {
    process
}

/// Whether a handle lacks the right to wait.
pub(crate) fn can_not_be_waited_for(target: &Target<'_>) -> bool {
    granted_access(raw_of(*target)).is_ok_and(|granted| !granted.contains(Access::SYNCHRONIZE))
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Signaled,
    /// A mutex is this thread's because its last owner ended.
    Abandoned,
    TimedOut,
}

/// Waits for an object, for so many milliseconds or, with `None`, for as long as it takes.
pub(crate) fn wait(object: Target<'_>, milliseconds: Option<u32>) -> SysResult<Waited> {
    let arguments = [("object", object.into()), ("for", Argument::Milliseconds(milliseconds))];
    call("WaitForSingleObject", &arguments, || {
        let milliseconds = milliseconds.map_or(INFINITE, |some| some.min(LONGEST));
        // SAFETY: the handle is borrowed, so it stays open through the wait.
        let answer = unsafe { WaitForSingleObject(object.as_raw_handle(), milliseconds) };
        match answer {
            WAIT_OBJECT_0 => Ok(Waited::Signaled),
            WAIT_ABANDONED => Ok(Waited::Abandoned),
            WAIT_TIMEOUT => Ok(Waited::TimedOut),
            _ => Err(io::Error::last_os_error()),
        }
    })
}

impl Outcome for Waited {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Signaled => "signaled",
            Self::Abandoned => "abandoned",
            Self::TimedOut => "timed out",
        })
    }
}

/// The most objects that one call can wait for.
pub(crate) const MOST: usize = MAXIMUM_WAIT_OBJECTS as usize;

/// Waits for so many milliseconds until one of the objects is signaled, and says which by its place, and
/// whether it is a mutex that was abandoned.
pub(crate) fn wait_any(objects: &[Target<'_>], milliseconds: u32) -> SysResult<Option<(usize, bool)>> {
    let count = u32::try_from(objects.len())
        .map_err(|error| SysError::new("WaitForMultipleObjects", io::Error::other(error)))?;
    let arguments =
        [("objects", Argument::Handles(objects)), ("for", Argument::Milliseconds(Some(milliseconds)))];
    let came = call("WaitForMultipleObjects", &arguments, || {
        // SAFETY: a borrowed handle is laid out as the handle; they are as many as is said, and stay open
        // through the wait.
        let answer =
            unsafe { WaitForMultipleObjects(count, objects.as_ptr().cast(), 0, milliseconds.min(LONGEST)) };
        let place =
            |first: u32| answer.checked_sub(first).filter(|place| *place < count).map(|place| place as usize);
        if answer == WAIT_TIMEOUT {
            return Ok(OneOf(None, objects));
        }
        match (place(WAIT_OBJECT_0), place(WAIT_ABANDONED)) {
            (Some(place), _) => Ok(OneOf(Some((place, false)), objects)),
            (None, Some(place)) => Ok(OneOf(Some((place, true)), objects)),
            (None, None) => Err(io::Error::last_os_error()),
        }
    });
    came.map(|OneOf(came, _)| came)
}

/// Which of those that were waited for came.
struct OneOf<'a>(Option<(usize, bool)>, &'a [Target<'a>]);

impl Outcome for OneOf<'_> {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Some((place, is_abandoned)), objects) = self else { return Waited::TimedOut.result(to) };
        (if *is_abandoned { Waited::Abandoned } else { Waited::Signaled }).result(to)?;
        write!(to, ": {}", Argument::Handle(objects[*place]))
    }
}
