//! A thread that exits only with the process. Windows cancels the transfers that a thread has started when that exits,
//! so a task, which outlives the threads of its runtime, lets this one start its writes.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use super::SysResult;
use crate::sys::begin_thread;

type Job = Box<dyn FnOnce() + Send>;

/// The way to the thread, once it runs. The lock is std's, because a job runs in the middle of a call.
static JOBS: Mutex<Option<Sender<Job>>> = Mutex::new(None);

/// Starts the thread, unless it runs.
pub(super) fn start() -> SysResult<()> {
    let mut jobs = JOBS.lock().unwrap_or_else(PoisonError::into_inner);
    if jobs.is_none() {
        let (sender, receiver) = channel::<Job>();
        let work = move || receiver.into_iter().for_each(|job| job());
        begin_thread(|| std::thread::Builder::new().name("handover writes".into()).spawn(work))?;
        *jobs = Some(sender);
    }
    Ok(())
}

/// Runs `work` on the thread, which must have been started, and waits for it. It must be a call that doesn't wait, and
/// no code of a subscriber or a task.
pub(super) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (result, received) = channel();
    let job = move || {
        // This thread waits for it.
        let _ = result.send(work());
    };
    let is_sent = match &*JOBS.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(jobs) => jobs.send(Box::new(job)).is_ok(),
        None => false,
    };
    let done = if is_sent { received.recv().ok() } else { None };
    done.ok_or_else(|| io::Error::other("the thread that starts writes doesn't run"))
}
