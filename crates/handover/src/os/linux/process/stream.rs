//! A child's standard streams, as they are for one spawn.

use std::os::fd::BorrowedFd;

use crate::process::{NAMES, Source};
use crate::sys::handle::{duplicate_here, reserve, standard_stream};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::rights;
use crate::sys::spawn::{Stream, pipe};
use crate::{Error, Result, Share};

impl Source {
    /// The stream for one child, and this process's end of it if it is a pipe; `which` counts from standard input at 0.
    pub(super) fn open(&self, which: usize) -> Result<(Stream, Option<Owned>)> {
        let failed = |source| Error::on_handle("fcntl", NAMES[which].into(), source);
        let made = |call| move |source| Error::system(call, NAMES[which].into(), source);
        let null = || Ok((Stream::Copy(reserve().map_err(made("open"))?), None));
        let copy = |stream: BorrowedFd<'_>| {
            let stream = Share::from(stream).checked(|| NAMES[which].into())?;
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
                let (read, write) = pipe().map_err(made("pipe2"))?;
                let (theirs, ours) = if which == 0 { (read, write) } else { (write, read) };
                Ok((Stream::Copy(theirs), Some(ours)))
            }
            Self::File(handle) | Self::Handle(handle) | Self::ReadFrom(handle) | Self::WriteTo(handle) => {
                copy(handle.handle())
            }
        }
    }
}
