//! The parts that each tracer needs: starting a command that waits for its tracer, and ending all tracees.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::handle_table::check_proc;
use crate::error::{Error, Result};
use crate::inspect::audit::{Program, close_pipes};
use crate::process::Child;
use crate::process::imp::reason_of_std;
use crate::sys::SysError;
use crate::sys::handle::page_at;
use crate::sys::process::forgets_children;
use crate::sys::ptrace::{self, Happened, NextEvent};
use crate::sys::spawn_plan::EXECUTE;
use crate::wait::Deadline;

/// The shortest and longest pauses between two checks for an event.
pub(super) const MIN_PAUSE: Duration = Duration::from_micros(20);
pub(super) const MAX_PAUSE: Duration = Duration::from_millis(1);

/// A command that runs.
pub(super) struct Started {
    /// Whether a stream is a pipe to this process, whose end is closed by now.
    pub(super) is_piped: bool,
    /// Kept until the audit ends. A child that is dropped is waited for by this crate, and the tracer would not learn its
    /// exit status.
    _child: Option<Child>,
}

/// Checks that the program has a name, and that this process can learn how its children exit and read their tables.
pub(super) fn check_can_trace(program: &Program, context: &str) -> Result<()> {
    if program.name().is_empty() {
        return Err(Error::invalid("the program's name", "is empty; give a name or a path"));
    }
    if forgets_children().map_err(failed(context))? {
        return Err(Error::invalid(
            "the signal SIGCHLD",
            "is ignored in this process, so it never learns how a child exits; set it to SIG_DFL",
        ));
    }
    check_proc()
}

/// Starts the command, and returns when its program has begun.
pub(super) fn start(program: &mut Program<'_>, context: &str) -> Result<Started> {
    match program {
        Program::Std(command) => match ptrace::spawn(command) {
            Ok(spawned) => Ok(Started { is_piped: spawned.is_piped, _child: None }),
            Err(error) => {
                // A program that can't be started is reported under this call everywhere in the crate.
                let error = SysError::new(EXECUTE, error.source);
                Err(reason_of_std(command, error).unwrap_or_else(|error| Error::system(context, error)))
            }
        },
        Program::Own(command) => {
            let mut child = command.spawn()?;
            Ok(Started { is_piped: close_pipes(&mut child), _child: Some(child) })
        }
    }
}

pub(super) fn failed(context: &str) -> impl FnOnce(SysError) -> Error {
    let context = context.to_owned();
    move |error| Error::system(context, error)
}

/// Describes the process that can't be traced, with the likely reason.
pub(super) fn refused(process: u32, source: &std::io::Error) -> String {
    let context = format!("process {process}");
    if source.raw_os_error() != Some(libc::EPERM) {
        return context;
    }
    let page = page_at(Path::new(&format!("/proc/{process}/status"))).unwrap_or_default();
    let page = String::from_utf8_lossy(&page);
    // The kernel gives the same error for a process that has exited.
    let state = page.lines().find_map(|line| line.strip_prefix("State:")).map(str::trim_start);
    if state.is_none_or(|state| state.starts_with(['Z', 'X'])) {
        return format!("{context}, which was killed before its program began");
    }
    let tracer = page.lines().find_map(|line| line.strip_prefix("TracerPid:")).map(str::trim);
    match tracer {
        Some(tracer) if tracer != "0" => format!("{context}, which is already traced by process {tracer}"),
        _ => format!(
            "{context}, which may not be traced (usually because of Yama's /proc/sys/kernel/yama/ptrace_scope, a \
             container's seccomp filter, or a command that runs as another user)"
        ),
    }
}

/// Kills the tracees of this thread and waits for them, also for those that appear meanwhile. If that takes too long, the
/// kernel kills them when this thread ends.
pub(super) fn end(threads: impl IntoIterator<Item = u32>, before_waiting: impl FnOnce()) {
    threads.into_iter().for_each(ptrace::kill);
    before_waiting();
    let kill_deadline = Deadline::after(Duration::from_secs(10));
    while !kill_deadline.has_passed() {
        match ptrace::next(true) {
            Ok(NextEvent::One(Happened::Stopped { thread, .. })) => ptrace::kill(thread),
            Ok(NextEvent::One(Happened::Ended { .. })) => {}
            // No event, or a query that failed for the moment: try again.
            Ok(NextEvent::Nothing) | Err(_) => thread::sleep(MAX_PAUSE),
            Ok(NextEvent::NoneIsLeft) => return,
        }
    }
}
