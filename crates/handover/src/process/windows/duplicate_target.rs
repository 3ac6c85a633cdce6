//! The inheritable duplicates that exist while a child is being created, and the process that holds them.

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

/// The process in whose table the inheritable duplicates are created. It becomes the child's parent.
#[derive(Debug)]
pub(crate) enum DuplicateTarget {
    /// This process. If another thread creates a process at the same moment and lets it inherit all inheritable
    /// handles, that process gets the duplicates too.
    ThisProcess,
    /// The helper, which never runs and so never creates a process.
    Helper(Arc<Helper>),
}

impl DuplicateTarget {
    /// Creates an inheritable duplicate of a handle. The handle itself isn't changed.
    pub(crate) fn duplicate(&self, handle: BorrowedHandle<'_>, rights: Rights) -> SysResult<Inheritable> {
        match self {
            Self::ThisProcess => sys::duplicate_here(handle, rights, true).map(Inheritable::InThisProcess),
            Self::Helper(helper) => {
                RemoteCopy::new(helper.process(), handle, rights, true).map(Inheritable::InHelper)
            }
        }
    }

    /// Creates an inheritable duplicate of a listed object.
    pub(crate) fn duplicate_listed(&self, listed: &Listed<'_>) -> Result<Inheritable> {
        let context = || format!("the listed object {:?}", listed.name);
        let handle = listed.object().checked(&context)?;
        let duplicate = self.duplicate(handle, listed.object().rights());
        duplicate.map_err(|error| Error::on_handle(context(), error))
    }

    /// Returns the process that becomes the child's parent, unless that is this process.
    pub(crate) fn parent(&self) -> Option<&Process> {
        match self {
            Self::ThisProcess => None,
            Self::Helper(helper) => Some(helper.process()),
        }
    }
}

/// An inheritable duplicate, which the child inherits under the same handle value. It is closed as soon as the child is
/// created.
#[derive(Debug)]
pub(crate) enum Inheritable {
    InThisProcess(Owned),
    InHelper(RemoteCopy),
}

impl Inheritable {
    /// Returns the handle value. Inheritance keeps it, so it is the same in the child's table.
    pub(crate) fn value(&self) -> Result<HandleValue> {
        match self {
            Self::InThisProcess(duplicate) => HandleValue::of(&duplicate.as_handle()),
            Self::InHelper(duplicate) => Ok(duplicate.value()),
        }
    }
}
