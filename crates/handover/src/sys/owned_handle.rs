//! The owner of a handle inside this crate. Its close goes through `syscall`, so it is traced.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;

use super::io::{BorrowedHandle, HasHandle, OwnedHandle, close};
use super::value::number_of;
use super::{Argument, Closed, always};

/// Owns a handle like std's `OwnedHandle` or `OwnedFd`, whose close isn't traced. It is converted into that type
/// before it is passed to a user.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "a public trait mentions it, in a method that other crates can't call")]
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
        // SAFETY: the inner handle is taken only once. `owned` is in a `ManuallyDrop`, so its `drop` never takes it a
        // second time, and `owned` is inaccessible once this function has returned.
        unsafe { ManuallyDrop::take(&mut owned.inner) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let number = number_of(self.borrowed());
        // SAFETY: the inner handle is taken only once. This is the drop of its owner, so nothing can use `self.inner`
        // afterwards, and `From<Owned>` takes it only from owners that are never dropped.
        let handle = unsafe { ManuallyDrop::take(&mut self.inner) };
        // A failure of the close is reported to subscribers, and leaves nothing else to do.
        let _ = always(super::io::CLOSE, &[("handle", Argument::Raw(number))], || {
            close(handle).map(|()| Closed(number))
        });
    }
}
