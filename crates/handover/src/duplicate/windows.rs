//! Turns a failed `DuplicateHandle` into an error that says why it failed.

use std::io;

use crate::error::Error;
use crate::handle::Access;
use crate::process::Process;
use crate::sys::SysError;
use crate::sys::handle::{granted_access, raw_of};
use crate::sys::io::HasHandle;

/// Returns the error for a failed duplication into or from a process.
pub(crate) fn refused_duplication(process: &Process, context: &str, error: SysError) -> Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return process.failed()(error);
    }
    if process.is_going() {
        return Error::ProcessExited { pid: process.id(), context: context.into() };
    }
    let granted = granted_access(raw_of(process.handle()));
    if granted.is_ok_and(|granted| !granted.contains(Access::PROCESS_DUP_HANDLE)) {
        let object = format!("process {}", process.id());
        return Error::AccessDenied { call: error.call, object, right: "PROCESS_DUP_HANDLE" };
    }
    process.failed()(error)
}
