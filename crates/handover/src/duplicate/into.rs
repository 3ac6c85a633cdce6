//! Putting a handle into a running process's table.

use std::io::Write;

use super::refused_duplication;
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::object::BorrowedObject;
use crate::process::Process;
use crate::process::imp::RemoteCopy;
use crate::sys::io::{AsHandle, HasHandle};
use crate::sys::value::number_of;
use crate::sys::{Argument, call, handle as sys};

impl Process {
    /// Puts a handle to the object into this process's table, with the access that the object travels with.
    ///
    /// The process doesn't notice. Write the value to it with [`write_to`](RemoteHandle::write_to), or pass
    /// the value on by any other means and then call [`into_value`](RemoteHandle::into_value). Until then,
    /// this process is responsible for the remote handle.
    ///
    /// ```no_run
    /// use handover::os::windows::Access;
    /// use handover::{Command, Event, Stdio};
    ///
    /// let ready = Event::manual_reset()?;
    /// let mut child = Command::new("worker").stdin(Stdio::piped()).spawn()?;
    /// let mut stdin = child.stdin.take().expect("it is piped");
    /// let copy = child.process().duplicate_into(ready.with_access(Access::SYNCHRONIZE))?;
    /// copy.write_to(&mut stdin)?;
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if the process has exited; [`Error::InvalidHandleValue`] and
    /// [`Error::InvalidHandle`] if the object has no valid handle; [`Error::AccessDenied`] if this handle to
    /// the process lacks `PROCESS_DUP_HANDLE`.
    #[doc(alias = "DuplicateHandle")]
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn duplicate_into<'a>(&self, object: impl Into<BorrowedObject<'a>>) -> Result<RemoteHandle> {
        let context = || format!("the handle to duplicate into process {}", self.id());
        self.push(&object.into(), context).map(RemoteHandle)
    }

    /// Puts a handle to the object into this process's table.
    pub(crate) fn push(
        &self,
        object: &BorrowedObject<'_>,
        context: impl Fn() -> String,
    ) -> Result<RemoteCopy> {
        let handle = object.checked(&context)?;
        RemoteCopy::new(self, handle, object.rights(), false).map_err(|error| {
            if sys::is_invalid_handle(&error) {
                return Error::InvalidHandle { object: context() };
            }
            refused_duplication(self, "duplicate a handle into", error)
        })
    }
}

/// A handle in another process's table, of which that process doesn't know yet.
///
/// Dropping a `RemoteHandle` closes the remote handle, so a failure before its value is passed on leaks
/// nothing. [`write_to`](Self::write_to) and [`into_value`](Self::into_value) make the other process
/// responsible for it.
#[derive(Debug)]
#[must_use = "dropping it closes the handle in the other process"]
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub struct RemoteHandle(RemoteCopy);

impl RemoteHandle {
    /// Returns the handle's value in the other process.
    #[must_use]
    pub fn value(&self) -> HandleValue {
        self.0.value()
    }

    /// Writes the value as a line of decimal text, and makes the other process responsible for the handle.
    /// The other process reads the line with [`HandleValue::from_stdin`].
    ///
    /// `to` is usually this process's end of a pipe to the other's standard input. The line is one write, so
    /// concurrent writes to the pipe don't break it up.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the line can't be written; the remote handle is then closed.
    #[doc(alias = "WriteFile")]
    pub fn write_to(self, to: &mut (impl Write + AsHandle)) -> Result<()> {
        let line = format!("{}\n", self.value());
        let arguments =
            [("handle", Argument::Raw(number_of(to.handle()))), ("", Argument::Bytes(line.as_bytes()))];
        let written = call("WriteFile", &arguments, || {
            to.write_all(line.as_bytes())?;
            to.flush()
        });
        written.map_err(|error| {
            let context = format!("the line with the value of a handle in process {}", self.0.process().id());
            Error::system(context, error)
        })?;
        self.into_value();
        Ok(())
    }

    /// Returns the value, and makes the other process responsible for the handle.
    ///
    /// Call it when you have passed the value on. From then on, nothing makes this process close a handle
    /// that the other one may be using.
    pub fn into_value(self) -> HandleValue {
        self.0.release()
    }
}
