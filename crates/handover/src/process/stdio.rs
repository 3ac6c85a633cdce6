//! `Stdio`: the builder's choice of a child's standard streams.

use std::fs::File;
use std::io;
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::sys::io::Owned;
use crate::sys::io::OwnedHandle;

/// The source of one of a child's standard streams.
///
/// Pass it to [`Command::stdin`](crate::Command::stdin), [`stdout`](crate::Command::stdout) or
/// [`stderr`](crate::Command::stderr). It mirrors [`std::process::Stdio`], and owns the file or handle that it was made
/// from. Each spawn gives the child a duplicate, which the child closes. A pipe reaches its end only after the builder, which
/// keeps its own handle for further spawns, was dropped too.
#[derive(Debug)]
pub struct Stdio(pub(crate) Source);

#[derive(Debug)]
pub(crate) enum Source {
    Inherit,
    /// One of the parent's streams, by its index in [`NAMES`].
    Parents(usize),
    Null,
    Piped,
    /// A file. Unlike `Handle`, it can't be a socket.
    File(Owned),
    Handle(Owned),
    /// This process's end of another child's output pipe.
    ReadFrom(Owned),
    /// This process's end of another child's input pipe.
    WriteTo(Owned),
}

impl Stdio {
    /// Connects the child's stream to a new pipe. The parent's end of the pipe is in the [`Child`](crate::Child), which
    /// closes it on drop unless you take it.
    #[must_use]
    pub fn piped() -> Self {
        Self(Source::Piped)
    }

    /// Gives the child the parent's own stream. If the parent has no such stream, the child has none either. On Linux, a
    /// descriptor with `FD_CLOEXEC` doesn't count as a stream.
    #[must_use]
    pub fn inherit() -> Self {
        Self(Source::Inherit)
    }

    /// Connects the child's stream to the null device: reads of standard input return end of file, and writes to the other
    /// streams are discarded.
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

macro_rules! impl_from_child_stream {
    ($($stream:ty: $variant:ident),*) => {$(
        impl From<$stream> for Stdio {
            /// Connects this child to the other child's stream.
            ///
            /// On Windows, a thread of this process relays the bytes for as long as this process lives. The relay is
            /// needed because this process's end of the pipe is an overlapped handle, and a program that doesn't
            /// expect one as its standard stream fails.
            fn from(stream: $stream) -> Self {
                Self(Source::$variant(OwnedHandle::from(stream).into()))
            }
        }
    )*};
}
impl_from_child_stream!(ChildStdin: WriteTo, ChildStdout: ReadFrom, ChildStderr: ReadFrom);

impl From<io::Stdout> for Stdio {
    /// Gives the child the parent's standard output, as any of the child's streams. If the parent has none, the stream
    /// is the null device.
    fn from(_: io::Stdout) -> Self {
        Self(Source::Parents(1))
    }
}

impl From<io::Stderr> for Stdio {
    /// Gives the child the parent's standard error, as any of the child's streams. If the parent has none, the stream
    /// is the null device.
    fn from(_: io::Stderr) -> Self {
        Self(Source::Parents(2))
    }
}

/// How error messages name each stream: standard input is at index 0, output at 1, error at 2.
pub(crate) const NAMES: [&str; 3] =
    ["the child's standard input", "the child's standard output", "the child's standard error"];
