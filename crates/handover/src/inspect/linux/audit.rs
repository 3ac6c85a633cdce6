//! Following a command and all that it starts, from exec to exec.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::audited_process::look;
use super::handle_table::check_proc;
use crate::error::{Error, Result};
use crate::inspect::audit::{AuditedProcess, Show, Watch, gallery};
use crate::sys::SysError;
use crate::sys::handle::page_at;
use crate::sys::io::{HasHandle, Owned};
use crate::sys::process::forgets_children;
use crate::sys::ptrace::{self, Happened, NextEvent};
use crate::sys::spawn::{hold_free_streams, without_signals};
use crate::sys::{Errand, begin_thread};
use crate::wait::Deadline;

/// How the command was and what it has started; `None` if the deadline came first.
type Outcome = Option<(ExitStatus, Vec<AuditedProcess>)>;

/// What the thread that starts the command tells the one that traces it.
enum Spawned {
    Yes,
    /// It runs, and is to be ended.
    InVain,
    /// There is no process any more: std has waited for it.
    No,
}

/// Runs the command to the end of its tree.
///
/// 1. This thread starts the command, with std. Before the new process becomes the program, it waits for its tracer.
/// 2. The tracer is a thread of its own: what is traced is traced by a thread, and ends with it. It hears of nothing but
///    what it traces, so that no other child of this process is waited for.
/// 3. What is traced brings along what it starts, stopped. At each exec the kernel has closed what doesn't go on to the
///    program, and the program hasn't begun.
pub(crate) fn run(mut command: Command, until: Option<Instant>, watch: &mut Watch<'_>) -> Result<Outcome> {
    let what = format!("the program {:?}", command.get_program());
    if forgets_children().map_err(failed(&what))? {
        return Err(Error::invalid(
            "the signal SIGCHLD",
            "is ignored in this process, so it never learns how a child exits; set it to SIG_DFL",
        ));
    }
    check_proc()?;
    let held = hold_free_streams().map_err(failed(&what))?;
    let (near, far) = ptrace::meet(&mut command).map_err(failed(&what))?;
    drop(held);
    let errand = Errand::of_this_thread();
    thread::scope(|scope| {
        let (tell, hear) = channel();
        let (show, gallery) = gallery();
        let tracer = without_signals(|| {
            let thread = thread::Builder::new().name("handover audit".into());
            let follow = move || errand.run(|| follow(far, hear, until, &show));
            begin_thread(|| thread.spawn_scoped(scope, follow))
        });
        let tracer = tracer.map_err(failed("the thread that traces"))?;
        let tracer = tracer.map_err(failed("the thread that traces"))?;
        let spawned = ptrace::spawn(&mut command);
        // A child that has failed before it came to that waits for nobody, and nobody for it.
        drop(near);
        let word = match &spawned {
            Ok(child) if child.is_piped => Spawned::InVain,
            Ok(_) => Spawned::Yes,
            Err(_) => Spawned::No,
        };
        // If nobody hears it, the thread has ended, and says why.
        let _ = tell.send(word);
        let started = gallery.watch(watch);
        let outcome = tracer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        // By the name that a program that can't be started has everywhere.
        let not_started =
            |error: SysError| Error::System { call: "execve", context: what.clone(), source: error.source };
        if spawned.map_err(not_started)?.is_piped {
            return Err(Error::invalid(
                what,
                "has a pipe to this process as a stream, which this process would never read or write",
            ));
        }
        Ok(outcome.map(|status| (status, started)))
    })
}

fn failed(what: &str) -> impl FnOnce(SysError) -> Error {
    let what = what.to_owned();
    move |error| Error::system(what, error)
}

/// The tracer's thread.
fn follow(
    far: Owned,
    hear: Receiver<Spawned>,
    until: Option<Instant>,
    show: &Show,
) -> Result<Option<ExitStatus>> {
    // If it never came to that, std says why.
    let heard = ptrace::hear_id(far.handle()).map_err(failed("the process that is to be traced"))?;
    let Some(command) = heard else { return Ok(None) };
    if let Err(source) = ptrace::seize(command) {
        let what = refused(command, &source);
        // Why it is refused is said already.
        let _ = ptrace::let_go(far.handle(), Err(&source));
        return Err(Error::system(what, source));
    }
    let mut tree = Tree { command, threads: vec![command], hear, is_spawned: false, status: None };
    ptrace::let_go(far.handle(), Ok(())).map_err(failed("the process that is traced"))?;
    drop(far);
    let mut pause = SHORTEST;
    loop {
        match tree.next()? {
            NextEvent::Nothing => {
                thread::sleep(pause);
                pause = LONGEST.min(pause * 2);
            }
            NextEvent::NoneIsLeft if !tree.is_spawned => thread::sleep(LONGEST),
            NextEvent::NoneIsLeft => break,
            NextEvent::One(happened) => {
                pause = SHORTEST;
                if let Some(begun) = tree.go_on(&happened)? {
                    let id = begun.id;
                    if !show.show(begun) {
                        return Ok(None);
                    }
                    resume(id, 0)?;
                }
            }
        }
        match tree.hear() {
            Some(Spawned::No) => {
                tree.threads.clear();
                return Ok(None);
            }
            Some(Spawned::InVain) => return Ok(None),
            Some(Spawned::Yes) | None => {}
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(None);
        }
    }
    match tree.status {
        Some(status) => Ok(Some(status)),
        None => Err(Error::System {
            call: "waitid",
            context: format!("process {command}, for which something else in this process has waited"),
            source: std::io::Error::from_raw_os_error(libc::ECHILD),
        }),
    }
}

/// The pauses between two looks whether something has happened.
const SHORTEST: Duration = Duration::from_micros(20);
const LONGEST: Duration = Duration::from_millis(1);

/// Who refuses to let a process be traced.
fn refused(process: u32, source: &std::io::Error) -> String {
    let what = format!("process {process}, which is to be traced");
    if source.raw_os_error() != Some(libc::EPERM) {
        return what;
    }
    let page = page_at(Path::new(&format!("/proc/{process}/status"))).unwrap_or_default();
    let page = String::from_utf8_lossy(&page);
    let tracer = page.lines().find_map(|line| line.strip_prefix("TracerPid:")).map(str::trim);
    match tracer {
        Some(tracer) if tracer != "0" => format!("{what} and is already, by process {tracer}"),
        _ => format!(
            "{what}: refused by Yama (/proc/sys/kernel/yama/ptrace_scope), by a seccomp filter as containers have it, or \
             because the command is to run as another user"
        ),
    }
}

fn resume(thread: u32, signal: i32) -> Result<()> {
    ptrace::resume(thread, signal).map_err(failed("a thread that is traced"))
}

/// What is traced. With this, it ends.
struct Tree {
    command: u32,
    threads: Vec<u32>,
    hear: Receiver<Spawned>,
    /// Whether std is done with the command: until then, it may wait for it itself.
    is_spawned: bool,
    status: Option<ExitStatus>,
}

impl Tree {
    fn next(&self) -> Result<NextEvent> {
        ptrace::next(self.is_spawned).map_err(failed("the processes that are traced"))
    }

    /// What std says, if it has just said it.
    fn hear(&mut self) -> Option<Spawned> {
        if self.is_spawned {
            return None;
        }
        let said = match self.hear.try_recv() {
            Ok(said) => said,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Spawned::InVain,
        };
        self.is_spawned = true;
        Some(said)
    }

    /// Lets a thread go on as it would without a tracer; except if it is about to begin with a program.
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
                // If another thread than the first did it, that one has the first one's id now, and nobody says more of it.
                let before = ptrace::message(thread).ok().and_then(|id| u32::try_from(id).ok());
                self.threads.retain(|other| *other == thread || Some(*other) != before);
                return Ok(Some(look(thread).into()));
            }
            // It stops as one of its own wants it to, and whoever waits for that hears of it.
            ptrace::EVENT_STOP if ptrace::is_stop(signal) => {
                ptrace::listen(thread).map_err(failed("a thread that is traced"))?;
            }
            0 => resume(thread, signal)?,
            // What it has started stops on its own before it begins, and is noted then.
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
    /// Ends what is left and waits for it. If that takes too long, the kernel does it with the end of this thread.
    fn drop(&mut self) {
        self.threads.iter().for_each(|thread| ptrace::kill(*thread));
        if !self.is_spawned {
            // It may be std that waits for it.
            let _ = self.hear.recv();
        }
        let patience = Deadline::after(Duration::from_secs(10));
        while !patience.has_passed() {
            match ptrace::next(true) {
                Ok(NextEvent::One(Happened::Stopped { thread, .. })) => ptrace::kill(thread),
                Ok(NextEvent::One(Happened::Ended { .. })) => {}
                // It can be that it couldn't be asked now.
                Ok(NextEvent::Nothing) | Err(_) => thread::sleep(LONGEST),
                Ok(NextEvent::NoneIsLeft) => return,
            }
        }
    }
}
