//! A child that has not begun to run.

use std::os::windows::io::AsHandle;

use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::process::{Child, Process};
use crate::sys::io::Owned;
use crate::sys::job::{self, Rules};
use crate::sys::process as sys;

/// A child that exists and has not begun to run, made by
/// [`CommandExt::spawn_suspended`](super::CommandExt::spawn_suspended).
///
/// What has to be done before the child's first instruction is done now, such as [putting objects into its
/// table](Process::duplicate_into). Then it is [resumed](Self::resume) or, when this is dropped, killed. It
/// can't be forgotten: if this process ends first, however it ends, the system kills the child.
#[derive(Debug)]
#[must_use = "dropping it kills the child"]
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub struct SuspendedChild {
    /// `None` once it runs.
    child: Option<Child>,
    thread: Owned,
    /// Ends the child with this process, if it is not to end so anyway; until the child runs.
    job: Option<Owned>,
}

impl SuspendedChild {
    pub(super) fn new(child: Child, thread: Owned, job: Option<Owned>) -> Self {
        Self { child: Some(child), thread, job }
    }

    /// The child's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// The child as a process to share objects with.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.child().process()
    }

    /// What the child inherited by name, and under which value in its own handle table.
    pub fn inherited_handles(&self) -> impl Iterator<Item = (&str, HandleValue)> {
        self.child().inherited_handles()
    }

    /// Lets the child run.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a call fails; the child is killed then.
    #[doc(alias = "ResumeThread")]
    pub fn resume(mut self) -> Result<Child> {
        let failed = || self.child().process().failed();
        // In this order, the child is at no moment both asleep and out of the job that ends it.
        sys::resume(self.thread.as_handle()).map_err(failed())?;
        if let Some(job) = &self.job {
            // The job goes with this; from now on that must not end the child.
            let rules = Rules { kill_on_close: false, ..RULES };
            job::set_rules(job.as_handle(), rules).map_err(failed())?;
        }
        Ok(self.child.take().expect("only resuming takes the child"))
    }

    fn child(&self) -> &Child {
        self.child.as_ref().expect("only resuming takes the child")
    }
}

impl Drop for SuspendedChild {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // If it has ended already, this changes nothing.
            let _ = child.kill();
        }
    }
}

/// The child's own children are none of the job's business, now and after the child was resumed.
const RULES: Rules = Rules { kill_on_close: true, children_stay_out: true };

/// The job of one suspended child: it ends the child if this process ends before the child runs.
pub(super) fn job() -> Result<Owned> {
    job::create(RULES).map_err(|error| Error::system("the job of a suspended child", error))
}
