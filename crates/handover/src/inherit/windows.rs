//! Windows: the check that a manifest was written for this process.

use std::ffi::OsString;
use std::io;

use super::LeakedHandle;
use super::manifest::{Manifest, VARIABLE, malformed};
use crate::error::{Error, Result};
use crate::handle::{Access, HandleValue, ProcessIdentity};
use crate::sys::io::HasHandle;
use crate::sys::process as sys;

/// The environment of this process. On Windows this is the current environment.
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

/// Checks that the manifest names this process's parent.
///
/// A process that only copied its parent's environment has another parent, so the check fails.
pub(crate) fn check_is_for_this_process(manifest: &Manifest) -> Result<()> {
    let expected = ProcessIdentity::parse(&manifest.meant_for)
        .map_err(|_| malformed!("does not name the parent's id and creation time"))?;
    let failed = |error| Error::system("this process's parent", error);
    let parent = sys::parent_id().map_err(failed)?;
    if is_parent(expected, parent, identity_of(parent)?, sys::own_unique_number().map_err(failed)?) {
        return Ok(());
    }
    Err(Error::ManifestMismatch {
        name: VARIABLE,
        expected: format!("a child of process {}", expected.id),
        found: format!("a child of process {parent}"),
    })
}

/// Returns whether a process with the id `parent`, which started this one at the time `own`, is the expected one. `found`
/// is the process that has the id now, if this process may know.
///
/// A process that was created after this one can't be its parent: that has exited, and its id was reused. Then, and if
/// the process isn't known, the check relies on the id alone.
fn is_parent(expected: ProcessIdentity, parent: u32, found: Option<ProcessIdentity>, own: u64) -> bool {
    parent == expected.id && found.is_none_or(|found| found == expected || found.created > own)
}

/// Returns the identity of the process that has this id now. Returns `None` if no process has the id, or if this
/// process may not query it.
pub(crate) fn identity_of(id: u32) -> Result<Option<ProcessIdentity>> {
    let failed = |error| Error::system(format!("process {id}"), error);
    let process = match sys::open(id, Access::PROCESS_QUERY_LIMITED_INFORMATION) {
        Ok(process) => process,
        // No process has the id, or the process belongs to another user.
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

/// Returns an empty list: on Windows, no service manager passes handles.
#[allow(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(crate) fn listen_fds(_: &InitialEnvironment) -> Result<Vec<(String, HandleValue)>> {
    Ok(Vec::new())
}

impl LeakedHandle {
    /// Returns the access rights that the handle carries.
    #[must_use]
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn access(&self) -> Access {
        self.carries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_created_later_is_no_parent() {
        let parent = ProcessIdentity::new(8, 100);
        let found = |created| Some(ProcessIdentity::new(8, created));
        assert!(is_parent(parent, 8, found(100), 200) && is_parent(parent, 8, None, 200));
        assert!(is_parent(parent, 8, found(201), 200), "the parent's id was reused");
        assert!(!is_parent(parent, 8, found(150), 200), "another process started this one");
        assert!(!is_parent(parent, 12, None, 200));
    }
}
