//! Strategy 1, inheritance: what a parent lists for a child.

use std::os::windows::io::OwnedHandle;

use crate::sys::handle as sys;
use crate::{Error, HandleValue, Result, Share};

/// One object that a child inherits, by name.
#[derive(Debug, Clone)]
pub(crate) struct Listed<'a> {
    pub(crate) name: String,
    pub(crate) object: Share<'a>,
}

/// The duplicate that the child inherits under its own value. It is inheritable, and therefore lives no longer than
/// the one call that creates the child.
#[derive(Debug)]
pub(crate) struct Inheritable(OwnedHandle);

impl Inheritable {
    /// Duplicates a listed object. The object's own handle isn't touched.
    pub(crate) fn of(listed: &Listed<'_>) -> Result<Self> {
        let what = || format!("the object {:?}, which the child is to inherit", listed.name);
        let handle = listed.object.checked()?;
        match sys::duplicate_here(handle, listed.object.access(), true) {
            Ok(duplicate) => Ok(Self(duplicate)),
            Err(source) if sys::is_invalid_handle(&source) => Err(Error::NotOpen { what: what() }),
            Err(source) => Err(Error::System { call: "DuplicateHandle", what: what(), source }),
        }
    }

    /// The value here and in the child's table: inheritance keeps it.
    pub(crate) fn value(&self) -> Result<HandleValue> {
        HandleValue::of(&self.0)
    }
}

impl From<OwnedHandle> for Inheritable {
    fn from(duplicate: OwnedHandle) -> Self {
        Self(duplicate)
    }
}
