//! A descriptor with several owners.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use super::io::Owned;

/// One of the owners of a descriptor. It knows the number, so a call need not read the memory that the owners share.
#[derive(Debug)]
pub(crate) struct SharedDescriptor {
    number: RawFd,
    owner: Arc<Owned>,
}

impl SharedDescriptor {
    /// Returns another owner.
    pub(crate) fn owner(&self) -> Arc<Owned> {
        Arc::clone(&self.owner)
    }
}

impl From<Arc<Owned>> for SharedDescriptor {
    fn from(owner: Arc<Owned>) -> Self {
        Self { number: owner.as_raw_fd(), owner }
    }
}

impl AsFd for SharedDescriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: `number` is that of the descriptor in `owner`. No method changes either of them, and an `Owned` in an `Arc`
        // that has this reference is neither closed nor moved out. So the descriptor stays open while `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.number) }
    }
}
