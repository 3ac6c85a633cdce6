//! Events.

use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::sync::OnceLock;
use std::time::Duration;

use super::{Object, Share, sealed::FromHandle};
use crate::sys::event as sys;
use crate::sys::handle::{granted_access, raw_of};
use crate::{Access, Error, Kind, Result, wait};

/// A flag in the kernel that one process sets and others wait for.
///
/// The object lives as long as any process has a handle to it; dropping this closes this process's handle. It has no
/// name, so another process comes by it only if it is shared, and then it travels with the rights to wait, set and
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
    handle: OwnedHandle,
    /// What it carries, once it was asked for: most events that come are never passed on.
    access: OnceLock<Access>,
}

impl Event {
    /// Makes an event that stays set, and lets every waiter go, until it is reset. It begins unset.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no room for it.
    pub fn manual_reset() -> Result<Self> {
        Self::create(true)
    }

    /// Makes an event that lets one waiter go each time it is set, and is unset by that. It begins unset.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no room for it.
    pub fn auto_reset() -> Result<Self> {
        Self::create(false)
    }

    fn create(manual_reset: bool) -> Result<Self> {
        let handle = sys::create(manual_reset).map_err(|source| Error::System {
            call: "CreateEventW",
            what: "an unnamed event".into(),
            source,
        })?;
        // Whoever creates an object gets every right to it.
        Ok(Self { handle, access: Access::all().into() })
    }

    /// Sets the event: whoever waits goes on.
    ///
    /// # Errors
    ///
    /// [`Error::MissingRight`] if this handle came without [`Access::EVENT_MODIFY_STATE`].
    #[doc(alias = "SetEvent")]
    pub fn set(&self) -> Result<()> {
        sys::set(self.as_handle()).map_err(|source| refused("SetEvent", source))
    }

    /// Unsets the event: whoever comes to wait waits.
    ///
    /// # Errors
    ///
    /// [`Error::MissingRight`] if this handle came without [`Access::EVENT_MODIFY_STATE`].
    #[doc(alias = "ResetEvent")]
    pub fn reset(&self) -> Result<()> {
        sys::reset(self.as_handle()).map_err(|source| refused("ResetEvent", source))
    }

    /// Waits until the event is set, however long that takes. [`wait_timeout`](Self::wait_timeout) is safer: nobody
    /// sets the event of a process that has died.
    ///
    /// # Errors
    ///
    /// [`Error::MissingRight`] if this handle came without [`Access::SYNCHRONIZE`].
    #[doc(alias = "WaitForSingleObject")]
    pub fn wait(&self) -> Result<()> {
        wait::for_ever(self.as_handle()).map_err(|source| refused("WaitForSingleObject", source))
    }

    /// Waits until the event is set, or for this long.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if it was not set in time; [`Error::MissingRight`] if this handle came without
    /// [`Access::SYNCHRONIZE`].
    pub fn wait_timeout(&self, time: Duration) -> Result<()> {
        if self.wait_at_most(time)? {
            return Ok(());
        }
        Err(Error::TimedOut { what: "the signal of the event".into(), after: time })
    }

    /// Whether the event is set, without waiting. An auto-reset event is unset by a yes, as by any wait.
    ///
    /// # Errors
    ///
    /// [`Error::MissingRight`] if this handle came without [`Access::SYNCHRONIZE`].
    pub fn try_wait(&self) -> Result<bool> {
        self.wait_at_most(Duration::ZERO)
    }

    /// This event for another process, with these rights alone: `ready.only(Access::SYNCHRONIZE)` can be waited
    /// for over there, and not set.
    #[must_use]
    pub fn only(&self, access: Access) -> Share<'_> {
        Share::typed(self.as_handle(), access)
    }

    fn access(&self) -> Access {
        // If the kernel doesn't say, the kernel also decides what becomes of passing it on.
        let ask = || granted_access(raw_of(self.as_handle())).unwrap_or(Access::EVENT_USE);
        *self.access.get_or_init(ask)
    }

    fn wait_at_most(&self, time: Duration) -> Result<bool> {
        wait::for_at_most(self.as_handle(), time).map_err(|source| refused("WaitForSingleObject", source))
    }
}

fn refused(call: &'static str, source: io::Error) -> Error {
    let what = "the event".to_owned();
    if source.kind() != io::ErrorKind::PermissionDenied {
        return Error::System { call, what, source };
    }
    let right = if call == "WaitForSingleObject" { "SYNCHRONIZE" } else { "EVENT_MODIFY_STATE" };
    Error::MissingRight { call, what, right }
}

impl AsHandle for Event {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}

impl From<Event> for OwnedHandle {
    fn from(event: Event) -> Self {
        event.handle
    }
}

impl<'a> From<&'a Event> for Share<'a> {
    /// With the rights to use it, as far as this handle carries them: a handle to wait with can't become one to set
    /// with by being passed on.
    fn from(event: &'a Event) -> Self {
        event.only(Access::EVENT_USE.intersection(event.access()))
    }
}

impl Object for Event {
    const KIND: Option<Kind> = Some(Kind::Event);
}

impl FromHandle for Event {
    fn from_handle(handle: OwnedHandle) -> Self {
        Self { handle, access: OnceLock::new() }
    }
}
