//! Strategy 2, duplication: putting a handle into a running process's table, and taking one out of it.

use std::os::windows::io::{AsHandle, OwnedHandle};

use crate::process::Remote;
use crate::sys::handle as sys;
use crate::told::check_kind;
use crate::{Error, HandleValue, Object, Process, Result, Share};

impl Process {
    /// Puts a handle to the object into this process's table, with the access that the object travels with.
    ///
    /// The process doesn't notice: tell it the [value](Undelivered::value) by any channel, and then let go of the
    /// copy with [`delivered`](Undelivered::delivered). Until then this process is responsible for it.
    ///
    /// ```no_run
    /// use std::io::Write;
    /// use handover::{Access, Command, Event, Stdio};
    ///
    /// let ready = Event::manual_reset()?;
    /// let mut child = Command::new("worker").stdin(Stdio::piped()).spawn()?;
    /// let mut stdin = child.stdin.take().expect("it is piped");
    /// let copy = child.process().duplicate_into(ready.only(Access::SYNCHRONIZE))?;
    /// writeln!(stdin, "{}", copy.value())?;
    /// copy.delivered();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
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
        Remote::new(self, handle, object.access(), false).map_err(|source| {
            if sys::is_invalid_handle(&source) {
                return Error::NotOpen { what: what() };
            }
            self.refused_duplication("duplicate a handle into", source)
        })
    }

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
    /// use handover::{Access, Event, HandleValue, Process};
    ///
    /// # fn example(told: &str) -> handover::Result<()> {
    /// let process = Process::open(264, Access::PROCESS_DUP_HANDLE)?;
    /// let ready: Event = process.duplicate_from(told.parse()?)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::PeerGone`] if the process has ended; [`Error::NotOpen`] if the value is no open handle of it;
    /// [`Error::WrongKind`] if it refers to something else than expected; [`Error::MissingRight`] if this handle to
    /// the process lacks `PROCESS_DUP_HANDLE`.
    #[doc(alias = "DuplicateHandle")]
    pub fn duplicate_from<T: Object>(&self, value: HandleValue) -> Result<T> {
        let copy = self.fetch(value)?;
        check_kind::<T>(sys::raw_of(copy.as_handle()), || self.handle_of(value))?;
        Ok(T::from_handle(copy))
    }

    /// A copy of what this process has under this value, of whatever kind it is.
    pub(crate) fn fetch(&self, value: HandleValue) -> Result<OwnedHandle> {
        sys::duplicate_from(self.as_handle(), value).map_err(|source| {
            let what = "duplicate a handle from";
            if !sys::is_invalid_handle(&source) {
                return self.refused_duplication(what, source);
            }
            // A process that is ending has closed its handles already.
            if self.is_going() {
                return Error::PeerGone { process: self.id(), what: what.into() };
            }
            Error::NotOpen { what: self.handle_of(value) }
        })
    }

    fn handle_of(&self, value: HandleValue) -> String {
        format!("handle {value:#x} of process {}", self.id())
    }
}

/// A handle in another process's table which that process doesn't know of yet.
///
/// Dropping it closes the handle over there, so that a failure on the way to tell the number leaves nothing behind.
/// [`delivered`](Self::delivered) passes the responsibility to the other process.
#[derive(Debug)]
#[must_use = "dropping it closes the handle in the other process"]
pub struct Undelivered(Remote);

impl Undelivered {
    /// The handle's value in the other process: what to tell it.
    #[must_use]
    pub fn value(&self) -> HandleValue {
        self.0.value()
    }

    /// Lets go: from now on the other process owns the handle and closes it.
    ///
    /// Call it when the number is on its way. Nothing that happens afterwards can make this process close a handle
    /// which the other one may be using.
    pub fn delivered(self) -> HandleValue {
        self.0.release()
    }
}
