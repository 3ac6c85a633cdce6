//! `Process`: a process, identified by a handle instead of a process id that can be reused.

use std::fmt;
use std::io::ErrorKind::PermissionDenied;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::imp;
use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind, ProcessIdentity};
use crate::object::sealed::FromHandle;
use crate::object::{BorrowedObject, Object, typed};
use crate::sys::creator::Creator;
use crate::sys::io::{BorrowedHandle, HasHandle, Owned, OwnedHandle, as_handle};
use crate::sys::mutex::Mutex;
use crate::sys::{SysError, SysResult};
use crate::sys::{process as sys, wait as sys_wait};
use crate::wait;
use crate::wait::set::Memberships;

/// A process, identified by a handle. Unlike a process id, a handle never comes to mean another process.
///
/// You get one from [`Child::process`](crate::Child::process), from [`Channel::peer`](crate::Channel::peer), or with
/// [`open`](Self::open). The handle stays valid after the process exits. Clones share the handle; dropping the last one
/// closes it.
///
/// A process is an object too: a child can inherit it, and a message can carry it. The receiver may wait for it and query
/// its times. To give the receiver all rights of this handle, pass `as_handle()` (on Linux `as_fd()`). A channel accepts
/// processes only after [`Channel::allow`](crate::Channel::allow), because a handle to a process can give control over it.
#[derive(Clone)]
pub struct Process {
    inner: Arc<Inner>,
}

struct Inner {
    /// Declared before the handle: the process leaves its sets before the handle is closed.
    memberships: Memberships,
    /// Channels to one process share it.
    handle: Arc<Owned>,
    id: u32,
    created: OnceLock<u64>,
    /// The number in the process's identity.
    unique: OnceLock<u64>,
}

impl Process {
    pub(crate) fn new(handle: impl Into<Arc<Owned>>, id: u32) -> Self {
        let handle = handle.into();
        let (created, unique) = (OnceLock::new(), OnceLock::new());
        Self { inner: Arc::new(Inner { memberships: Memberships::default(), handle, id, created, unique }) }
    }

    /// Returns the handle, for another owner beside this process.
    pub(crate) fn shared_handle(&self) -> Arc<Owned> {
        Arc::clone(&self.inner.handle)
    }

    /// Returns the handle. If clones of this value exist, they keep it, and the result is a duplicate.
    pub(crate) fn into_handle(self) -> SysResult<Owned> {
        let shared = match Arc::try_unwrap(self.inner) {
            // The process leaves its sets before its handle goes to the new owner.
            Ok(Inner { memberships, handle, .. }) => {
                drop(memberships);
                Arc::try_unwrap(handle)
            }
            Err(inner) => Err(Arc::clone(&inner.handle)),
        };
        shared.or_else(|shared| imp::duplicate(&shared))
    }

    /// Returns whether this is a clone of the other value.
    #[allow(dead_code, reason = "not needed on every system without an asynchronous feature")]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
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
        Self::open(identity.id)?.if_it_is(identity)
    }

    /// Returns this process if it has this identity.
    pub(crate) fn if_it_is(self, identity: ProcessIdentity) -> Result<Self> {
        match self.identity() {
            Ok(own) if own == identity => Ok(self),
            Ok(_) => Err(Error::ProcessExited {
                pid: identity.id,
                context: format!("open the process {identity}; another process has its id now"),
            }),
            Err(error) => Err(error),
        }
    }

    /// Returns the process id, for logs and messages. After the process exits, the system may reuse the id.
    ///
    /// On Linux, it is 0 for a process that this one has received after the process had exited, or that belongs to
    /// another PID namespace.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.id
    }

    /// Waits until the process exits, for at most this time.
    ///
    /// It doesn't take the exit status of a child: [`Child::exit_status`](crate::Child::exit_status) returns it afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if the process is still running; [`Error::System`] if the call fails.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<()> {
        if self.ends_within(timeout)? {
            return Ok(());
        }
        Err(Error::TimedOut { waiting_for: format!("process {} to exit", self.id()), timeout })
    }

    /// Kills the process: on Windows with exit code 1, on Linux by the signal SIGKILL.
    ///
    /// Killing a process that has already exited does nothing. The system takes a moment to end the process, so wait
    /// afterwards to be sure that it has exited.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the call fails for a running process. On Windows, the handle of a child has the right to kill it,
    /// and a handle from [`open`](Self::open) hasn't.
    ///
    /// [`TerminateProcess`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-terminateprocess);
    /// [`pidfd_send_signal(2)`](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html)
    #[doc(alias = "TerminateProcess", alias = "pidfd_send_signal")]
    pub fn kill(&self) -> Result<()> {
        match sys::terminate(self.handle()) {
            Ok(()) => Ok(()),
            // The system denies access to a process that is exiting or has exited.
            Err(error) if error.kind() == PermissionDenied && self.is_going() => Ok(()),
            Err(error) => Err(self.failed()(error)),
        }
    }

    /// Returns the process's identity. Send it to another program to say which process you mean.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the handle lacks the right to query it. Before Linux 6.9, as
    /// [`creation_time`](Self::creation_time).
    pub fn identity(&self) -> Result<ProcessIdentity> {
        let number = self.ask_once(&self.inner.unique, "get the process's identity", sys::unique_number)?;
        Ok(ProcessIdentity::new(self.id(), number))
    }

    /// Returns a number of the process, which the system is asked for only once.
    fn ask_once(
        &self,
        known: &OnceLock<u64>,
        context: &str,
        ask: impl FnOnce(BorrowedHandle<'_>, u32) -> SysResult<u64>,
    ) -> Result<u64> {
        if let Some(number) = known.get() {
            return Ok(*number);
        }
        let number = ask(self.handle(), self.id()).map_err(|error| {
            if sys::is_missing(&error) {
                return Error::ProcessExited { pid: self.id(), context: context.into() };
            }
            self.failed()(error)
        })?;
        Ok(*known.get_or_init(|| number))
    }

    /// Returns the current process's identity.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a system call fails.
    pub fn current_identity() -> Result<ProcessIdentity> {
        static CURRENT: Mutex<Option<(Creator, ProcessIdentity)>> = Mutex::new(None);
        let this = Creator::this_process();
        // A forked copy of the process has this value too.
        let known = CURRENT.lock().filter(|(of, _)| *of == this);
        if let Some((_, identity)) = known {
            return Ok(identity);
        }
        let number = sys::own_unique_number().map_err(|error| Error::system("this process", error))?;
        let identity = ProcessIdentity::new(std::process::id(), number);
        *CURRENT.lock() = Some((this, identity));
        Ok(identity)
    }

    /// Returns the time at which the process was created.
    ///
    /// The unit is 100 ns since the year 1601 on Windows, and clock ticks since boot on Linux. To identify a process, use
    /// its [`identity`](Self::identity).
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if the system no longer has the time: on Linux, when the process has exited and its
    /// parent has waited for it. [`Error::System`] if the handle lacks the right to query it, or on Linux if `/proc` is
    /// missing, hides the process or belongs to another PID namespace.
    ///
    /// [`GetProcessTimes`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-getprocesstimes);
    /// [`proc_pid_stat(5)`](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)
    #[doc(alias = "GetProcessTimes", alias = "/proc/pid/stat")]
    pub fn creation_time(&self) -> Result<u64> {
        self.ask_once(&self.inner.created, "get the process's creation time", sys::creation_time)
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
        wait::for_at_most(sys_wait::readable(self.handle()), timeout).map_err(self.failed())
    }

    /// Returns a closure that turns a failed call for this process into an [`Error`].
    pub(crate) fn failed(&self) -> impl FnOnce(SysError) -> Error {
        let context = format!("process {}", self.id());
        move |error| Error::system(context, error)
    }
}

as_handle!(Process, inner.handle);

impl Object for Process {
    const KIND: Option<ObjectKind> = Some(ObjectKind::Process);
}

impl FromHandle for Process {
    fn check(value: HandleValue, described: &dyn Fn() -> String) -> Result<()> {
        imp::check_rights(value, described)
    }

    fn from_handle(handle: Owned) -> Self {
        let id = sys::ask_for_id(handle.handle()).unwrap_or(0);
        Self::new(handle, id)
    }
}

impl<'a> From<&'a Process> for BorrowedObject<'a> {
    /// Borrows the process. A copy gets the rights to wait for the process and to query its times, as far as this handle
    /// has them.
    fn from(process: &'a Process) -> Self {
        imp::share(process)
    }
}

impl TryFrom<OwnedHandle> for Process {
    type Error = Error;

    /// Converts a handle to a process. After an error, the handle has been closed.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] if the object isn't a process; [`Error::AccessDenied`] if the handle lacks the right to wait
    /// for the process or to query its times; [`Error::InvalidHandleValue`] for a pseudo handle.
    fn try_from(handle: OwnedHandle) -> Result<Self> {
        typed(handle)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl wait::sealed::Sealed for Process {
    fn target(&self) -> Result<sys_wait::Target<'_>> {
        Ok(sys_wait::readable(self.handle()))
    }

    fn memberships(&self) -> &Memberships {
        &self.inner.memberships
    }
}

impl wait::Waitable for Process {}
