//! Reading a temporary file.

use std::fs::File;
use std::io::{Read, Seek};

use super::io::{Owned, OwnedHandle};
use super::{Length, SysResult, call};

/// Reads the file from its start to its end, and closes it.
pub(crate) fn read_whole(file: Owned) -> SysResult<Vec<u8>> {
    let (mut file, mut bytes) = (File::from(OwnedHandle::from(file)), Vec::new());
    let read = call(call::READ, &[], || {
        file.rewind()?;
        file.read_to_end(&mut bytes).map(Length)
    });
    drop(Owned::from(OwnedHandle::from(file)));
    read.map(|_| bytes)
}
