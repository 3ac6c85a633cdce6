//! Opens a child's standard streams for one spawn.

use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::object::BorrowedObject;
use crate::process::{NAMES, Source, Stdio};
use crate::sys::handle::{NullAccess, check_open, is_inheritable_stream, open_null, own};
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

impl FromRawFd for Stdio {
    /// Takes the descriptor, and closes it with the command that gets it. Each child gets a copy.
    ///
    /// # Safety
    ///
    /// As [`OwnedFd::from_raw_fd`](std::os::fd::OwnedFd): the descriptor is open, and no other code owns it.
    ///
    /// # Panics
    ///
    /// If the number is negative.
    #[allow(unsafe_code, reason = "the unsafe code that relies on the caller's promise is in sys")]
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        let value = u64::try_from(fd).ok().and_then(|number| HandleValue::new(number).ok());
        Self(Source::Handle(own(value.expect("an open descriptor is not negative"))))
    }
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
                let stream = BorrowedObject::from(handle.handle()).checked(&|| NAMES[which].into())?;
                check_open(stream).map_err(failed)?;
                Ok(of_caller(Stream::CopyOf(stream.as_raw_fd())))
            }
        }
    }
}
