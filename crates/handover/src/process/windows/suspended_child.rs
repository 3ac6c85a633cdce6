//! `SuspendedChild`: a child that hasn't run its first instruction yet.

use std::fmt;
use std::os::windows::io::AsHandle;

use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::process::{Child, Process};
use crate::sys::SysError;
use crate::sys::io::Owned;
use crate::sys::job::{self, Rules};
use crate::sys::process as sys;

/// A suspended child; dropping it without resuming it kills it.
///
/// [`CommandExt::spawn_suspended`](super::CommandExt::spawn_suspended) creates it. Use it to prepare the child before
/// its first instruction, for example to [duplicate objects into its table](Process::duplicate_into). Then
/// [resume](Self::resume) it. If this process exits, crashes or is killed before that, the system kills the child.
#[must_use = "dropping it kills the child"]
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub struct SuspendedChild {
    /// `None` after `resume`.
    child: Option<Child>,
    thread: Owned,
    /// The job that kills the child if this process exits before `resume`. `None` if the child is killed with this
    /// process anyway, by `kill_with_parent`.
    job: Option<Owned>,
}

impl fmt::Debug for SuspendedChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SuspendedChild").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl SuspendedChild {
    pub(super) fn new(child: Child, thread: Owned, job: Option<Owned>) -> Self {
        Self { child: Some(child), thread, job }
    }

    /// Returns the child's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// Returns the child as a [`Process`], to share objects with.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.child().process()
    }

    /// Returns each object that the child inherited, as its name and the handle value in the child's table. Sockets are
    /// left out, because they get their values when the child takes them.
    pub fn inherited_handles(&self) -> impl Iterator<Item = (&str, HandleValue)> {
        self.child().inherited_handles()
    }

    /// Resumes the child, so that it runs its first instruction.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a call fails, or if other code has suspended or resumed the child too: then it would not run,
    /// or has run before it was prepared. The child is then killed.
    ///
    /// [`ResumeThread`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-resumethread)
    #[doc(alias = "ResumeThread")]
    pub fn resume(mut self) -> Result<Child> {
        let failed = || self.child().process().failed();
        // In this order, the child is never both suspended and free of the job's kill-on-close rule.
        let others = match sys::resume(self.thread.as_handle()).map_err(failed())? {
            1 => None,
            0 => Some("other code has resumed the child already, so it was killed"),
            _ => Some("other code has suspended the child too, so it was killed"),
        };
        if let Some(reason) = others {
            return Err(failed()(SysError::unexpected("ResumeThread", reason)));
        }
        if let Some(job) = &self.job {
            // The job is closed when `self` is dropped, which must no longer kill the child.
            let rules = Rules { kill_on_close: false, ..RULES };
            job::set_rules(job.as_handle(), rules).map_err(failed())?;
        }
        Ok(self.child.take().expect("only resume takes the child"))
    }

    fn child(&self) -> &Child {
        self.child.as_ref().expect("only resume takes the child")
    }
}

impl Drop for SuspendedChild {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // `drop` can't report a failure. A child that has already exited isn't one.
            let _ = child.kill();
        }
    }
}

/// The rules of the job while the child is suspended. The child's own children always stay outside the job.
const RULES: Rules = Rules { kill_on_close: true, children_stay_out: true };

/// Creates the job for one suspended child, which kills the child if this process exits before resuming it.
pub(super) fn job() -> Result<Owned> {
    job::create(RULES).map_err(|error| Error::system("the job of a suspended child", error))
}
