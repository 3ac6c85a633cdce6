//! The owner of a handle inside this crate. Its close goes through `syscall`, so it is traced.

#![allow(clippy::missing_const_for_thread_local, reason = "it is const; on Windows the lint doesn't see it")]
#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem::ManuallyDrop;

use super::io::{BorrowedHandle, Close, HasHandle, OwnedHandle};
use super::value::number_of;
use super::{Argument, Closed, always};

/// Owns a handle like std's `OwnedHandle` or `OwnedFd`, whose close isn't traced. It is converted into that type
/// before it is passed to a user; on Windows a socket is converted into std's `OwnedSocket`.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "a public trait mentions it, in a method that other crates can't call")]
pub struct Owned {
    inner: ManuallyDrop<OwnedHandle>,
    /// The call that closes it.
    close: Close,
}

thread_local! {
    static SPARE: Cell<Vec<Owned>> = const { Cell::new(Vec::new()) };
}

/// Returns an empty list with the memory of one that this thread has [recycled](recycle_list), if there is one.
#[allow(dead_code, reason = "not every system needs it")]
pub(crate) fn spare_list() -> Vec<Owned> {
    SPARE.try_with(Cell::take).unwrap_or_default()
}

/// Closes what is left in the list, and keeps its memory for the next one of this thread.
pub(crate) fn recycle_list(mut list: Vec<Owned>) {
    list.clear();
    if list.capacity() > 0 {
        // A thread that is exiting keeps nothing.
        let _ = SPARE.try_with(|spare| spare.set(list));
    }
}

impl Owned {
    pub(crate) fn borrowed(&self) -> BorrowedHandle<'_> {
        OwnedHandle::handle(&self.inner)
    }

    /// Owns a handle that another call closes than the one for most handles.
    #[allow(dead_code, reason = "only Windows closes sockets by a call of their own")]
    pub(super) fn closed_by(handle: OwnedHandle, close: Close) -> Self {
        Self { inner: ManuallyDrop::new(handle), close }
    }

    /// Returns the call that closes it.
    #[allow(dead_code, reason = "only Windows closes sockets by a call of their own")]
    pub(super) fn close(&self) -> Close {
        self.close
    }
}

impl From<OwnedHandle> for Owned {
    fn from(handle: OwnedHandle) -> Self {
        Self { inner: ManuallyDrop::new(handle), close: Close::HANDLE }
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
        let _ = always(self.close.name(), &[("handle", Argument::Raw(number))], || {
            self.close.close(handle).map(|()| Closed(number))
        });
    }
}
