//! The part that every object type of this crate has: a handle, and its access rights.

use std::sync::OnceLock;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::handle::{Access, HandleValue, ObjectKind};
use crate::object::adopt::Claim;
use crate::object::{BorrowedObject, description_of_new, refused};
use crate::sys::create_object::{What, create};
use crate::sys::handle::{duplicate_here, granted_access, raw_of};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::rights::{self, Rights};
use crate::sys::wait::{Target, Waited};
use crate::sys::{DeferredEvents, call};
use crate::wait;
use crate::wait::set::Memberships;

/// Does nothing: Windows has committed the memory of a section to the process that created it.
#[allow(clippy::unnecessary_wraps, reason = "the Linux version asks the kernel, which can fail")]
pub(crate) fn check_size(_: &ObjectKind, _: HandleValue, _: &dyn Fn() -> String) -> Result<()> {
    Ok(())
}

/// Returns nothing: Windows' own error says that the memory and the page file are too small.
pub(crate) fn excess(_: u64) -> &'static str {
    ""
}

/// The owned handle of an object.
#[derive(Debug)]
pub(crate) struct ObjectHandle {
    /// The claim on the handle's value. This field is declared first, so that it is dropped before the handle is
    /// closed: after that, the system may reuse the value for another handle.
    claim: Option<Claim>,
    /// Declared before the handle too: the object leaves its sets before the handle is closed.
    memberships: Memberships,
    handle: Owned,
    /// The handle's access rights. Set when the object is first shared, because most received objects never are.
    access: OnceLock<Access>,
}

impl ObjectHandle {
    /// Creates an object without a name.
    pub(crate) fn unnamed(what: What) -> Result<Self> {
        let (handle, _) =
            create(what, None).map_err(|error| Error::system(description_of_new(what), error))?;
        Ok(Self::created(handle))
    }

    /// Wraps the handle of an object that this process has just created. A creator's handle carries every right.
    pub(crate) fn created(handle: Owned) -> Self {
        Self { access: Access::all().into(), ..Self::received(handle) }
    }

    /// Wraps a handle that this process has received from another one.
    pub(crate) fn received(handle: Owned) -> Self {
        Self { claim: None, memberships: Memberships::default(), handle, access: OnceLock::new() }
    }

    /// Wraps a handle that another process made for this one, with the claim on its value.
    pub(crate) fn adopted(handle: Owned, claim: Claim) -> Self {
        Self { claim: Some(claim), ..Self::received(handle) }
    }

    /// Duplicates the handle, with the same access.
    pub(crate) fn try_clone(&self, object: &str) -> Result<Self> {
        let copy = duplicate_here(self.handle(), rights::SAME, false)
            .map_err(|error| Error::system(format!("the {object}"), error))?;
        Ok(Self { access: self.access.clone(), ..Self::received(copy) })
    }

    /// Returns the handle.
    pub(crate) fn into_handle(self) -> Owned {
        if let Some(claim) = self.claim {
            claim.of_std_owner();
        }
        self.handle
    }

    /// Returns what the system waits for.
    pub(crate) fn target(&self) -> Target<'_> {
        self.handle()
    }

    /// Returns the sets that the object is a member of.
    pub(crate) fn memberships(&self) -> &Memberships {
        &self.memberships
    }

    /// Borrows the object, to share it with those of these rights that the handle carries.
    ///
    /// `DuplicateHandle` can add rights that the object's security descriptor grants. Without this limit, sharing a
    /// handle that may only wait could give the receiver the right to set the object.
    pub(crate) fn share(&self, _: &ObjectKind, default_rights: Rights) -> BorrowedObject<'_> {
        // A subscriber that uses this object would begin the same initialization again.
        let _events = DeferredEvents::begin();
        let limited = |rights: Access| {
            // If the query fails, all rights are requested, and the kernel grants or denies them in DuplicateHandle.
            let query = || granted_access(raw_of(self.handle())).unwrap_or(rights);
            rights.intersection(*self.access.get_or_init(query))
        };
        BorrowedObject::typed(self.handle(), default_rights.map(limited))
    }

    /// Waits without a timeout. `object` describes the object in errors.
    pub(crate) fn wait(&self, object: &'static str) -> Result<Waited> {
        wait::without_timeout(self.target()).map_err(|error| refused(object, call::TO_WAIT, error))
    }

    /// Waits, at most for the timeout. `object` describes the object in errors.
    pub(crate) fn wait_at_most(&self, object: &'static str, timeout: Duration) -> Result<Waited> {
        wait::at_most(self.target(), timeout).map_err(|error| refused(object, call::TO_WAIT, error))
    }
}

crate::sys::io::as_handle!(ObjectHandle, handle);
