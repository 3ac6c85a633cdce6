//! Reaps children that were dropped without being waited for.
//!
//! The kernel keeps a child that has exited (a zombie) until its parent waits for it. So each dropped child is recorded,
//! and asked about when another child is started or dropped: again after as long as it was dropped already, and at least
//! once a second. So a child that runs for long costs little, and one that exits soon is reaped soon.
//!
//! The record has no descriptor where the kernel gives each process a number that is never used again. It stays until
//! the child is known to be gone: a lack of descriptors or of memory only delays it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::handle::ProcessIdentity;
use crate::process::Process;
use crate::sys::SysResult;
use crate::sys::io::HasHandle;
use crate::sys::mutex::Mutex;
use crate::sys::process::{exit_status, is_forgotten, kept_number, open, unique_number};

/// The dropped children that haven't been reaped yet, by the time at which to ask about them.
static UNREAPED: Mutex<BinaryHeap<Reverse<Unreaped>>> = Mutex::new(BinaryHeap::new());

#[derive(Debug)]
struct Unreaped {
    next: Instant,
    dropped: Instant,
    child: Dropped,
}

/// A dropped child.
#[derive(Debug)]
enum Dropped {
    /// The kernel never gives the number in the identity to another process.
    Known(ProcessIdentity),
    /// The child's descriptor, before Linux 6.9.
    Open(Process),
}

/// The maximum time to wait for a killed process to exit. It usually exits within microseconds, but on a busy machine a
/// quarter of a second was seen to be too short. A process in an uninterruptible system call takes longer.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time between two questions about a child.
const INTERVAL: Duration = Duration::from_secs(1);

/// How many children are asked about at a time, so that no spawn pays for very many.
const AT_A_TIME: usize = 16;

/// Records a dropped child to be reaped later. A child that was killed is first given a moment to exit.
pub(crate) fn leave(process: &Process, was_killed: bool) {
    reap_exited();
    if was_killed {
        // A failure leaves the child to later calls.
        let _ = process.ends_within(KILL_TIMEOUT);
    }
    match exit_status(process.handle()) {
        Ok(Some(_)) => return,
        // Other code has already waited for the child.
        Err(error) if is_forgotten(&error) => return,
        Ok(None) | Err(_) => {}
    }
    let child = match kept_number(process.handle()) {
        Ok(Some(number)) => Dropped::Known(ProcessIdentity::new(process.id(), number)),
        Ok(None) | Err(_) => Dropped::Open(process.clone()),
    };
    let now = Instant::now();
    UNREAPED.lock().push(Reverse(Unreaped { next: now, dropped: now, child }));
}

/// Reaps the recorded children that have exited and are due, without waiting for the others.
pub(super) fn reap_exited() {
    let mut unreaped = UNREAPED.lock();
    if unreaped.is_empty() {
        return;
    }
    let now = Instant::now();
    for _ in 0..AT_A_TIME {
        if unreaped.peek().is_none_or(|Reverse(first)| first.next > now) {
            break;
        }
        let Some(Reverse(mut first)) = unreaped.pop() else { break };
        // The call may have failed for a passing reason, so the child stays recorded unless the kernel no longer has it.
        if first.child.is_reaped().unwrap_or_else(|error| is_forgotten(&error)) {
            continue;
        }
        first.next = now + INTERVAL.min(now - first.dropped).max(Duration::from_nanos(1));
        unreaped.push(Reverse(first));
    }
}

impl Dropped {
    /// Returns whether the child has exited and was reaped, by this call or by other code.
    fn is_reaped(&self) -> SysResult<bool> {
        match self {
            Self::Open(process) => exit_status(process.handle()).map(|status| status.is_some()),
            Self::Known(identity) => {
                let process = open(identity.id)?;
                if unique_number(process.handle(), identity.id)? != identity.created {
                    return Ok(true);
                }
                exit_status(process.handle()).map(|status| status.is_some())
            }
        }
    }
}

impl Ord for Unreaped {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.next.cmp(&other.next)
    }
}

impl PartialOrd for Unreaped {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Unreaped {
    fn eq(&self, other: &Self) -> bool {
        self.next == other.next
    }
}

impl Eq for Unreaped {}

#[cfg(feature = "faults")]
#[cfg(test)]
mod tests {
    use super::*;

    fn count_of(id: u32) -> usize {
        let unreaped = UNREAPED.lock();
        let ids = unreaped.iter().map(|Reverse(one)| match &one.child {
            Dropped::Known(identity) => identity.id,
            Dropped::Open(process) => process.id(),
        });
        ids.filter(|recorded| *recorded == id).count()
    }

    #[test]
    fn reap_exited_drops_a_child_that_other_code_waited_for() {
        use crate::faults::{Turn, taking};
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep can be started");
        let process = Process::open(child.id()).expect("the child is running");
        leave(&process, false);
        assert_eq!(count_of(child.id()), 1);
        // As if this process had too many open descriptors.
        let full = Turn::fails("pidfd_open", 0..u32::MAX, libc::EMFILE);
        let ((), _) = taking([full], reap_exited);
        assert_eq!(count_of(child.id()), 1);
        child.kill().expect("the test owns the child");
        // The wait may fail, because another test's thread may have reaped the child already.
        let _ = child.wait();
        let started = Instant::now();
        while count_of(child.id()) > 0 && started.elapsed() < INTERVAL * 10 {
            std::thread::sleep(Duration::from_millis(5));
            reap_exited();
        }
        assert_eq!(count_of(child.id()), 0);
    }
}
