//! The inheritable duplicates that exist while a child is created.

use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::sync::Arc;

use super::RemoteCopy;
use super::parent_helper::Helper;
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inherit::Listed;
use crate::process::Process;
use crate::sys::io::Owned;
use crate::sys::rights::Rights;
use crate::sys::{SysResult, handle as sys};

/// The process in whose table the inheritable duplicates are made. It becomes the child's parent.
#[derive(Debug)]
pub(crate) enum DuplicateTarget {
    /// This process. Another thread that creates a process at the same moment, with inheritance of all
    /// handles, passes the duplicates to that process too.
    ThisProcess,
    /// The helper, which never runs and so never creates a process.
    Helper(Arc<Helper>),
}

impl DuplicateTarget {
    /// Makes an inheritable duplicate of a handle. The handle itself isn't touched.
    pub(crate) fn duplicate(&self, handle: BorrowedHandle<'_>, rights: Rights) -> SysResult<Inheritable> {
        match self {
            Self::ThisProcess => sys::duplicate_here(handle, rights, true).map(Inheritable::InThisProcess),
            Self::Helper(helper) => {
                RemoteCopy::new(helper.process(), handle, rights, true).map(Inheritable::InHelper)
            }
        }
    }

    /// Duplicates a listed object.
    pub(crate) fn duplicate_listed(&self, listed: &Listed<'_>) -> Result<Inheritable> {
        let what = || format!("the object {:?}, which the child is to inherit", listed.name);
        let handle = listed.object.checked(what)?;
        let duplicate = self.duplicate(handle, listed.object.rights());
        duplicate.map_err(|error| Error::on_handle(what(), error))
    }

    /// The process that becomes the child's parent, if it isn't this one.
    pub(crate) fn parent(&self) -> Option<&Process> {
        match self {
            Self::ThisProcess => None,
            Self::Helper(helper) => Some(helper.process()),
        }
    }
}

/// The duplicate that a child inherits under its own value. It lives no longer than the one call that creates
/// the child.
#[derive(Debug)]
pub(crate) enum Inheritable {
    InThisProcess(Owned),
    InHelper(RemoteCopy),
}

impl Inheritable {
    /// The value where it is and in the child's table: inheritance keeps it.
    pub(crate) fn value(&self) -> Result<HandleValue> {
        match self {
            Self::InThisProcess(duplicate) => HandleValue::of(&duplicate.as_handle()),
            Self::InHelper(duplicate) => Ok(duplicate.value()),
        }
    }
}
