//! One process at a time.

use super::lock::{NameLock, failed, socket_of};
use crate::error::{Error, Result};
use crate::name::AsObjectName;
use crate::name::text::on_linux::Sort;
use crate::sys::unix_socket;

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
/// Behind it is a lock on a file in the user's runtime directory, which the system takes off if this process dies.
#[derive(Debug)]
#[must_use = "dropping it lets the next process in"]
pub struct SingleInstance {
    place: NameLock,
}

impl SingleInstance {
    /// A usual exit code for a program that finds itself running already.
    pub const EXIT_CODE: i32 = 17;

    /// Claims the name, without waiting.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyRunning`] if another process, or another part of this one, has it; [`Error::NameInUse`] if
    /// an object has the name; [`Error::InvalidInput`] for what can't be a name.
    pub fn acquire(name: &(impl AsObjectName + ?Sized)) -> Result<Self> {
        let name = name.as_name()?;
        if let Some(mut place) = NameLock::take(Sort::Object, name.as_str())? {
            place.keep().map_err(failed(name.as_str()))?;
            return Ok(Self { place });
        }
        // An object is served; who is only there is not.
        match unix_socket::connect(&socket_of(Sort::Object, name.as_str())?) {
            Err(error) if unix_socket::is_missing(&error) => {
                Err(Error::AlreadyRunning { name: name.to_string() })
            }
            Err(source) => Err(failed(name.as_str())(source)),
            Ok(_) => Err(Error::NameInUse { name: name.to_string() }),
        }
    }

    /// Whether the last process that had the name ended without dropping its claim: it crashed, was killed, or called
    /// [`exit`](std::process::exit).
    #[must_use]
    pub fn previous_owner_crashed(&self) -> bool {
        self.place.was_left()
    }
}
