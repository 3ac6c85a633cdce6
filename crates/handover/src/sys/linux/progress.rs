//! The report of a new process that runs functions of the caller before it executes its program.
//!
//! Such a function may close every descriptor, that of the report pipe too, and open another one under its number. So the
//! report is in memory that both processes share. The end of file on the pipe only says when to look there. It means that the
//! program runs only if the new process still had the pipe after the functions.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use libc::{c_void, dev_t, ino_t};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::child_call::Failure;
use super::last_error;

/// The memory of one report. It is unmapped on drop. The new process loses it when it executes its program.
#[derive(Debug)]
pub(super) struct Progress {
    page: *mut c_void,
    /// The new process's end of the report pipe.
    pipe: Pipe,
}

/// A pipe under a number, as the device and the inode that `fstat` returns for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pipe {
    number: RawFd,
    identity: (dev_t, ino_t),
}

impl Pipe {
    pub(super) fn of(pipe: &OwnedFd) -> Result<Self, Errno> {
        let number = pipe.as_raw_fd();
        identity_of(number).map(|identity| Self { number, identity })
    }

    /// Returns whether the pipe is still open under its number. It neither allocates nor locks.
    fn is_open(self) -> bool {
        identity_of(self.number) == Ok(self.identity)
    }
}

/// Returns the device and the inode of the descriptor under a number. It neither allocates nor locks.
fn identity_of(number: RawFd) -> Result<(dev_t, ino_t), Errno> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the pointer refers to a live, writable structure of the right size. The kernel checks the number.
    if unsafe { libc::fstat(number, status.as_mut_ptr()) } != 0 {
        return Err(Errno::from_raw_os_error(last_error()));
    }
    // SAFETY: the structure consists of integers, for which zeros are valid values, and the successful call has filled it.
    let status = unsafe { status.assume_init() };
    Ok((status.st_dev, status.st_ino))
}

/// The report of a new process.
#[derive(Debug)]
pub(super) enum Report {
    /// The functions of the caller have not all returned.
    Pending,
    /// All functions of the caller succeeded. Says whether the process still had its end of the pipe then, so that the pipe
    /// ends when the program runs.
    Passed {
        has_pipe: bool,
    },
    Failed(Failure),
}

const PASSED: u64 = 1 << 56;
/// The mark of a failure, whose bytes are below it.
const FAILED: u64 = 2 << 56;
const PASSED_WITHOUT_PIPE: u64 = 3 << 56;

impl Progress {
    pub(super) fn new(pipe: Pipe) -> Result<Self, Errno> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the mapping is anonymous, and with a null address the kernel chooses a free range, so no existing
        // mapping is replaced.
        let page = unsafe { mmap_anonymous(null_mut(), size_of::<AtomicU64>(), protection, flags) }?;
        Ok(Self { page, pipe })
    }

    fn value(&self) -> &AtomicU64 {
        // SAFETY: the mapping is page-aligned, at least as large as the number, writable, and unmapped only when this
        // object is dropped. Its zeros are a valid value, and an atomic can be shared, between processes too.
        unsafe { &*self.page.cast() }
    }

    /// Reports that all functions of the caller succeeded. It neither allocates nor locks.
    pub(super) fn pass(&self) {
        self.value().store(if self.pipe.is_open() { PASSED } else { PASSED_WITHOUT_PIPE }, SeqCst);
    }

    /// Reports a failure. It neither allocates nor locks.
    pub(super) fn fail(&self, failure: Failure) {
        let [a, b, c, d, e, f, g] = failure.to_bytes();
        self.value().store(FAILED | u64::from_le_bytes([a, b, c, d, e, f, g, 0]), SeqCst);
    }

    pub(super) fn report(&self) -> Report {
        let [a, b, c, d, e, f, g, mark] = self.value().load(SeqCst).to_le_bytes();
        match mark {
            0 => Report::Pending,
            1 => Report::Passed { has_pipe: true },
            3 => Report::Passed { has_pipe: false },
            // No other value is stored, so the bytes are those of a failure.
            _ => Failure::from_bytes([a, b, c, d, e, f, g]).map_or(Report::Pending, Report::Failed),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // SAFETY: this object created the mapping and is its only owner in this process, and no reference into it outlives
        // the object.
        let _ = unsafe { munmap(self.page, size_of::<AtomicU64>()) };
    }
}
