//! `SingleInstance`: only one process at a time has the name.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use crate::error::{Error, Result};
use crate::name::AsObjectName;
use crate::object::{LockError, Mutex};
use crate::sys::mutex;

/// A guard that makes this process the only instance with its name, until the guard is dropped.
///
/// ```
/// use handover::{Error, SingleInstance};
///
/// let _only = match SingleInstance::acquire("my-app") {
///     Ok(only) => only,
///     Err(error @ Error::AlreadyRunning { .. }) => {
///         eprintln!("{error}");
///         std::process::exit(SingleInstance::EXIT_CODE);
///     }
///     Err(error) => return Err(error),
/// };
/// # Ok::<(), handover::Error>(())
/// ```
///
/// A program that forwards its command line to the running instance:
/// [`examples/single_instance.rs`](https://docs.rs/crate/handover/latest/source/examples/single_instance.rs).
///
/// It holds a mutex with that name. If this process exits without releasing it, the system passes the mutex to the next
/// process. A mutex belongs to the thread that acquired it, so acquire it on a thread that runs as long as the program.
///
/// [Mutex objects](https://learn.microsoft.com/windows/win32/sync/mutex-objects)
#[must_use = "dropping it lets the next process in"]
pub struct SingleInstance {
    mutex: Mutex,
    after_crash: bool,
    _claim: Claim,
    /// Makes the type `!Send`: only the thread that owns the mutex can release it.
    of_this_thread: PhantomData<*const ()>,
}

impl fmt::Debug for SingleInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleInstance")
            .field("previous_owner_crashed", &self.previous_owner_crashed())
            .finish_non_exhaustive()
    }
}

impl SingleInstance {
    /// A conventional exit code for a program that is already running.
    pub const EXIT_CODE: i32 = 17;

    /// Acquires the name, without waiting.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyRunning`] if another process, also one of another user, or other code in this process has acquired the
    /// name;
    /// [`Error::NameInUse`] if another kind of object has the name; [`Error::InvalidInput`] for an invalid name.
    pub fn acquire(name: &(impl AsObjectName + ?Sized)) -> Result<Self> {
        let name = name.as_name()?;
        let running = || Error::AlreadyRunning { name: name.to_string() };
        let claim = Claim::acquire(name.with_namespace()).ok_or_else(running)?;
        let (mutex, _) = Mutex::create_or_open_named(&*name).map_err(|error| match error {
            Error::NameKindMismatch { name, .. } => Error::NameInUse { name },
            // A mutex of this name exists, and denies access to this user.
            Error::NameInUse { name } => Error::AlreadyRunning { name },
            other => other,
        })?;
        let after_crash = match mutex.try_lock() {
            Ok(Some(guard)) => {
                // Dropping the `SingleInstance` releases the mutex instead.
                std::mem::forget(guard);
                false
            }
            Ok(None) => return Err(running()),
            Err(LockError::Abandoned(guard)) => {
                std::mem::forget(guard);
                true
            }
            Err(LockError::Failed(error)) => return Err(error),
        };
        Ok(Self { mutex, after_crash, _claim: claim, of_this_thread: PhantomData })
    }

    /// Returns whether the previous process with this name is known to have exited without dropping its
    /// `SingleInstance`: it crashed, was killed, or called [`exit`](std::process::exit).
    ///
    /// It is known only if another process had the mutex open at that time. Otherwise, the mutex ceased to exist with
    /// its owner.
    #[must_use]
    pub fn previous_owner_crashed(&self) -> bool {
        self.after_crash
    }
}

impl Drop for SingleInstance {
    fn drop(&mut self) {
        drop(self.mutex.guard());
    }
}

/// The names that this process has acquired. The mutex alone can't detect a second attempt in one thread, because a
/// thread can acquire a mutex that it already owns.
static CLAIMED: mutex::Mutex<BTreeSet<String>> = mutex::Mutex::new(BTreeSet::new());

/// An entry in [`CLAIMED`]. Dropping it removes the entry.
#[derive(Debug)]
struct Claim(String);

impl Claim {
    /// Adds a name to [`CLAIMED`], or returns `None` if it is already there.
    fn acquire(name: String) -> Option<Self> {
        let mut claimed = CLAIMED.lock();
        // Not `then_some`: it would create the `Claim` even if the name is already there. Dropping that would remove
        // the other owner's entry, and deadlock, because the lock is held here.
        claimed.insert(name.clone()).then(|| Self(name))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.lock().remove(&self.0);
    }
}
