//! Children that nobody waits for.
//!
//! The system keeps a child that has ended until its parent has asked how. So each child that is dropped is noted, and
//! asked about when the next one is started or dropped. It is noted by its identity, which costs no descriptor: until it
//! is asked about, nobody else gets its id.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::handle::ProcessIdentity;
use crate::process::Process;
use crate::sys::io::HasHandle;
use crate::sys::process::{exit_status, exit_status_of_identified, is_forgotten};

static LEFT: Mutex<Vec<ProcessIdentity>> = Mutex::new(Vec::new());

/// How long it takes at most that a process ends which was killed, unless it is in a call that can't be left. It is a matter
/// of microseconds, if it gets a processor to end on: on a busy machine, quarters of a second were seen not to be enough.
const DYING: Duration = Duration::from_secs(2);

/// Leaves a child to be asked about later; one that was killed, in a moment.
pub(crate) fn leave(process: &Process, was_killed: bool) {
    forget_the_ended();
    // What fails here means that somebody else has waited for it, or that the system keeps it until this process ends.
    if was_killed {
        let _ = process.ends_within(DYING);
    }
    let identity = process.identity();
    if let (Ok(None), Ok(identity)) = (exit_status(process.handle()), identity) {
        LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(identity);
    }
}

/// Asks about all of them, without waiting.
pub(super) fn forget_the_ended() {
    let is_to_be_asked = |identity: &ProcessIdentity| match exit_status_of_identified(*identity) {
        Ok(answer) => answer.is_none(),
        // It can be that it couldn't be asked now.
        Err(error) => !is_forgotten(&error),
    };
    // A panic can't leave a list of identities half changed.
    LEFT.lock().unwrap_or_else(PoisonError::into_inner).retain(is_to_be_asked);
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "faults")]
    #[test]
    fn what_somebody_else_has_waited_for_is_forgotten() {
        use crate::faults::{Turn, taking};
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it is there");
        let process = crate::Process::open(child.id()).expect("it runs");
        let identity = process.identity().expect("it runs");
        let is_kept = || super::LEFT.lock().is_ok_and(|left| left.contains(&identity));
        super::leave(&process, false);
        assert!(is_kept());
        // There is room for no descriptor, say.
        let full = Turn::fails("read", 0..u32::MAX, libc::EMFILE);
        let ((), was_taken) = taking([full], super::forget_the_ended);
        assert!(was_taken && is_kept());
        child.kill().expect("it is this one's");
        // Another test's thread may have been quicker.
        let _ = child.wait();
        super::forget_the_ended();
        assert!(!is_kept());
    }
}
