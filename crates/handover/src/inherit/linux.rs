//! Linux: the initial environment, the check of a manifest's recipient, and the sockets that a service manager passed.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind::{NotFound, PermissionDenied};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::listen_fds::named;
use super::manifest::{VARIABLE, malformed};
use crate::error::{Error, LISTEN_PID, Result};
use crate::handle::HandleValue;
use crate::sys::handle::page_at;

/// The environment that this process started with. Later changes by its own code don't affect it.
#[derive(Debug)]
pub(crate) struct InitialEnvironment {
    /// The variables, with a NUL after each. `None` without /proc: `get` then reads the current environment.
    block: Option<Vec<u8>>,
}

impl InitialEnvironment {
    pub(crate) fn read() -> Result<Self> {
        match page_at(Path::new("/proc/thread-self/environ")) {
            Ok(block) => Ok(Self { block: Some(block) }),
            Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => Ok(Self { block: None }),
            Err(error) => Err(Error::system("this process's environment", error)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<OsString> {
        self.block.as_ref().map_or_else(|| std::env::var_os(name), |block| variable_in(block, name))
    }
}

fn variable_in(block: &[u8], name: &str) -> Option<OsString> {
    let value = |line: &[u8]| {
        let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(OsString::from_vec(OsStr::from_bytes(value).as_bytes().to_vec()))
    };
    block.split(|byte| *byte == 0).find_map(value)
}

/// Checks that the manifest names this process.
///
/// A process that only copied its parent's environment has another id, so the check fails. execve(2) keeps the id, so a
/// script may `exec` the worker that the objects are for.
pub(crate) fn check_is_for_this_process(meant_for: &str) -> Result<()> {
    let meant_for: u32 = meant_for.parse().map_err(|_| malformed!("does not name a process id"))?;
    let this = std::process::id();
    if meant_for == this {
        return Ok(());
    }
    Err(Error::ManifestMismatch {
        name: VARIABLE,
        expected: format!("process {meant_for}"),
        found: format!("process {this}"),
    })
}

/// Returns the file descriptors that a service manager passed to this process, with their names. They begin at 3.
///
/// If the variables were written for another process, the error is [`Error::ManifestMismatch`].
pub(crate) fn listen_fds(environment: &InitialEnvironment) -> Result<Vec<(String, HandleValue)>> {
    let [pid, count, names] = [LISTEN_PID, "LISTEN_FDS", "LISTEN_FDNAMES"].map(|name| environment.get(name));
    named(pid, count, names, std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_in_matches_the_whole_name() {
        let block = b"PATHS=no\0PATH=/bin:=x\0EMPTY=\0PATH=second\0=odd\0";
        assert_eq!(variable_in(block, "PATH"), Some("/bin:=x".into()));
        assert_eq!(variable_in(block, "EMPTY"), Some("".into()));
        assert_eq!(variable_in(block, "ATH"), None);
    }
}
