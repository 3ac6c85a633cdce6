//! The thread that starts children which are to end with this process.
//!
//! The system ends such a child with the *thread* that has started it. So it has to be one that ends no sooner than the
//! process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use crate::sys::spawn::{Started, spawn, without_signals};
use crate::sys::spawn_plan::Plan;
use crate::sys::{Errand, SysError, SysResult, begin_thread};

struct Task {
    plan: Plan,
    errand: Errand,
    answer: Sender<SysResult<Started>>,
}

/// Starts a child that ends with this process.
pub(super) fn spawn_kept(mut plan: Plan) -> SysResult<Started> {
    static KEEPER: Mutex<Option<(u32, Sender<Task>)>> = Mutex::new(None);
    let this = std::process::id();
    let keeper = {
        // A panic can't leave it half changed: it is assigned whole.
        let mut keeper = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
        match &*keeper {
            // A process that was forked has a copy of this, and no such thread.
            Some((of, keeper)) if *of == this => keeper.clone(),
            _ => keeper.insert((this, begin()?)).1.clone(),
        }
    };
    plan.ends_with = Some(this);
    let (answer, answered) = channel();
    let gone = || SysError::unexpected("clone", "the thread that starts such children has exited");
    keeper.send(Task { plan, errand: Errand::of_this_thread(), answer }).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

fn begin() -> SysResult<Sender<Task>> {
    let (keeper, tasks) = channel::<Task>();
    let work = move || {
        for Task { plan, errand, answer } in tasks {
            // The thread must not end: all of its children would. Nothing that it has is used after a panic.
            let outcome = catch_unwind(AssertUnwindSafe(|| errand.run(|| spawn(&plan))));
            let panicked = |_| Err(SysError::unexpected("execve", "the start of the process panicked"));
            // What was made for the child is closed before who has asked goes on.
            drop(plan);
            // Who has asked waits.
            let _ = answer.send(outcome.unwrap_or_else(panicked));
        }
    };
    let thread = std::thread::Builder::new().name("handover keeper".into());
    without_signals(|| begin_thread(|| thread.spawn(work)))??;
    Ok(keeper)
}
