//! Opens a process by its id.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use crate::error::{Error, OPEN_BY_ID, Result};
use crate::process::{Child, Process};
use crate::sys::process as sys;

/// Opens a process by its id.
pub(crate) fn open_process(id: u32) -> Result<Process> {
    match sys::open(id) {
        Ok(handle) => Ok(Process::new(handle, id)),
        Err(error) if sys::is_missing(&error) => {
            Err(Error::ProcessExited { pid: id, context: OPEN_BY_ID.into() })
        }
        Err(source) => Err(Error::system(format!("process {id}"), source)),
    }
}

impl AsRawFd for Child {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
