//! A file that ceases to exist with its last handle.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::OwnedHandle;

use windows_sys::Win32::Storage::FileSystem::{FILE_ATTRIBUTE_TEMPORARY, FILE_FLAG_DELETE_ON_CLOSE};

use super::handle::duplicate_here;
use super::io::Owned;
use super::pipe::OPEN;
use super::{SysResult, call};

/// Creates an empty file. Returns a handle for reading and one for writing, which share one position.
pub(crate) fn temporary_file() -> SysResult<(Owned, Owned)> {
    let random = RandomState::new().hash_one(std::process::id());
    let path = std::env::temp_dir().join(format!("handover.{}.{random:016x}", std::process::id()));
    let file = call(OPEN, &[("path", path.as_path().into())], || {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).share_mode(0);
        options.attributes(FILE_ATTRIBUTE_TEMPORARY).custom_flags(FILE_FLAG_DELETE_ON_CLOSE);
        Ok(Owned::from(OwnedHandle::from(options.open(&path)?)))
    })?;
    let writer = duplicate_here(file.borrowed(), None, false)?;
    Ok((file, writer))
}
