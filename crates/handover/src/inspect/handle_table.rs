//! `HandleTable` and `HandleEntry`: the handles of a process, read from outside.

use std::fmt;

use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::process::Process;

/// The handles of a process at one moment, as the kernel reports them to another process.
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
/// The process keeps running while it is read. A handle that it closes meanwhile is missing from the table, and one
/// that it opens may be included. Reading changes nothing in the process and keeps none of its objects alive
/// afterwards.
///
/// - On Windows, the kernel answers queries only about handles of the calling process. So each handle is duplicated
///   into this process for as long as it is queried.
/// - On Linux, `/proc` must be mounted. A thread can have a table of its own (`unshare(2)`), which isn't read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleTable {
    process: u32,
    entries: Vec<HandleEntry>,
}

impl HandleTable {
    /// Reads the handle table of a process, which can be the current one.
    ///
    /// Open the process with [`Process::open_for_query`], or use [`Child::process`](crate::Child::process). Both give
    /// the rights that this needs.
    ///
    /// Every query has a time limit. For example, Windows may never return the name of a pipe while a thread reads from
    /// it; that query is given up after a moment.
    ///
    /// On Linux, shared memory of the process is opened for a moment, to see its seals. As closing any descriptor does, that
    /// releases the record locks (`fcntl`) that this process has on the same memory.
    ///
    /// # Errors
    ///
    /// - [`Error::ProcessExited`] if the process has exited, or exits meanwhile.
    /// - [`Error::AccessDenied`] if this process may not read the table at all. A right that is missing for a single
    ///   query becomes an [`Unavailable`] in its entry.
    #[doc(alias = "NtQuerySystemInformation", alias = "/proc/pid/fd")]
    pub fn of(process: &Process) -> Result<Self> {
        let entries = super::imp::handle_table::entries(process);
        // The id may have been reused meanwhile; then the entries belong to another process.
        if process.has_exited()? {
            return Err(Error::ProcessExited {
                pid: process.id(),
                context: "read the process's handle table".into(),
            });
        }
        Ok(Self { process: process.id(), entries: entries? })
    }

    /// Returns the process's id.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Returns the handles, sorted by value.
    #[must_use]
    pub fn entries(&self) -> &[HandleEntry] {
        &self.entries
    }

    /// Returns the handle with this value, if the process had one.
    #[must_use]
    pub fn get(&self, value: HandleValue) -> Option<&HandleEntry> {
        let found = self.entries.binary_search_by_key(&value, HandleEntry::value);
        found.ok().map(|index| &self.entries[index])
    }
}

impl Process {
    /// Opens the process that currently has this id, for [`HandleTable::of`] and
    /// [`shared_objects`](super::shared_objects()).
    ///
    /// It asks for all rights that those functions can use. Where this user has fewer, it opens the process with fewer,
    /// and the functions return less. The caller owns the returned process.
    ///
    /// # Errors
    ///
    /// The errors of [`open`](Self::open).
    pub fn open_for_query(id: u32) -> Result<Self> {
        super::imp::handle_table::open(id)
    }
}

/// A handle of a process, as the kernel reports it to another process.
///
/// If the kernel doesn't answer one query for lack of rights, that field is an [`Unavailable`], and the other fields
/// are still filled.
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
    /// Returns the handle's value in its process.
    #[must_use]
    pub fn value(&self) -> HandleValue {
        self.value
    }

    /// Returns the kind of the object that the handle refers to.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] with the reason why the kernel didn't answer.
    pub fn kind(&self) -> Result<&ObjectKind, &Unavailable> {
        self.kind.as_ref()
    }

    /// Returns the access of the handle: on Windows the access mask, on Linux the flags of the open file description
    /// (`O_RDWR`, `O_APPEND` and so on).
    #[must_use]
    pub fn access(&self) -> u32 {
        self.access
    }

    /// Returns the access in words, with the documented names for this kind: `SYNCHRONIZE, EVENT_MODIFY_STATE`, or on
    /// Linux `read, write`. Bits without a name are shown in hex.
    #[must_use]
    pub fn rights(&self) -> String {
        super::imp::handle_table::words(self.kind.as_ref().ok(), self.access)
    }

    /// Returns whether a child that is created with inheritance of all inheritable handles gets it: on Windows the flag
    /// `HANDLE_FLAG_INHERIT`, on Linux the absence of `FD_CLOEXEC`.
    #[must_use]
    pub fn is_inheritable(&self) -> bool {
        self.inheritable
    }

    /// Returns whether the handle is protected from being closed (`HANDLE_FLAG_PROTECT_FROM_CLOSE`); always false on
    /// Linux.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.protected
    }

    /// Returns the object's name, if it has one.
    ///
    /// On Windows this is the full name in the kernel's namespace. On Linux it is the path, or the text that the kernel
    /// shows instead. For a process, which has no name, it is the text `process 264` with its id.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the kernel refused to answer, or didn't answer in time. It may never answer for a pipe that a
    /// thread is reading from.
    pub fn name(&self) -> Result<Option<&str>, &Unavailable> {
        self.name.as_ref().map(Option::as_deref)
    }
}

/// The reason why some information about a handle is unavailable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    pub(crate) reason: String,
}

impl Unavailable {
    pub(crate) fn because(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string() }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Unavailable {}
