//! The event: a flag that one process sets and other processes wait for.

use super::macros::{object, resets, waits};
use super::refused;
use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::object::ObjectHandle;
use crate::sys::call;
use crate::sys::create_object::{self as sys, What};
use crate::sys::io::HasHandle;
use crate::sys::rights;

/// An event: a flag in the kernel that one process sets and other processes wait for.
///
/// Use it to signal another process: "ready", "stop", "there is work". An event without a name is reachable only in
/// processes that receive a handle to it, by inheritance, duplication or a channel. A process that receives the event
/// may wait for, set and reset it (on Windows, `Access::EVENT_USE`).
///
/// Dropping an `Event` closes this process's handle. Other processes own handles of their own, and the kernel deletes
/// the event when the last handle is closed.
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
#[doc(alias = "CreateEvent", alias = "eventfd")]
pub struct Event {
    handle: ObjectHandle,
}

/// How a signaled event or timer becomes unsignaled again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetMode {
    /// The object stays signaled, and releases every waiter: an event until [`Event::reset`] is called, a timer until
    /// it is set again.
    Manual,
    /// The object releases one waiter, which resets it.
    Auto,
}

impl Event {
    /// Sets the event, so that it is signaled.
    ///
    /// A manual-reset event releases all waiters, an auto-reset event releases one. If no thread waits, the event stays
    /// signaled for the next wait.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] if the handle lacks the right to set the event.
    ///
    /// [SetEvent](https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-setevent)
    #[doc(alias = "SetEvent")]
    pub fn set(&self) -> Result<()> {
        sys::set_event(self.handle()).map_err(|error| refused("the event", call::TO_SET_EVENT, error))
    }

    /// Resets the event, so that it is unsignaled and later waits block.
    ///
    /// # Errors
    ///
    /// [`Error::AccessDenied`] if the handle lacks the right to reset the event.
    ///
    /// [ResetEvent](https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-resetevent)
    #[doc(alias = "ResetEvent")]
    pub fn reset(&self) -> Result<()> {
        sys::reset_event(self.handle()).map_err(|error| refused("the event", call::TO_SET_EVENT, error))
    }
}

pub(crate) fn what(reset: ResetMode) -> What {
    What::Event { manual_reset: reset == ResetMode::Manual }
}

resets!(Event, what, "an event", "[`reset`](Self::reset) is called");
object!(Event, ObjectKind::Event, rights::EVENT);
waits!(
    Event,
    "the event",
    "the event to be set",
    "the event is set",
    "the process that would set it exits first",
    "resets an auto-reset event"
);
