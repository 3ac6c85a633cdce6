//! Strategy 3, naming: one process creates an object under a name, and others open it by that name.
//!
//! Each system's half provides `ObjectName`, `SingleInstance`, and the functions `create`, `create_or_open` and `open`
//! that the named constructors call.

mod create;
#[cfg(target_os = "linux")]
pub(crate) mod linux;
pub(crate) mod text;
#[cfg(windows)]
pub(crate) mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux as imp;
#[cfg(windows)]
pub(crate) use windows as imp;

pub use imp::{ObjectName, SingleInstance};
#[cfg(windows)]
pub use windows::SecurityDescriptor;

use std::borrow::Cow;

use crate::error::Result;

/// A type that can be passed as an object's name: an [`ObjectName`], or text, which means a
/// [local](ObjectName::local) name.
pub trait AsObjectName: sealed::AsObjectName {}

pub(crate) mod sealed {
    use super::{Cow, ObjectName, Result};

    pub trait AsObjectName {
        fn as_name(&self) -> Result<Cow<'_, ObjectName>>;
    }
}

impl sealed::AsObjectName for ObjectName {
    fn as_name(&self) -> Result<Cow<'_, ObjectName>> {
        Ok(Cow::Borrowed(self))
    }
}

impl sealed::AsObjectName for str {
    fn as_name(&self) -> Result<Cow<'_, ObjectName>> {
        ObjectName::local(self).map(Cow::Owned)
    }
}

impl sealed::AsObjectName for String {
    fn as_name(&self) -> Result<Cow<'_, ObjectName>> {
        ObjectName::local(self).map(Cow::Owned)
    }
}

impl AsObjectName for ObjectName {}
impl AsObjectName for str {}
impl AsObjectName for String {}

/// Whether a named object was created or opened, as returned by `create_or_open_named`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CreateOutcome {
    /// The call created the object.
    Created,
    /// The call opened an existing object. It keeps the protection, mode, count or size that its creator chose.
    Opened,
}
