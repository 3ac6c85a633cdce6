//! Pipes of Linux, and robust mutexes in shared memory.

#![allow(unsafe_code, reason = "the C library's mutex, and memory that contains it, have no safe interface")]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::ptr::{NonNull, null_mut};
use std::time::Duration;

use handover::SharedMemory;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::time::{ClockId, clock_gettime};

use crate::Failure;
use rustix::pipe::{PipeFlags, pipe_with};

/// Creates a pipe with `pipe2`, and returns its reading and its writing end. Neither is inheritable. The caller owns both.
///
/// # Errors
///
/// The error of the call.
pub fn pipe() -> io::Result<(File, File)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((reader.into(), writer.into()))
}

/// The object with which the mutex is shared: the memory that contains it.
pub type MutexObject = SharedMemory;

/// The size of the memory.
const SIZE: usize = 4096;

/// A mutex of the C library in shared memory. It is robust: if its owner exits, the kernel marks it as abandoned.
#[derive(Debug)]
pub struct SharedMutex {
    object: SharedMemory,
    mutex: NonNull<libc::pthread_mutex_t>,
}

impl SharedMutex {
    /// Creates memory with a mutex that no thread owns. Dropping it unmaps and closes the memory in this process.
    ///
    /// # Errors
    ///
    /// The errors of `memfd_create`, `mmap` and `pthread_mutex_init`.
    pub fn new() -> Result<Self, Failure> {
        let this = Self::open(SharedMemory::new(SIZE)?)?;
        let mut attributes = MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the pointer is to a variable of the right type, which the call initializes.
        check(unsafe { libc::pthread_mutexattr_init(attributes) })?;
        // SAFETY: the call above has initialized the attributes.
        check(unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) })?;
        // SAFETY: as above.
        check(unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) })?;
        // SAFETY: the attributes are initialized. The mutex is in memory that is mapped as long as `this` lives, is aligned to a
        // page and holds it whole, and no other process knows of it yet.
        let result = unsafe { libc::pthread_mutex_init(this.mutex.as_ptr(), attributes) };
        check(result)?;
        Ok(this)
    }

    /// Maps memory in which another process has created a mutex.
    ///
    /// # Errors
    ///
    /// The error of `mmap`.
    pub fn open(object: MutexObject) -> Result<Self, Failure> {
        // SAFETY: the kernel chooses the address, so no memory that is in use is replaced.
        let address = unsafe {
            mmap(null_mut(), SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, object.as_fd(), 0)
        };
        let mutex = NonNull::new(address.map_err(io::Error::from)?.cast()).ok_or(io::ErrorKind::OutOfMemory);
        Ok(Self { object, mutex: mutex.map_err(io::Error::from)? })
    }

    /// Returns the object to share.
    #[must_use]
    pub fn object(&self) -> &MutexObject {
        &self.object
    }

    /// Owns the mutex while it does the work, which gets whether the last owner has abandoned the mutex.
    ///
    /// # Errors
    ///
    /// [`Failure::Late`] if the mutex has an owner until the timeout passes, and the error of the work.
    pub fn hold<R>(
        &self,
        timeout: Duration,
        work: impl FnOnce(bool) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let now = clock_gettime(ClockId::Realtime);
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::from(i32::MAX));
        let nanoseconds = now.tv_nsec + i64::from(timeout.subsec_nanos());
        let until = libc::timespec {
            tv_sec: now.tv_sec.saturating_add(seconds).saturating_add(nanoseconds / 1_000_000_000),
            tv_nsec: nanoseconds % 1_000_000_000,
        };
        // SAFETY: the memory is mapped as long as `self` lives, and its creator has initialized the mutex before it shared it.
        let result = unsafe { libc::pthread_mutex_timedlock(self.mutex.as_ptr(), &raw const until) };
        let is_abandoned = result == libc::EOWNERDEAD;
        match result {
            libc::EOWNERDEAD => {
                // SAFETY: as above. This thread owns the mutex.
                check(unsafe { libc::pthread_mutex_consistent(self.mutex.as_ptr()) })?;
            }
            libc::ETIMEDOUT => {
                return Err(Failure::Late(format!("timed out after {timeout:?}: waiting for the mutex")));
            }
            result => check(result)?,
        }
        let done = work(is_abandoned);
        // SAFETY: as above. This thread owns the mutex.
        check(unsafe { libc::pthread_mutex_unlock(self.mutex.as_ptr()) })?;
        done
    }
}

impl Drop for SharedMutex {
    fn drop(&mut self) {
        // SAFETY: the address and the size are those of the mapping, and no reference to it is left.
        let _ = unsafe { munmap(self.mutex.as_ptr().cast(), SIZE) };
    }
}

/// Converts the result of a function of the C library's threads.
fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}
