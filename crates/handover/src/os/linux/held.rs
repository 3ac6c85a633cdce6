//! What every object type of this crate has inside: a descriptor, how it is waited for, and the name that it has.

use std::sync::OnceLock;
use std::time::Duration;

use super::serving::Serving;
use crate::object::refused;
use crate::sys::call;
use crate::sys::io::{HasHandle, Owned, as_handle};
use crate::sys::named::way_of;
use crate::sys::rights::Rights;
use crate::sys::wait::{Target, Waited, Way};
use crate::{Result, Share, wait};

#[derive(Debug)]
pub(crate) struct Held {
    handle: Owned,
    /// Once it was asked for: most objects that come are never waited for.
    way: OnceLock<Way>,
    /// The name goes with the object of the process that has made it.
    serving: Option<Serving>,
}

impl Held {
    /// Of an object that this process has just created, and whose name it serves, if it has one.
    pub(crate) fn created(handle: Owned, serving: Option<Serving>) -> Self {
        Self { handle, way: OnceLock::new(), serving }
    }

    /// Of an object that came from elsewhere.
    pub(crate) fn received(handle: Owned) -> Self {
        Self::created(handle, None)
    }

    /// Without the name, which others don't find any more.
    pub(crate) fn into_handle(self) -> Owned {
        drop(self.serving);
        self.handle
    }

    /// What is waited for.
    pub(crate) fn target(&self) -> Target<'_> {
        let known = self.way.get().copied().or_else(|| way_of(self.handle()).ok());
        // If the kernel doesn't say, the wait asks once more, and fails and tells why.
        let way = known.map_or(Way::Unknown, |way| *self.way.get_or_init(|| way));
        Target { handle: self.handle(), way }
    }

    /// The object with these rights.
    pub(crate) fn share(&self, usual: Rights) -> Share<'_> {
        Share::typed(self.handle(), usual)
    }

    /// Waits for as long as it takes.
    pub(crate) fn wait(&self, what: &'static str) -> Result<Waited> {
        wait::for_ever(self.target()).map_err(|source| refused(call::WAIT, what, call::TO_WAIT, source))
    }

    /// Waits for at most this long.
    pub(crate) fn wait_at_most(&self, what: &'static str, time: Duration) -> Result<Waited> {
        wait::at_most(self.target(), time).map_err(|source| refused(call::WAIT, what, call::TO_WAIT, source))
    }
}

as_handle!(Held, handle);
