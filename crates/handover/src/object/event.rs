//! Events.

use super::macros::{object, resets, waits};
use super::refused;
use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::object::ObjectHandle;
use crate::sys::call;
use crate::sys::create_object::{self as sys, What};
use crate::sys::io::HasHandle;
use crate::sys::rights;

/// A flag in the kernel that one process sets and others wait for.
///
/// The object lives as long as any process has a handle to it; dropping this closes this process's handle. Without a
/// name, another process comes by it only if it is shared, and then it travels with the rights to wait, set and
/// reset (on Windows, `Access::EVENT_USE`).
///
/// ```
/// use std::time::Duration;
/// use handover::Event;
///
/// let ready = Event::manual_reset()?;
/// assert!(!ready.try_wait()?);
/// ready.set()?;
/// ready.wait_timeout(Duration::from_secs(5))?;
/// # Ok::<(), handover::Error>(())
/// ```
///
/// [Event objects](https://learn.microsoft.com/windows/win32/sync/event-objects);
/// [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html)
#[derive(Debug)]
#[doc(alias = "CreateEvent", alias = "eventfd")]
pub struct Event {
    held: ObjectHandle,
}

/// How an event or a timer that was signaled is unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetMode {
    /// It lets every waiter go until somebody resets it.
    Manual,
    /// It lets one waiter go each time, and is unset by that.
    Auto,
}

impl Event {
    /// Sets the event: whoever waits goes on.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] if this handle came without the right to set it.
    #[doc(alias = "SetEvent")]
    pub fn set(&self) -> Result<()> {
        sys::set_event(self.handle()).map_err(|error| refused("the event", call::TO_SET_EVENT, error))
    }

    /// Unsets the event: whoever comes to wait waits.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] if this handle came without the right to set it.
    #[doc(alias = "ResetEvent")]
    pub fn reset(&self) -> Result<()> {
        sys::reset_event(self.handle()).map_err(|error| refused("the event", call::TO_SET_EVENT, error))
    }
}

pub(crate) fn what(reset: ResetMode) -> What {
    What::Event { manual_reset: reset == ResetMode::Manual }
}

resets!(Event, what, "an event");
object!(Event, ObjectKind::Event, rights::EVENT);
waits!(Event, "the event", "the event is set");
