//! Children that end with this process.

use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::sys::io::Owned;
use crate::sys::job::{self, Rules};

/// The job whose processes end when this process ends, however it ends. There is one, made when it is first
/// needed and never closed: the system closes it with the process, and that is its purpose.
pub(super) fn job() -> Result<&'static Owned> {
    static JOB: OnceLock<Owned> = OnceLock::new();
    if let Some(job) = JOB.get() {
        return Ok(job);
    }
    let rules = Rules { kill_on_close: true, children_stay_out: false };
    let job = job::create(rules)
        .map_err(|error| Error::system("the job of children that end with this process", error))?;
    // If another thread was faster, its job serves, and this one is closed unused.
    Ok(JOB.get_or_init(|| job))
}
