//! A listener's door: a Unix socket.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The folder in which this user's sockets and locks are.
#[must_use]
pub fn folder() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    let is_ours = |folder: &Path| folder.metadata().is_ok_and(|metadata| metadata.uid() == user);
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = PathBuf::from(format!("/run/user/{user}"));
    match named.into_iter().chain([usual]).find(|folder| is_ours(folder)) {
        Some(runtime) => runtime.join("handover"),
        None => PathBuf::from(format!("/tmp/handover-{user}")),
    }
}

/// Where a listener of this name is found.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    folder().join(format!("l.{name}"))
}

/// The client's end of a connection to the door of this name.
///
/// # Errors
///
/// The system's, if there is none.
pub fn knock(name: &str) -> io::Result<OwnedFd> {
    UnixStream::connect(path(name)).map(OwnedFd::from)
}

/// Whether anything is left of a name: its listener's, or its object's, or what either is locked by.
#[must_use]
pub fn is_left(name: &str) -> bool {
    ["l.", "lock.l.", "o.", "lock.o."].iter().any(|sort| folder().join(format!("{sort}{name}")).exists())
}
