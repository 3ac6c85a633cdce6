//! Duplicates a handle into a running process's table.

use std::fmt;
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
    /// Duplicates an object into this process's handle table, with the access of the [`BorrowedObject`].
    ///
    /// The target process isn't notified, so send it the handle value: write it with
    /// [`write_to`](RemoteHandle::write_to), or send it by other means and then call
    /// [`into_value`](RemoteHandle::into_value). After that, the target process owns the handle and closes it. Until
    /// then, the current process is responsible for it, and closes it if the [`RemoteHandle`] is dropped. The object
    /// passed in isn't changed; its owner still closes it.
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
    ///
    /// [`DuplicateHandle`](https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-duplicatehandle)
    #[doc(alias = "DuplicateHandle")]
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn duplicate_into<'a>(&self, object: impl Into<BorrowedObject<'a>>) -> Result<RemoteHandle> {
        let context = || format!("the handle to duplicate into process {}", self.id());
        self.push(&object.into(), context).map(RemoteHandle)
    }

    /// Duplicates an object into this process's handle table; `context` names it in errors.
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
            refused_duplication(self, "duplicate a handle into the process", error)
        })
    }
}

/// A handle in another process's table whose value that process hasn't received yet.
///
/// Dropping a `RemoteHandle` closes the remote handle, so a failure before you pass its value on leaks no handle.
/// [`write_to`](Self::write_to) and [`into_value`](Self::into_value) make the other process responsible for the handle.
#[must_use = "dropping it closes the handle in the other process"]
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub struct RemoteHandle(RemoteCopy);

impl fmt::Debug for RemoteHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHandle").field("value", &self.value()).finish_non_exhaustive()
    }
}

impl RemoteHandle {
    /// Returns the handle's value in the other process.
    #[must_use]
    pub fn value(&self) -> HandleValue {
        self.0.value()
    }

    /// Writes the value as a line of decimal text, and makes the other process responsible for the handle.
    /// The other process reads the line with [`HandleValue::from_stdin`].
    ///
    /// `to` is usually this process's end of a pipe to the other's standard input. The line is written with one call,
    /// so concurrent writes to the pipe don't split it.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the line can't be written. The remote handle is then closed.
    ///
    /// [`WriteFile`](https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-writefile)
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
            let context =
                format!("the value of a handle in process {}, which was closed again", self.0.process().id());
            Error::system(context, error)
        })?;
        self.into_value();
        Ok(())
    }

    /// Returns the value, and makes the other process responsible for the handle.
    ///
    /// Call it after you have passed the value on. From then on, this process can't close a handle that the other
    /// process may be using.
    pub fn into_value(self) -> HandleValue {
        self.0.release()
    }
}
