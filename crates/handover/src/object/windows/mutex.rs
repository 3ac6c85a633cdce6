//! Mutexes.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::handle::{Access, ObjectKind};
use crate::object::ObjectHandle;
use crate::object::macros::object;
use crate::sys::create_object::{self as sys, What};
use crate::sys::io::HasHandle;
use crate::sys::rights::Rights;
use crate::sys::wait::Waited;
use crate::wait::Signaled;

/// A lock in the kernel that one thread of one process has at a time.
///
/// It travels with the rights to wait and release ([`Access::MUTEX_USE`]). If a thread ends that has it, it
/// is *abandoned*: the next one gets it, and is told that what it protects may be half changed.
///
/// ```
/// use std::time::Duration;
/// use handover::os::windows::{LockError, Mutex};
///
/// let mutex = Mutex::new()?;
/// let guard = match mutex.lock_timeout(Duration::from_secs(5)) {
///     Ok(guard) => guard,
///     // Whoever had it has died: look after what it protects.
///     Err(LockError::Abandoned(guard)) => guard,
///     Err(LockError::Failed(error)) => return Err(error),
/// };
/// drop(guard);
/// # Ok::<(), handover::Error>(())
/// ```
///
/// [Mutex objects](https://learn.microsoft.com/windows/win32/sync/mutex-objects)
#[derive(Debug)]
#[doc(alias = "CreateMutex")]
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub struct Mutex {
    held: ObjectHandle,
}

impl Mutex {
    /// Makes a mutex that nobody has.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no room for it.
    pub fn new() -> Result<Self> {
        ObjectHandle::unnamed(What::Mutex).map(Self::of)
    }

    /// Waits until this thread has the mutex, however long that takes. A thread that has it already gets it
    /// once more, and has it until each guard is dropped.
    ///
    /// # Errors
    ///
    /// [`LockError::Abandoned`] with the guard if the last owner ended without releasing it; by `?` that
    /// becomes [`Error::Abandoned`], and the mutex is released.
    #[doc(alias = "WaitForSingleObject")]
    pub fn lock(&self) -> Result<MutexGuard<'_>, LockError<'_>> {
        let waited = self.held.wait("the mutex")?;
        self.locked(waited, Duration::MAX)
    }

    /// As [`lock`](Self::lock), for at most this long.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock), and [`Error::TimedOut`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_>, LockError<'_>> {
        let waited = self.held.wait_at_most("the mutex", timeout)?;
        self.locked(waited, timeout)
    }

    /// The mutex, if nobody has it.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<MutexGuard<'_>>, LockError<'_>> {
        match self.lock_timeout(Duration::ZERO) {
            Err(LockError::Failed(Error::TimedOut { .. })) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// The guard of a mutex that this thread has got by [`wait_any`](crate::wait_any). It is for that alone:
    /// each guard releases the mutex once when it is dropped, so one too many takes it from another guard of
    /// this thread. If this thread doesn't have the mutex, the guard's end changes nothing.
    pub fn guard(&self) -> MutexGuard<'_> {
        MutexGuard { mutex: self, of_this_thread: PhantomData }
    }

    fn locked(&self, waited: Waited, timeout: Duration) -> Result<MutexGuard<'_>, LockError<'_>> {
        match waited {
            Waited::Signaled => Ok(self.guard()),
            Waited::Abandoned => Err(LockError::Abandoned(self.guard())),
            Waited::TimedOut => Err(Error::TimedOut { waiting_for: "the mutex".into(), timeout }.into()),
        }
    }
}

/// This thread has the mutex until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it releases the mutex"]
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub struct MutexGuard<'a> {
    mutex: &'a Mutex,
    /// Another thread can't release it.
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for MutexGuard<'_> {
    fn drop(&mut self) {
        // It fails only if this thread doesn't have it, and then there is nothing to release.
        let _ = sys::release_mutex(self.mutex.handle());
    }
}

/// Why a mutex wasn't got as it should be.
#[derive(Debug)]
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub enum LockError<'a> {
    /// This thread has it, and the last owner ended without releasing it: what it protects may be half
    /// changed.
    Abandoned(MutexGuard<'a>),
    /// This thread doesn't have it.
    Failed(Error),
}

impl fmt::Display for LockError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abandoned(_) => Error::Abandoned.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LockError<'_> {}

impl From<Error> for LockError<'_> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<LockError<'_>> for Error {
    /// An abandoned mutex is released.
    fn from(error: LockError<'_>) -> Self {
        match error {
            LockError::Abandoned(_) => Self::Abandoned,
            LockError::Failed(error) => error,
        }
    }
}

const RIGHTS: Rights = Some(Access::MUTEX_USE);
object!(Mutex, ObjectKind::Mutex, RIGHTS);
crate::wait::waitable!(Mutex);

impl Signaled {
    /// Returns whether it is a mutex whose last owner exited without releasing it. This thread holds it now.
    #[must_use]
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn abandoned(&self) -> bool {
        self.abandoned
    }
}
