//! Handles as std has them, under the names that the code for all systems uses.

pub use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};

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
