//! Events.

use std::os::windows::io::AsHandle;

use super::held::{Held, object, opens, refused, waits};
use crate::sys::named::{self as sys, What};
use crate::{Access, AsName, Error, Found, Kind, Result, name};

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
    /// Makes an event that stays set, and lets every waiter go, until it is reset. It begins unset.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no room for it.
    pub fn manual_reset() -> Result<Self> {
        name::create_unnamed(what(Reset::Manual)).map(Self::created)
    }

    /// Makes an event that lets one waiter go each time it is set, and is unset by that. It begins unset.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no room for it.
    pub fn auto_reset() -> Result<Self> {
        name::create_unnamed(what(Reset::Auto)).map(Self::created)
    }

    /// Makes an event that other processes find by its name. It begins unset.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`] if anything has the name, of whatever kind and made by whomever;
    /// [`Error::InvalidInput`] for what can't be a name.
    pub fn create_named(name: &(impl AsName + ?Sized), reset: Reset) -> Result<Self> {
        name::create(what(reset), name).map(Self::created)
    }

    /// Makes an event of this name, or opens the one that is there, with all rights, and says which.
    ///
    /// # Errors
    ///
    /// [`Error::NameTaken`] if something of another kind has the name, or something that doesn't let this user in.
    pub fn create_or_open_named(name: &(impl AsName + ?Sized), reset: Reset) -> Result<(Self, Found)> {
        name::create_or_open(what(reset), name).map(|(handle, found)| (Self::created(handle), found))
    }

    fn created(handle: std::os::windows::io::OwnedHandle) -> Self {
        Self { held: Held::created(handle) }
    }

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

object!(Event, Kind::Event, Access::EVENT_USE);
waits!(Event, "the event", "the signal of the event");
opens!(Event, Kind::Event, what(Reset::Manual), "EVENT_USE");
