//! A child's standard streams, as they are for one spawn.

use std::os::fd::BorrowedFd;
use std::process::Stdio;

use crate::process::{NAMES, Source};
use crate::sys::handle::{duplicate_here, standard_stream};
use crate::sys::io::HasHandle;
use crate::sys::rights;
use crate::sys::spawn::Stream;
use crate::{Error, Result, Share};

impl Source {
    /// The stream for one child, as std's builder takes it and as the new process comes by it; `which` counts from standard
    /// input at 0.
    ///
    /// A copy is put into its place by us and not by the builder, which would close its own without a word.
    pub(super) fn open(&self, which: usize) -> Result<(Stdio, Stream)> {
        let failed = |source| Error::on_handle("fcntl", NAMES[which].into(), source);
        let copy = |stream: BorrowedFd<'_>| {
            let stream = Share::from(stream).checked(|| NAMES[which].into())?;
            let copy = duplicate_here(stream, rights::SAME).map_err(failed)?;
            Ok((Stdio::inherit(), Stream::Copy(copy)))
        };
        match self {
            Self::Inherit => Ok((Stdio::inherit(), Stream::Same)),
            Self::Parents(which) => match standard_stream(*which).map_err(failed)? {
                Some(stream) => copy(stream),
                None => Ok((Stdio::null(), Stream::New)),
            },
            Self::Null => Ok((Stdio::null(), Stream::New)),
            Self::Piped => Ok((Stdio::piped(), Stream::New)),
            Self::File(handle) | Self::Handle(handle) | Self::ReadFrom(handle) | Self::WriteTo(handle) => {
                copy(handle.handle())
            }
        }
    }
}
