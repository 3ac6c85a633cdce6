//! A process, as something that stays the same.

use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::sys::process as sys;
use crate::{Error, Result, wait};

/// A process, held by a handle: an identity that can't become another process's, as a pid can.
///
/// The identity lasts as long as this or a clone of it, and beyond the end of the process. Clones share one handle.
#[derive(Debug, Clone)]
pub struct Process {
    handle: Arc<OwnedHandle>,
    id: u32,
}

/// What identifies a process on this machine until it is started anew: the id alone is given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) id: u32,
    pub(crate) created: u64,
}

impl Stamp {
    /// This process's.
    pub(crate) fn current() -> Result<Self> {
        static CURRENT: OnceLock<Stamp> = OnceLock::new();
        if let Some(stamp) = CURRENT.get() {
            return Ok(*stamp);
        }
        let created = sys::creation_time(sys::current()).map_err(|source| Error::System {
            call: "GetProcessTimes",
            what: "this process".into(),
            source,
        })?;
        Ok(*CURRENT.get_or_init(|| Self { id: std::process::id(), created }))
    }

    /// That of whatever process has this id now, if there is one that may be asked.
    pub(crate) fn of_id(id: u32) -> Result<Option<Self>> {
        let failed = |call| move |source| Error::System { call, what: format!("process {id}"), source };
        let process = match sys::open_to_query(id) {
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
        Ok(Some(Self { id, created }))
    }
}

impl Process {
    pub(crate) fn new(handle: OwnedHandle, id: u32) -> Self {
        Self { handle: Arc::new(handle), id }
    }

    /// The process's id, to show to people. Once the process has ended, the system gives the number to another.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
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

    pub(crate) fn stamp(&self) -> Result<Stamp> {
        Ok(Stamp { id: self.id, created: self.creation_time()? })
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

    pub(crate) fn failed(&self, call: &'static str) -> impl FnOnce(io::Error) -> Error {
        let what = format!("process {}", self.id);
        move |source| Error::System { call, what, source }
    }
}

impl AsHandle for Process {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}
