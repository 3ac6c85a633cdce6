//! The job for `Command::kill_with_parent`: the system kills its processes when this process exits.

use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::sys::io::Owned;
use crate::sys::job::{self, Rules};

/// Returns the job, which is created when it is first needed.
///
/// This process never closes it. The system closes it when this process exits, crashes or is killed, and that kills the
/// processes in the job.
pub(super) fn job() -> Result<&'static Owned> {
    static JOB: OnceLock<Owned> = OnceLock::new();
    if let Some(job) = JOB.get() {
        return Ok(job);
    }
    let rules = Rules { kill_on_close: true, children_stay_out: false };
    let job = job::create(rules).map_err(|error| Error::system("the job for kill_with_parent", error))?;
    // If another thread has created one in the meantime, its job is used, and this one is closed with no process in it.
    Ok(JOB.get_or_init(|| job))
}
