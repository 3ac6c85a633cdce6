//! Opening a process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use crate::sys::process as sys;
use crate::{Child, Error, Process, Result};

/// Opens a process by its id.
pub(crate) fn open_process(id: u32) -> Result<Process> {
    match sys::open(id) {
        Ok(handle) => Ok(Process::new(handle, id)),
        Err(error) if sys::is_missing(&error) => Err(Error::PeerGone { process: id, what: "open".into() }),
        Err(source) => Err(Error::system("pidfd_open", format!("process {id}"), source)),
    }
}

/// Why a descriptor couldn't be had from a process.
pub(crate) fn refused_duplication(process: &Process, what: &str, source: io::Error) -> Error {
    if sys::is_missing(&source) || process.is_going() {
        return Error::PeerGone { process: process.id(), what: what.into() };
    }
    if source.kind() == io::ErrorKind::PermissionDenied {
        let what = format!("process {}", process.id());
        return Error::MissingRight { call: "pidfd_getfd", what, right: "to trace it (ptrace(2))" };
    }
    process.failed("pidfd_getfd")(source)
}

impl AsRawFd for Child {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
