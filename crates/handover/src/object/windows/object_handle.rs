//! What every object type of this crate has inside: a handle, and what it carries.

use std::sync::OnceLock;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::handle::Access;
use crate::object::BorrowedObject;
use crate::object::adopt::Claim;
use crate::object::refused;
use crate::sys::call;
use crate::sys::create_object::{What, create};
use crate::sys::handle::{granted_access, raw_of};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::rights::Rights;
use crate::sys::wait::{Target, Waited};
use crate::wait;

#[derive(Debug)]
pub(crate) struct ObjectHandle {
    /// Released before the handle is closed: from then on the system may give the value to another handle.
    claim: Option<Claim>,
    handle: Owned,
    /// What it carries, once it was asked for: most objects that come are never passed on.
    access: OnceLock<Access>,
}

impl ObjectHandle {
    /// Creates an object without a name.
    pub(crate) fn unnamed(what: What) -> Result<Self> {
        let (handle, _) = create(what, None).map_err(|error| Error::system("an unnamed object", error))?;
        Ok(Self::created(handle))
    }

    /// Of an object that this process has just created: whoever creates one gets every right to it.
    pub(crate) fn created(handle: Owned) -> Self {
        Self { claim: None, handle, access: Access::all().into() }
    }

    /// Of an object that came from elsewhere.
    pub(crate) fn received(handle: Owned) -> Self {
        Self { claim: None, handle, access: OnceLock::new() }
    }

    /// Of an object that another process made for this one.
    pub(crate) fn adopted(handle: Owned, claim: Claim) -> Self {
        Self { claim: Some(claim), ..Self::received(handle) }
    }

    pub(crate) fn into_handle(self) -> Owned {
        if let Some(claim) = self.claim {
            claim.of_std_owner();
        }
        self.handle
    }

    /// What is waited for.
    pub(crate) fn target(&self) -> Target<'_> {
        self.handle()
    }

    /// The object with these rights, as far as the handle carries them: a handle to wait with can't become
    /// one to set with by being passed on.
    pub(crate) fn share(&self, usual: Rights) -> BorrowedObject<'_> {
        let carried = |usual: Access| {
            // If the kernel doesn't say, the kernel also decides what becomes of passing it on.
            let ask = || granted_access(raw_of(self.handle())).unwrap_or(usual);
            usual.intersection(*self.access.get_or_init(ask))
        };
        BorrowedObject::typed(self.handle(), usual.map(carried))
    }

    /// Waits for as long as it takes.
    pub(crate) fn wait(&self, what: &'static str) -> Result<Waited> {
        wait::for_ever(self.target()).map_err(|error| refused(what, call::TO_WAIT, error))
    }

    /// Waits for at most this long.
    pub(crate) fn wait_at_most(&self, what: &'static str, time: Duration) -> Result<Waited> {
        wait::at_most(self.target(), time).map_err(|error| refused(what, call::TO_WAIT, error))
    }
}

crate::sys::io::as_handle!(ObjectHandle, handle);
