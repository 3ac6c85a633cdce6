//! A file without a name, which ceases to exist with its last descriptor.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;

use super::create_object::memory_file;
use super::handle::{duplicate_here, out_of_the_streams};
use super::io::Owned;
use super::rights::Rights;
use super::{Length, SysResult, call};

/// Creates an empty file. Returns a handle for reading and one for writing, which share one position.
pub(crate) fn temporary_file() -> SysResult<(Owned, Owned)> {
    let file = out_of_the_streams(memory_file("memfd_create")?)?;
    let writer = duplicate_here(file.borrowed(), Rights::Same)?;
    Ok((file, writer))
}

/// Reads the file from its start to its end, and closes it.
pub(crate) fn read_whole(file: Owned) -> SysResult<Vec<u8>> {
    let (mut file, mut bytes) = (File::from(OwnedFd::from(file)), Vec::new());
    let read = call(call::READ, &[], || {
        file.rewind()?;
        file.read_to_end(&mut bytes).map(Length)
    });
    drop(Owned::from(OwnedFd::from(file)));
    read.map(|_| bytes)
}
