//! Strategy 2, duplication: taking a handle out of a running process's table, and on Windows putting one into it.

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
use crate::sys::handle as sys;
use crate::sys::io::{HasHandle, Owned};

impl Process {
    /// Takes a copy of the object that this process has under this value, with the access that it has there.
    ///
    /// The other's handle isn't touched: it stays that process's to close, which must keep it open until it is told
    /// that the copy is made. There is no call that moves the object instead: the system closes the other's handle
    /// even if the copy fails, and the object would be lost.
    ///
    /// The kernel is asked what came before anything is owned as a `T`. A number from a process that isn't trusted
    /// can't do more than that: the values that stand for this process or its threads can't be a [`HandleValue`].
    ///
    /// ```no_run
    /// use handover::{Command, Event, HandleValue};
    ///
    /// # fn example(told: &str) -> handover::Result<()> {
    /// let child = Command::new("worker").spawn()?;
    /// let ready: Event = child.process().duplicate_from(told.parse()?)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if the process has ended; [`Error::InvalidHandle`] if the value is no open handle of it;
    /// [`Error::WrongKind`] if it refers to something else than expected; [`Error::AccessDenied`] if this handle to
    /// the process lacks `PROCESS_DUP_HANDLE`, or on Linux if this process mustn't trace that one (a child may, a
    /// process of the same user that isn't one may not on many machines).
    #[doc(alias = "DuplicateHandle", alias = "pidfd_getfd")]
    pub fn duplicate_from<T: Object>(&self, value: HandleValue) -> Result<T> {
        let copy = self.fetch(value)?;
        check_kind::<T>(sys::kind_of(copy.handle()), || self.handle_of(value))?;
        Ok(T::from_handle(copy))
    }

    /// A copy of what this process has under this value, of whatever kind it is.
    pub(crate) fn fetch(&self, value: HandleValue) -> Result<Owned> {
        sys::duplicate_from(self.handle(), value).map_err(|error| {
            let what = "duplicate a handle from";
            if !sys::is_invalid_handle(&error) {
                return refused_duplication(self, what, error);
            }
            // A process that is ending has closed its handles already.
            if self.is_going() {
                return Error::ProcessExited { pid: self.id(), context: what.into() };
            }
            Error::InvalidHandle { object: self.handle_of(value) }
        })
    }

    fn handle_of(&self, value: HandleValue) -> String {
        format!("handle {value:#x} of process {}", self.id())
    }
}
