//! `Process`: a process, identified by a handle instead of a process id that can be reused.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::imp;
use crate::error::{Error, Result};
use crate::handle::ProcessIdentity;
use crate::sys::SysError;
use crate::sys::io::{HasHandle, Owned, as_handle};
use crate::sys::{process as sys, wait as sys_wait};
use crate::wait;

/// A process, identified by a handle. Unlike a process id, a handle never comes to mean another process.
///
/// You get one from [`Child::process`](crate::Child::process), from [`Channel::peer`](crate::Channel::peer), or with
/// [`open`](Self::open). The handle stays valid after the process exits. Clones share the handle; dropping the last one
/// closes it.
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

    /// Opens the process that has this id now, with the rights to wait for it and to query its times.
    ///
    /// On Windows, `open_with` requests more rights.
    ///
    /// The system reuses the id of a process that has exited. So use this for an id that a person typed or that a list
    /// of processes shows. Between programs, pass a [`ProcessIdentity`] and use [`open_exact`](Self::open_exact).
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
    /// [`Error::ProcessExited`] if no process has the id; [`Error::System`] if the system denies access.
    ///
    /// [`OpenProcess`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-openprocess);
    /// [`pidfd_open(2)`](https://man7.org/linux/man-pages/man2/pidfd_open.2.html)
    #[doc(alias = "OpenProcess", alias = "pidfd_open")]
    pub fn open(id: u32) -> Result<Self> {
        imp::open_process(id)
    }

    /// Opens the process with this identity, never another process that reuses its id.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if the process no longer exists, even if another process has its id by now; otherwise
    /// as [`open`](Self::open).
    pub fn open_exact(identity: ProcessIdentity) -> Result<Self> {
        Self::open(identity.id)?.if_created_at(identity)
    }

    /// Returns this process if it has the identity's creation time.
    pub(crate) fn if_created_at(self, identity: ProcessIdentity) -> Result<Self> {
        match self.creation_time() {
            Ok(created) if created == identity.created => Ok(self),
            Ok(_) => Err(Error::ProcessExited {
                pid: identity.id,
                context: format!("open the process {identity}, whose id another process has by now"),
            }),
            Err(error) => Err(error),
        }
    }

    /// Returns the process id, for logs and messages. After the process exits, the system may reuse the id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.id
    }

    /// Returns the process's identity: its id and its creation time. Send it to another program to say which process
    /// you mean.
    ///
    /// # Errors
    ///
    /// As [`creation_time`](Self::creation_time).
    pub fn identity(&self) -> Result<ProcessIdentity> {
        Ok(ProcessIdentity::new(self.id(), self.creation_time()?))
    }

    /// Returns the current process's identity.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system call fails.
    pub fn current_identity() -> Result<ProcessIdentity> {
        static CURRENT: OnceLock<ProcessIdentity> = OnceLock::new();
        // A forked process has a copy of this value but another id, so the value is used only if the id matches.
        let known = CURRENT.get().filter(|identity| identity.id == std::process::id());
        if let Some(identity) = known {
            return Ok(*identity);
        }
        let created = sys::own_creation_time().map_err(|error| Error::system("this process", error))?;
        let identity = ProcessIdentity::new(std::process::id(), created);
        let _ = CURRENT.set(identity);
        Ok(identity)
    }

    /// Returns the time at which the process was created.
    ///
    /// The unit is 100 ns since the year 1601 on Windows, and clock ticks since boot on Linux. Together with the
    /// process id, it identifies the process on this machine until the next boot.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if the system no longer has the time: on Linux, when the process has exited and its
    /// parent has waited for it. [`Error::System`] if the handle lacks the right to query it.
    ///
    /// [`GetProcessTimes`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getprocesstimes);
    /// [`proc_pid_stat(5)`](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)
    #[doc(alias = "GetProcessTimes", alias = "/proc/pid/stat")]
    pub fn creation_time(&self) -> Result<u64> {
        if let Some(created) = self.inner.created.get() {
            return Ok(*created);
        }
        let created = sys::creation_time(self.handle(), self.id()).map_err(|error| {
            if sys::is_missing(&error) {
                return Error::ProcessExited {
                    pid: self.id(),
                    context: "get the process's creation time".into(),
                };
            }
            self.failed()(error)
        })?;
        Ok(*self.inner.created.get_or_init(|| created))
    }

    /// Returns whether the process has exited.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the handle lacks the right to wait.
    pub fn has_exited(&self) -> Result<bool> {
        self.ends_within(Duration::ZERO)
    }

    /// Returns whether the process has exited or is exiting. Call it after the system denied access to the process: the
    /// system denies access to an exiting process before a wait reports that it has exited.
    pub(crate) fn is_going(&self) -> bool {
        let timeout = if sys::may_be_ending(self.id()) { Duration::from_millis(250) } else { Duration::ZERO };
        self.ends_within(timeout).unwrap_or(false)
    }

    /// Waits until the process exits, for at most this time, and returns whether it exited.
    pub(crate) fn ends_within(&self, timeout: Duration) -> Result<bool> {
        wait::for_at_most(sys_wait::end_of(self.handle()), timeout).map_err(self.failed())
    }

    /// Returns a closure that turns a failed call for this process into an [`Error`].
    pub(crate) fn failed(&self) -> impl FnOnce(SysError) -> Error {
        let context = format!("process {}", self.id());
        move |error| Error::system(context, error)
    }
}

as_handle!(Process, inner.handle);

impl wait::sealed::Sealed for Process {
    fn target(&self) -> sys_wait::Target<'_> {
        sys_wait::end_of(self.handle())
    }
}

impl wait::Waitable for Process {}
