//! Strategy 3, naming: objects that other processes find by a name both know.

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

/// What can be given as a name: a [`ObjectName`], or text for a [local](ObjectName::local) one.
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

/// How an object of a name came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CreateOutcome {
    /// It was created by this call.
    Created,
    /// It was there, as somebody else had created it: with whatever protection, count or size that one has chosen.
    Opened,
}
