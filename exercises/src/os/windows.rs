//! Pipes and mutexes of Windows.

use std::fs::File;
use std::io;
use std::os::windows::io::FromRawHandle;
use std::ptr::{null, null_mut};
use std::time::Duration;

use handover::os::windows::{LockError, Mutex};
use windows_sys::Win32::System::Pipes::CreatePipe;

use crate::Failure;

/// Creates a pipe with `CreatePipe`, and returns its reading and its writing end. Neither is inheritable. The caller owns
/// both.
///
/// # Errors
///
/// The error of the call.
#[allow(unsafe_code, reason = "no safe function of Rust 1.85 creates a pipe")]
pub fn pipe() -> io::Result<(File, File)> {
    let (mut reader, mut writer) = (null_mut(), null_mut());
    // SAFETY: both pointers are to variables of the right type, and null attributes are allowed.
    if unsafe { CreatePipe(&raw mut reader, &raw mut writer, null(), 0) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just created the handle for this process, and nothing else owns or closes it.
    let reader = unsafe { File::from_raw_handle(reader) };
    // SAFETY: as above.
    let writer = unsafe { File::from_raw_handle(writer) };
    Ok((reader, writer))
}

/// The object with which the mutex is shared: the mutex itself.
pub type MutexObject = Mutex;

/// A mutex. If its owner exits, the kernel marks it as abandoned.
#[derive(Debug)]
pub struct SharedMutex(Mutex);

impl SharedMutex {
    /// Creates a mutex that no thread owns. Dropping it closes this process's handle.
    ///
    /// # Errors
    ///
    /// The error of `CreateMutexW`.
    pub fn new() -> Result<Self, Failure> {
        Ok(Self(Mutex::new()?))
    }

    /// Uses a mutex that another process has created.
    ///
    /// # Errors
    ///
    /// None on this system.
    pub fn open(object: MutexObject) -> Result<Self, Failure> {
        Ok(Self(object))
    }

    /// Returns the object to share.
    #[must_use]
    pub fn object(&self) -> &MutexObject {
        &self.0
    }

    /// Owns the mutex while it does the work, which gets whether the last owner has abandoned the mutex.
    ///
    /// # Errors
    ///
    /// [`Failure::Call`] if the mutex has an owner until the timeout passes, and the error of the work.
    pub fn hold<R>(
        &self,
        timeout: Duration,
        work: impl FnOnce(bool) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let (guard, is_abandoned) = match self.0.lock_timeout(timeout) {
            Ok(guard) => (guard, false),
            Err(LockError::Abandoned(guard)) => (guard, true),
            Err(LockError::Failed(error)) => return Err(error.into()),
        };
        let done = work(is_abandoned);
        drop(guard);
        done
    }
}
