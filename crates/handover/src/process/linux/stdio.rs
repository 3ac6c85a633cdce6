//! Opens a child's standard streams for one spawn.

use std::os::fd::BorrowedFd;

use crate::error::{Error, Result};
use crate::object::BorrowedObject;
use crate::process::{NAMES, Source};
use crate::sys::handle::{duplicate_here, reserve, standard_stream};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::rights;
use crate::sys::spawn::pipe;
use crate::sys::spawn_plan::Stream;

impl Source {
    /// Opens the stream for one child. Returns it, and this process's end if it is a pipe. `which` is 0 for standard
    /// input, 1 for standard output and 2 for standard error.
    pub(super) fn open(&self, which: usize) -> Result<(Stream, Option<Owned>)> {
        let failed = |error| Error::on_handle(NAMES[which], error);
        let made = |error| Error::system(NAMES[which], error);
        let null = || Ok((Stream::Copy(reserve().map_err(made)?), None));
        let copy = |stream: BorrowedFd<'_>| {
            let stream = BorrowedObject::from(stream).checked(|| NAMES[which].into())?;
            Ok((Stream::Copy(duplicate_here(stream, rights::SAME).map_err(failed)?), None))
        };
        match self {
            Self::Inherit => Ok((Stream::Same, None)),
            Self::Parents(which) => match standard_stream(*which).map_err(failed)? {
                Some(stream) => copy(stream),
                None => null(),
            },
            Self::Null => null(),
            Self::Piped => {
                let (read, write) = pipe().map_err(made)?;
                let (theirs, ours) = if which == 0 { (read, write) } else { (write, read) };
                Ok((Stream::Copy(theirs), Some(ours)))
            }
            Self::File(handle) | Self::Handle(handle) | Self::ReadFrom(handle) | Self::WriteTo(handle) => {
                copy(handle.handle())
            }
        }
    }
}
