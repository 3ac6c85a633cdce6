//! Strategy 3, naming: objects that other processes find by a name both know.

pub(crate) mod text;

use std::borrow::Cow;

use crate::{Name, Result};

/// What can be given as a name: a [`Name`], or text for a [local](Name::local) one.
pub trait AsName: sealed::AsName {}

pub(crate) mod sealed {
    use super::{Cow, Name, Result};

    pub trait AsName {
        fn as_name(&self) -> Result<Cow<'_, Name>>;
    }
}

impl sealed::AsName for Name {
    fn as_name(&self) -> Result<Cow<'_, Name>> {
        Ok(Cow::Borrowed(self))
    }
}

impl sealed::AsName for str {
    fn as_name(&self) -> Result<Cow<'_, Name>> {
        Name::local(self).map(Cow::Owned)
    }
}

impl sealed::AsName for String {
    fn as_name(&self) -> Result<Cow<'_, Name>> {
        Name::local(self).map(Cow::Owned)
    }
}

impl AsName for Name {}
impl AsName for str {}
impl AsName for String {}

/// How an object of a name came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Found {
    /// It was created by this call.
    Created,
    /// It was there, as somebody else had created it: with whatever protection, count or size that one has chosen.
    Opened,
}
