//! Pipes of Linux.

use std::fs::File;
use std::io;

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
