//! Following a command and all that it starts, from exec to exec.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::audited::look;
use super::look::check_proc;
use crate::audit::{Show, Started, Watch, gallery};
use crate::sys::call::BEGIN_THREAD;
use crate::sys::handle::page_at;
use crate::sys::io::{HasHandle, Owned};
use crate::sys::process::forgets_children;
use crate::sys::spawn::{hold_free_streams, without_signals};
use crate::sys::trace::{self, Came, Happened};
use crate::sys::{Errand, begin_thread};
use crate::wait::Deadline;
use crate::{Error, Result};

/// How the command was and what it has started; `None` if the deadline came first.
type Outcome = Option<(ExitStatus, Vec<Started>)>;

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
    if forgets_children().map_err(failed("rt_sigaction", &what))? {
        return Err(Error::invalid(
            "an audit",
            "this process ignores SIGCHLD, and never hears how a child has ended",
        ));
    }
    check_proc()?;
    let held = hold_free_streams().map_err(failed("open", &what))?;
    let (near, far) = trace::meet(&mut command).map_err(failed("socketpair", &what))?;
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
        let tracer = tracer.map_err(failed("rt_sigprocmask", "the thread that traces"))?;
        let tracer = tracer.map_err(failed(BEGIN_THREAD, "the thread that traces"))?;
        let spawned = trace::spawn(&mut command);
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
        let not_started = |source| Error::System { call: "execve", what: what.clone(), source };
        if spawned.map_err(not_started)?.is_piped {
            return Err(Error::invalid(
                what,
                "has a pipe to this process for a stream, and nobody at its other end",
            ));
        }
        Ok(outcome.map(|status| (status, started)))
    })
}

fn failed(call: &'static str, what: &str) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::system(call, what, source)
}

/// The tracer's thread.
fn follow(
    far: Owned,
    hear: Receiver<Spawned>,
    until: Option<Instant>,
    show: &Show,
) -> Result<Option<ExitStatus>> {
    // If it never came to that, std says why.
    let heard =
        trace::hear_id(far.handle()).map_err(failed("recvmsg", "the process that is to be traced"))?;
    let Some(command) = heard else { return Ok(None) };
    if let Err(source) = trace::seize(command) {
        let what = refused(command, &source);
        // Why it is refused is said already.
        let _ = trace::let_go(far.handle(), Err(&source));
        return Err(Error::system("ptrace", what, source));
    }
    let mut tree = Tree { command, threads: vec![command], hear, is_spawned: false, status: None };
    trace::let_go(far.handle(), Ok(())).map_err(failed("sendto", "the process that is traced"))?;
    drop(far);
    let mut pause = SHORTEST;
    loop {
        match tree.next()? {
            Came::Nothing => {
                thread::sleep(pause);
                pause = LONGEST.min(pause * 2);
            }
            Came::NoneIsLeft if !tree.is_spawned => thread::sleep(LONGEST),
            Came::NoneIsLeft => break,
            Came::One(happened) => {
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
            what: format!("process {command}, for which something else in this process has waited"),
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
    trace::resume(thread, signal).map_err(failed("ptrace", "a thread that is traced"))
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
    fn next(&self) -> Result<Came> {
        trace::next(self.is_spawned).map_err(failed("waitid", "the processes that are traced"))
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
    fn go_on(&mut self, happened: &Happened) -> Result<Option<Started>> {
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
                let before = trace::message(thread).ok().and_then(|id| u32::try_from(id).ok());
                self.threads.retain(|other| *other == thread || Some(*other) != before);
                return Ok(Some(look(thread).into()));
            }
            // It stops as one of its own wants it to, and whoever waits for that hears of it.
            trace::EVENT_STOP if trace::is_stop(signal) => {
                trace::listen(thread).map_err(failed("ptrace", "a thread that is traced"))?;
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
        self.threads.iter().for_each(|thread| trace::kill(*thread));
        if !self.is_spawned {
            // It may be std that waits for it.
            let _ = self.hear.recv();
        }
        let patience = Deadline::after(Duration::from_secs(10));
        while !patience.has_passed() {
            match trace::next(true) {
                Ok(Came::One(Happened::Stopped { thread, .. })) => trace::kill(thread),
                Ok(Came::One(Happened::Ended { .. })) => {}
                // It can be that it couldn't be asked now.
                Ok(Came::Nothing) | Err(_) => thread::sleep(LONGEST),
                Ok(Came::NoneIsLeft) => return,
            }
        }
    }
}
