//! Locks on files, which the system takes off with the process.

use std::fs::{File, OpenOptions};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::SysResult;
use super::call;
use super::io::Owned;

/// A file that is there to be locked. Its close is told of.
#[derive(Debug)]
pub(crate) struct LockFile(ManuallyDrop<File>);

impl LockFile {
    /// Opens a file, and doesn't follow a link.
    pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> SysResult<Self> {
        let arguments = [("path", path.into())];
        let opened = call("open", &arguments, || {
            let file = options.custom_flags(libc::O_NOFOLLOW).open(path)?;
            Ok(Owned::from(OwnedFd::from(file)))
        });
        opened.map(|owned| Self(ManuallyDrop::new(OwnedFd::from(owned).into())))
    }
}

impl Deref for LockFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // SAFETY: it is taken once: nobody uses it after the drop of its owner.
        let file = unsafe { ManuallyDrop::take(&mut self.0) };
        drop(Owned::from(OwnedFd::from(file)));
    }
}

/// Locks a file, if nobody has locked it.
pub(crate) fn try_lock(file: &File) -> SysResult<bool> {
    call("flock", &[("handle", file.as_fd().into())], || {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    })
}
