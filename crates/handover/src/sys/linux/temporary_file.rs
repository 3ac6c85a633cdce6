//! A file without a name, which ceases to exist with its last descriptor.

use super::SysResult;
use super::create_object::memory_file;
use super::handle::{duplicate_here, out_of_the_streams};
use super::io::Owned;
use super::rights::Rights;

/// Creates an empty file. Returns a handle for reading and one for writing, which share one position.
pub(crate) fn temporary_file() -> SysResult<(Owned, Owned)> {
    let file = out_of_the_streams(memory_file("memfd_create")?)?;
    let writer = duplicate_here(file.borrowed(), Rights::Same)?;
    Ok((file, writer))
}
