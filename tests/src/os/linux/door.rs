//! The listener's socket, as a client without the library finds it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

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
    UnixStream::connect(path(name)).map(OwnedFd::from)
}

/// Returns whether a file of this name is left: a socket or a lock, of a listener or of an object.
#[must_use]
pub fn exists(name: &str) -> bool {
    ["l.", "lock.l.", "o.", "lock.o."].iter().any(|sort| folder().join(format!("{sort}{name}")).exists())
}
