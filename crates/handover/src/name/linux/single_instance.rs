//! `SingleInstance`: only one process at a time has the name.

use std::fmt;

use super::lock::{NameLock, failed, socket_of};
use crate::error::{Error, Result};
use crate::name::AsObjectName;
use crate::name::text::on_linux::Sort;
use crate::sys::unix_socket;

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
/// It holds a lock on a file in the user's runtime directory. The kernel releases the lock when this process exits, and
/// when each copy of it has exited that was forked meanwhile and has not executed another program.
#[must_use = "dropping it lets the next process in"]
pub struct SingleInstance {
    lock: NameLock,
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
    /// [`Error::AlreadyRunning`] if another process, or other code in this process, has acquired the name;
    /// [`Error::NameInUse`] if an event or another named object has the name; [`Error::InvalidInput`] for an invalid name.
    pub fn acquire(name: &(impl AsObjectName + ?Sized)) -> Result<Self> {
        let name = name.as_name()?;
        if let Some(mut lock) = NameLock::take(Sort::Object, name.as_str())? {
            lock.mark_unserved().map_err(failed(name.as_str()))?;
            return Ok(Self { lock });
        }
        // The name is taken. If a process serves an object under it, the connection succeeds. A single instance has no
        // socket, so the connection fails.
        match unix_socket::connect(&socket_of(Sort::Object, name.as_str())?) {
            Err(error) if unix_socket::is_missing(&error) => {
                Err(Error::AlreadyRunning { name: name.to_string() })
            }
            Err(source) => Err(failed(name.as_str())(source)),
            Ok(_) => Err(Error::NameInUse { name: name.to_string() }),
        }
    }

    /// Returns whether the previous process with this name exited without dropping its `SingleInstance`: it crashed,
    /// was killed, or called [`exit`](std::process::exit).
    #[must_use]
    pub fn previous_owner_crashed(&self) -> bool {
        self.lock.was_abandoned()
    }
}
