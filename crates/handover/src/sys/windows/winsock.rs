//! Sockets: their types, and how one process gives another a socket.
//!
//! A socket is a handle and state that Winsock keeps beside it, in the process. `WSADuplicateSocketW` duplicates both for
//! another process, and returns a record with which that process makes the socket its own.

use std::fmt;
use std::io;
use std::os::windows::io::{
    AsRawHandle, BorrowedHandle, BorrowedSocket, FromRawHandle, FromRawSocket, IntoRawHandle, OwnedHandle,
    OwnedSocket, RawSocket,
};
use std::ptr::with_exposed_provenance_mut;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, FROM_PROTOCOL_INFO, INVALID_SOCKET, SO_ACCEPTCONN, SO_PROTOCOL_INFOW, SOCK_DGRAM,
    SOCK_STREAM, SOCKET, SOL_SOCKET, WSA_FLAG_NO_HANDLE_INHERIT, WSA_FLAG_OVERLAPPED, WSADATA,
    WSADuplicateSocketW, WSAPROTOCOL_INFOW, WSASocketW, WSAStartup, XP1_IFS_HANDLES, getsockopt,
};

use super::io::{Close, Owned, last_winsock_error as last_error};
use super::{Answered, Argument, SysError, SysResult, always, ask, call, succeeded};
use crate::handle::HandleValue;
use crate::sys::socket_type::SocketType;

/// The record of a socket for one process, a `WSAPROTOCOL_INFOW`. It can be used once, in that process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record([u8; Record::LENGTH]);

impl Record {
    /// The length in bytes, which is the same in 32 and 64 bits.
    pub(crate) const LENGTH: usize = size_of::<WSAPROTOCOL_INFOW>();

    pub(crate) fn bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl From<[u8; Self::LENGTH]> for Record {
    fn from(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").finish_non_exhaustive()
    }
}

/// Borrows a socket as the handle that it also is.
pub(crate) fn handle_of(socket: BorrowedSocket<'_>) -> BorrowedHandle<'_> {
    let raw = std::os::windows::io::AsRawSocket::as_raw_socket(&socket);
    // SAFETY: the socket is borrowed, so it stays open for the lifetime of the result. The sockets of Windows' own
    // providers are handles of the kernel; for those of others, the kernel checks the number in each call.
    unsafe { BorrowedHandle::borrow_raw(with_exposed_provenance_mut(number_of(raw))) }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "std's type has 64 bits, and Winsock's as many as a pointer"
)]
fn number_of(socket: RawSocket) -> SOCKET {
    socket as SOCKET
}

/// Returns the handle of a socket in the form that Winsock takes.
fn raw(handle: BorrowedHandle<'_>) -> SOCKET {
    handle.as_raw_handle().expose_provenance()
}

/// Starts Winsock in this process, which std does when a program first creates a socket. A process that only receives
/// one would otherwise get an error for each call.
///
/// It is never stopped, because std's sockets may be in use until the process exits.
fn start() -> SysResult<()> {
    static IS_STARTED: AtomicBool = AtomicBool::new(false);
    const VERSION: u16 = 0x0202;
    if IS_STARTED.load(SeqCst) {
        return Ok(());
    }
    call("WSAStartup", &[("version", u32::from(VERSION).into())], || {
        let mut data = WSADATA::default();
        // SAFETY: `data` is a live, writable structure for the answer. Winsock counts the starts, so another one does
        // no harm.
        match unsafe { WSAStartup(VERSION, &raw mut data) } {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    })?;
    IS_STARTED.store(true, SeqCst);
    Ok(())
}

#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the structure has 628 bytes")]
const PROTOCOL_LENGTH: i32 = Record::LENGTH as i32;

/// Returns the description of the protocol and the provider of a socket. Fails if the handle isn't a socket's.
fn protocol(socket: SOCKET) -> SysResult<WSAPROTOCOL_INFOW> {
    let arguments = [("handle", Argument::Raw(socket as u64)), ("protocol", Argument::Yes)];
    let protocol = ask("getsockopt", &arguments, || {
        let mut answer = WSAPROTOCOL_INFOW::default();
        let mut length = PROTOCOL_LENGTH;
        // SAFETY: `answer` and `length` are live and writable, and `length` is the size of `answer`, which consists of
        // integers. Winsock checks the socket's number.
        let outcome = unsafe {
            getsockopt(socket, SOL_SOCKET, SO_PROTOCOL_INFOW, (&raw mut answer).cast(), &raw mut length)
        };
        if outcome == 0 { Ok(Answered(answer)) } else { Err(last_error()) }
    });
    protocol.map(|Answered(protocol)| protocol)
}

/// Returns whether a socket listens for connections.
fn listens(socket: SOCKET) -> SysResult<bool> {
    let arguments = [("handle", Argument::Raw(socket as u64)), ("listens", Argument::Yes)];
    ask("getsockopt", &arguments, || {
        let (mut answer, mut length) = (0_i32, 4);
        // SAFETY: `answer` and `length` are live and writable, and `length` is the size of `answer`. Winsock checks the
        // socket's number.
        let outcome = unsafe {
            getsockopt(socket, SOL_SOCKET, SO_ACCEPTCONN, (&raw mut answer).cast(), &raw mut length)
        };
        // Winsock may answer with one byte only.
        if outcome == 0 { Ok(answer != 0) } else { Err(last_error()) }
    })
}

/// Returns the type of the socket with this handle value. It fails if no socket is open there.
pub(crate) fn socket_of(value: HandleValue) -> SysResult<SocketType> {
    const IPV4: i32 = AF_INET as i32;
    const IPV6: i32 = AF_INET6 as i32;
    let socket = value.get() as SOCKET;
    let protocol = protocol(socket)?;
    Ok(match (protocol.iAddressFamily, protocol.iSocketType) {
        (IPV4 | IPV6, SOCK_STREAM) if listens(socket)? => SocketType::TcpListener,
        (IPV4 | IPV6, SOCK_STREAM) => SocketType::TcpStream,
        (IPV4 | IPV6, SOCK_DGRAM) => SocketType::Udp,
        _ => SocketType::Other,
    })
}

/// The reason why a socket of another provider than Windows' own doesn't travel.
const LAYERED: &str = "a layered service provider stands between the socket and the system, and may not let another process \
     have it; uninstall that provider, or listen or connect in the other process";

/// Checks that the system itself provides the socket: its handle is the kernel's, and no other provider is layered on it.
pub(crate) fn check_provider(socket: BorrowedHandle<'_>) -> SysResult<()> {
    if is_of_the_system(&protocol(raw(socket))?) {
        return Ok(());
    }
    Err(SysError::unexpected("getsockopt", LAYERED))
}

/// Returns whether the protocol is that of a base provider whose sockets are handles of the kernel.
fn is_of_the_system(protocol: &WSAPROTOCOL_INFOW) -> bool {
    protocol.ProtocolChain.ChainLen == 1 && protocol.dwServiceFlags1 & XP1_IFS_HANDLES != 0
}

/// Duplicates a socket for the process with this id, which must not have exited: its id could belong to another one.
/// Returns the record with which that process [imports](import) it.
///
/// From then on the process has a handle, which only the process itself can close.
pub(crate) fn duplicate_for(socket: BorrowedHandle<'_>, process: u32) -> SysResult<Record> {
    let arguments = [("socket", socket.into()), ("for", Argument::ProcessId(process))];
    let record = call("WSADuplicateSocketW", &arguments, || {
        let mut record = WSAPROTOCOL_INFOW::default();
        // SAFETY: the socket is borrowed, so it is open. `record` is a live, writable structure for the answer.
        if unsafe { WSADuplicateSocketW(raw(socket), process, &raw mut record) } != 0 {
            return Err(last_error());
        }
        // SAFETY: the structure consists of integers without gaps between them, and all were initialized.
        Ok(Answered(unsafe { std::mem::transmute::<WSAPROTOCOL_INFOW, [u8; Record::LENGTH]>(record) }))
    });
    record.map(|Answered(record)| Record(record))
}

/// Makes this process the owner of the socket of a record that was made for it. The socket isn't inheritable, and can be
/// used with overlapped calls, as std's are.
///
/// After an error the record can still be used, and nothing but another attempt can close the handle that it stands for.
///
/// The record is believed: one that names another socket of this process would give that a second owner. So it must come
/// from a process that has full control over this one anyway, or that the program trusts as much.
pub(crate) fn import(record: &Record) -> SysResult<Owned> {
    start()?;
    let socket = call("WSASocketW", &[("from a record", Argument::Yes)], || {
        // SAFETY: any bytes are a valid structure, which consists of integers and has the same size.
        let record = unsafe { std::mem::transmute::<[u8; Record::LENGTH], WSAPROTOCOL_INFOW>(record.0) };
        let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
        // SAFETY: `record` lives during the call, and Winsock checks its contents.
        let socket = unsafe {
            WSASocketW(
                FROM_PROTOCOL_INFO,
                FROM_PROTOCOL_INFO,
                FROM_PROTOCOL_INFO,
                &raw const record,
                0,
                flags,
            )
        };
        if socket == INVALID_SOCKET {
            return Err(last_error());
        }
        // SAFETY: the successful call has just returned this socket, and the record was made for this process and is
        // used once, so no other owner exists. It is closed as a socket.
        let handle = unsafe { OwnedHandle::from_raw_handle(with_exposed_provenance_mut(socket)) };
        Ok(Owned::closed_by(handle, Close::Socket))
    })?;
    // A provider may make the handle inheritable when it duplicates it, and then ignore the flag. The record can't be used
    // again, so no failure may be injected here, where a real one is impossible: the handle is open.
    let arguments = [("handle", (&socket).into()), ("not inheritable", Argument::Yes)];
    let _ = always("SetHandleInformation", &arguments, || {
        // SAFETY: the handle is borrowed from its owner, so it is open. The inherit flag has no effect on other calls.
        succeeded(unsafe { SetHandleInformation(socket.as_raw_handle(), HANDLE_FLAG_INHERIT, 0) })
    });
    Ok(socket)
}

/// Returns whether the handle is a socket's, so that only a socket's type may own it.
pub(crate) fn is_socket(handle: &Owned) -> bool {
    handle.close() == Close::Socket
}

/// Converts the owner of a socket into std's.
///
/// # Panics
///
/// Panics if the handle isn't a socket's, which the callers have checked.
pub(crate) fn into_std(socket: Owned) -> OwnedSocket {
    assert!(is_socket(&socket), "only the owner of a socket is converted");
    let raw = OwnedHandle::from(socket).into_raw_handle();
    // SAFETY: `into_raw_handle` has just released the ownership of the socket to this function.
    unsafe { OwnedSocket::from_raw_socket(raw.expose_provenance() as RawSocket) }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::os::windows::io::AsSocket;

    use super::*;

    #[test]
    fn layered_and_virtual_providers_are_not_the_systems() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let handle = handle_of(socket.as_socket());
        check_provider(handle).expect("it is the system's own provider");
        let own = protocol(raw(handle)).expect("it is a socket");
        let mut layered = own;
        layered.ProtocolChain.ChainLen = 2;
        let mut with_own_handles = own;
        with_own_handles.dwServiceFlags1 &= !XP1_IFS_HANDLES;
        assert!(is_of_the_system(&own));
        assert!(!is_of_the_system(&layered) && !is_of_the_system(&with_own_handles));
    }
}
