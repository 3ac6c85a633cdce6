//! A process, as something that stays the same.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::imp;
use crate::error::{Error, Result};
use crate::handle::ProcessIdentity;
use crate::sys::SysError;
use crate::sys::io::{HasHandle, Owned, as_handle};
use crate::sys::{process as sys, wait as sys_wait};
use crate::wait;

/// A process, held by a handle: an identity that can't become another process's, as a pid can.
///
/// It comes from a [`Child`](crate::Child), from the other end of a [`Channel`](crate::Channel), or by
/// [`open`](Self::open). The identity lasts as long as this or a clone of it, and beyond the end of the process. Clones
/// share one handle.
#[derive(Debug, Clone)]
pub struct Process {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    handle: Owned,
    id: u32,
    created: OnceLock<u64>,
}

impl Process {
    pub(crate) fn new(handle: Owned, id: u32) -> Self {
        Self { inner: Arc::new(Inner { handle, id, created: OnceLock::new() }) }
    }

    /// Opens the process that has this id now, to wait for its end and to ask for its times. On Windows, `open_with`
    /// asks for more rights.
    ///
    /// An id is given again when its process has ended. So this is for what a person types or a list of processes
    /// shows; between programs, pass an [`ProcessIdentity`] and use [`open_exact`](Self::open_exact).
    ///
    /// ```no_run
    /// use handover::Process;
    ///
    /// let process = Process::open(264)?;
    /// println!("created at {}", process.creation_time()?);
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if no process has the id; [`Error::System`] if the system refuses it.
    #[doc(alias = "OpenProcess", alias = "pidfd_open")]
    pub fn open(id: u32) -> Result<Self> {
        imp::open_process(id)
    }

    /// Opens this very process, as [`open`](Self::open) does for an id.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if it has ended and is no more, also if another process has its id by now; otherwise as
    /// [`open`](Self::open).
    pub fn open_exact(identity: ProcessIdentity) -> Result<Self> {
        Self::open(identity.id)?.if_created_at(identity)
    }

    pub(crate) fn if_created_at(self, identity: ProcessIdentity) -> Result<Self> {
        match self.creation_time() {
            Ok(created) if created == identity.created => Ok(self),
            Ok(_) => Err(Error::ProcessExited { pid: identity.id, context: "open".into() }),
            Err(error) => Err(error),
        }
    }

    /// The process's id, to show to people. Once the process has ended, the system gives the number to another.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.id
    }

    /// The id and the creation time, to tell another process which process is meant.
    ///
    /// # Errors
    ///
    /// As [`creation_time`](Self::creation_time).
    pub fn identity(&self) -> Result<ProcessIdentity> {
        Ok(ProcessIdentity::new(self.id(), self.creation_time()?))
    }

    /// This process's own identity.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system doesn't tell.
    pub fn current_identity() -> Result<ProcessIdentity> {
        static CURRENT: OnceLock<ProcessIdentity> = OnceLock::new();
        // A process that was forked has a copy of this, and is another.
        let known = CURRENT.get().filter(|identity| identity.id == std::process::id());
        if let Some(identity) = known {
            return Ok(*identity);
        }
        let created = sys::own_creation_time().map_err(|error| Error::system("this process", error))?;
        let identity = ProcessIdentity::new(std::process::id(), created);
        let _ = CURRENT.set(identity);
        Ok(identity)
    }

    /// When the process was created: on Windows in units of 100 ns since the year 1601, on Linux in clock ticks since
    /// the machine was started. With the id it identifies the process on this machine until it is started anew.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if the system doesn't know any more: on Linux, when the process has ended and its parent has
    /// waited for it; [`Error::System`] if the handle lacks the right to ask.
    #[doc(alias = "GetProcessTimes", alias = "/proc/pid/stat")]
    pub fn creation_time(&self) -> Result<u64> {
        if let Some(created) = self.inner.created.get() {
            return Ok(*created);
        }
        let created = sys::creation_time(self.handle(), self.id()).map_err(|error| {
            if sys::is_missing(&error) {
                return Error::ProcessExited { pid: self.id(), context: "ask for its creation time".into() };
            }
            self.failed()(error)
        })?;
        Ok(*self.inner.created.get_or_init(|| created))
    }

    /// Whether the process has ended.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the handle lacks the right to wait.
    pub fn has_exited(&self) -> Result<bool> {
        self.ends_within(Duration::ZERO)
    }

    /// Whether the process, which has refused something, has ended or is about to: it refuses access before it counts
    /// as ended.
    pub(crate) fn is_going(&self) -> bool {
        let time = if sys::may_be_ending(self.id()) { Duration::from_millis(250) } else { Duration::ZERO };
        self.ends_within(time).unwrap_or(false)
    }

    /// Whether the process ends within this time.
    pub(crate) fn ends_within(&self, timeout: Duration) -> Result<bool> {
        wait::for_at_most(sys_wait::end_of(self.handle()), timeout).map_err(self.failed())
    }

    pub(crate) fn failed(&self) -> impl FnOnce(SysError) -> Error {
        let what = format!("process {}", self.id());
        move |error| Error::system(what, error)
    }
}

as_handle!(Process, inner.handle);

impl wait::sealed::Sealed for Process {
    fn target(&self) -> sys_wait::Target<'_> {
        sys_wait::end_of(self.handle())
    }
}

impl wait::Waitable for Process {}
