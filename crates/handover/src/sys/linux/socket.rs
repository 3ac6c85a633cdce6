//! The types of sockets, and whether a copy of a descriptor would lose something.

use std::io;
use std::os::fd::BorrowedFd;

use super::handle::{raw, to};
use super::{Answered, SysResult, ask};
use crate::handle::HandleValue;
pub(crate) use crate::sys::socket_type::SocketType;

/// Returns whether a copy would lose something that belongs to the descriptor. On Linux it never does. A descriptor
/// that isn't open is found when it is copied.
#[allow(clippy::unnecessary_wraps, reason = "the Windows version asks the system, which can fail")]
pub(crate) fn is_lost_in_a_copy(_: BorrowedFd<'_>) -> SysResult<bool> {
    Ok(false)
}

/// Returns the type of the socket with this handle value. It fails if no socket is open there.
pub(crate) fn socket_of(value: HandleValue) -> SysResult<SocketType> {
    let option = |name: &'static str, option| {
        let number = ask("getsockopt", &[("handle", value.into()), to(name)], || {
            let (mut answer, mut length): (libc::c_int, libc::socklen_t) = (0, 4);
            // SAFETY: `answer` and `length` are live and writable, and `length` is the size of `answer`. Any bytes are a
            // valid integer. The kernel checks the descriptor's number.
            let outcome = unsafe {
                libc::getsockopt(
                    raw(value),
                    libc::SOL_SOCKET,
                    option,
                    (&raw mut answer).cast(),
                    &raw mut length,
                )
            };
            if outcome == 0 { Ok(Answered(answer)) } else { Err(io::Error::last_os_error()) }
        });
        number.map(|Answered(number)| number)
    };
    let domain = option("SO_DOMAIN", libc::SO_DOMAIN)?;
    let kind = option("SO_TYPE", libc::SO_TYPE)?;
    let listens = option("SO_ACCEPTCONN", libc::SO_ACCEPTCONN)? != 0;
    Ok(match (domain, kind, listens) {
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM, true) => SocketType::TcpListener,
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM, false) => SocketType::TcpStream,
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_DGRAM, _) => SocketType::Udp,
        (libc::AF_UNIX, libc::SOCK_DGRAM, _) => SocketType::UnixDatagram,
        (libc::AF_UNIX, libc::SOCK_STREAM, true) => SocketType::UnixListener,
        (libc::AF_UNIX, libc::SOCK_STREAM, false) => SocketType::UnixStream,
        (libc::AF_UNIX, libc::SOCK_SEQPACKET, _) => SocketType::UnixSequence,
        _ => SocketType::Other,
    })
}
