//! Reaps children that were dropped without being waited for.
//!
//! The kernel keeps a child that has exited (a zombie) until its parent waits for it. So each dropped child is
//! recorded, and checked whenever another child is started or dropped. The record is the child's identity, which needs
//! no descriptor. The kernel doesn't reuse the id before the child is reaped.

use std::time::Duration;

use crate::handle::ProcessIdentity;
use crate::process::Process;
use crate::sys::io::HasHandle;
use crate::sys::mutex::Mutex;
use crate::sys::process::{exit_status, exit_status_of_identified, is_forgotten};

/// The dropped children that haven't been reaped yet.
static UNREAPED: Mutex<Vec<ProcessIdentity>> = Mutex::new(Vec::new());

/// The maximum time to wait for a killed process to exit. It usually exits within microseconds, but on a busy machine a
/// quarter of a second was seen to be too short. A process in an uninterruptible system call takes longer.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);

/// Records a dropped child to be reaped later. A child that was killed is first given a moment to exit.
pub(crate) fn leave(process: &Process, was_killed: bool) {
    reap_exited();
    // Failures are ignored: either other code has already waited for the child, or the kernel keeps it until this
    // process exits.
    if was_killed {
        let _ = process.ends_within(KILL_TIMEOUT);
    }
    let identity = process.identity();
    if let (Ok(None), Ok(identity)) = (exit_status(process.handle()), identity) {
        UNREAPED.lock().push(identity);
    }
}

/// Reaps the recorded children that have exited, without waiting for the others.
pub(super) fn reap_exited() {
    let is_unreaped = |identity: &ProcessIdentity| match exit_status_of_identified(*identity) {
        Ok(status) => status.is_none(),
        // The call may have failed for a passing reason, so the child stays recorded unless the kernel no longer has
        // it.
        Err(error) => !is_forgotten(&error),
    };
    UNREAPED.lock().retain(is_unreaped);
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "faults")]
    #[test]
    fn reap_exited_drops_a_child_that_other_code_waited_for() {
        use crate::faults::{Turn, taking};
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep can be started");
        let process = crate::Process::open(child.id()).expect("the child is running");
        let identity = process.identity().expect("the child is running");
        let is_recorded = || super::UNREAPED.lock().contains(&identity);
        super::leave(&process, false);
        assert!(is_recorded());
        // As if this process had too many open descriptors.
        let full = Turn::fails("read", 0..u32::MAX, libc::EMFILE);
        let ((), was_taken) = taking([full], super::reap_exited);
        assert!(was_taken && is_recorded());
        child.kill().expect("the test owns the child");
        // The wait may fail, because another test's thread may have reaped the child already.
        let _ = child.wait();
        super::reap_exited();
        assert!(!is_recorded());
    }
}
