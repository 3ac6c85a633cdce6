//! Opening a process with rights, and asking for its own.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, RawHandle};

use super::right_names::words;
use crate::sys::handle::{granted_access, raw_of};
use crate::sys::io::HasHandle;
use crate::sys::process as sys;
use crate::{Access, Child, Error, Identity, Kind, Process, Result};

/// What this crate does with every process: wait for its end and ask when it was created.
const ALWAYS: Access = Access::SYNCHRONIZE.union(Access::PROCESS_QUERY_LIMITED_INFORMATION);

/// Opens a process with the rights that [`Process::open`] promises.
pub(crate) fn open_process(id: u32) -> Result<Process> {
    Process::open_with(id, Access::empty())
}

impl Process {
    /// Opens the process that has this id now, as [`open`](Self::open) does, with these rights beside. Windows only.
    ///
    /// ```no_run
    /// use handover::{Access, Event, Process};
    ///
    /// let process = Process::open_with(264, Access::PROCESS_DUP_HANDLE)?;
    /// let ready: Event = process.duplicate_from("68".parse()?)?;
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::PeerGone`] if no process has the id; [`Error::System`] with the rights that were asked for if the
    /// system refuses them.
    #[doc(alias = "OpenProcess")]
    pub fn open_with(id: u32, access: Access) -> Result<Self> {
        let access = access | ALWAYS;
        match sys::open(id, access) {
            Ok(handle) => Ok(Self::new(handle, id)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(Error::PeerGone { process: id, what: "open".into() })
            }
            Err(source) => {
                let what =
                    format!("process {id} with the rights {}", words(Some(&Kind::Process), access.bits()));
                Err(Error::system("OpenProcess", what, source))
            }
        }
    }

    /// Opens this very process, as [`open_with`](Self::open_with) does for an id. Windows only.
    ///
    /// # Errors
    ///
    /// [`Error::PeerGone`] if it has ended and is no more, also if another process has its id by now; otherwise as
    /// [`open_with`](Self::open_with).
    pub fn open_identified_with(identity: Identity, access: Access) -> Result<Self> {
        Self::open_with(identity.id, access)?.if_created_at(identity)
    }
}

/// Why a duplication into or out of a process was refused.
pub(crate) fn refused_duplication(process: &Process, what: &str, source: io::Error) -> Error {
    if source.kind() != io::ErrorKind::PermissionDenied {
        return process.failed("DuplicateHandle")(source);
    }
    if process.is_going() {
        return Error::PeerGone { process: process.id(), what: what.into() };
    }
    let granted = granted_access(raw_of(process.handle()));
    if granted.is_ok_and(|granted| !granted.contains(Access::PROCESS_DUP_HANDLE)) {
        let what = format!("process {}", process.id());
        return Error::MissingRight { call: "DuplicateHandle", what, right: "PROCESS_DUP_HANDLE" };
    }
    process.failed("DuplicateHandle")(source)
}

/// The identity of whatever process has this id now, if there is one that may be asked.
pub(super) fn identity_of(id: u32) -> Result<Option<Identity>> {
    let failed = |call| move |source| Error::system(call, format!("process {id}"), source);
    let process = match sys::open(id, Access::PROCESS_QUERY_LIMITED_INFORMATION) {
        Ok(process) => process,
        // No process has the id, or one of another user.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed("OpenProcess")(error)),
    };
    let created = sys::creation_time(process.handle(), id).map_err(failed("GetProcessTimes"))?;
    Ok(Some(Identity::new(id, created)))
}

impl AsRawHandle for Child {
    fn as_raw_handle(&self) -> RawHandle {
        self.as_handle().as_raw_handle()
    }
}
