//! What every object type of this crate has inside: a handle, and what it carries.

use std::sync::OnceLock;
use std::time::Duration;

use crate::object::refused;
use crate::sys::call;
use crate::sys::handle::{granted_access, raw_of};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::rights::Rights;
use crate::sys::wait::{Target, Waited};
use crate::{Access, Result, Share, wait};

#[derive(Debug)]
pub(crate) struct Held {
    handle: Owned,
    /// What it carries, once it was asked for: most objects that come are never passed on.
    access: OnceLock<Access>,
}

impl Held {
    /// Of an object that this process has just created: whoever creates one gets every right to it.
    pub(crate) fn created(handle: Owned) -> Self {
        Self { handle, access: Access::all().into() }
    }

    /// Of an object that came from elsewhere.
    pub(crate) fn received(handle: Owned) -> Self {
        Self { handle, access: OnceLock::new() }
    }

    pub(crate) fn into_handle(self) -> Owned {
        self.handle
    }

    /// What is waited for.
    pub(crate) fn target(&self) -> Target<'_> {
        self.handle()
    }

    /// The object with these rights, as far as the handle carries them: a handle to wait with can't become one to set
    /// with by being passed on.
    pub(crate) fn share(&self, usual: Rights) -> Share<'_> {
        let carried = |usual: Access| {
            // If the kernel doesn't say, the kernel also decides what becomes of passing it on.
            let ask = || granted_access(raw_of(self.handle())).unwrap_or(usual);
            usual.intersection(*self.access.get_or_init(ask))
        };
        Share::typed(self.handle(), usual.map(carried))
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

crate::sys::io::as_handle!(Held, handle);
