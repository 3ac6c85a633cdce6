//! Events.

use std::os::windows::io::AsHandle;

use super::held::{Held, object, opens, refused, resets, waits};
use crate::sys::named::{self as sys, What};
use crate::{Access, Error, Kind, Result};

/// A flag in the kernel that one process sets and others wait for.
///
/// The object lives as long as any process has a handle to it; dropping this closes this process's handle. Without a
/// name, another process comes by it only if it is shared, and then it travels with the rights to wait, set and
/// reset ([`Access::EVENT_USE`]).
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
/// [Event objects](https://learn.microsoft.com/windows/win32/sync/event-objects)
#[derive(Debug)]
#[doc(alias = "CreateEvent")]
pub struct Event {
    held: Held,
}

/// How an event or a timer that was signaled is unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reset {
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
    /// [`Error::MissingRight`] if this handle came without [`Access::EVENT_MODIFY_STATE`].
    #[doc(alias = "SetEvent")]
    pub fn set(&self) -> Result<()> {
        sys::set_event(self.as_handle())
            .map_err(|source| refused("SetEvent", "the event", "EVENT_MODIFY_STATE", source))
    }

    /// Unsets the event: whoever comes to wait waits.
    ///
    /// # Errors
    ///
    /// [`Error::MissingRight`] if this handle came without [`Access::EVENT_MODIFY_STATE`].
    #[doc(alias = "ResetEvent")]
    pub fn reset(&self) -> Result<()> {
        sys::reset_event(self.as_handle())
            .map_err(|source| refused("ResetEvent", "the event", "EVENT_MODIFY_STATE", source))
    }
}

fn what(reset: Reset) -> What {
    What::Event { manual_reset: reset == Reset::Manual }
}

resets!(Event, what, "an event");
object!(Event, Kind::Event, Access::EVENT_USE);
waits!(Event, "the event", "the signal of the event");
opens!(Event, Kind::Event, what(Reset::Manual), "EVENT_USE");
