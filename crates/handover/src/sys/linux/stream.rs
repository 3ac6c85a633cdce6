//! Reads a stream of bytes.

use std::os::fd::BorrowedFd;

use rustix::io::retry_on_intr;

use super::{Length, SysResult, call};

/// Appends the bytes that are available to the buffer, or waits for the first of them. Returns their number, which is
/// zero at the end of file.
pub(crate) fn read(stream: BorrowedFd<'_>, into: &mut Vec<u8>) -> SysResult<usize> {
    const ROOM: usize = 64 * 1024;
    if into.capacity() - into.len() < ROOM / 4 {
        into.reserve(ROOM);
    }
    let read = call("read", &[("handle", stream.into())], || {
        let count = retry_on_intr(|| rustix::io::read(stream, rustix::buffer::spare_capacity(into)))?;
        Ok(Length(count))
    });
    read.map(|Length(count)| count)
}
