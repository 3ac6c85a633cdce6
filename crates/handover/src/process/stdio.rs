//! A child's standard streams.

use std::fs::File;
use std::io;
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::sys::io::Owned;
use crate::sys::io::OwnedHandle;

/// What a child has as one of its standard streams.
#[derive(Debug)]
pub struct Stdio(pub(crate) Source);

#[derive(Debug)]
pub(crate) enum Source {
    Inherit,
    /// One of the parent's streams, by its place.
    Parents(usize),
    Null,
    Piped,
    /// A file, which is no socket.
    File(Owned),
    Handle(Owned),
    /// Our end of another child's output.
    ReadFrom(Owned),
    /// Our end of another child's input.
    WriteTo(Owned),
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

impl From<File> for Stdio {
    fn from(file: File) -> Self {
        Self(Source::File(OwnedHandle::from(file).into()))
    }
}

impl From<OwnedHandle> for Stdio {
    fn from(handle: OwnedHandle) -> Self {
        Self(Source::Handle(handle.into()))
    }
}

macro_rules! from_a_childs_stream {
    ($($stream:ty: $variant:ident),*) => {$(
        impl From<$stream> for Stdio {
            /// Connects this child with that one. On Windows a thread of this process passes the bytes on, as long as
            /// this process lives: its end of a child's stream is overlapped, and a program that doesn't expect that of
            /// its standard stream goes wrong.
            fn from(stream: $stream) -> Self {
                Self(Source::$variant(OwnedHandle::from(stream).into()))
            }
        }
    )*};
}
from_a_childs_stream!(ChildStdin: WriteTo, ChildStdout: ReadFrom, ChildStderr: ReadFrom);

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

/// The streams by their places.
pub(crate) const NAMES: [&str; 3] =
    ["the child's standard input", "the child's standard output", "the child's standard error"];
