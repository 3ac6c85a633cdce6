//! The objects that processes share: one file for each kind.
//!
//! Each system's half provides `ObjectHandle`, the handle inside every object type, and the types that only this system
//! has.

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
mod socket;
pub(crate) mod timer;

use std::fmt;
use std::fs::File;
use std::io;

pub use event::{Event, ResetMode};
pub use shared_memory::{SharedMemory, View, ViewMut};
#[cfg(windows)]
pub use windows::{LockError, Mutex, MutexGuard, ThreadWaitable, wait_any};

#[cfg(target_os = "linux")]
pub(crate) use linux::object_handle::NameGuard;

pub(crate) use imp::object_handle::{ObjectHandle, check_size, excess};
pub use semaphore::Semaphore;
pub use timer::Timer;

use crate::error::{Error, Result};
use crate::handle::range::objection;
use crate::handle::{HandleValue, ObjectKind};
use crate::sys::create_object::What;
use crate::sys::io::{BorrowedHandle, HasHandle, Owned, OwnedHandle};
use crate::sys::rights::{self, Rights};
use crate::sys::{self, SysError};

/// A type that can own a handle received from another process.
///
/// [`Inherited::take`](crate::Inherited::take), [`HandleValue::adopt`] and the other calls that receive an object are
/// generic over it. They check with the kernel that the object has the kind of the type. The result owns the handle,
/// and dropping it closes the handle.
///
/// [`OwnedHandle`](crate::OwnedHandle) accepts any kind. Convert it into the type that the receiver needs, by `TryFrom`
/// for this crate's types.
///
/// This crate's object types, [`Process`](crate::Process), `File`, `OwnedHandle`, and std's `TcpListener`, `TcpStream` and
/// `UdpSocket` implement it. Each type of socket accepts only sockets of its own type: of the Internet protocols, and for a
/// `TcpListener` one that listens. On Linux std's Unix sockets implement it too, and on Windows `OwnedSocket`, which accepts
/// any socket. There a socket is more than its handle: an `OwnedHandle` doesn't accept it, and dropping it calls
/// `closesocket`.
///
/// Shared memory larger than this machine's own memory isn't accepted on Linux ([`Error::InvalidInput`]). Other crates can't
/// implement this trait.
pub trait Object: Sized + sealed::FromHandle {
    /// The kind of object that the handle must refer to; `None` for any kind.
    const KIND: Option<ObjectKind>;
}

pub(crate) mod sealed {
    use super::adopt::Claim;
    use super::{HandleValue, Owned, Result};

    /// Creates objects from handles. Sealed, because only this crate's callers check the kind first.
    pub trait FromHandle: Sized {
        /// Checks what the kind doesn't say: whether the object with this handle value can be used as this type.
        /// `described` names the object in errors.
        fn check(_value: HandleValue, _described: &dyn Fn() -> String) -> Result<()> {
            Ok(())
        }

        /// Creates the object, which owns the handle. The caller has checked the kind.
        fn from_handle(handle: Owned) -> Self;

        /// Does the same as `from_handle`, and keeps the claim on the handle's value until the object is dropped.
        fn from_adopted(handle: Owned, claim: Claim) -> Self {
            claim.of_std_owner();
            Self::from_handle(handle)
        }
    }
}

/// Describes an object that this process is about to create, for errors.
pub(crate) fn description_of_new(what: What) -> String {
    let kind = what.kind();
    match what {
        What::SharedMemory(size) => format!("the new {} of {size} bytes{}", kind.name(), excess(size)),
        _ => format!("the new {}", kind.name()),
    }
}

/// Returns the kind that was expected instead of the one that was found, unless a type of this kind can own an object of that
/// kind.
pub(crate) fn expected_instead_of(kind: Option<ObjectKind>, found: &ObjectKind) -> Option<ObjectKind> {
    match kind {
        Some(expected) => (!sys::handle::can_be(found, &expected)).then_some(expected),
        None => sys::handle::is_more_than_a_handle(found).then(|| ObjectKind::Other("handle".into())),
    }
}

/// Converts a handle of this process, which may refer to any object, into an object of the type.
pub(crate) fn typed<T: Object>(handle: OwnedHandle) -> Result<T> {
    check_typed(&handle, T::KIND, T::check)?;
    Ok(T::from_handle(handle.into()))
}

/// The function that checks an object beyond its kind: [`sealed::FromHandle::check`] of its type.
type Check = fn(HandleValue, &dyn Fn() -> String) -> Result<()>;

/// Checks that a type of this kind, with this further check, can own the handle.
fn check_typed(handle: &OwnedHandle, kind: Option<ObjectKind>, check: Check) -> Result<()> {
    let value = HandleValue::of(handle)?;
    let described = || format!("handle {}", value.for_people());
    adopt::check_kind(sys::handle::kind_of_value(value), kind, &described)?;
    check(value, &described)
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

/// An object to share with another process: a borrowed handle, and the access rights that the copy gets.
///
/// [`Command::inherit`](crate::Command::inherit), [`Message::with`](crate::Message::with) and the other calls that
/// share an object accept anything that converts into it:
///
/// - A reference to an [`Event`](crate::Event), [`Semaphore`](crate::Semaphore),
///   [`SharedMemory`](crate::SharedMemory), [`Timer`](crate::Timer), or on Windows a mutex. The copy gets the rights to
///   use the object.
/// - A reference to a [`Process`](crate::Process). The copy gets the rights to wait for it and to query its times.
/// - A reference to a `File` or an [`OwnedHandle`](crate::OwnedHandle), or any
///   [`BorrowedHandle`](crate::BorrowedHandle). The copy gets the same rights as the handle.
/// - A reference to a `TcpListener`, `TcpStream` or `UdpSocket`, on Linux also to one of std's Unix sockets, and on Windows a
///   `BorrowedSocket` or a reference to an `OwnedSocket`. The copy is a second descriptor of the same socket: both processes
///   have its state, its queue of connections and its received bytes, of which each arrives once. On Linux they also share
///   its settings, such as that of `set_nonblocking`.
///
/// The caller keeps its own handle. The copy belongs to the receiving process.
///
/// On Windows, `with_access` gives the copy fewer rights. On Linux a descriptor carries only the rights to read and to
/// write, so only shared memory can be narrowed, with [`SharedMemory::read_only`].
///
/// ```
/// use handover::{BorrowedObject, SharedMemory};
///
/// let memory = SharedMemory::new(4096)?;
/// let to_read_and_write = BorrowedObject::from(&memory);
/// let to_read = memory.read_only();
/// # Ok::<(), handover::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct BorrowedObject<'a> {
    handle: BorrowedHandle<'a>,
    rights: Rights,
    origin: Origin,
}

/// The type that an object to share comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// A handle of any object.
    Handle,
    /// A type that never owns a socket on Windows, so that `checked` needn't ask the system.
    Typed,
    /// The same, and the type never owns a semaphore.
    NoSemaphore,
    /// A type of sockets on Windows.
    #[allow(dead_code, reason = "on Linux a socket is a descriptor like others")]
    Socket,
}

impl fmt::Debug for BorrowedObject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handle = sys::value::number_of(self.handle);
        f.debug_struct("BorrowedObject").field("handle", &handle).finish_non_exhaustive()
    }
}

impl<'a> BorrowedObject<'a> {
    /// Creates a share of one of this crate's objects, with these rights.
    pub(crate) const fn typed(handle: BorrowedHandle<'a>, rights: Rights) -> Self {
        Self { handle, rights, origin: Origin::Typed }
    }

    /// Does the same for an object that is no semaphore, because its type owns objects of another kind alone.
    pub(crate) const fn no_semaphore(handle: BorrowedHandle<'a>, rights: Rights) -> Self {
        Self { handle, rights, origin: Origin::NoSemaphore }
    }

    /// Returns whether the object is known to be no semaphore. A plain handle, or a file made of one, may be any object.
    #[allow(dead_code, reason = "on Windows the kernel tells events and semaphores apart")]
    #[inline]
    pub(crate) fn is_no_semaphore(&self) -> bool {
        self.origin == Origin::NoSemaphore
    }

    /// Replaces the rights.
    #[allow(unused, reason = "used only on Windows, where rights can be chosen")]
    pub(crate) const fn with_rights(mut self, rights: Rights) -> Self {
        self.rights = rights;
        self
    }

    /// Returns the handle, unless it is a pseudo handle or another value that no handle table has.
    ///
    /// Doesn't check that the handle is open: the caller's next system call on it does.
    #[inline]
    pub(crate) fn no_pseudo_handle(&self, describe: &dyn Fn() -> String) -> Result<BorrowedHandle<'a>> {
        if objection(sys::value::number_of(self.handle)).is_none() {
            return Ok(self.handle);
        }
        match HandleValue::of(&self.handle) {
            Ok(_) => Ok(self.handle),
            Err(Error::InvalidHandleValue { input, reason }) => {
                Err(Error::InvalidHandleValue { input: format!("{}, {input},", describe()), reason })
            }
            Err(other) => Err(other),
        }
    }

    pub(crate) const fn rights(&self) -> Rights {
        self.rights
    }

    /// Returns the handle, if it can be duplicated.
    ///
    /// - A pseudo handle can't, because it is no entry of the handle table. `DuplicateHandle` would turn it into a real
    ///   handle to a process or a thread.
    /// - On Windows a socket can't, because its copy would lose the state that Winsock keeps beside the handle. Code that can
    ///   share it in another way asks [`is_socket`](Self::is_socket) first.
    pub(crate) fn checked(&self, describe: &dyn Fn() -> String) -> Result<BorrowedHandle<'a>> {
        self.no_pseudo_handle(describe)?;
        let object = match self.origin {
            Origin::Typed | Origin::NoSemaphore => return Ok(self.handle),
            Origin::Socket => return Err(Error::SocketUnsupported { object: describe() }),
            Origin::Handle => describe(),
        };
        match sys::socket::is_lost_in_a_copy(self.handle) {
            Ok(false) => Ok(self.handle),
            Ok(true) => Err(Error::SocketUnsupported { object }),
            Err(error) => Err(Error::on_handle(object, error)),
        }
    }
}

impl<'a> From<BorrowedHandle<'a>> for BorrowedObject<'a> {
    fn from(handle: BorrowedHandle<'a>) -> Self {
        Self { handle, rights: rights::SAME, origin: Origin::Handle }
    }
}

impl<'a> From<&'a OwnedHandle> for BorrowedObject<'a> {
    fn from(handle: &'a OwnedHandle) -> Self {
        handle.handle().into()
    }
}

impl<'a> From<&'a File> for BorrowedObject<'a> {
    fn from(file: &'a File) -> Self {
        Self { handle: file.handle(), rights: rights::SAME, origin: Origin::Typed }
    }
}

/// Returns the error for a failed call on an object: [`Error::AccessDenied`] with the required right if the call was
/// denied, [`Error::System`] otherwise.
pub(crate) fn refused(object: &str, right: &'static str, error: SysError) -> Error {
    let object = object.to_owned();
    if error.kind() == io::ErrorKind::PermissionDenied {
        return Error::AccessDenied { call: error.call, object, right };
    }
    Error::system(object, error)
}
