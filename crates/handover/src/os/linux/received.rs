//! std's sockets as objects: a service takes those that its manager has opened as what they are.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use crate::object::sealed::FromHandle;
use crate::sys::io::Owned;
use crate::{Kind, Object, OwnedHandle, Share};

macro_rules! sockets {
    ($($type:ty),*) => {$(
        impl Object for $type {
            const KIND: Option<Kind> = Some(Kind::Socket);
        }

        impl FromHandle for $type {
            fn from_handle(handle: Owned) -> Self {
                OwnedHandle::from(handle).into()
            }
        }

        impl<'a> From<&'a $type> for Share<'a> {
            fn from(socket: &'a $type) -> Self {
                std::os::fd::AsFd::as_fd(socket).into()
            }
        }
    )*};
}

sockets!(TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream);
