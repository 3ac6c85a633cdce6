//! std's sockets as objects, so that a service can take the sockets that its manager opened as std's types.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use crate::handle::ObjectKind;
use crate::object::sealed::FromHandle;
use crate::object::{BorrowedObject, Object};
use crate::sys::io::Owned;
use crate::sys::io::OwnedHandle;

macro_rules! sockets {
    ($($type:ty),*) => {$(
        impl Object for $type {
            const KIND: Option<ObjectKind> = Some(ObjectKind::Socket);
        }

        impl FromHandle for $type {
            fn from_handle(handle: Owned) -> Self {
                OwnedHandle::from(handle).into()
            }
        }

        impl<'a> From<&'a $type> for BorrowedObject<'a> {
            fn from(socket: &'a $type) -> Self {
                std::os::fd::AsFd::as_fd(socket).into()
            }
        }
    )*};
}

sockets!(TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream);
