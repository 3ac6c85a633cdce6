//! The plan for a new process: the steps between its creation and the start of its program.

use std::ffi::CString;
use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::Arc;

use libc::c_char;

use crate::sys::mutex::{Mutex, MutexGuard};

/// The call that executes a program. It reports why a program can't be started.
pub(crate) const EXECUTE: &str = "execve";

/// The properties of a process to be started.
pub(crate) struct Plan {
    /// The program's file, or the files in which to look for it, in order.
    pub(crate) programs: Vec<CString>,
    pub(crate) arguments: Vec<CString>,
    /// The environment without `id`; each entry is `name=value`.
    pub(crate) variables: Texts,
    /// The variable that contains the new process's id.
    pub(crate) id: Option<IdLine>,
    /// The inherited descriptors, without the standard streams: the number in this process, and the number in the new
    /// one.
    pub(crate) inherit: Vec<(RawFd, RawFd)>,
    /// The standard streams: input, output and error.
    pub(crate) streams: [Stream; 3],
    /// The signals that are blocked in the new process.
    pub(crate) blocked: libc::sigset_t,
    pub(crate) directory: Option<CString>,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) process_group: Option<i32>,
    /// Set if the kernel shall kill the child when the thread that started it exits. It is the id of that thread's
    /// process.
    pub(crate) ends_with: Option<u32>,
    /// The functions of the caller to run before the program is executed.
    pub(crate) closures: Closures,
    /// Set if the new process shall wait for a tracer before it executes the program.
    pub(crate) tracer: Option<Meeting>,
}

/// Both ends of the connection between a new process and its tracer, as numbers. The caller keeps them open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meeting {
    pub(crate) near: RawFd,
    pub(crate) far: RawFd,
}

/// A function of the caller that runs in the new process, or in the thread that executes a program in this one.
pub(crate) type Closure = Box<dyn FnMut() -> io::Result<()> + Send + Sync>;

/// The functions of the caller, in the order in which they run. A spawn locks the list before it creates the process, so
/// the new process needs no lock.
#[derive(Clone, Default)]
pub(crate) struct Closures(Option<Arc<Mutex<Vec<Closure>>>>);

impl Closures {
    pub(crate) fn push(&mut self, closure: Closure) {
        self.0.get_or_insert_default().lock().push(closure);
    }

    /// Locks the list. Returns `None` if it is empty.
    pub(super) fn lock(&self) -> Option<MutexGuard<'_, Vec<Closure>>> {
        self.0.as_ref().map(|closures| closures.lock())
    }
}

impl fmt::Debug for Closures {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(if self.0.is_some() { "functions" } else { "none" })
    }
}

/// A standard stream of the new program.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    /// This process's own stream, if it has one.
    Same,
    /// A copy of this process's descriptor. The copy is made in the new process: closing one in this process would
    /// release the process's record locks on the file (`fcntl(2)`). The caller keeps the descriptor open.
    CopyOf(RawFd),
}

/// Texts for a system call, each with a NUL after it, in one allocation.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
    /// Where each text begins.
    starts: Vec<usize>,
}

impl Texts {
    /// Makes an empty list with room for this many texts of a common length.
    pub(crate) fn with_room_for(count: usize) -> Self {
        Self { bytes: Vec::with_capacity(count * 64), starts: Vec::with_capacity(count) }
    }

    /// Adds a text that consists of these parts. A NUL in one of them would cut it off.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) {
        self.starts.push(self.bytes.len());
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.push(0);
    }

    /// Returns the address of each text. The addresses are valid until another text is added.
    pub(super) fn pointers(&self) -> impl Iterator<Item = *const c_char> {
        self.starts.iter().map(|start| self.bytes[*start..].as_ptr().cast())
    }
}

/// The placeholder for the new process's id, which isn't known when the environment is built.
pub(crate) const ID: &str = "0000000000";

/// A variable that contains the new process's id, as `name=value`.
#[derive(Debug, Clone)]
pub(crate) struct IdLine {
    /// The line, with a NUL after it.
    bytes: Vec<u8>,
    range: Range<usize>,
}

impl IdLine {
    /// Returns the line with the placeholder [`ID`], or `None` if the text doesn't contain it.
    pub(crate) fn new(text: String) -> Option<Self> {
        let start = text.find(ID)?;
        let mut bytes = text.into_bytes();
        bytes.push(0);
        Some(Self { bytes, range: start..start + ID.len() })
    }

    /// Writes the id into the line. It neither allocates nor panics.
    pub(super) fn write(&mut self, mut id: u32) {
        for digit in self.bytes.get_mut(self.range.clone()).into_iter().flatten().rev() {
            *digit = b'0' + (id % 10) as u8;
            id /= 10;
        }
    }

    /// Returns the address of the line. It is valid until the line is written to or dropped.
    pub(super) fn pointer(&self) -> *const c_char {
        self.bytes.as_ptr().cast()
    }
}
