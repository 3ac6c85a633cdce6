//! Looking into a process's handle table.

use std::fmt;

use crate::{HandleValue, Kind};

/// One handle of a process, as the kernel shows it from outside.
///
/// Nothing is opened, changed or kept by looking. What the kernel doesn't tell for want of rights is an [`Untold`] in its
/// place, so that one such answer doesn't hide the rest of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub(crate) value: HandleValue,
    pub(crate) kind: Result<Kind, Untold>,
    pub(crate) access: u32,
    pub(crate) inheritable: bool,
    pub(crate) protected: bool,
    pub(crate) name: Result<Option<String>, Untold>,
}

impl Entry {
    /// The handle's value in that process.
    #[must_use]
    pub fn value(&self) -> HandleValue {
        self.value
    }

    /// The kind of object that it refers to.
    ///
    /// # Errors
    ///
    /// Why the kernel doesn't tell.
    pub fn kind(&self) -> Result<&Kind, &Untold> {
        self.kind.as_ref()
    }

    /// What it is open for: on Windows the access mask, on Linux the flags of the open file description
    /// (`O_RDWR`, `O_APPEND` and so on).
    #[must_use]
    pub fn access(&self) -> u32 {
        self.access
    }

    /// Whether a child that is created the ordinary way, with inheritance of all, gets it: on Windows the flag
    /// `HANDLE_FLAG_INHERIT`, on Linux no `FD_CLOEXEC`.
    #[must_use]
    pub fn is_inheritable(&self) -> bool {
        self.inheritable
    }

    /// Whether the process can't close it (`HANDLE_FLAG_PROTECT_FROM_CLOSE`); never on Linux.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.protected
    }

    /// The object's name, if it has one: on Windows the kernel's full name, on Linux the path or what stands for it.
    ///
    /// # Errors
    ///
    /// Why the kernel doesn't tell, or that it didn't answer in time, which for a pipe that somebody reads it may never.
    pub fn name(&self) -> Result<Option<&str>, &Untold> {
        self.name.as_ref().map(Option::as_deref)
    }
}

/// Why something about a handle isn't known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    pub(crate) why: String,
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Untold {}
