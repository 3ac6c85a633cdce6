//! The helpers of std's own tests that are private to std.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A folder that is removed when it is dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let removed = std::fs::remove_dir_all(&self.0);
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

pub fn tmpdir() -> TempDir {
    let folder = std::env::temp_dir().join(format!("std-tests-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    TempDir(folder)
}

/// The error of a call that returns -1.
pub fn cvt(result: i32) -> io::Result<i32> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The error of a call that returns it.
pub fn cvt_nz(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// A stream of a child, which is read and written through a shared reference.
pub struct Pipe(File);

impl Pipe {
    pub fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(bytes)
    }

    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }
}

pub struct Pipes {
    pub stdin: Option<Pipe>,
    pub stdout: Option<Pipe>,
}

#[cfg(unix)]
type Owned = std::os::fd::OwnedFd;
#[cfg(windows)]
type Owned = std::os::windows::io::OwnedHandle;

/// Starts a child and returns it without its streams, as std does internally.
pub fn spawn(command: &mut handover::process::Command) -> handover::Result<(handover::process::Child, Pipes)> {
    let mut child = command.spawn()?;
    let stdin = child.stdin.take().map(|stream| Pipe(File::from(Owned::from(stream))));
    let stdout = child.stdout.take().map(|stream| Pipe(File::from(Owned::from(stream))));
    Ok((child, Pipes { stdin, stdout }))
}
