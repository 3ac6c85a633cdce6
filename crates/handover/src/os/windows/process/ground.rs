//! The inheritable duplicates that exist while a child is created.

use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::sync::Arc;

use super::{Helper, Remote};
use crate::inherit::Listed;
use crate::sys::handle as sys;
use crate::sys::io::Owned;
use crate::sys::rights::Rights;
use crate::{Error, HandleValue, Process, Result};

/// In whose table the inheritable duplicates are made: whoever it is becomes the child's parent.
#[derive(Debug)]
pub(crate) enum Ground {
    /// In this process. Another thread that creates a process just then, with inheritance of all, hands them to that
    /// process too.
    Here,
    /// In a process that never runs, and so never creates any.
    Sealed(Arc<Helper>),
}

impl Ground {
    /// Duplicates a handle, inheritable; the handle itself isn't touched.
    pub(crate) fn duplicate(&self, handle: BorrowedHandle<'_>, rights: Rights) -> io::Result<Inheritable> {
        match self {
            Self::Here => sys::duplicate_here(handle, rights, true).map(Inheritable::Here),
            Self::Sealed(helper) => {
                Remote::new(helper.process(), handle, rights, true).map(Inheritable::Planted)
            }
        }
    }

    /// Duplicates a listed object.
    pub(crate) fn duplicate_listed(&self, listed: &Listed<'_>) -> Result<Inheritable> {
        let what = || format!("the object {:?}, which the child is to inherit", listed.name);
        let handle = listed.object.checked(what)?;
        let duplicate = self.duplicate(handle, listed.object.rights());
        duplicate.map_err(|source| Error::on_handle("DuplicateHandle", what(), source))
    }

    /// The process that becomes the child's parent, if it isn't this one.
    pub(crate) fn parent(&self) -> Option<&Process> {
        match self {
            Self::Here => None,
            Self::Sealed(helper) => Some(helper.process()),
        }
    }
}

/// The duplicate that a child inherits under its own value. It lives no longer than the one call that creates the
/// child.
#[derive(Debug)]
pub(crate) enum Inheritable {
    Here(Owned),
    Planted(Remote),
}

impl Inheritable {
    /// The value where it is and in the child's table: inheritance keeps it.
    pub(crate) fn value(&self) -> Result<HandleValue> {
        match self {
            Self::Here(duplicate) => HandleValue::of(&duplicate.as_handle()),
            Self::Planted(remote) => Ok(remote.value()),
        }
    }
}
