//! Putting a handle into a running process's table.

use std::io::Write;

use super::process::Remote;
use crate::sys::io::{AsHandle, HasHandle};
use crate::sys::value::number_of;
use crate::sys::{Argument, call, handle as sys};
use crate::{Error, HandleValue, Process, Result, Share};

impl Process {
    /// Puts a handle to the object into this process's table, with the access that the object travels with.
    ///
    /// The process doesn't notice: [tell](Undelivered::tell) it the value, or tell it by any other channel, and then let go
    /// of the copy with [`delivered`](Undelivered::delivered). Until then this process is responsible for it.
    ///
    /// ```no_run
    /// use handover::{Access, Command, Event, Stdio};
    ///
    /// let ready = Event::manual_reset()?;
    /// let mut child = Command::new("worker").stdin(Stdio::piped()).spawn()?;
    /// let mut stdin = child.stdin.take().expect("it is piped");
    /// let copy = child.process().duplicate_into(ready.only(Access::SYNCHRONIZE))?;
    /// copy.tell(&mut stdin)?;
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::PeerGone`] if the process has ended; [`Error::NotAHandle`] and [`Error::NotOpen`] if the object's
    /// handle is none; [`Error::MissingRight`] if this handle to the process lacks `PROCESS_DUP_HANDLE`.
    #[doc(alias = "DuplicateHandle")]
    pub fn duplicate_into<'a>(&self, object: impl Into<Share<'a>>) -> Result<Undelivered> {
        let what = || format!("the handle to duplicate into process {}", self.id());
        self.push(&object.into(), what).map(Undelivered)
    }

    /// Puts a handle to the object into this process's table.
    pub(crate) fn push(&self, object: &Share<'_>, what: impl Fn() -> String) -> Result<Remote> {
        let handle = object.checked(&what)?;
        Remote::new(self, handle, object.rights(), false).map_err(|source| {
            if sys::is_invalid_handle(&source) {
                return Error::NotOpen { what: what() };
            }
            super::refused_duplication(self, "duplicate a handle into", source)
        })
    }
}

/// A handle in another process's table which that process doesn't know of yet.
///
/// Dropping it closes the handle over there, so that a failure on the way to tell the number leaves nothing behind.
/// [`tell`](Self::tell) and [`delivered`](Self::delivered) pass the responsibility to the other process.
#[derive(Debug)]
#[must_use = "dropping it closes the handle in the other process"]
pub struct Undelivered(Remote);

impl Undelivered {
    /// The handle's value in the other process: what to tell it.
    #[must_use]
    pub fn value(&self) -> HandleValue {
        self.0.value()
    }

    /// Tells the other process the value as a line of text, in decimal, and lets go; [`Told::line`](crate::Told::line) is the
    /// other half. `to` is what the other reads from, as a rule the end of a pipe to its standard input. The line is written
    /// at once, so that nothing else that is written there gets into it.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if it can't be written; the handle is then closed over there.
    #[doc(alias = "WriteFile")]
    pub fn tell(self, to: &mut (impl Write + AsHandle)) -> Result<()> {
        let line = format!("{}\n", self.value());
        let arguments =
            [("handle", Argument::Raw(number_of(to.handle()))), ("", Argument::Bytes(line.as_bytes()))];
        let written = call("WriteFile", &arguments, || {
            to.write_all(line.as_bytes())?;
            to.flush()
        });
        written.map_err(|source| {
            let what = format!("the line with the number of a handle in process {}", self.0.process().id());
            Error::system("WriteFile", what, source)
        })?;
        self.delivered();
        Ok(())
    }

    /// Lets go: from now on the other process owns the handle and closes it.
    ///
    /// Call it when the number is on its way. Nothing that happens afterwards can make this process close a handle
    /// which the other one may be using.
    pub fn delivered(self) -> HandleValue {
        self.0.release()
    }
}
