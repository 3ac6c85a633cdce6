//! std's sockets as objects.
//!
//! Each system's half provides `into_socket`, which converts the owner of a socket into std's, and `borrowed`, which borrows
//! a socket to share it; and the types of sockets that only this system has.

use std::net::{TcpListener, TcpStream, UdpSocket};

use super::imp::socket::{borrowed, into_socket};
use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::sys::socket::{SocketType, socket_of};

/// Implements the traits and conversions of types of sockets. The arguments are: the type, the sockets that it accepts, and
/// its description in errors.
macro_rules! sockets {
    ($($type:ty: $expected:pat, $text:literal;)*) => {$(
        impl $crate::object::Object for $type {
            const KIND: Option<$crate::handle::ObjectKind> = Some($crate::handle::ObjectKind::Socket);
        }

        impl $crate::object::sealed::FromHandle for $type {
            fn check(
                value: $crate::handle::HandleValue,
                described: &dyn Fn() -> String,
            ) -> $crate::error::Result<()> {
                $crate::object::socket::check(value, described, |found| matches!(found, $expected), $text)
            }

            fn from_handle(handle: $crate::sys::io::Owned) -> Self {
                into_socket(handle).into()
            }
        }

        impl<'a> From<&'a $type> for $crate::object::BorrowedObject<'a> {
            fn from(socket: &'a $type) -> Self {
                borrowed(socket)
            }
        }
    )*};
}

/// Returns an error unless the handle is a socket of an expected type, which `text` describes.
pub(crate) fn check(
    value: HandleValue,
    described: &dyn Fn() -> String,
    is_expected: fn(&SocketType) -> bool,
    text: &str,
) -> Result<()> {
    let found = socket_of(value).map_err(|error| Error::on_handle(described(), error))?;
    if is_expected(&found) {
        return Ok(());
    }
    let kind = |text: &str| ObjectKind::Other(text.into());
    Err(Error::WrongKind { object: described(), expected: kind(text), found: kind(found.text()) })
}

sockets! {
    TcpListener: SocketType::TcpListener, "TCP listener";
    TcpStream: SocketType::TcpStream, "TCP stream";
    UdpSocket: SocketType::Udp, "UDP socket";
}

#[allow(unused_imports, reason = "only Linux has other types of sockets in std")]
pub(crate) use sockets;
