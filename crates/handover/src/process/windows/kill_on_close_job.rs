//! The job for `Command::kill_with_parent`: the system kills its processes when this process exits.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::sys::io::Owned;
use crate::sys::job::{self, Rules};
use crate::sys::mutex::Mutex;

/// The jobs, of which the last one is used. This process never closes them. The system closes them when this process
/// exits, crashes or is killed, and that kills the processes in the jobs.
static JOBS: Mutex<Vec<Arc<Owned>>> = Mutex::new(Vec::new());

/// Returns the job, which is created when it is first needed.
pub(super) fn job() -> Result<Arc<Owned>> {
    if let Some(job) = JOBS.lock().last() {
        return Ok(Arc::clone(job));
    }
    let job = new_job()?;
    keep(&job);
    Ok(job)
}

/// Returns a new job, for a process that can't be put into the current one. The caller [keeps](keep) it if it fits. A
/// job can only be nested in those that this process was in when the job got its first process, so it no longer fits
/// once this process has been put into another.
pub(super) fn new_job() -> Result<Arc<Owned>> {
    let rules = Rules { kill_on_close: true, children_stay_out: false };
    let job = job::create(rules).map_err(|error| Error::system("the job for kill_with_parent", error))?;
    Ok(Arc::new(job))
}

/// Keeps a job open until this process exits, and uses it from now on.
pub(super) fn keep(job: &Arc<Owned>) {
    JOBS.lock().push(Arc::clone(job));
}
