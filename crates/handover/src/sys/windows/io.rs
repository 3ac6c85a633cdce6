//! Handles as std has them, under the names that the code for all systems uses.

pub use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::os::windows::io::{AsRawHandle, IntoRawHandle, RawHandle};

use windows_sys::Win32::Foundation::CloseHandle;

pub(crate) use crate::sys::owned_handle::Owned;

/// What closes a handle.
pub(crate) const CLOSE: &str = "CloseHandle";

/// Closes a handle.
pub(crate) fn close(handle: OwnedHandle) -> std::io::Result<()> {
    // SAFETY: its owner has given it up just now, and nobody borrows it any more.
    super::succeeded(unsafe { CloseHandle(handle.into_raw_handle()) })
}

impl AsHandle for Owned {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.borrowed()
    }
}

impl AsRawHandle for Owned {
    fn as_raw_handle(&self) -> RawHandle {
        self.borrowed().as_raw_handle()
    }
}

/// The handle inside whatever has one.
pub(crate) trait HasHandle {
    /// It, for as long as its owner lives.
    fn handle(&self) -> BorrowedHandle<'_>;
}

impl<T: AsHandle + ?Sized> HasHandle for T {
    fn handle(&self) -> BorrowedHandle<'_> {
        self.as_handle()
    }
}

/// Lets std's trait have what is inside a type of ours.
macro_rules! as_handle {
    ($type:ty, $field:ident $(. $more:ident)*) => {
        impl std::os::windows::io::AsHandle for $type {
            fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
                $crate::sys::io::HasHandle::handle(&self.$field$(.$more)*)
            }
        }
    };
}

pub(crate) use as_handle;
