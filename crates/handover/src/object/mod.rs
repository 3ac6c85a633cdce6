//! What is shared: one file a kind.

pub(crate) mod adopt;
pub(crate) mod event;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as imp;
#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as imp;
pub(crate) mod macros;
pub(crate) mod semaphore;
pub(crate) mod shared_memory;
pub(crate) mod timer;

use std::fs::File;
use std::io;

pub use event::{Event, ResetMode};
pub use shared_memory::{SharedMemory, View, ViewMut};
#[cfg(windows)]
pub use windows::{LockError, Mutex, MutexGuard};

#[cfg(target_os = "linux")]
pub(crate) use linux::object_handle::NameGuard;

pub(crate) use imp::object_handle::ObjectHandle;
pub use semaphore::Semaphore;
pub use timer::Timer;

use crate::error::{Error, Result};
use crate::handle::range::objection;
use crate::handle::{HandleValue, ObjectKind};
use crate::sys::io::{AsHandle, BorrowedHandle, HasHandle, Owned, OwnedHandle};
use crate::sys::rights::{self, Rights};
use crate::sys::{self, SysError};

/// A type that can own a handle which came from another process.
///
/// [`Inherited::take`](crate::Inherited::take) and [`HandleValue::adopt`] check the kind with the kernel before they make one. [`OwnedHandle`](crate::OwnedHandle) takes any kind;
/// what it holds can then be turned into whatever else the receiver uses.
pub trait Object: AsHandle + Sized + sealed::FromHandle {
    /// The kind that the handle must refer to; `None` for any.
    const KIND: Option<ObjectKind>;
}

pub(crate) mod sealed {
    use super::Owned;
    use super::adopt::Claim;

    /// Only this crate makes objects of handles: it is where the kind is checked.
    pub trait FromHandle: Sized {
        /// Owns the handle, which refers to an object of the right kind.
        fn from_handle(handle: Owned) -> Self;

        /// As `from_handle`, for a handle whose value is claimed for as long as its owner lives.
        fn from_adopted(handle: Owned, claim: Claim) -> Self {
            claim.of_std_owner();
            Self::from_handle(handle)
        }
    }
}

impl Object for OwnedHandle {
    const KIND: Option<ObjectKind> = None;
}

impl sealed::FromHandle for OwnedHandle {
    fn from_handle(handle: Owned) -> Self {
        handle.into()
    }
}

impl Object for File {
    const KIND: Option<ObjectKind> = Some(ObjectKind::File);
}

impl sealed::FromHandle for File {
    fn from_handle(handle: Owned) -> Self {
        OwnedHandle::from(handle).into()
    }
}

/// An object as it is shared: whose handle, and with which access it travels.
///
/// Made from a reference to one of this crate's objects (it travels with the rights to use it), to a file or an
/// [`OwnedHandle`](crate::OwnedHandle), or from any other [`BorrowedHandle`](crate::BorrowedHandle) (they keep their access).
///
/// On Windows, `only` narrows it further. On Linux a descriptor carries no rights but those to read and write a file,
/// so there is nothing to narrow but a section ([`SharedMemory::read_only`]).
#[derive(Debug, Clone, Copy)]
pub struct BorrowedObject<'a> {
    handle: BorrowedHandle<'a>,
    rights: Rights,
    /// Made from a type that no socket is an object of.
    typed: bool,
}

impl<'a> BorrowedObject<'a> {
    /// An object of this crate, with these rights.
    pub(crate) const fn typed(handle: BorrowedHandle<'a>, rights: Rights) -> Self {
        Self { handle, rights, typed: true }
    }

    /// With these rights instead.
    #[allow(unused, reason = "not every system has rights to choose from")]
    pub(crate) const fn with_rights(mut self, rights: Rights) -> Self {
        self.rights = rights;
        self
    }

    /// The handle, if its value is one that a table can hold. Whether it is open, the next call says.
    #[inline]
    pub(crate) fn no_pseudo_handle(&self, what: impl FnOnce() -> String) -> Result<BorrowedHandle<'a>> {
        if objection(sys::value::number_of(self.handle)).is_none() {
            return Ok(self.handle);
        }
        match HandleValue::of(&self.handle) {
            Ok(_) => Ok(self.handle),
            Err(Error::InvalidHandleValue { input, reason }) => {
                Err(Error::InvalidHandleValue { input: format!("{}, {input},", what()), reason })
            }
            Err(other) => Err(other),
        }
    }

    pub(crate) const fn rights(&self) -> Rights {
        self.rights
    }

    /// The handle, if it is one that can be duplicated: a pseudo handle would become something else, and a socket
    /// would lose what Winsock keeps beside the handle.
    pub(crate) fn checked(&self, what: impl Fn() -> String) -> Result<BorrowedHandle<'a>> {
        self.no_pseudo_handle(&what)?;
        if self.typed {
            return Ok(self.handle);
        }
        let what = what();
        match sys::socket::is_lost_in_a_copy(self.handle) {
            Ok(false) => Ok(self.handle),
            Ok(true) => Err(Error::SocketUnsupported { object: what }),
            Err(error) => Err(Error::on_handle(what, error)),
        }
    }
}

impl<'a> From<BorrowedHandle<'a>> for BorrowedObject<'a> {
    fn from(handle: BorrowedHandle<'a>) -> Self {
        Self { handle, rights: rights::SAME, typed: false }
    }
}

impl<'a> From<&'a OwnedHandle> for BorrowedObject<'a> {
    fn from(handle: &'a OwnedHandle) -> Self {
        handle.handle().into()
    }
}

impl<'a> From<&'a File> for BorrowedObject<'a> {
    fn from(file: &'a File) -> Self {
        Self { handle: file.handle(), rights: rights::SAME, typed: true }
    }
}

/// Why a call on an object failed: for want of the right that it takes, or for another reason.
pub(crate) fn refused(object: &str, right: &'static str, error: SysError) -> Error {
    let object = object.to_owned();
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Error::AccessDenied { call: error.call, object, right };
    }
    Error::system(object, error)
}
