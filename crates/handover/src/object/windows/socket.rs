//! Sockets, which are more than their handles.

use std::os::windows::io::{AsSocket, BorrowedHandle, BorrowedSocket, OwnedSocket};

use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::object::sealed::FromHandle;
use crate::object::{BorrowedObject, Object, Origin};
use crate::sys::io::Owned;
use crate::sys::{rights, winsock};

/// Converts the owner of a socket into std's.
pub(in crate::object) fn into_socket(socket: Owned) -> OwnedSocket {
    winsock::into_std(socket)
}

/// Borrows a socket, to share it.
pub(in crate::object) fn borrowed(socket: &impl AsSocket) -> BorrowedObject<'_> {
    socket.as_socket().into()
}

impl<'a> From<BorrowedSocket<'a>> for BorrowedObject<'a> {
    fn from(socket: BorrowedSocket<'a>) -> Self {
        Self { handle: winsock::handle_of(socket), rights: rights::SAME, origin: Origin::Socket }
    }
}

impl<'a> From<&'a OwnedSocket> for BorrowedObject<'a> {
    fn from(socket: &'a OwnedSocket) -> Self {
        socket.as_socket().into()
    }
}

impl Object for OwnedSocket {
    const KIND: Option<ObjectKind> = Some(ObjectKind::Socket);
}

impl FromHandle for OwnedSocket {
    fn from_handle(socket: Owned) -> Self {
        into_socket(socket)
    }
}

impl<'a> BorrowedObject<'a> {
    /// Returns whether the object is a socket, which its type says.
    pub(crate) fn is_socket(&self) -> bool {
        self.origin == Origin::Socket
    }

    /// Returns the handle of a socket, or `None` for an object of another type. Fails if another process can't have the
    /// socket.
    pub(crate) fn socket(&self, describe: impl Fn() -> String) -> Result<Option<BorrowedHandle<'a>>> {
        if !self.is_socket() {
            return Ok(None);
        }
        if self.rights != rights::SAME {
            return Err(Error::invalid(
                describe(),
                "is a socket, which carries no rights that could be chosen; share it without with_access",
            ));
        }
        let handle = self.no_pseudo_handle(&describe)?;
        winsock::check_provider(handle).map_err(|error| Error::system(describe(), error))?;
        Ok(Some(handle))
    }
}
