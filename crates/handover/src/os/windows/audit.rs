//! Following a command and all that it creates, from process to process.

use std::os::windows::io::{AsHandle, OwnedHandle};
use std::os::windows::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use super::audited::look;
use crate::audit::{Started, Watch};
use crate::sys::debug::{self, Happened, What};
use crate::sys::process::terminate;
use crate::{Error, Result};

/// How the command was and what it has started; `None` if the deadline came first.
type Outcome = Option<(ExitStatus, Vec<Started>)>;

/// Runs the command to the end of its tree, on a thread of its own: what is debugged is debugged by a thread.
pub(crate) fn run(command: Command, until: Option<Instant>, watch: &mut Watch<'_>) -> Result<Outcome> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("handover audit".into());
        let begun = thread.spawn_scoped(scope, || follow(command, until, watch));
        let debugger = begun.map_err(failed("CreateThread", "the thread that debugs"))?;
        debugger.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn failed(call: &'static str, what: &str) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::System { call, what, source }
}

/// The debugger's thread.
fn follow(mut command: Command, until: Option<Instant>, watch: &mut Watch<'_>) -> Result<Outcome> {
    let what = format!("the program {}", command.get_program().display());
    let mut tree = Tree::default();
    let child = command.creation_flags(debug::DEBUGGED).spawn().map_err(failed("CreateProcessW", &what))?;
    tree.is_expected = true;
    if child.stdin.is_some() || child.stdout.is_some() || child.stderr.is_some() {
        return Err(Error::invalid(what, "has a pipe to this process for a stream, and nobody at its other end"));
    }
    let mut status = None;
    let mut started = Vec::new();
    while tree.is_expected || !tree.processes.is_empty() {
        let Some(happened) = tree.next(until)? else { return Ok(None) };
        let swallow = match &happened.what {
            What::Begins(process) => {
                let begun = look(happened.process, process.as_handle()).into();
                watch(&begun);
                started.push(begun);
                true
            }
            What::Ends(code) => {
                if happened.process == child.id() {
                    status.get_or_insert_with(|| ExitStatus::from_raw(*code));
                }
                true
            }
            What::Exception(code) => tree.is_the_debuggers(happened.process, *code),
            // Otherwise the program would say it to nobody else, and without a debugger it does.
            What::Says => false,
            What::Other => true,
        };
        tree.go_on(happened, swallow)?;
    }
    Ok(Some((status.unwrap_or_default(), started)))
}

/// A process that is debugged.
struct Debugged {
    id: u32,
    process: OwnedHandle,
    /// The breakpoints that it has come to.
    breakpoints: Vec<i32>,
}

/// What is debugged. With this, it ends.
#[derive(Default)]
struct Tree {
    processes: Vec<Debugged>,
    /// Whether the command was created, and hasn't begun yet.
    is_expected: bool,
}

impl Tree {
    /// The next that happens; `None` if nothing does until then.
    fn next(&self, until: Option<Instant>) -> Result<Option<Happened>> {
        loop {
            const LONGEST: Duration = Duration::from_secs(60);
            let left = until.map_or(LONGEST, |until| until.saturating_duration_since(Instant::now()));
            // Rounded up, so that the deadline has passed when it is said to.
            let milliseconds = left.min(LONGEST).as_micros().div_ceil(1000);
            let milliseconds = u32::try_from(milliseconds).unwrap_or(u32::MAX - 1);
            if let Some(happened) = self.wait(milliseconds)? {
                return Ok(Some(happened));
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
        }
    }

    fn wait(&self, milliseconds: u32) -> Result<Option<Happened>> {
        debug::next(milliseconds).map_err(failed("WaitForDebugEvent", "the processes that are debugged"))
    }

    /// Whether an exception is there for the debugger alone, so that the program shouldn't see it.
    fn is_the_debuggers(&mut self, id: u32, code: i32) -> bool {
        use windows_sys::Win32::Foundation::{
            STATUS_BREAKPOINT, STATUS_HANDLE_NOT_CLOSABLE, STATUS_INVALID_HANDLE, STATUS_WX86_BREAKPOINT,
        };
        match code {
            // With this a process begins, a 32-bit one on 64-bit Windows with both; those that follow are its own.
            STATUS_BREAKPOINT | STATUS_WX86_BREAKPOINT => {
                let debugged = self.processes.iter_mut().find(|debugged| debugged.id == id);
                debugged.is_some_and(|debugged| {
                    let is_first = !debugged.breakpoints.contains(&code);
                    debugged.breakpoints.push(code);
                    is_first
                })
            }
            // What a call raises under a debugger, and only answers without one.
            STATUS_INVALID_HANDLE | STATUS_HANDLE_NOT_CLOSABLE => true,
            _ => false,
        }
    }

    /// Lets a process go on, and notes what is left.
    fn go_on(&mut self, happened: Happened, swallow: bool) -> Result<()> {
        let gone = debug::go_on(&happened, swallow);
        match happened.what {
            What::Begins(process) => {
                self.is_expected = false;
                self.processes.push(Debugged { id: happened.process, process, breakpoints: Vec::new() });
            }
            What::Ends(_) => self.processes.retain(|debugged| debugged.id != happened.process),
            _ => {}
        }
        gone.map_err(failed("ContinueDebugEvent", &format!("process {}", happened.process)))
    }
}

impl Drop for Tree {
    /// Ends what is left and waits for it. If that takes too long, the system does it.
    fn drop(&mut self) {
        let begun = Instant::now();
        for debugged in &self.processes {
            // One that is ending can't be ended.
            let _ = terminate(debugged.process.as_handle());
        }
        while (self.is_expected || !self.processes.is_empty()) && begun.elapsed() < Duration::from_secs(10) {
            match self.wait(100) {
                Ok(Some(happened)) => {
                    if let What::Begins(process) = &happened.what {
                        let _ = terminate(process.as_handle());
                    }
                    if self.go_on(happened, true).is_err() {
                        break;
                    }
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
        debug::stop();
    }
}
