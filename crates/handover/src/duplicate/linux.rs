//! Turns a failed `pidfd_getfd` into an error that says why it failed.

use std::io;

use crate::error::Error;
use crate::process::Process;
use crate::sys::{SysError, process as sys};

/// Returns the error for a descriptor that couldn't be duplicated from a process.
pub(crate) fn refused_duplication(process: &Process, context: &str, error: SysError) -> Error {
    if sys::is_missing(&error) || process.is_going() {
        return Error::ProcessExited { pid: process.id(), context: context.into() };
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        let object = format!("process {}", process.id());
        return Error::AccessDenied { call: error.call, object, right: "to trace it (ptrace(2))" };
    }
    process.failed()(error)
}
