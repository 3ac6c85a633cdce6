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

#[cfg(has_std_pipe)]
#[allow(clippy::incompatible_msrv, reason = "the module exists only if std has the types")]
mod std_pipe {
    use std::io::{PipeReader, PipeWriter};

    use super::{OwnedHandle, Stdio};

    /// Exists from Rust 1.87 on.
    impl From<PipeReader> for Stdio {
        /// Connects the child's standard input to the pipe, which ends when all of its writers are closed.
        fn from(reader: PipeReader) -> Self {
            OwnedHandle::from(reader).into()
        }
    }

    /// Exists from Rust 1.87 on.
    impl From<PipeWriter> for Stdio {
        /// Connects one of the child's output streams to the pipe. Its reader reaches the end only after the command, which
        /// has the writer too, was dropped.
        fn from(writer: PipeWriter) -> Self {
            OwnedHandle::from(writer).into()
        }
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

#[cfg(has_std_pipe)]
#[allow(clippy::incompatible_msrv, reason = "the module exists only if std has the types")]
#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};

    use crate::process::Command;

    const ROLE: &str = "HANDOVER_COPIES_ITS_INPUT";

    /// Copies the standard input of the process that the next test starts.
    #[test]
    fn copies_its_input() -> io::Result<()> {
        if std::env::var_os(ROLE).is_some() {
            io::copy(&mut io::stdin(), &mut io::stdout())?;
        }
        Ok(())
    }

    #[test]
    fn pipes_of_std_become_streams() -> io::Result<()> {
        let (childs_input, mut input) = io::pipe()?;
        let (mut output, childs_output) = io::pipe()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "process::stdio::tests::copies_its_input", "--nocapture"]).env(ROLE, "1");
        let mut child = command.stdin(childs_input).stdout(childs_output).spawn()?;
        // The command has the ends that the child got.
        drop(command);
        input.write_all(b"through both pipes")?;
        drop(input);
        let mut text = String::new();
        output.read_to_string(&mut text)?;
        assert!(text.contains("through both pipes"), "{text}");
        assert!(child.wait()?.success());
        Ok(())
    }
}
