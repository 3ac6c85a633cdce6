//! What is shared: one file a kind.

mod event;
pub(crate) mod held;
mod mutex;
mod section;
mod semaphore;
mod timer;

use std::fs::File;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};

pub use event::{Event, Reset};
pub use mutex::{LockError, Mutex, MutexGuard};
pub use section::{Section, View, ViewMut};
pub use semaphore::Semaphore;
pub use timer::Timer;

use crate::{Access, Error, HandleValue, Kind, Result, sys};

/// A type that can own a handle which came from another process.
///
/// [`Inherited::take`](crate::Inherited::take) and [`Told::adopt`](crate::Told::adopt) check the kind with the kernel before they make one. [`OwnedHandle`] takes any kind;
/// what it holds can then be turned into whatever else the receiver uses.
pub trait Object: AsHandle + Sized + sealed::FromHandle {
    /// The kind that the handle must refer to; `None` for any.
    const KIND: Option<Kind>;
}

pub(crate) mod sealed {
    use super::OwnedHandle;

    /// Only this crate makes objects of handles: it is where the kind is checked.
    pub trait FromHandle {
        /// Owns the handle, which refers to an object of the right kind.
        fn from_handle(handle: OwnedHandle) -> Self;
    }
}

impl Object for OwnedHandle {
    const KIND: Option<Kind> = None;
}

impl sealed::FromHandle for OwnedHandle {
    fn from_handle(handle: OwnedHandle) -> Self {
        handle
    }
}

impl Object for File {
    const KIND: Option<Kind> = Some(Kind::File);
}

impl sealed::FromHandle for File {
    fn from_handle(handle: OwnedHandle) -> Self {
        handle.into()
    }
}

/// An object as it is shared: whose handle, and with which access it travels.
///
/// Made from a reference to one of this crate's objects (it travels with the rights to use it), to a file or an
/// [`OwnedHandle`], or from any other [`BorrowedHandle`] (they keep their access). [`only`](Self::only) narrows it further:
///
/// ```
/// use handover::{Access, Event, Share};
///
/// let ready = Event::manual_reset()?;
/// let wait_only = Share::from(&ready).only(Access::SYNCHRONIZE);
/// # Ok::<(), handover::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Share<'a> {
    handle: BorrowedHandle<'a>,
    access: Option<Access>,
    /// Made from a type that no socket is an object of.
    typed: bool,
}

impl<'a> Share<'a> {
    /// Shares with these rights alone, instead of what the object travels with by default.
    ///
    /// Rights that the handle doesn't carry are asked of the object's security descriptor, as
    /// [`DuplicateHandle`](https://learn.microsoft.com/windows/win32/api/handleapi/nf-handleapi-duplicatehandle)
    /// does; if it doesn't grant them, sharing fails.
    #[must_use]
    pub const fn only(mut self, access: Access) -> Self {
        self.access = Some(access);
        self
    }

    /// An object of this crate, with these rights.
    pub(crate) const fn typed(handle: BorrowedHandle<'a>, access: Access) -> Self {
        Self { handle, access: Some(access), typed: true }
    }

    pub(crate) const fn access(&self) -> Option<Access> {
        self.access
    }

    /// The handle, if it is one that can be duplicated: a pseudo handle would become something else, and a socket
    /// would lose what Winsock keeps beside the handle.
    pub(crate) fn checked(&self, what: impl FnOnce() -> String) -> Result<BorrowedHandle<'a>> {
        let what = match HandleValue::of(&self.handle) {
            Ok(_) if self.typed => return Ok(self.handle),
            Ok(_) => what(),
            Err(Error::NotAHandle { came, why }) => {
                return Err(Error::NotAHandle { came: format!("{came} for {}", what()), why });
            }
            Err(other) => return Err(other),
        };
        match sys::socket::is_socket(self.handle) {
            Ok(false) => Ok(self.handle),
            Ok(true) => Err(Error::Socket { what }),
            Err(source) => Err(Error::on_handle("NtQueryObject", what, source)),
        }
    }
}

impl<'a> From<BorrowedHandle<'a>> for Share<'a> {
    fn from(handle: BorrowedHandle<'a>) -> Self {
        Self { handle, access: None, typed: false }
    }
}

impl<'a> From<&'a OwnedHandle> for Share<'a> {
    fn from(handle: &'a OwnedHandle) -> Self {
        handle.as_handle().into()
    }
}

impl<'a> From<&'a File> for Share<'a> {
    fn from(file: &'a File) -> Self {
        Self { handle: file.as_handle(), access: None, typed: true }
    }
}
