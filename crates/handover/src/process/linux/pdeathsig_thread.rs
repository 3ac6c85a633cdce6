//! The threads that start children for `Command::kill_with_parent`.
//!
//! The kernel kills such a child when the *thread* that started it exits
//! ([`PR_SET_PDEATHSIG`](https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html)). So a dedicated thread
//! starts it, which runs until the process exits.
//!
//! A thread starts one child at a time, and can be held up by a file system that doesn't answer. So each spawn takes an
//! idle thread, or begins one: there are as many as spawns have run at the same time.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sys::creator::Creator;
use crate::sys::handoff::{Sender, handoff};
use crate::sys::mutex::Mutex;
use crate::sys::spawn::{NotStarted, Started, spawn, without_signals};
use crate::sys::spawn_plan::{EXECUTE, Plan};
use crate::sys::{Errand, SysError, SysResult, begin_thread};

struct Task {
    plan: Plan,
    errand: Errand,
    answer: Sender<Result<Started, NotStarted>>,
}

/// The idle threads of this process.
struct Idle {
    /// The process that the threads belong to. A forked process has a copy of this value but not the threads.
    process: Option<Creator>,
    keepers: Vec<Sender<Task>>,
}

static IDLE: Mutex<Idle> = Mutex::new(Idle { process: None, keepers: Vec::new() });

/// Starts a child that the kernel kills when this process exits.
pub(super) fn spawn_with_pdeathsig(mut plan: Plan) -> Result<Started, NotStarted> {
    let idle = {
        let mut idle = IDLE.lock();
        if !idle.process.is_some_and(Creator::is_this_process) {
            *idle = Idle { process: Some(Creator::this_process()), keepers: Vec::new() };
        }
        idle.keepers.pop()
    };
    let keeper = match idle {
        Some(keeper) => keeper,
        None => begin()?,
    };
    plan.ends_with = Some(std::process::id());
    let (answer, answered) = handoff();
    let gone =
        || SysError::unexpected("clone", "a thread of handover for kill_with_parent has ended; try again");
    keeper.send(Task { plan, errand: Errand::of_this_thread(), answer }).map_err(|_| gone())?;
    let started = answered.recv().ok_or_else(gone)?;
    IDLE.lock().keepers.push(keeper);
    started
}

/// Starts a thread, and returns the channel by which it gets tasks.
fn begin() -> SysResult<Sender<Task>> {
    let (keeper, tasks) = handoff::<Task>();
    let work = move || {
        while let Some(Task { plan, errand, answer }) = tasks.recv() {
            // A panic must not end the thread, because all of its children would be killed. `AssertUnwindSafe` is
            // right: no data of the task is used after a panic.
            let outcome = catch_unwind(AssertUnwindSafe(|| errand.run(|| spawn(&plan))));
            let panicked = |_| Err(SysError::unexpected(EXECUTE, "starting the process panicked").into());
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
