//! Opening a process with rights, and asking for its own.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, RawHandle};

use crate::error::{Error, Result};
use crate::handle::access_names::words;
use crate::handle::{Access, ObjectKind, ProcessIdentity};
use crate::process::{Child, Process};
use crate::sys::process as sys;

/// What this crate does with every process: wait for its end and ask when it was created.
const ALWAYS: Access = Access::SYNCHRONIZE.union(Access::PROCESS_QUERY_LIMITED_INFORMATION);

/// Opens a process with the rights that [`Process::open`] promises.
pub(crate) fn open_process(id: u32) -> Result<Process> {
    Process::open_with(id, Access::empty())
}

impl Process {
    /// Opens the process that has this id now, as [`open`](Self::open) does, with these rights beside.
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
    /// [`Error::ProcessExited`] if no process has the id; [`Error::System`] with the rights that were asked
    /// for if the system refuses them.
    #[doc(alias = "OpenProcess")]
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn open_with(id: u32, access: Access) -> Result<Self> {
        let access = access | ALWAYS;
        match sys::open(id, access) {
            Ok(handle) => Ok(Self::new(handle, id)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(Error::ProcessExited { pid: id, context: "open".into() })
            }
            Err(error) => {
                let what = format!(
                    "process {id} with the rights {}",
                    words(Some(&ObjectKind::Process), access.bits())
                );
                Err(Error::system(what, error))
            }
        }
    }

    /// Opens this very process, as [`open_with`](Self::open_with) does for an id.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if it has ended and is no more, also if another process has its id by now;
    /// otherwise as [`open_with`](Self::open_with).
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn open_exact_with(identity: ProcessIdentity, access: Access) -> Result<Self> {
        Self::open_with(identity.id, access)?.if_created_at(identity)
    }
}

impl AsRawHandle for Child {
    fn as_raw_handle(&self) -> RawHandle {
        self.as_handle().as_raw_handle()
    }
}
