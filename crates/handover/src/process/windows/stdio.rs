//! Opens a child's standard streams for one spawn.

use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, FromRawHandle, RawHandle};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Sender, channel};

use super::duplicate_target::{DuplicateTarget, Inheritable};
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::object::BorrowedObject;
use crate::process::{NAMES, Source, Stdio};
use crate::sys::io::{Owned, OwnedHandle};
use crate::sys::{SysError, SysResult, begin_thread, handle, pipe};

/// One standard stream for one spawn: the child's inheritable duplicate, and this process's end of a pipe.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) childs: Option<Inheritable>,
    pub(super) ours: Option<Owned>,
    /// Starts the relay thread, which forwards another child's bytes. If this is dropped unused, the thread exits
    /// without having read anything, so no bytes are lost.
    pub(super) start: Option<Sender<()>>,
}

impl FromRawHandle for Stdio {
    /// Takes the handle, and closes it with the command that gets it. Each child gets a duplicate.
    ///
    /// # Safety
    ///
    /// As [`OwnedHandle::from_raw_handle`](std::os::windows::io::OwnedHandle): the handle is open, and no other code owns it.
    ///
    /// # Panics
    ///
    /// If the value can't be that of an open handle: null, or a pseudo handle such as that of this process.
    #[allow(unsafe_code, reason = "the unsafe code that relies on the caller's promise is in sys")]
    unsafe fn from_raw_handle(raw: RawHandle) -> Self {
        let value = HandleValue::new(raw.addr() as u64);
        Self(Source::Handle(handle::own(value.expect("an open handle is neither null nor a pseudo handle"))))
    }
}

impl Source {
    /// Opens the stream for one child. `which` is 0 for standard input, 1 for standard output and 2 for standard error.
    pub(super) fn open(&self, which: usize, target: &DuplicateTarget) -> Result<Stream> {
        let failed = |error: SysError| Error::system(NAMES[which], error);
        let inheritable = |stream: BorrowedHandle<'_>| target.duplicate(stream, None).map_err(failed);
        let shared = |stream: BorrowedObject<'_>| inheritable(stream.checked(&|| NAMES[which].into())?);
        let pipe = |direction| pipe::pair(direction, None).map_err(failed);
        let mut start = None;
        let mut relay = |ours: Owned, theirs: &Owned, pass_on: fn(Owned, Owned)| {
            let theirs = handle::duplicate_here(theirs.as_handle(), None, false).map_err(failed)?;
            let (sender, receiver) = channel();
            let wait_and_pass_on = move || {
                if receiver.recv().is_ok() {
                    pass_on(ours, theirs);
                }
            };
            let thread = std::thread::Builder::new().name("handover relay".into());
            begin_thread(|| thread.spawn(wait_and_pass_on)).map_err(failed)?;
            start = Some(sender);
            Ok::<(), Error>(())
        };
        let (childs, ours) = match self {
            Self::Inherit => (parents(which, target).map_err(failed)?, None),
            Self::Parents(which) => (parents(*which, target).map_err(failed)?, None),
            Self::Null => {
                let null = pipe::null_device(which != 0).map_err(failed)?;
                (Some(inheritable(null.as_handle())?), None)
            }
            // `shared` checks the handle, because its owner can legally hold the pseudo handle for this process, which
            // must not be passed on.
            Self::File(file) => (Some(shared(BorrowedObject::typed(file.as_handle(), None))?), None),
            Self::Handle(handle) => (Some(shared(handle.as_handle().into())?), None),
            Self::Piped => {
                let (ours, childs) =
                    pipe(if which == 0 { pipe::Direction::ToChild } else { pipe::Direction::FromChild })?;
                (Some(inheritable(childs.as_handle())?), Some(ours))
            }
            Self::ReadFrom(source) => {
                let (ours, childs) = pipe(pipe::Direction::ToChild)?;
                let childs = inheritable(childs.as_handle())?;
                relay(ours, source, |ours, source| {
                    pass_on(source, ours);
                })?;
                (Some(childs), None)
            }
            Self::WriteTo(sink) => {
                let (ours, childs) = pipe(pipe::Direction::FromChild)?;
                let childs = inheritable(childs.as_handle())?;
                relay(ours, sink, |ours, sink| {
                    pass_on(ours, sink);
                })?;
                (Some(childs), None)
            }
        };
        Ok(Stream { childs, ours, start })
    }
}

/// Returns an inheritable duplicate of this process's own stream, if it has one. A program without a console has none,
/// and a stream that was closed leaves behind a handle value that is no longer valid.
fn parents(which: usize, target: &DuplicateTarget) -> SysResult<Option<Inheritable>> {
    let Some(stream) = handle::standard_stream(which)? else { return Ok(None) };
    match target.duplicate(stream, None) {
        Ok(duplicate) => Ok(Some(duplicate)),
        Err(error) if handle::is_invalid_handle(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Forwards bytes until the source reaches end of file or the sink's reader closes it. Other failures end it too; they
/// can't be reported to a caller.
fn pass_on(source: Owned, sink: Owned) {
    let mut source = ChildStdout::from(OwnedHandle::from(source));
    let mut sink = ChildStdin::from(OwnedHandle::from(sink));
    while io::copy(&mut source, &mut sink).is_ok() && pipe::is_connected(source.as_handle()) {}
    // Dropped as `Owned`, which records that the handles are closed; std's types would close them without a trace
    // event.
    drop((Owned::from(OwnedHandle::from(sink)), Owned::from(OwnedHandle::from(source))));
}
