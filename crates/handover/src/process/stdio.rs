//! A child's standard streams.

use std::fs::File;
use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::inherit::{Ground, Inheritable};
use crate::sys::{handle, pipe};
use crate::{Error, Result};

/// What a child has as one of its standard streams.
#[derive(Debug)]
pub struct Stdio(pub(super) Source);

#[derive(Debug)]
pub(super) enum Source {
    Inherit,
    /// One of the parent's streams, by its place.
    Parents(usize),
    Null,
    Piped,
    Handle(OwnedHandle),
}

impl Stdio {
    /// A new pipe; the parent's end is in the [`Child`](crate::Child).
    #[must_use]
    pub fn piped() -> Self {
        Self(Source::Piped)
    }

    /// The parent's own stream. Where the parent has none, the child has none.
    #[must_use]
    pub fn inherit() -> Self {
        Self(Source::Inherit)
    }

    /// Nothing to read, and nobody who reads: the null device.
    #[must_use]
    pub fn null() -> Self {
        Self(Source::Null)
    }
}

macro_rules! from_a_handle {
    ($($owner:ty),*) => {$(
        impl From<$owner> for Stdio {
            fn from(owner: $owner) -> Self {
                Self(Source::Handle(owner.into()))
            }
        }
    )*};
}
from_a_handle!(OwnedHandle, File, ChildStdin, ChildStdout, ChildStderr);

impl From<io::Stdout> for Stdio {
    /// The parent's standard output, for whichever of the child's streams.
    fn from(_: io::Stdout) -> Self {
        Self(Source::Parents(1))
    }
}

impl From<io::Stderr> for Stdio {
    /// The parent's standard error, for whichever of the child's streams.
    fn from(_: io::Stderr) -> Self {
        Self(Source::Parents(2))
    }
}

/// One stream as it is for one spawn: the inheritable duplicate for the child, and our end of a pipe.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) childs: Option<Inheritable>,
    pub(super) ours: Option<OwnedHandle>,
}

const NAMES: [&str; 3] =
    ["the child's standard input", "the child's standard output", "the child's standard error"];

impl Source {
    /// Makes the stream for one child; `which` counts from standard input at 0.
    pub(super) fn open(&self, which: usize, ground: &Ground) -> Result<Stream> {
        let failed =
            |call| move |source: io::Error| Error::System { call, what: NAMES[which].into(), source };
        let inheritable =
            |stream: BorrowedHandle<'_>| ground.duplicate(stream, None).map_err(failed("DuplicateHandle"));
        let (childs, ours) = match self {
            Self::Inherit => (parents(which, ground).map_err(failed("DuplicateHandle"))?, None),
            Self::Parents(which) => (parents(*which, ground).map_err(failed("DuplicateHandle"))?, None),
            Self::Null => {
                let null = File::options()
                    .read(which == 0)
                    .write(which != 0)
                    .open("NUL")
                    .map_err(failed("CreateFileW"))?;
                (Some(inheritable(null.as_handle())?), None)
            }
            Self::Handle(handle) => (Some(inheritable(handle.as_handle())?), None),
            Self::Piped => {
                let direction =
                    if which == 0 { pipe::Direction::ToChild } else { pipe::Direction::FromChild };
                let (ours, childs) = pipe::pair(direction).map_err(failed("CreateNamedPipeW"))?;
                (Some(inheritable(childs.as_handle())?), Some(ours))
            }
        };
        Ok(Stream { childs, ours })
    }
}

/// This process's own stream, if it has it: a program without a console has none, and a stream that was closed
/// leaves a number behind that nothing answers to.
fn parents(which: usize, ground: &Ground) -> io::Result<Option<Inheritable>> {
    let Some(stream) = handle::standard_stream(which) else { return Ok(None) };
    match ground.duplicate(stream, None) {
        Ok(duplicate) => Ok(Some(duplicate)),
        Err(error) if handle::is_invalid_handle(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
