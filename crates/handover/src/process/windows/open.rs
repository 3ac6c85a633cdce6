//! Opens a process with chosen access rights.

use std::io;
use std::os::windows::io::AsHandle;

use crate::error::{Error, OPEN_BY_ID, Result};
use crate::handle::access_names::words;
use crate::handle::{Access, HandleValue, ObjectKind, ProcessIdentity};
use crate::object::BorrowedObject;
use crate::process::Process;
use crate::sys::handle::{duplicate_here, granted_access, granted_access_of, raw_of};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::{SysResult, process as sys, rights};

/// The rights that this crate needs for every process: to wait for it and to query its creation time.
const MINIMUM: Access = rights::PROCESS;

/// Checks that a handle which another process made for this one carries the rights of a [`Process`].
pub(crate) fn check_rights(value: HandleValue, described: &dyn Fn() -> String) -> Result<()> {
    let granted = granted_access_of(value).map_err(|error| Error::on_handle(described(), error))?;
    for (right, name) in [
        (Access::PROCESS_QUERY_LIMITED_INFORMATION, "PROCESS_QUERY_LIMITED_INFORMATION"),
        (Access::SYNCHRONIZE, "SYNCHRONIZE"),
    ] {
        if !granted.contains(right) {
            return Err(Error::AccessDenied { call: "NtQueryObject", object: described(), right: name });
        }
    }
    Ok(())
}

/// Borrows a process, to share it with those of the rights of a [`Process`] that its handle carries.
pub(crate) fn share(process: &Process) -> BorrowedObject<'_> {
    let granted = granted_access(raw_of(process.handle())).unwrap_or(MINIMUM);
    BorrowedObject::typed(process.handle(), Some(MINIMUM.intersection(granted)))
}

/// Opens a process with the rights that [`Process::open`] promises.
pub(crate) fn open_process(id: u32) -> Result<Process> {
    Process::open_with(id, Access::empty())
}

impl Process {
    /// Opens the process that has this id now, with these rights in addition to those that [`open`](Self::open)
    /// requests.
    ///
    /// ```no_run
    /// use handover::os::windows::Access;
    /// use handover::{Event, Process};
    ///
    /// let process = Process::open_with(264, Access::PROCESS_DUP_HANDLE)?;
    /// let ready: Event = process.duplicate_from("68".parse()?)?;
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if no process has the id; [`Error::System`], which names the requested rights, if the
    /// system denies them.
    ///
    /// [`OpenProcess`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-openprocess)
    #[doc(alias = "OpenProcess")]
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn open_with(id: u32, access: Access) -> Result<Self> {
        let access = access | MINIMUM;
        match sys::open(id, access) {
            Ok(handle) => {
                // Ids are multiples of four, and `OpenProcess` ignores the lowest two bits: 1001 opens 1000.
                let id = sys::id_of(handle.as_handle()).unwrap_or(id);
                Ok(Self::new(handle, id))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(Error::ProcessExited { pid: id, context: OPEN_BY_ID.into() })
            }
            Err(error) => {
                let context = format!(
                    "process {id} with the rights {}",
                    words(Some(&ObjectKind::Process), access.bits())
                );
                Err(Error::system(context, error))
            }
        }
    }

    /// Opens the process with this identity, never another process that reuses its id, with these rights in addition to
    /// those that [`open_exact`](Self::open_exact) requests.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if the process no longer exists, even if another process has its id by now; otherwise
    /// as [`open_with`](Self::open_with).
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn open_exact_with(identity: ProcessIdentity, access: Access) -> Result<Self> {
        Self::open_with(identity.id, access)?.if_it_is(identity)
    }
}

/// Duplicates the handle of a process.
pub(crate) fn duplicate(process: &Owned) -> SysResult<Owned> {
    duplicate_here(process.as_handle(), rights::SAME, false)
}
