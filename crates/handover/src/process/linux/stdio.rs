//! Opens a child's standard streams for one spawn.

use std::os::fd::{AsRawFd, RawFd};

use crate::error::{Error, Result};
use crate::object::BorrowedObject;
use crate::process::{NAMES, Source};
use crate::sys::handle::{NullAccess, check_open, is_inheritable_stream, open_null};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::spawn::pipe;
use crate::sys::spawn_plan::Stream;

/// A standard stream for one child.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: Stream,
    /// The descriptor that was opened for the child, to be closed once it has started.
    pub(super) theirs: Option<Owned>,
    /// This process's end of a pipe.
    pub(super) ours: Option<Owned>,
}

impl Source {
    /// Opens the stream for one child. `which` is 0 for standard input, 1 for standard output and 2 for standard error.
    pub(super) fn open(&self, which: usize) -> Result<Opened> {
        let failed = |error| Error::on_handle(NAMES[which], error);
        let made = |error| Error::system(NAMES[which], error);
        let of_caller = |stream| Opened { stream, theirs: None, ours: None };
        let opened = |theirs: Owned, ours| Opened {
            stream: Stream::CopyOf(theirs.as_raw_fd()),
            theirs: Some(theirs),
            ours,
        };
        let null = || {
            let access = if which == 0 { NullAccess::Read } else { NullAccess::Write };
            open_null(access).map(|null| opened(null, None)).map_err(made)
        };
        match self {
            Self::Inherit => Ok(of_caller(Stream::Same)),
            Self::Parents(own) if is_inheritable_stream(*own).map_err(failed)? => {
                Ok(of_caller(Stream::CopyOf(RawFd::try_from(*own).expect("there are three streams"))))
            }
            Self::Parents(_) | Self::Null => null(),
            Self::Piped => {
                let (read, write) = pipe().map_err(made)?;
                let (theirs, ours) = if which == 0 { (read, write) } else { (write, read) };
                Ok(opened(theirs, Some(ours)))
            }
            Self::File(handle) | Self::Handle(handle) | Self::ReadFrom(handle) | Self::WriteTo(handle) => {
                let stream = BorrowedObject::from(handle.handle()).checked(|| NAMES[which].into())?;
                check_open(stream).map_err(failed)?;
                Ok(of_caller(Stream::CopyOf(stream.as_raw_fd())))
            }
        }
    }
}
