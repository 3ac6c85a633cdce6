//! The owner of a handle inside this crate: its close is a call like any other, and told of.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;

use super::io::{BorrowedHandle, HasHandle, OwnedHandle, close};
use super::value::number_of;
use super::{Argument, Closed, always};

/// As std's owner, which closes without a word. A handle that a user gets as std's type is turned into that.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "it stands in a trait that is public, and that nobody else can call")]
pub struct Owned {
    inner: ManuallyDrop<OwnedHandle>,
}

impl Owned {
    pub(crate) fn borrowed(&self) -> BorrowedHandle<'_> {
        OwnedHandle::handle(&self.inner)
    }
}

impl From<OwnedHandle> for Owned {
    fn from(handle: OwnedHandle) -> Self {
        Self { inner: ManuallyDrop::new(handle) }
    }
}

impl From<Owned> for OwnedHandle {
    fn from(owned: Owned) -> Self {
        let mut owned = ManuallyDrop::new(owned);
        // SAFETY: it is taken once: its owner is never dropped, and gone with this.
        unsafe { ManuallyDrop::take(&mut owned.inner) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let number = number_of(self.borrowed());
        // SAFETY: it is taken once: nobody uses it after the drop of its owner.
        let handle = unsafe { ManuallyDrop::take(&mut self.inner) };
        // Nothing can be done about a failure.
        let _ = always(super::io::CLOSE, &[("handle", Argument::Raw(number))], || {
            close(handle).map(|()| Closed(number))
        });
    }
}
