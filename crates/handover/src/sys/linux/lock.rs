//! File locks, which the kernel releases when the process exits.

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

/// A file that exists to be locked. Its close is traced.
#[derive(Debug)]
pub(crate) struct LockFile(ManuallyDrop<File>);

impl LockFile {
    /// Opens the file with these options, without following a symbolic link.
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
        // SAFETY: the file is taken only once. This is the drop of its owner, so nothing can use `self.0` afterwards,
        // and no other code takes it.
        let file = unsafe { ManuallyDrop::take(&mut self.0) };
        drop(Owned::from(OwnedFd::from(file)));
    }
}

/// Locks the file exclusively, without waiting. Returns `false` if another open file description holds a lock.
pub(crate) fn try_lock(file: &File) -> SysResult<bool> {
    call("flock", &[("handle", file.as_fd().into())], || {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    })
}
