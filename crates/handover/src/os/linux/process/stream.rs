//! A child's standard streams, as they are for one spawn.

use std::os::fd::BorrowedFd;
use std::process::Stdio;

use crate::process::{NAMES, Source};
use crate::sys::handle::{duplicate_here, standard_stream};
use crate::sys::io::HasHandle;
use crate::sys::rights;
use crate::{Error, Result, Share};

impl Source {
    /// The stream for one child, as std's builder takes it; `which` counts from standard input at 0.
    pub(super) fn open(&self, which: usize) -> Result<Stdio> {
        let failed = |source| Error::on_handle("fcntl", NAMES[which].into(), source);
        let copy = |stream: BorrowedFd<'_>| {
            let stream = Share::from(stream).checked(|| NAMES[which].into())?;
            duplicate_here(stream, rights::SAME).map(Stdio::from).map_err(failed)
        };
        match self {
            Self::Inherit => Ok(Stdio::inherit()),
            Self::Parents(which) => match standard_stream(*which).map_err(failed)? {
                Some(stream) => copy(stream),
                None => Ok(Stdio::null()),
            },
            Self::Null => Ok(Stdio::null()),
            Self::Piped => Ok(Stdio::piped()),
            Self::File(file) => copy(file.handle()),
            Self::Handle(handle) | Self::ReadFrom(handle) | Self::WriteTo(handle) => copy(handle.handle()),
        }
    }
}
