//! The part that every object type of this crate has: a descriptor, the way to wait for it, and the object's name.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::object::adopt::Claim;
use crate::object::{BorrowedObject, description_of_new, refused};
use crate::sys::call;
use crate::sys::create_object::{What, create, memory_of_machine};
use crate::sys::handle::{duplicate_here, size_of_value};
use crate::sys::io::{HasHandle, Owned, as_handle};
use crate::sys::reset_mode::{Way, way_of};
use crate::sys::rights::{self, Rights};
use crate::sys::wait::{Target, Waited};
use crate::wait;
use crate::wait::set::Memberships;

/// A guard that keeps an object's name in use until it is dropped.
pub(crate) trait NameGuard: std::fmt::Debug + Send + Sync {}

/// Checks that memory from another process isn't larger than all that this machine has. Reading it charges the reader:
/// each page that it reads is allocated.
#[inline]
pub(crate) fn check_size(
    kind: &ObjectKind,
    value: HandleValue,
    described: &dyn Fn() -> String,
) -> Result<()> {
    if *kind == ObjectKind::SharedMemory { check_size_of_memory(value, described) } else { Ok(()) }
}

fn check_size_of_memory(value: HandleValue, described: &dyn Fn() -> String) -> Result<()> {
    let failed = |error| Error::on_handle(described(), error);
    let (size, most) = (size_of_value(value).map_err(failed)?, memory_of_machine().map_err(failed)?);
    if size <= most {
        return Ok(());
    }
    let reason = format!(
        "is shared memory of {size} bytes, and this machine has {most} bytes of memory and swap; take it as an \
         OwnedHandle if you need it"
    );
    Err(Error::invalid(described(), reason))
}

/// Returns a remark for errors if new shared memory of this size exceeds what this machine has.
pub(crate) fn excess(size: u64) -> String {
    match memory_of_machine() {
        Ok(most) if size > most => format!(", more than this machine's {most} bytes of memory and swap"),
        _ => String::new(),
    }
}

/// The owned descriptor of an object.
#[derive(Debug)]
pub(crate) struct ObjectHandle {
    /// The claim on the handle's value. This field is declared first, so that it is dropped before the handle is
    /// closed: after that, the system may reuse the value for another handle.
    claim: Option<Claim>,
    /// Declared before the handle too: the object leaves its sets before the handle is closed.
    memberships: Memberships,
    handle: Owned,
    /// How to wait for the object. Set at the first wait, because most received objects are never waited for.
    way: OnceLock<Way>,
    /// The guard of the object's name, in the process that created the name. Dropping the object and its clones frees the
    /// name.
    name: Option<Arc<dyn NameGuard>>,
}

impl ObjectHandle {
    /// Creates an object without a name.
    pub(crate) fn unnamed(what: What) -> Result<Self> {
        let handle = create(what).map_err(|error| Error::system(description_of_new(what), error))?;
        Ok(Self::created(handle, None))
    }

    /// Wraps the handle of an object that this process has just created, and the guard of its name if it has one.
    #[inline]
    pub(crate) fn created(handle: Owned, name: Option<Arc<dyn NameGuard>>) -> Self {
        Self { claim: None, memberships: Memberships::default(), handle, way: OnceLock::new(), name }
    }

    /// Wraps a handle that another process made for this one, with the claim on its value.
    pub(crate) fn adopted(handle: Owned, claim: Claim) -> Self {
        Self { claim: Some(claim), ..Self::received(handle) }
    }

    /// Wraps a handle that this process has received from another one.
    #[inline]
    pub(crate) fn received(handle: Owned) -> Self {
        Self::created(handle, None)
    }

    /// Duplicates the descriptor. The clone keeps the object's name in use too.
    pub(crate) fn try_clone(&self, object: &str) -> Result<Self> {
        let copy = duplicate_here(self.handle(), rights::SAME)
            .map_err(|error| Error::system(format!("the {object}"), error))?;
        Ok(Self { way: self.way.clone(), ..Self::created(copy, self.name.clone()) })
    }

    /// Returns the handle, and drops the guard of the name: other processes no longer find the object by its name, unless a
    /// clone keeps it.
    pub(crate) fn into_handle(self) -> Owned {
        if let Some(claim) = self.claim {
            claim.of_std_owner();
        }
        self.handle
    }

    /// Returns what the system waits for.
    pub(crate) fn target(&self) -> Target<'_> {
        let known = self.way.get().copied().or_else(|| way_of(self.handle()).ok());
        // If the query failed, the wait repeats it and reports its error.
        let way = known.map_or(Way::Unknown, |way| *self.way.get_or_init(|| way));
        Target { handle: self.handle(), way }
    }

    /// Returns the sets that the object is a member of.
    pub(crate) fn memberships(&self) -> &Memberships {
        &self.memberships
    }

    /// Borrows the object, which has this kind, to share it with these rights.
    #[inline]
    pub(crate) fn share(&self, kind: &ObjectKind, default_rights: Rights) -> BorrowedObject<'_> {
        match kind {
            ObjectKind::Semaphore => BorrowedObject::typed(self.handle(), default_rights),
            _ => BorrowedObject::no_semaphore(self.handle(), default_rights),
        }
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

as_handle!(ObjectHandle, handle);
