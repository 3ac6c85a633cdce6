//! `RemoteCopy`: a handle in another process's table that this process is responsible for closing.

use std::os::windows::io::{AsHandle, BorrowedHandle};

use crate::handle::HandleValue;
use crate::process::Process;
use crate::sys::rights::Rights;
use crate::sys::{SysResult, handle as sys};

/// A handle in another process's table. Dropping it closes the handle in that process, unless it was released.
#[derive(Debug)]
pub(crate) struct RemoteCopy {
    process: Process,
    value: HandleValue,
    released: bool,
}

impl RemoteCopy {
    /// Duplicates a handle of this process into another process.
    pub(crate) fn new(
        process: &Process,
        handle: BorrowedHandle<'_>,
        rights: Rights,
        inheritable: bool,
    ) -> SysResult<Self> {
        let value = sys::duplicate_into(process.as_handle(), handle, rights, inheritable)?;
        Ok(Self { process: process.clone(), value, released: false })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn value(&self) -> HandleValue {
        self.value
    }

    /// Makes the other process responsible for each of these handles.
    pub(crate) fn release_all(remotes: impl IntoIterator<Item = Self>) {
        for remote in remotes {
            remote.release();
        }
    }

    /// Makes the other process responsible for the handle, and returns the handle value.
    pub(crate) fn release(mut self) -> HandleValue {
        self.released = true;
        self.value
    }
}

impl Drop for RemoteCopy {
    fn drop(&mut self) {
        if !self.released {
            sys::close_in(self.process.as_handle(), self.value);
        }
    }
}
