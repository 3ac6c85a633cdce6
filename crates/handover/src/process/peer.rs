//! A process, as something that stays the same.

use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Identity;
use crate::sys::{handle, process as sys};
use crate::{Access, Error, Result, wait};

/// A process, held by a handle: an identity that can't become another process's, as a pid can.
///
/// It comes from a [`Child`](crate::Child), from the other end of a [`Channel`](crate::Channel), or by
/// [`open`](Self::open). The identity lasts as long as this or a clone of it, and beyond the end of the process. Clones
/// share one handle.
#[derive(Debug, Clone)]
pub struct Process {
    handle: Arc<OwnedHandle>,
    id: u32,
}

/// What this crate does with every process: wait for its end and ask when it was created.
const ALWAYS: Access = Access::SYNCHRONIZE.union(Access::PROCESS_QUERY_LIMITED_INFORMATION);

impl Process {
    pub(crate) fn new(handle: OwnedHandle, id: u32) -> Self {
        Self { handle: Arc::new(handle), id }
    }

    /// Opens the process that has this id now, with these rights and those to wait for its end and to ask for its
    /// times.
    ///
    /// An id is given again when its process has ended. So this is for what a person types or a list of processes
    /// shows; between programs, pass an [`Identity`] and use [`open_identified`](Self::open_identified).
    ///
    /// ```no_run
    /// use handover::{Access, Process};
    ///
    /// let process = Process::open(264, Access::PROCESS_DUP_HANDLE)?;
    /// println!("created at {}", process.creation_time()?);
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::PeerGone`] if no process has the id; [`Error::System`] with the rights that were asked for if the
    /// system refuses them.
    #[doc(alias = "OpenProcess")]
    pub fn open(id: u32, access: Access) -> Result<Self> {
        let access = access | ALWAYS;
        match sys::open(id, access) {
            Ok(handle) => Ok(Self::new(handle, id)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(Error::PeerGone { process: id, what: "open".into() })
            }
            Err(source) => {
                let what = format!("process {id} with the rights {}", access.names_for_process());
                Err(Error::System { call: "OpenProcess", what, source })
            }
        }
    }

    /// Opens this very process, as [`open`](Self::open) does for an id.
    ///
    /// # Errors
    ///
    /// [`Error::PeerGone`] if it has ended and is no more, also if another process has its id by now; otherwise as
    /// [`open`](Self::open).
    pub fn open_identified(identity: Identity, access: Access) -> Result<Self> {
        let process = Self::open(identity.id, access)?;
        if process.creation_time()? != identity.created {
            return Err(Error::PeerGone { process: identity.id, what: "open".into() });
        }
        Ok(process)
    }

    /// The process's id, to show to people. Once the process has ended, the system gives the number to another.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The id and the creation time, to tell another process which process is meant.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the handle lacks the right to ask.
    pub fn identity(&self) -> Result<Identity> {
        Ok(Identity::new(self.id, self.creation_time()?))
    }

    /// This process's own identity.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system doesn't tell.
    pub fn current_identity() -> Result<Identity> {
        static CURRENT: OnceLock<Identity> = OnceLock::new();
        if let Some(identity) = CURRENT.get() {
            return Ok(*identity);
        }
        let created = sys::creation_time(sys::current()).map_err(|source| Error::System {
            call: "GetProcessTimes",
            what: "this process".into(),
            source,
        })?;
        Ok(*CURRENT.get_or_init(|| Identity::new(std::process::id(), created)))
    }

    /// When the process was created, in units of 100 ns since the year 1601. With the id it identifies the process on
    /// this machine until it is started anew.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the handle lacks the right to ask.
    #[doc(alias = "GetProcessTimes")]
    pub fn creation_time(&self) -> Result<u64> {
        sys::creation_time(self.as_handle()).map_err(self.failed("GetProcessTimes"))
    }

    /// Whether the process has ended.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the handle lacks the right to wait.
    pub fn has_ended(&self) -> Result<bool> {
        self.ends_within(Duration::ZERO)
    }

    /// Whether the process, which has refused something, has ended or is about to: it refuses access before it counts
    /// as ended.
    pub(crate) fn is_going(&self) -> bool {
        self.ends_within(Duration::from_millis(250)).unwrap_or(false)
    }

    /// Whether the process ends within this time.
    pub(crate) fn ends_within(&self, time: Duration) -> Result<bool> {
        wait::for_at_most(self.as_handle(), time).map_err(self.failed("WaitForSingleObject"))
    }

    /// Why a duplication into or out of this process was refused.
    pub(crate) fn refused_duplication(&self, what: &str, source: io::Error) -> Error {
        if source.kind() != io::ErrorKind::PermissionDenied {
            return self.failed("DuplicateHandle")(source);
        }
        if self.is_going() {
            return Error::PeerGone { process: self.id, what: what.into() };
        }
        let granted = handle::granted_access(handle::raw_of(self.as_handle()));
        if granted.is_ok_and(|granted| !granted.contains(Access::PROCESS_DUP_HANDLE)) {
            let what = format!("process {}", self.id);
            return Error::MissingRight { call: "DuplicateHandle", what, right: "PROCESS_DUP_HANDLE" };
        }
        self.failed("DuplicateHandle")(source)
    }

    pub(crate) fn failed(&self, call: &'static str) -> impl FnOnce(io::Error) -> Error {
        let what = format!("process {}", self.id);
        move |source| Error::System { call, what, source }
    }
}

/// The identity of whatever process has this id now, if there is one that may be asked.
pub(crate) fn identity_of(id: u32) -> Result<Option<Identity>> {
    let failed = |call| move |source| Error::System { call, what: format!("process {id}"), source };
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
    let created = sys::creation_time(process.as_handle()).map_err(failed("GetProcessTimes"))?;
    Ok(Some(Identity::new(id, created)))
}

impl AsHandle for Process {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}
