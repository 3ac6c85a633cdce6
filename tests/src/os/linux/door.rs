//! The listener's socket, as a client without the library finds it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Returns the folder of this user's sockets and locks.
#[must_use]
pub fn folder() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    let is_ours = |folder: &Path| folder.metadata().is_ok_and(|metadata| metadata.uid() == user);
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = PathBuf::from(format!("/run/user/{user}"));
    let of_root = (user == 0).then(|| PathBuf::from("/run"));
    match named.into_iter().chain([usual]).chain(of_root).find(|folder| is_ours(folder)) {
        Some(runtime) => runtime.join("handover"),
        None => PathBuf::from(format!("/tmp/handover-{user}")),
    }
}

/// Returns the path of a listener's socket.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    folder().join(format!("l.{name}"))
}

/// Connects to the listener's socket.
///
/// # Errors
///
/// Returns the system's error if there is no listener.
pub fn connect(name: &str) -> io::Result<OwnedFd> {
    connect_to(&path(name))
}

/// Connects to the socket at this path, as a listener of the library's has it.
///
/// # Errors
///
/// Returns the system's error if no process listens there.
pub fn connect_to(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Listens at this path, with a socket of the same type as the library's. std's type accepts connections and reads and
/// writes packets too.
///
/// # Errors
///
/// Returns the system's error, for example if the path exists.
pub fn listen_at(path: &Path) -> io::Result<UnixListener> {
    let socket = socket()?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket.into())
}

/// Creates two connected sockets of the type that a channel has. std's type reads and writes packets too.
///
/// # Errors
///
/// Returns the system's error if it has no room for them.
pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let (one, other) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((one.into(), other.into()))
}

fn socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Returns whether a file of this name is left: a socket or a lock, of a listener or of an object.
#[must_use]
pub fn exists(name: &str) -> bool {
    ["l.", "lock.l.", "o.", "lock.o."].iter().any(|sort| folder().join(format!("{sort}{name}")).exists())
}
