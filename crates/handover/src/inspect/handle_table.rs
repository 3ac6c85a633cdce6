//! Looking into a process's handle table.

use std::fmt;

use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::process::Process;

/// The handles of a process at one moment, as the kernel shows them from outside.
///
/// ```no_run
/// use handover::inspect::HandleTable;
/// use handover::{ObjectKind, Process};
///
/// let table = HandleTable::of(&Process::open_for_query(264)?)?;
/// for entry in table.entries() {
///     println!("{:#x} {}", entry.value(), entry.kind().map_or_else(ToString::to_string, ObjectKind::to_string));
/// }
/// # Ok::<(), handover::Error>(())
/// ```
///
/// The process goes on meanwhile: what it closes while it is looked at isn't in the table, and what it opens may be.
/// Nothing of it is changed and nothing of it is kept. On Windows a duplicate of each handle is made in this process for
/// the length of a question, because the kernel answers only about one's own. On Linux a thread can have a table of its own
/// (`unshare(2)`), which isn't looked at, and `/proc` has to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleTable {
    process: u32,
    entries: Vec<HandleEntry>,
}

impl HandleTable {
    /// Looks into the table of a process, which can be this one. [`Process::open_for_query`] and
    /// [`Child::process`](crate::Child::process) make a process with the rights that this takes.
    ///
    /// No question that it asks can hang: on Windows a pipe that somebody reads may never tell its name, and is given
    /// up after a moment.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if the process has ended, also if it ends meanwhile; [`Error::AccessDenied`] if this process
    /// mustn't look into that one at all. A right that is lacking for one question stands in its row.
    #[doc(alias = "NtQuerySystemInformation", alias = "/proc/pid/fd")]
    pub fn of(process: &Process) -> Result<Self> {
        let entries = super::imp::handle_table::entries(process);
        // What was found would be another process's by now, if the id was given again.
        if process.has_exited()? {
            return Err(Error::ProcessExited { pid: process.id(), context: "look into".into() });
        }
        Ok(Self { process: process.id(), entries: entries? })
    }

    /// The id of the process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Its handles, in the order of their values.
    #[must_use]
    pub fn entries(&self) -> &[HandleEntry] {
        &self.entries
    }

    /// The handle that has this value.
    #[must_use]
    pub fn get(&self, value: HandleValue) -> Option<&HandleEntry> {
        let found = self.entries.binary_search_by_key(&value, HandleEntry::value);
        found.ok().map(|place| &self.entries[place])
    }
}

impl Process {
    /// Opens the process that has this id now with all that [`HandleTable::of`] and [`shared_objects`](super::shared_objects()) can use, as far
    /// as this user has it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_for_query(id: u32) -> Result<Self> {
        super::imp::handle_table::open(id)
    }
}

/// One handle of a process, as the kernel shows it from outside.
///
/// Nothing is opened, changed or kept by looking. What the kernel doesn't tell for want of rights is an [`Unavailable`] in its
/// place, so that one such answer doesn't hide the rest of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleEntry {
    pub(crate) value: HandleValue,
    pub(crate) kind: Result<ObjectKind, Unavailable>,
    pub(crate) access: u32,
    pub(crate) inheritable: bool,
    pub(crate) protected: bool,
    pub(crate) name: Result<Option<String>, Unavailable>,
}

impl HandleEntry {
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
    pub fn kind(&self) -> Result<&ObjectKind, &Unavailable> {
        self.kind.as_ref()
    }

    /// What it is open for: on Windows the access mask, on Linux the flags of the open file description
    /// (`O_RDWR`, `O_APPEND` and so on).
    #[must_use]
    pub fn access(&self) -> u32 {
        self.access
    }

    /// The same in words, as the documentation has them for this kind: `SYNCHRONIZE, EVENT_MODIFY_STATE`, or on Linux
    /// `read, write`; in hex, what has none.
    #[must_use]
    pub fn rights(&self) -> String {
        super::imp::handle_table::words(self.kind.as_ref().ok(), self.access)
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

    /// The object's name, if it has one: on Windows the kernel's full name, on Linux the path or what stands for it. A
    /// process has none, and is told by its id: `process 264`.
    ///
    /// # Errors
    ///
    /// Why the kernel doesn't tell, or that it didn't answer in time, which for a pipe that somebody reads it may never.
    pub fn name(&self) -> Result<Option<&str>, &Unavailable> {
        self.name.as_ref().map(Option::as_deref)
    }
}

/// Why something about a handle isn't known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    pub(crate) why: String,
}

impl Unavailable {
    pub(crate) fn because(why: impl fmt::Display) -> Self {
        Self { why: why.to_string() }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Unavailable {}
