//! The mutex: a lock that one thread of one process holds at a time.

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
use crate::wait::sealed::Sealed;
use crate::wait::{Signaled, Waitable, any_object};

/// A mutex: a lock in the kernel that one thread of one process holds at a time.
///
/// Use it to protect data in [`SharedMemory`](crate::SharedMemory) or another resource that several processes change. A
/// shared mutex carries the rights to wait and release ([`Access::MUTEX_USE`]).
///
/// If a thread exits while it holds the mutex, the mutex is *abandoned*. The next owner gets
/// [`LockError::Abandoned`], because the protected data may be inconsistent.
///
/// Dropping a `Mutex` closes this process's handle.
///
/// ```
/// use std::time::Duration;
/// use handover::os::windows::{LockError, Mutex};
///
/// let mutex = Mutex::new()?;
/// let guard = match mutex.lock_timeout(Duration::from_secs(5)) {
///     Ok(guard) => guard,
///     // The last owner exited without releasing the mutex: check the protected data before using it.
///     Err(LockError::Abandoned(guard)) => guard,
///     Err(LockError::Failed(error)) => return Err(error),
/// };
/// drop(guard);
/// # Ok::<(), handover::Error>(())
/// ```
///
/// [Mutex objects](https://learn.microsoft.com/windows/win32/sync/mutex-objects)
#[doc(alias = "CreateMutex")]
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub struct Mutex {
    handle: ObjectHandle,
}

impl Mutex {
    /// Creates a mutex that no thread holds.
    ///
    /// The caller owns it; dropping it closes the handle.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no resources for another object.
    pub fn new() -> Result<Self> {
        ObjectHandle::unnamed(What::Mutex).map(Self::of)
    }

    /// Locks the mutex, and waits without a timeout until it is free.
    ///
    /// The mutex is recursive: a thread that holds it can lock it again, and holds it until every guard is dropped.
    ///
    /// # Errors
    ///
    /// - [`LockError::Abandoned`], with the guard, if the last owner exited without releasing the mutex. The `?`
    ///   operator turns it into [`Error::Abandoned`] and releases the mutex.
    /// - [`LockError::Failed`] with [`Error::AccessDenied`] if the handle lacks the right to wait.
    #[doc(alias = "WaitForSingleObject")]
    pub fn lock(&self) -> Result<MutexGuard<'_>, LockError<'_>> {
        let waited = self.handle.wait("the mutex")?;
        self.locked(waited, Duration::MAX)
    }

    /// Locks the mutex, as [`lock`](Self::lock) does, and waits at most for the timeout.
    ///
    /// # Errors
    ///
    /// The errors of [`lock`](Self::lock), and [`LockError::Failed`] with [`Error::TimedOut`] if the timeout passes
    /// first.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_>, LockError<'_>> {
        let waited = self.handle.wait_at_most("the mutex", timeout)?;
        self.locked(waited, timeout)
    }

    /// Locks the mutex without waiting. Returns `None` if another thread holds it.
    ///
    /// # Errors
    ///
    /// The errors of [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<MutexGuard<'_>>, LockError<'_>> {
        match self.lock_timeout(Duration::ZERO) {
            Err(LockError::Failed(Error::TimedOut { .. })) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Returns the guard of a mutex that this thread has acquired with [`wait_any`].
    ///
    /// Call it once for each such wait. Each guard releases the mutex once when it is dropped, so an extra guard would
    /// release it while another guard of this thread still exists. If this thread doesn't hold the mutex, dropping the
    /// guard has no effect.
    pub fn guard(&self) -> MutexGuard<'_> {
        MutexGuard { mutex: self, of_this_thread: PhantomData }
    }

    fn locked(&self, waited: Waited, timeout: Duration) -> Result<MutexGuard<'_>, LockError<'_>> {
        match waited {
            Waited::Signaled => Ok(self.guard()),
            Waited::Abandoned => Err(LockError::Abandoned(self.guard())),
            Waited::TimedOut => {
                Err(Error::TimedOut { waiting_for: "the mutex to be released".into(), timeout }.into())
            }
        }
    }
}

/// A guard of a [`Mutex`] that this thread holds. Dropping it releases the mutex.
#[must_use = "dropping it releases the mutex"]
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub struct MutexGuard<'a> {
    mutex: &'a Mutex,
    /// Makes the guard `!Send`: Windows lets only the owning thread release a mutex.
    of_this_thread: PhantomData<*const ()>,
}

impl fmt::Debug for MutexGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutexGuard").field("mutex", self.mutex).finish_non_exhaustive()
    }
}

impl Drop for MutexGuard<'_> {
    fn drop(&mut self) {
        // ReleaseMutex fails only if this thread doesn't hold the mutex. Then no release is needed.
        let _ = sys::release_mutex(self.mutex.handle());
    }
}

/// The error of locking a [`Mutex`].
#[derive(Debug)]
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub enum LockError<'a> {
    /// This thread holds the mutex, but the last owner exited without releasing it. The protected data may be
    /// inconsistent.
    Abandoned(MutexGuard<'a>),
    /// This thread doesn't hold the mutex.
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
    /// Releases the mutex if it was abandoned.
    fn from(error: LockError<'_>) -> Self {
        match error {
            LockError::Abandoned(_) => Self::Abandoned,
            LockError::Failed(error) => error,
        }
    }
}

const RIGHTS: Rights = Some(Access::MUTEX_USE);
object!(Mutex, ObjectKind::Mutex, RIGHTS);
crate::wait::wait_target!(Mutex);

/// A type that [`wait_any`] can wait for on Windows: every [`Waitable`] type, and [`Mutex`].
///
/// A mutex belongs to the thread that waits for it. So it isn't [`Waitable`]: a [`WaitSet`](crate::WaitSet) would get it for
/// one of its own threads.
///
/// Other crates can't implement it.
pub trait ThreadWaitable: Sealed {}

impl<T: Waitable + ?Sized> ThreadWaitable for T {}
impl ThreadWaitable for Mutex {}

/// Waits until one of the objects is signaled, as [`wait_any`](crate::wait_any()) does, or until this thread has got one of the
/// mutexes. Then call [`Mutex::guard`]: it returns the guard that releases the mutex.
///
/// # Errors
///
/// The errors of [`wait_any`](crate::wait_any()).
#[doc(alias = "WaitForMultipleObjects")]
pub fn wait_any(objects: &[&dyn ThreadWaitable], timeout: Duration) -> Result<Signaled> {
    any_object(objects, timeout)
}

impl Signaled {
    /// Returns whether the object is a mutex whose last owner exited without releasing it. This thread holds the mutex
    /// now.
    #[must_use]
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn abandoned(&self) -> bool {
        self.abandoned
    }
}
