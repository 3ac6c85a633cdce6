//! A child's standard streams.

use std::fs::File;
use std::io;
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::sys::{handle, pipe};
use crate::{Error, Result};

/// What a child has as one of its standard streams.
#[derive(Debug)]
pub struct Stdio(pub(super) Source);

#[derive(Debug)]
pub(super) enum Source {
    Inherit,
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

/// One stream as it is for one spawn: the inheritable duplicate for the child, and our end of a pipe.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) childs: Option<OwnedHandle>,
    pub(super) ours: Option<OwnedHandle>,
}

const NAMES: [&str; 3] =
    ["the child's standard input", "the child's standard output", "the child's standard error"];

impl Source {
    /// Makes the stream for one child; `which` counts from standard input at 0.
    pub(super) fn open(&self, which: usize) -> Result<Stream> {
        let failed =
            |call| move |source: io::Error| Error::System { call, what: NAMES[which].into(), source };
        let childs = match self {
            Self::Inherit => handle::duplicate_standard_stream(which).map_err(failed("DuplicateHandle"))?,
            Self::Null => {
                let null = File::options()
                    .read(which == 0)
                    .write(which != 0)
                    .open("NUL")
                    .map_err(failed("CreateFileW"))?;
                Some(inheritable(&null, which)?)
            }
            Self::Handle(handle) => Some(inheritable(handle, which)?),
            Self::Piped => {
                let direction =
                    if which == 0 { pipe::Direction::ToChild } else { pipe::Direction::FromChild };
                let (ours, childs) = pipe::pair(direction).map_err(failed("CreateNamedPipeW"))?;
                return Ok(Stream { childs: Some(inheritable(&childs, which)?), ours: Some(ours) });
            }
        };
        Ok(Stream { childs, ours: None })
    }
}

fn inheritable(stream: &impl AsHandle, which: usize) -> Result<OwnedHandle> {
    handle::duplicate_here(stream.as_handle(), None, true).map_err(|source| Error::System {
        call: "DuplicateHandle",
        what: NAMES[which].into(),
        source,
    })
}
