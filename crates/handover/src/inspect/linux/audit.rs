//! Traces a command and all processes that it starts, from one exec to the next.

use std::process::ExitStatus;
use std::task::Poll;
use std::thread;
use std::time::Instant;

use super::audited_process::snapshot;
use super::tracees::{self, MAX_PAUSE, MIN_PAUSE, check_can_trace, failed, refused, start};
use crate::error::{Error, Result};
use crate::inspect::HandleEntry;
use crate::inspect::audit::{AuditedProcess, Program, Reporter, Watch, piped, report_channel};
use crate::sys::SysError;
use crate::sys::handoff::{Receiver, handoff};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::ptrace::{self, Happened, NextEvent, Stops};
use crate::sys::spawn::without_signals;
use crate::sys::spawn_plan::EXECUTE;
use crate::sys::{Errand, begin_thread};

/// How the tracer's thread ended.
enum Followed {
    ToTheEnd(ExitStatus),
    /// The deadline passed, or the calling thread no longer watches.
    Stopped,
    /// The command's process exited before it could be traced.
    NotMet,
}

/// The command's exit status and the processes of its tree; `None` if the deadline passed first.
type Outcome = Option<(ExitStatus, Vec<AuditedProcess>)>;

/// The message from the thread that starts the command to the thread that traces it.
enum Spawned {
    Yes,
    /// The command runs, and must be killed.
    Unwanted,
    /// No process is left: std has already waited for it.
    No,
}

/// Runs the command until all processes of its tree have exited.
///
/// 1. This thread starts the command, in the way of std or of this crate. Before the new process executes the program,
///    it waits for its tracer.
/// 2. The tracer is a separate thread, because a tracee is bound to one thread. The tracees are killed when that thread
///    ends. It waits for its tracees only, so it never consumes the exit of another child of this process.
/// 3. A process that a tracee starts is traced from its first moment, and stopped. At each exec the kernel has already
///    closed the descriptors that the program doesn't get, and the program has not begun.
pub(crate) fn run(
    mut program: Program<'_>,
    until: Option<Instant>,
    watch: &mut Watch<'_>,
    of_auditor: Vec<HandleEntry>,
) -> Result<Outcome> {
    let context = format!("the program {:?}", program.name());
    check_can_trace(&program, &context)?;
    let (near, far, meeting) = ptrace::meeting().map_err(failed(&context))?;
    match &mut program {
        Program::Std(command) => ptrace::meet(command, meeting),
        Program::Own(command) => command.os.tracer = Some(meeting),
    }
    let errand = Errand::of_this_thread();
    thread::scope(|scope| {
        let (result_sender, results) = handoff();
        let (reporter, watcher) = report_channel(of_auditor);
        let tracer = without_signals(|| {
            let thread = thread::Builder::new().name("handover audit".into());
            let follow = move || errand.run(|| follow(far, results, until, &reporter));
            begin_thread(|| thread.spawn_scoped(scope, follow))
        });
        let tracer = tracer.map_err(failed("the thread that traces the processes"))?;
        let tracer = tracer.map_err(failed("the thread that traces the processes"))?;
        let started = start(&mut program, &context);
        // A child that failed before the meeting doesn't wait for the tracer. Closing this end tells the tracer not to
        // wait for the child either.
        drop(near);
        let result = match &started {
            Ok(started) if started.is_piped => Spawned::Unwanted,
            Ok(_) => Spawned::Yes,
            Err(_) => Spawned::No,
        };
        // If this fails, the tracer has ended, and its result contains the error.
        let _ = result_sender.send(result);
        let processes = watcher.watch(watch);
        let outcome = tracer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        if started?.is_piped {
            return Err(piped(context));
        }
        match outcome {
            Followed::ToTheEnd(status) => Ok(Some((status, processes))),
            Followed::Stopped => Ok(None),
            // A program that can't be started has returned its error above.
            Followed::NotMet => {
                let error = SysError::unexpected(EXECUTE, "its process was killed before the program began");
                Err(failed(&context)(error))
            }
        }
    })
}

/// Runs the tracer's thread.
fn follow(
    far: Owned,
    results: Receiver<Spawned>,
    until: Option<Instant>,
    reporter: &Reporter,
) -> Result<Followed> {
    // If the child failed before the meeting, std returns the error.
    let child_id = ptrace::hear_id(far.handle()).map_err(failed("the process to trace"))?;
    let Some(command) = child_id else { return Ok(Followed::NotMet) };
    if let Err(source) = ptrace::seize(command, Stops::AtPrograms) {
        let context = refused(command, &source);
        // The child's error is ignored, because the tracer returns the cause.
        let _ = ptrace::let_go(far.handle(), Err(&source));
        return Err(Error::system(context, source));
    }
    let mut tree = Tree { command, threads: vec![command], results, is_spawned: false, status: None };
    ptrace::let_go(far.handle(), Ok(())).map_err(failed("the traced process"))?;
    drop(far);
    let mut pause = MIN_PAUSE;
    loop {
        match tree.next()? {
            NextEvent::Nothing => {
                thread::sleep(pause);
                pause = MAX_PAUSE.min(pause * 2);
            }
            NextEvent::NoneIsLeft if !tree.is_spawned => thread::sleep(MAX_PAUSE),
            NextEvent::NoneIsLeft => break,
            NextEvent::One(happened) => {
                pause = MIN_PAUSE;
                if let Some(process) = tree.go_on(&happened)? {
                    let id = process.id;
                    if !reporter.report(process) {
                        return Ok(Followed::Stopped);
                    }
                    resume(id, 0)?;
                }
            }
        }
        match tree.take_result() {
            Some(Spawned::No) => {
                tree.threads.clear();
                return Ok(Followed::NotMet);
            }
            Some(Spawned::Unwanted) => return Ok(Followed::Stopped),
            Some(Spawned::Yes) | None => {}
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Followed::Stopped);
        }
    }
    match tree.status {
        Some(status) => Ok(Followed::ToTheEnd(status)),
        None => Err(Error::System {
            call: "waitid",
            context: format!(
                "process {command}, whose exit status other code of this process has already collected"
            ),
            source: std::io::Error::from_raw_os_error(libc::ECHILD),
        }),
    }
}

fn resume(thread: u32, signal: i32) -> Result<()> {
    ptrace::resume(thread, signal).map_err(failed("a traced thread"))
}

/// The tracees. Dropping the tree kills them.
struct Tree {
    command: u32,
    threads: Vec<u32>,
    results: Receiver<Spawned>,
    /// Whether std has finished starting the command. Until then std itself may wait for it.
    is_spawned: bool,
    status: Option<ExitStatus>,
}

impl Tree {
    fn next(&self) -> Result<NextEvent> {
        ptrace::next(self.is_spawned).map_err(failed("the traced processes"))
    }

    /// Returns std's result if it has arrived since the last call.
    fn take_result(&mut self) -> Option<Spawned> {
        if self.is_spawned {
            return None;
        }
        let result = match self.results.try_recv() {
            Poll::Ready(Some(result)) => result,
            Poll::Pending => return None,
            Poll::Ready(None) => Spawned::Unwanted,
        };
        self.is_spawned = true;
        Some(result)
    }

    /// Resumes a thread as if it had no tracer. If it is about to start a program, leaves it stopped and returns its
    /// process.
    fn go_on(&mut self, happened: &Happened) -> Result<Option<AuditedProcess>> {
        let (thread, signal, event) = match *happened {
            Happened::Ended { thread, status } => {
                self.threads.retain(|other| *other != thread);
                if thread == self.command {
                    self.status = Some(status);
                }
                return Ok(None);
            }
            Happened::Stopped { thread, signal, event } => (thread, signal, event),
        };
        self.add(thread);
        match event {
            libc::PTRACE_EVENT_EXEC => {
                // If a thread other than the first one called exec, it now has the first one's id, and no event reports
                // the end of its own id.
                let before = ptrace::message(thread).ok().and_then(|id| u32::try_from(id).ok());
                self.threads.retain(|other| *other == thread || Some(*other) != before);
                return Ok(Some(snapshot(thread).into()));
            }
            // A group-stop, which another process requested. The thread stays stopped, and its parent is notified.
            ptrace::EVENT_STOP if ptrace::is_stop(signal) => {
                ptrace::listen(thread).map_err(failed("a traced thread"))?;
            }
            0 => resume(thread, signal)?,
            // The new thread or process stops by itself before it begins, and is added then.
            _ => resume(thread, 0)?,
        }
        Ok(None)
    }

    fn add(&mut self, thread: u32) {
        if !self.threads.contains(&thread) {
            self.threads.push(thread);
        }
    }
}

impl Drop for Tree {
    /// Kills the remaining processes and waits for them.
    fn drop(&mut self) {
        tracees::end(self.threads.iter().copied(), || {
            if !self.is_spawned {
                // Until this message arrives, std may be the one that waits for the command.
                let _ = self.results.recv();
            }
        });
    }
}
