//! Sockets, which are descriptors like others, and std's Unix sockets as objects.

use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use crate::object::BorrowedObject;
use crate::object::socket::sockets;
use crate::sys::io::{AsHandle, Owned, OwnedHandle};
use crate::sys::socket::SocketType;

/// Converts the owner of a socket into std's.
pub(in crate::object) fn into_socket(handle: Owned) -> OwnedHandle {
    handle.into()
}

/// Borrows a socket, to share it.
pub(in crate::object) fn borrowed(socket: &impl AsHandle) -> BorrowedObject<'_> {
    socket.as_fd().into()
}

sockets! {
    UnixDatagram: SocketType::UnixDatagram, "Unix datagram socket";
    UnixListener: SocketType::UnixListener, "Unix listener";
    UnixStream: SocketType::UnixStream, "Unix stream";
}
