//! Opens a process by its id.

use crate::error::{Error, OPEN_BY_ID, Result};
use crate::handle::HandleValue;
use crate::object::BorrowedObject;
use crate::process::Process;
use crate::sys::handle::duplicate_here;
use crate::sys::io::{HasHandle, Owned};
use crate::sys::{SysResult, process as sys, rights};

/// Does nothing: a descriptor of a process has no rights of its own.
#[allow(clippy::unnecessary_wraps, reason = "the Windows version asks the kernel, which can fail")]
pub(crate) fn check_rights(_: HandleValue, _: &dyn Fn() -> String) -> Result<()> {
    Ok(())
}

/// Borrows a process, to share it.
pub(crate) fn share(process: &Process) -> BorrowedObject<'_> {
    BorrowedObject::no_semaphore(process.handle(), rights::SAME)
}

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

/// Duplicates the handle of a process.
pub(crate) fn duplicate(process: &Owned) -> SysResult<Owned> {
    duplicate_here(process.handle(), rights::SAME)
}
