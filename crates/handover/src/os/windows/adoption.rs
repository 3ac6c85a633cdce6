//! Whether a manifest is meant for this process.

use super::peer::identity_of;
use crate::inherit::manifest::bad;
use crate::{Access, Error, HandleValue, Identity, Result, Unlisted};

/// The parent named in it must be this process's parent. A process that only copied the environment has another.
pub(crate) fn check_is_meant_for_this_process(meant_for: &str) -> Result<()> {
    let meant_for: Identity =
        meant_for.parse().map_err(|_| bad("lacks the parent's id and creation time"))?;
    let parent = crate::sys::process::parent_id().map_err(|source| {
        Error::system("NtQueryInformationProcess", "this process's parent".into(), source)
    })?;
    let is_ours = parent == meant_for.id
        // If the parent has ended or mustn't be asked, its creation time isn't known, and its id is the best there is.
        && identity_of(parent)?.is_none_or(|identity| identity == meant_for);
    if is_ours {
        return Ok(());
    }
    let meant_for = format!("a child of process {}", meant_for.id);
    Err(Error::NotForThisProcess { meant_for, this: format!("a child of process {parent}") })
}

/// What a service manager has handed down: there is no such thing here.
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(crate) fn activated() -> Result<Vec<(String, HandleValue)>> {
    Ok(Vec::new())
}

impl Unlisted {
    /// Its rights. Windows only.
    #[must_use]
    pub fn access(&self) -> Access {
        self.carries
    }
}
