//! Strategy 2, duplication: copies a handle from a running process's table, and on Windows into it.
//!
//! Each system's half provides `refused_duplication`, which returns the error for a duplication that failed.

#[cfg(windows)]
mod into;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as imp;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as imp;

pub(crate) use imp::refused_duplication;
#[cfg(windows)]
pub use into::RemoteHandle;

use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::object::Object;
use crate::object::adopt::check_kind;
use crate::process::Process;
use crate::sys::SysError;
use crate::sys::handle as sys;
use crate::sys::io::{HasHandle, Owned};

impl Process {
    /// Duplicates the handle with this value from this process, and returns the object, with the access of the original
    /// handle.
    ///
    /// The caller owns the duplicate and closes it. The other process's handle isn't changed: that process still closes
    /// it, and must keep it open until you have told it that the duplicate exists. A call that moves the handle instead
    /// is not offered: Windows closes the source handle even if the duplication fails, so the object could be lost.
    ///
    /// The kernel's answer about the object's type is checked before the object is returned as a `T`. The value can
    /// come from an untrusted process. If it refers to an object of another type, the call fails. If it refers to
    /// another object of the same type, the caller gets that object: the process can only pass what it has. A
    /// [`HandleValue`] is never a pseudo handle.
    ///
    /// ```no_run
    /// use handover::{Command, Event, HandleValue};
    ///
    /// # fn example(value: &str) -> handover::Result<()> {
    /// let child = Command::new("worker").spawn()?;
    /// let value: HandleValue = value.parse()?; // such as "68", as the child reported it
    /// let ready: Event = child.process().duplicate_from(value)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::ProcessExited`] if the process has exited;
    /// - [`Error::InvalidHandle`] if the process has no open handle with this value;
    /// - [`Error::WrongKind`] if the object isn't a `T`;
    /// - [`Error::AccessDenied`] if, on Windows, this handle to the process lacks `PROCESS_DUP_HANDLE`, or if, on
    ///   Linux, the caller may not trace the process. A parent may trace its child. On many machines, a process may not
    ///   trace another process of the same user that isn't its child.
    ///
    /// [`DuplicateHandle`](https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-duplicatehandle);
    /// [`pidfd_getfd(2)`](https://man7.org/linux/man-pages/man2/pidfd_getfd.2.html)
    #[doc(alias = "DuplicateHandle", alias = "pidfd_getfd")]
    pub fn duplicate_from<T: Object>(&self, value: HandleValue) -> Result<T> {
        let copy = self.fetch(value)?;
        let described = || self.handle_of(value);
        check_kind(sys::kind_of(copy.handle()), T::KIND, &described)?;
        T::check(HandleValue::of(&copy)?, &described)?;
        Ok(T::from_handle(copy))
    }

    /// Duplicates the handle with this value from this process, for objects of any kind.
    pub(crate) fn fetch(&self, value: HandleValue) -> Result<Owned> {
        sys::duplicate_from(self.handle(), value).map_err(|error| self.not_fetched(value, error))
    }

    /// Returns the error for a handle that couldn't be duplicated. It can wait a moment, to find out whether the process is
    /// exiting.
    pub(crate) fn not_fetched(&self, value: HandleValue, error: SysError) -> Error {
        let context = "duplicate a handle from the process";
        if !sys::is_invalid_handle(&error) {
            return refused_duplication(self, context, error);
        }
        // An exiting process has already closed its handles.
        if self.is_going() {
            return Error::ProcessExited { pid: self.id(), context: context.into() };
        }
        Error::InvalidHandle { object: self.handle_of(value) }
    }

    fn handle_of(&self, value: HandleValue) -> String {
        format!("handle {} of process {}", value.for_people(), self.id())
    }
}
