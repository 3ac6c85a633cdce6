//! What every object type of this crate has inside: a descriptor, how it is waited for, and the name that it has.

use std::sync::OnceLock;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::object::BorrowedObject;
use crate::object::adopt::Claim;
use crate::object::refused;
use crate::sys::call;
use crate::sys::create_object::{What, create};
use crate::sys::io::{HasHandle, Owned, as_handle};
use crate::sys::reset_mode::{Way, way_of};
use crate::sys::rights::Rights;
use crate::sys::wait::{Target, Waited};
use crate::wait;

/// Keeps a name alive for as long as the object is.
pub(crate) trait NameGuard: std::fmt::Debug + Send + Sync {}

#[derive(Debug)]
pub(crate) struct ObjectHandle {
    /// Released before the handle is closed: from then on the system may give the value to another handle.
    claim: Option<Claim>,
    handle: Owned,
    /// Once it was asked for: most objects that come are never waited for.
    way: OnceLock<Way>,
    /// Its name, which goes with the object in the process that created it.
    _name: Option<Box<dyn NameGuard>>,
}

impl ObjectHandle {
    /// Creates an object without a name.
    pub(crate) fn unnamed(what: What) -> Result<Self> {
        let handle = create(what).map_err(|error| Error::system("an unnamed object", error))?;
        Ok(Self::created(handle, None))
    }

    /// Of an object that this process has just created, with the guard of its name, if it has one.
    pub(crate) fn created(handle: Owned, name: Option<Box<dyn NameGuard>>) -> Self {
        Self { claim: None, handle, way: OnceLock::new(), _name: name }
    }

    /// Of an object that another process made for this one.
    pub(crate) fn adopted(handle: Owned, claim: Claim) -> Self {
        Self { claim: Some(claim), ..Self::received(handle) }
    }

    /// Of an object that came from elsewhere.
    pub(crate) fn received(handle: Owned) -> Self {
        Self::created(handle, None)
    }

    /// Without the name, which others don't find any more.
    pub(crate) fn into_handle(self) -> Owned {
        if let Some(claim) = self.claim {
            claim.of_std_owner();
        }
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
    pub(crate) fn share(&self, usual: Rights) -> BorrowedObject<'_> {
        BorrowedObject::typed(self.handle(), usual)
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

as_handle!(ObjectHandle, handle);
