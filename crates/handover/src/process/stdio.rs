//! A child's standard streams.

use std::fs::File;
use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::mpsc::{Sender, channel};

use crate::inherit::{Ground, Inheritable};
use crate::sys::{handle, pipe};
use crate::{Error, Result, Share};

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
    File(File),
    Handle(OwnedHandle),
    /// Our overlapped end of another child's output.
    ReadFrom(OwnedHandle),
    /// Our overlapped end of another child's input.
    WriteTo(OwnedHandle),
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
        Self(Source::File(file))
    }
}

impl From<OwnedHandle> for Stdio {
    fn from(handle: OwnedHandle) -> Self {
        Self(Source::Handle(handle))
    }
}

macro_rules! from_a_childs_stream {
    ($($stream:ty: $variant:ident),*) => {$(
        impl From<$stream> for Stdio {
            /// Connects this child with that one. A thread of this process passes the bytes on, as long as this process
            /// lives: its end of a child's stream is overlapped, and a program that doesn't expect that of its standard
            /// stream goes wrong.
            fn from(stream: $stream) -> Self {
                Self(Source::$variant(stream.into()))
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

/// One stream as it is for one spawn: the inheritable duplicate for the child, and our end of a pipe.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) childs: Option<Inheritable>,
    pub(super) ours: Option<OwnedHandle>,
    /// Lets the thread begin that passes another child's bytes on. Dropped instead, it ends the thread, which has then
    /// read nothing that would be lost.
    pub(super) start: Option<Sender<()>>,
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
        let shared = |stream: Share<'_>| inheritable(stream.checked(|| NAMES[which].into())?);
        let pipe = |direction| pipe::pair(direction, None).map_err(|(call, source)| failed(call)(source));
        let mut start = None;
        let mut relay = |ours: OwnedHandle, theirs: &OwnedHandle, pass_on: fn(OwnedHandle, OwnedHandle)| {
            let theirs =
                handle::duplicate_here(theirs.as_handle(), None, false).map_err(failed("DuplicateHandle"))?;
            let (sender, receiver) = channel();
            let wait_and_pass_on = move || {
                if receiver.recv().is_ok() {
                    pass_on(ours, theirs);
                }
            };
            let thread = std::thread::Builder::new().name("handover relay".into());
            thread.spawn(wait_and_pass_on).map_err(failed("CreateThread"))?;
            start = Some(sender);
            Ok::<(), Error>(())
        };
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
            // A legal owner can hold the number of this process's pseudo handle, and must not pass it on.
            Self::File(file) => (Some(shared(file.into())?), None),
            Self::Handle(handle) => (Some(shared(handle.into())?), None),
            Self::Piped => {
                let (ours, childs) =
                    pipe(if which == 0 { pipe::Direction::ToChild } else { pipe::Direction::FromChild })?;
                (Some(inheritable(childs.as_handle())?), Some(ours))
            }
            Self::ReadFrom(source) => {
                let (ours, childs) = pipe(pipe::Direction::ToChild)?;
                let childs = inheritable(childs.as_handle())?;
                relay(ours, source, |ours, source| {
                    pass_on(ChildStdout::from(source), ChildStdin::from(ours));
                })?;
                (Some(childs), None)
            }
            Self::WriteTo(sink) => {
                let (ours, childs) = pipe(pipe::Direction::FromChild)?;
                let childs = inheritable(childs.as_handle())?;
                relay(ours, sink, |ours, sink| {
                    pass_on(ChildStdout::from(ours), ChildStdin::from(sink));
                })?;
                (Some(childs), None)
            }
        };
        Ok(Stream { childs, ours, start })
    }
}

/// This process's own stream, if it has it: a program without a console has none, and a stream that was closed
/// leaves a number behind that nothing answers to.
fn parents(which: usize, ground: &Ground) -> io::Result<Option<Inheritable>> {
    let Some(stream) = handle::standard_stream(which)? else { return Ok(None) };
    match ground.duplicate(stream, None) {
        Ok(duplicate) => Ok(Some(duplicate)),
        Err(error) if handle::is_invalid_handle(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Ends when the source does, or when nobody reads any more; there is nobody to tell of another failure.
fn pass_on(mut source: ChildStdout, mut sink: ChildStdin) {
    let _ = io::copy(&mut source, &mut sink);
}
