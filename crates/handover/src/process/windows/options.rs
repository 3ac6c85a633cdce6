//! What only Windows' builder has: raw arguments, creation flags, and suspended children.

use std::ffi::{OsStr, OsString};

use super::SuspendedChild;
use super::spawn::spawn_suspended;
use crate::error::Result;
use crate::process::{Argument as AnyArgument, Command};

/// The options that only Windows has.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(super) creation_flags: u32,
}

/// An argument that is not quoted.
#[derive(Debug)]
pub(crate) struct Argument(pub(super) OsString);

impl Argument {
    pub(crate) fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

impl Command<'_> {
    /// Adds text to the command line as it is, after a space. It is for programs that don't read the command
    /// line by the usual rules, such as `cmd.exe`. The caller quotes it.
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn raw_arg(&mut self, text: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(AnyArgument::Os(Argument(text.as_ref().to_owned())));
        self
    }

    /// Sets the [process creation
    /// flags](https://learn.microsoft.com/windows/win32/procthread/process-creation-flags), such as
    /// `CREATE_NO_WINDOW` (0x08000000).
    ///
    /// `CREATE_SUSPENDED` is refused. [`CommandExt::spawn_suspended`] returns a child that can't be left
    /// suspended.
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn creation_flags(&mut self, flags: u32) -> &mut Self {
        self.os.creation_flags = flags;
        self
    }
}

/// What [`Command`] has on Windows alone, beside the methods of std's extension trait, which are inherent
/// here.
///
/// ```no_run
/// use handover::os::windows::CommandExt;
/// use handover::{Command, Event};
///
/// let ready = Event::manual_reset()?;
/// let child = Command::new("worker").spawn_suspended()?;
/// let value = child.process().duplicate_into(&ready)?.into_value();
/// println!("the child has the event under {value}");
/// let child = child.resume()?;
/// # Ok::<(), handover::Error>(())
/// ```
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub trait CommandExt: sealed::Sealed {
    /// Starts the child suspended: it exists, and runs its first instruction after
    /// [`SuspendedChild::resume`].
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`].
    #[doc(alias = "CREATE_SUSPENDED")]
    fn spawn_suspended(&mut self) -> Result<SuspendedChild>;
}

impl CommandExt for Command<'_> {
    fn spawn_suspended(&mut self) -> Result<SuspendedChild> {
        spawn_suspended(self)
    }
}

mod sealed {
    use super::Command;

    pub trait Sealed {}

    impl Sealed for Command<'_> {}
}
