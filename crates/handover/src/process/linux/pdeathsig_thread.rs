//! The thread that starts children for `Command::kill_with_parent`.
//!
//! The kernel kills such a child when the *thread* that started it exits
//! ([`PR_SET_PDEATHSIG`](https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html)). So a dedicated thread
//! starts it, which runs until the process exits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};

use crate::sys::mutex::Mutex;
use crate::sys::spawn::{Started, spawn, without_signals};
use crate::sys::spawn_plan::Plan;
use crate::sys::{Errand, SysError, SysResult, begin_thread};

struct Task {
    plan: Plan,
    errand: Errand,
    answer: Sender<SysResult<Started>>,
}

/// Starts a child that the kernel kills when this process exits.
pub(super) fn spawn_with_pdeathsig(mut plan: Plan) -> SysResult<Started> {
    static KEEPER: Mutex<Option<(u32, Sender<Task>)>> = Mutex::new(None);
    let this = std::process::id();
    let keeper = {
        let mut keeper = KEEPER.lock();
        match &*keeper {
            // A forked process has a copy of this value but not the thread, so the process id must match.
            Some((pid, tasks)) if *pid == this => tasks.clone(),
            _ => keeper.insert((this, begin()?)).1.clone(),
        }
    };
    plan.ends_with = Some(this);
    let (answer, answered) = channel();
    let gone =
        || SysError::unexpected("clone", "the thread that starts children for kill_with_parent has exited");
    keeper.send(Task { plan, errand: Errand::of_this_thread(), answer }).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

/// Starts the thread, and returns the channel by which it gets tasks.
fn begin() -> SysResult<Sender<Task>> {
    let (keeper, tasks) = channel::<Task>();
    let work = move || {
        for Task { plan, errand, answer } in tasks {
            // A panic must not end the thread, because all of its children would be killed. `AssertUnwindSafe` is
            // right: no data of the task is used after a panic.
            let outcome = catch_unwind(AssertUnwindSafe(|| errand.run(|| spawn(&plan))));
            let panicked = |_| Err(SysError::unexpected("execve", "starting the process panicked"));
            // Closes the plan's descriptors before the caller continues.
            drop(plan);
            // The caller is waiting for this answer, so sending it doesn't fail.
            let _ = answer.send(outcome.unwrap_or_else(panicked));
        }
    };
    let thread = std::thread::Builder::new().name("handover keeper".into());
    without_signals(|| begin_thread(|| thread.spawn(work)))??;
    Ok(keeper)
}
