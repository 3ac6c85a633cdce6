//! What a builder can say here beyond other systems.

use std::ffi::{OsStr, OsString};

use super::process::{Suspended, spawn_suspended};
use crate::process::Argument as Common;
use crate::{Command, Result};

/// What a builder holds of it.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(super) creation_flags: u32,
}

/// An argument that isn't to be quoted.
#[derive(Debug)]
pub(crate) struct Argument(pub(super) OsString);

impl Argument {
    pub(crate) fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

impl Command<'_> {
    /// Adds text to the command line as it is, after a space: for programs that don't read it by the usual rules,
    /// such as `cmd.exe`. What is in it is the caller's to quote. Windows only.
    pub fn raw_arg(&mut self, text: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(Common::Os(Argument(text.as_ref().to_owned())));
        self
    }

    /// Sets the
    /// [process creation flags](https://learn.microsoft.com/windows/win32/procthread/process-creation-flags), such as
    /// `CREATE_NO_WINDOW` (0x08000000). `CREATE_SUSPENDED` is refused: [`spawn_suspended`](Self::spawn_suspended) can't
    /// be forgotten. Windows only.
    pub fn creation_flags(&mut self, flags: u32) -> &mut Self {
        self.os.creation_flags = flags;
        self
    }

    /// Creates the child without letting it run yet. Windows only.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    #[doc(alias = "CREATE_SUSPENDED")]
    pub fn spawn_suspended(&mut self) -> Result<Suspended> {
        spawn_suspended(self)
    }
}
