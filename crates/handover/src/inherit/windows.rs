//! Windows: whether a manifest was written for this process.

use std::ffi::OsString;
use std::io;

use super::LeakedHandle;
use super::manifest::bad;
use crate::error::{Error, Result};
use crate::handle::{Access, HandleValue, ProcessIdentity};
use crate::sys::io::HasHandle;
use crate::sys::process as sys;

/// This process's environment.
#[derive(Debug)]
pub(crate) struct InitialEnvironment;

impl InitialEnvironment {
    #[allow(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
    pub(crate) fn read() -> Result<Self> {
        Ok(Self)
    }

    #[allow(clippy::unused_self, reason = "on Linux it is read once")]
    pub(crate) fn get(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }
}

/// The manifest must name this process's parent. A process that only copied the environment has another
/// parent.
pub(crate) fn check_is_for_this_process(meant_for: &str) -> Result<()> {
    let expected = ProcessIdentity::parse(meant_for)
        .map_err(|_| bad("does not name the parent's id and creation time"))?;
    let parent = sys::parent_id().map_err(|error| Error::system("this process's parent", error))?;
    let is_ours = parent == expected.id
        // If the parent has exited or may not be asked, its creation time isn't known, and its id is the best
        // there is.
        && identity_of(parent)?.is_none_or(|identity| identity == expected);
    if is_ours {
        return Ok(());
    }
    Err(Error::ManifestMismatch {
        expected: format!("a child of process {}", expected.id),
        found: format!("a child of process {parent}"),
    })
}

/// Returns the identity of the process that has this id now, if there is one that may be asked.
pub(crate) fn identity_of(id: u32) -> Result<Option<ProcessIdentity>> {
    let failed = |error| Error::system(format!("process {id}"), error);
    let process = match sys::open(id, Access::PROCESS_QUERY_LIMITED_INFORMATION) {
        Ok(process) => process,
        // No process has the id, or one of another user.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let created = sys::creation_time(process.handle(), id).map_err(failed)?;
    Ok(Some(ProcessIdentity::new(id, created)))
}

/// Windows has no service managers that pass handles.
#[allow(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(crate) fn listen_fds(_: &InitialEnvironment) -> Result<Vec<(String, HandleValue)>> {
    Ok(Vec::new())
}

impl LeakedHandle {
    /// Returns the handle's access rights.
    #[must_use]
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn access(&self) -> Access {
        self.carries
    }
}
