//! One process at a time.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::{Mutex as StdMutex, PoisonError};

use crate::error::{Error, Result};
use crate::name::AsObjectName;
use crate::object::{LockError, Mutex};

/// That this process is the only one of its name, for as long as this lives.
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
/// Behind it is a mutex of that name, which the system gives to the next one if this process dies. It belongs
/// to the thread that made the claim; let that be the one that runs as long as the program.
#[derive(Debug)]
#[must_use = "dropping it lets the next process in"]
pub struct SingleInstance {
    mutex: Mutex,
    after_crash: bool,
    _place: Place,
    /// The thread that has the mutex releases it.
    of_this_thread: PhantomData<*const ()>,
}

impl SingleInstance {
    /// A usual exit code for a program that finds itself running already.
    pub const EXIT_CODE: i32 = 17;

    /// Acquires the name, without waiting.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyRunning`] if another process, or another part of this one, has it;
    /// [`Error::NameInUse`] if something else has the name; [`Error::InvalidInput`] for what can't be a name.
    pub fn acquire(name: &(impl AsObjectName + ?Sized)) -> Result<Self> {
        let name = name.as_name()?;
        let running = || Error::AlreadyRunning { name: name.to_string() };
        let place = Place::take(name.with_space()).ok_or_else(running)?;
        let (mutex, _) = Mutex::create_or_open_named(&*name)?;
        let after_crash = match mutex.try_lock() {
            Ok(Some(guard)) => {
                // It is released when this is dropped.
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
        Ok(Self { mutex, after_crash, _place: place, of_this_thread: PhantomData })
    }

    /// Whether it is known that the last process that had the name ended without dropping its claim: it
    /// crashed, was killed, or called [`exit`](std::process::exit). It is known only if somebody else had the
    /// mutex of that name open then; otherwise the mutex was gone with its owner.
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

/// The names that this process has claimed: a thread gets a mutex that it has once more, so the system
/// doesn't tell.
static CLAIMED: StdMutex<BTreeSet<String>> = StdMutex::new(BTreeSet::new());

#[derive(Debug)]
struct Place(String);

impl Place {
    fn take(name: String) -> Option<Self> {
        // A panic can't leave a set of names half changed.
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        // Not `then_some`: a place that isn't taken would give the name back, under the lock.
        claimed.insert(name.clone()).then(|| Self(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}
