//! A handle in another process's table, for which this process is responsible.

use std::os::windows::io::{AsHandle, BorrowedHandle};

use crate::handle::HandleValue;
use crate::process::Process;
use crate::sys::rights::Rights;
use crate::sys::{SysResult, handle as sys};

/// Closes the handle over there when it is dropped, unless it was released.
#[derive(Debug)]
pub(crate) struct RemoteCopy {
    process: Process,
    value: HandleValue,
    released: bool,
}

impl RemoteCopy {
    /// Duplicates a handle of ours into the process.
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

    /// Leaves the handles to the other process.
    pub(crate) fn release_all(remotes: impl IntoIterator<Item = Self>) {
        for remote in remotes {
            remote.release();
        }
    }

    /// Leaves the handle to the other process.
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
