//! The thread that starts children which are to end with this process.
//!
//! The system ends such a child with the *thread* that has started it. So it has to be one that ends no sooner than the
//! process.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use crate::sys::spawn::{Plan, spawn};

struct Task {
    command: Command,
    plan: Plan,
    answer: Sender<io::Result<Child>>,
}

/// Starts a child that ends with this process.
pub(super) fn spawn_kept(command: Command, mut plan: Plan) -> io::Result<Child> {
    static KEEPER: OnceLock<Sender<Task>> = OnceLock::new();
    let keeper = match KEEPER.get() {
        Some(keeper) => keeper,
        None => {
            let keeper = begin()?;
            // If another thread was faster, its keeper serves, and this one ends unused.
            KEEPER.get_or_init(|| keeper)
        }
    };
    plan.ends_with = Some(std::process::id());
    let (answer, answered) = channel();
    let gone = || io::Error::other("the thread that starts such children has ended");
    keeper.send(Task { command, plan, answer }).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

fn begin() -> io::Result<Sender<Task>> {
    let (keeper, tasks) = channel::<Task>();
    let work = move || {
        for Task { command, plan, answer } in tasks {
            // Who has asked waits.
            let _ = answer.send(spawn(command, plan));
        }
    };
    std::thread::Builder::new().name("handover keeper".into()).spawn(work)?;
    Ok(keeper)
}
