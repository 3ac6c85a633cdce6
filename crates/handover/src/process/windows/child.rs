//! The conversion of `Child` that only Windows has.

use std::os::windows::io::{IntoRawHandle, RawHandle};

use crate::process::Child;
use crate::sys::io::OwnedHandle;

impl IntoRawHandle for Child {
    /// Takes the handle to the process, as [`OwnedHandle::from`] does. The caller has to close it.
    ///
    /// # Panics
    ///
    /// As [`OwnedHandle::from`].
    fn into_raw_handle(self) -> RawHandle {
        OwnedHandle::from(self).into_raw_handle()
    }
}
