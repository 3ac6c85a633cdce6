//! Waiting for objects.

use std::fmt;
use std::io;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};

use windows_sys::Win32::Foundation::{WAIT_ABANDONED, WAIT_OBJECT_0, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{INFINITE, WaitForMultipleObjects, WaitForSingleObject};

use super::handle::{granted_access, raw_of};
use super::{Argument, Outcome, SysError, SysResult, always, call};
use crate::handle::Access;

/// The longest time that one call can wait, in milliseconds. The next larger value is `INFINITE`.
pub(crate) const LONGEST: u32 = INFINITE - 1;

/// A handle to wait for.
pub(crate) type Target<'a> = BorrowedHandle<'a>;

/// Returns the target for a wait for this handle, which changes nothing.
pub(crate) fn readable(handle: BorrowedHandle<'_>) -> Target<'_> {
    handle
}

/// Returns the target's handle.
pub(crate) fn handle_of<'a>(target: &Target<'a>) -> BorrowedHandle<'a> {
    *target
}

/// Returns whether a handle lacks the right to wait.
pub(crate) fn can_not_be_waited_for(target: &Target<'_>) -> bool {
    granted_access(raw_of(*target)).is_ok_and(|granted| !granted.contains(Access::SYNCHRONIZE))
}

/// The outcome of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Signaled,
    /// This thread got a mutex whose last owner exited without releasing it.
    Abandoned,
    TimedOut,
}

/// Waits for an object. The timeout is in milliseconds; `None` waits without limit.
pub(crate) fn wait(object: Target<'_>, milliseconds: Option<u32>) -> SysResult<Waited> {
    let arguments = [("object", object.into()), ("for", Argument::Milliseconds(milliseconds))];
    call("WaitForSingleObject", &arguments, || {
        let milliseconds = milliseconds.map_or(INFINITE, |some| some.min(LONGEST));
        // SAFETY: the handle is borrowed, so it stays open during the wait. The call accesses no memory of this
        // process.
        let answer = unsafe { WaitForSingleObject(object.as_raw_handle(), milliseconds) };
        match answer {
            WAIT_OBJECT_0 => Ok(Waited::Signaled),
            WAIT_ABANDONED => Ok(Waited::Abandoned),
            WAIT_TIMEOUT => Ok(Waited::TimedOut),
            _ => Err(io::Error::last_os_error()),
        }
    })
}

/// Waits for an event of this process's own. No test can make it fail: the caller can't go on before.
pub(crate) fn for_own_event(event: BorrowedHandle<'_>) {
    // The handle is open and has all rights, so the call doesn't fail.
    let _ = always("WaitForSingleObject", &[("object", event.into())], || {
        // SAFETY: the handle is borrowed, so it stays open during the wait. The call accesses no memory of this process.
        match unsafe { WaitForSingleObject(event.as_raw_handle(), INFINITE) } {
            WAIT_OBJECT_0 => Ok(Waited::Signaled),
            _ => Err(io::Error::last_os_error()),
        }
    });
}

impl Outcome for Waited {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Signaled => "signaled",
            Self::Abandoned => "abandoned",
            Self::TimedOut => "timed out",
        })
    }
}

/// Waits until one of the objects is signaled, or until the timeout. Returns the object's index, and whether it is a
/// mutex that was abandoned.
pub(crate) fn wait_any(objects: &[Target<'_>], milliseconds: u32) -> SysResult<Option<(usize, bool)>> {
    let count = u32::try_from(objects.len())
        .map_err(|error| SysError::new("WaitForMultipleObjects", io::Error::other(error)))?;
    let arguments =
        [("objects", Argument::Handles(objects)), ("for", Argument::Milliseconds(Some(milliseconds)))];
    let outcome = call("WaitForMultipleObjects", &arguments, || {
        // SAFETY: a `BorrowedHandle` has the layout of a `HANDLE`, so the pointer refers to an array of `count`
        // handles, which is alive during the call. The handles are borrowed, so they stay open during the wait.
        let answer =
            unsafe { WaitForMultipleObjects(count, objects.as_ptr().cast(), 0, milliseconds.min(LONGEST)) };
        let index =
            |first: u32| answer.checked_sub(first).filter(|index| *index < count).map(|index| index as usize);
        if answer == WAIT_TIMEOUT {
            return Ok(OneOf(None, objects));
        }
        match (index(WAIT_OBJECT_0), index(WAIT_ABANDONED)) {
            (Some(index), _) => Ok(OneOf(Some((index, false)), objects)),
            (None, Some(index)) => Ok(OneOf(Some((index, true)), objects)),
            (None, None) => Err(io::Error::last_os_error()),
        }
    });
    outcome.map(|OneOf(signaled, _)| signaled)
}

/// The signaled object of a wait, if one was signaled, and all objects of the wait.
struct OneOf<'a>(Option<(usize, bool)>, &'a [Target<'a>]);

impl Outcome for OneOf<'_> {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Some((index, is_abandoned)), objects) = self else { return Waited::TimedOut.result(to) };
        (if *is_abandoned { Waited::Abandoned } else { Waited::Signaled }).result(to)?;
        write!(to, ": {}", Argument::Handle(objects[*index]))
    }
}
