//! std's sockets as objects, so that a service can take the sockets that its manager opened as std's types.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::object::sealed::FromHandle;
use crate::object::{BorrowedObject, Object};
use crate::sys::io::{Owned, OwnedHandle};
use crate::sys::socket::{SocketType, socket_of};

macro_rules! sockets {
    ($($type:ty: $expected:pat, $text:literal;)*) => {$(
        impl Object for $type {
            const KIND: Option<ObjectKind> = Some(ObjectKind::Socket);
        }

        impl FromHandle for $type {
            fn check(value: HandleValue, described: &dyn Fn() -> String) -> Result<()> {
                let found = socket_of(value).map_err(|error| Error::on_handle(described(), error))?;
                if matches!(found, $expected) {
                    return Ok(());
                }
                let kind = |text: &str| ObjectKind::Other(text.into());
                Err(Error::WrongKind { object: described(), expected: kind($text), found: kind(found.text()) })
            }

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

sockets! {
    TcpListener: SocketType::TcpListener, "TCP listener";
    TcpStream: SocketType::TcpStream, "TCP stream";
    UdpSocket: SocketType::Udp, "UDP socket";
    UnixDatagram: SocketType::UnixDatagram, "Unix datagram socket";
    UnixListener: SocketType::UnixListener, "Unix listener";
    UnixStream: SocketType::UnixStream, "Unix stream";
}
