//! Debugs a command and all processes that it creates.

use std::os::windows::io::{AsHandle, BorrowedHandle};
use std::os::windows::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use super::audited_process::snapshot;
use crate::error::{Error, Result};
use crate::inspect::HandleEntry;
use crate::inspect::audit::{AuditedProcess, Program, Reporter, Watch, close_pipes, piped, report_channel};
use crate::process::Child;
use crate::process::imp::{parent_helper, reason_of_std};
use crate::sys::debug::{self, Exception, Happened, What};
use crate::sys::io::Owned;
use crate::sys::peb;
use crate::sys::process::terminate;
use crate::sys::{Errand, SysError, begin_thread};

/// The command's exit status and the processes of its tree; `None` if the deadline passed first.
type Outcome = Option<(ExitStatus, Vec<AuditedProcess>)>;

/// Runs the command until all processes of its tree have exited. It runs on a separate thread, because a debuggee is
/// bound to one thread.
pub(crate) fn run(
    program: Program<'_>,
    deadline: Option<Instant>,
    watch: &mut Watch<'_>,
    of_auditor: Vec<HandleEntry>,
) -> Result<Outcome> {
    let errand = Errand::of_this_thread();
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("handover audit".into());
        let (reporter, watcher) = report_channel(of_auditor);
        let begun = begin_thread(|| {
            thread.spawn_scoped(scope, move || errand.run(|| follow(program, deadline, &reporter)))
        });
        let debugger = begun.map_err(failed("the thread that debugs the processes"))?;
        let started = watcher.watch(watch);
        let status = debugger.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(status.map(|status| (status, started)))
    })
}

fn failed(context: &str) -> impl FnOnce(SysError) -> Error {
    let context = context.to_owned();
    move |error| Error::system(context, error)
}

/// A command that runs.
struct Started {
    id: u32,
    /// Whether a stream is a pipe to this process, whose end is closed by now.
    is_piped: bool,
    /// Kept until the audit ends: dropping a child with `kill_on_drop` kills it.
    _child: Option<Child>,
}

/// Starts the command. This thread debugs it.
fn start(program: &mut Program<'_>, context: &str) -> Result<Started> {
    let started = match program {
        Program::Std(command) => match debug::spawn(command) {
            Ok(spawned) => Ok(Started { id: spawned.id, is_piped: spawned.is_piped, _child: None }),
            Err(error) => {
                Err(reason_of_std(command, error).unwrap_or_else(|error| Error::system(context, error)))
            }
        },
        Program::Own(command) => {
            command.os.creation_flags = debug::flags(command.os.creation_flags);
            command.spawn().map(|mut child| Started {
                id: child.id(),
                is_piped: close_pipes(&mut child),
                _child: Some(child),
            })
        }
    };
    started.map_err(|error| match error {
        // A 32-bit process may not start a 64-bit one as its debugger.
        Error::System { source, .. }
            if cfg!(target_pointer_width = "32") && debug::is_unsupported(&source) =>
        {
            too_wide(context.to_owned())
        }
        other => other,
    })
}

/// Returns whether a process is the helper of race-free spawns.
fn is_helper(process: BorrowedHandle<'_>) -> bool {
    let line = peb::basic(process).and_then(|basic| peb::command_line(process, basic));
    line.is_ok_and(|line| line.into_iter().eq(parent_helper::COMMAND_LINE.encode_utf16()))
}

/// Returns the error for a 64-bit program that a 32-bit build was to audit.
fn too_wide(context: String) -> Error {
    Error::invalid(context, "is a 64-bit program; audit it with a 64-bit build of this program")
}

/// Runs the debugger's thread.
fn follow(
    mut program: Program<'_>,
    deadline: Option<Instant>,
    reporter: &Reporter,
) -> Result<Option<ExitStatus>> {
    let context = format!("the program {:?}", program.name());
    let mut tree = Tree::default();
    debug::begin().map_err(failed("the thread that debugs the processes"))?;
    let child = start(&mut program, &context)?;
    tree.is_expected = true;
    if child.is_piped {
        return Err(piped(context));
    }
    let mut status = None;
    while tree.is_expected || !tree.processes.is_empty() {
        let Some(happened) = tree.next(deadline)? else { return Ok(None) };
        let is_handled = match &happened.what {
            What::Begins(process) => {
                // If the system can't tell, the process is exiting, and the snapshot says so.
                if peb::is_wider(process.as_handle()).unwrap_or(false) {
                    let id = happened.process;
                    // Killed before it goes on, so that none of its instructions run.
                    let _ = terminate(process.as_handle());
                    tree.go_on(happened, true)?;
                    return Err(too_wide(format!("process {id} of {context}")));
                }
                // A helper inherits nothing. The handles in it are those that later children inherit.
                if !is_helper(process.as_handle())
                    && !reporter.report(snapshot(happened.process, process.as_handle()).into())
                {
                    let _ = terminate(process.as_handle());
                    tree.go_on(happened, true)?;
                    return Ok(None);
                }
                true
            }
            What::Ends(code) => {
                if happened.process == child.id {
                    status.get_or_insert_with(|| ExitStatus::from_raw(*code));
                }
                true
            }
            What::Raises(exception) => tree.belongs_to_debugger(happened.process, *exception),
            What::ThreadEnds | What::Other => true,
        };
        tree.go_on(happened, is_handled)?;
    }
    match status {
        Some(status) => Ok(Some(status)),
        None => {
            let error = SysError::unexpected("DbgUiWaitStateChange", "it did not report the command's exit");
            Err(failed(&context)(error))
        }
    }
}

/// A debugged process.
struct Debugged {
    id: u32,
    process: Owned,
    /// The kinds of breakpoints that it has already reached.
    breakpoints: Vec<i32>,
}

/// The debugged processes. Dropping the tree kills them.
#[derive(Default)]
struct Tree {
    processes: Vec<Debugged>,
    /// Whether the command was created, but its first event has not arrived yet.
    is_expected: bool,
}

impl Tree {
    /// Waits for the next event, or returns `None` at the deadline.
    fn next(&self, deadline: Option<Instant>) -> Result<Option<Happened>> {
        loop {
            const MAX_WAIT: Duration = Duration::from_secs(60);
            // Checked before each wait, so that a flood of events can't extend the deadline.
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
            let left =
                deadline.map_or(MAX_WAIT, |deadline| deadline.saturating_duration_since(Instant::now()));
            // Rounded up, so that the deadline has passed once the wait times out.
            let milliseconds = left.min(MAX_WAIT).as_micros().div_ceil(1000);
            let milliseconds = u32::try_from(milliseconds).unwrap_or(u32::MAX - 1);
            if let Some(happened) = self.wait(milliseconds)? {
                return Ok(Some(happened));
            }
        }
    }

    fn wait(&self, milliseconds: u32) -> Result<Option<Happened>> {
        debug::next(milliseconds).map_err(failed("the debugged processes"))
    }

    /// Returns whether an exception exists only because of the debugger, so that the program must not see it.
    fn belongs_to_debugger(&mut self, id: u32, exception: Exception) -> bool {
        let Some(debugged) = self.processes.iter_mut().find(|debugged| debugged.id == id) else {
            return false;
        };
        // Each process starts with a breakpoint of the loader; a 32-bit process on 64-bit Windows starts with one of
        // each kind. Later breakpoints are the program's own.
        let code = match exception {
            Exception::Breakpoint { code, .. } => code,
            Exception::OfACall { address } => {
                return debug::is_of_debugged_call(debugged.process.as_handle(), address);
            }
            Exception::Own => return false,
        };
        let is_first = !debugged.breakpoints.contains(&code);
        if is_first {
            debugged.breakpoints.push(code);
        }
        is_first
    }

    /// Resumes a process, and updates the list of remaining processes.
    fn go_on(&mut self, happened: Happened, is_handled: bool) -> Result<()> {
        let gone = debug::go_on(&happened, is_handled);
        match happened.what {
            What::Begins(process) => {
                self.is_expected = false;
                self.processes.push(Debugged { id: happened.process, process, breakpoints: Vec::new() });
            }
            What::Ends(_) => self.processes.retain(|debugged| debugged.id != happened.process),
            _ => {}
        }
        gone.map_err(failed(&format!("process {}", happened.process)))
    }
}

impl Drop for Tree {
    /// Kills the remaining processes and waits for them. If that takes too long, the system finishes it.
    fn drop(&mut self) {
        let begun = Instant::now();
        for debugged in &self.processes {
            // Terminating a process that is already exiting fails, which is fine.
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

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Foundation::{STATUS_BREAKPOINT, STATUS_WX86_BREAKPOINT};

    use super::*;
    use crate::sys::create_object;
    use crate::sys::process::exit_status;

    #[test]
    fn first_breakpoint_of_each_kind_belongs_to_the_debugger() -> Result<(), std::io::Error> {
        // An event stands in for the process. The test clears the list before the drop could terminate it.
        let process = create_object::event(true)?;
        let mut tree = Tree::default();
        tree.processes.push(Debugged { id: 4, process, breakpoints: Vec::new() });
        let mut swallows = |id, exception| tree.belongs_to_debugger(id, exception);
        for kind in [STATUS_BREAKPOINT, STATUS_WX86_BREAKPOINT] {
            assert!(
                !swallows(8, Exception::Breakpoint { code: kind, address: 0 }),
                "of a process that isn't in the tree"
            );
            assert!(swallows(4, Exception::Breakpoint { code: kind, address: 0 }));
            assert!(!swallows(4, Exception::Breakpoint { code: kind, address: 0 }));
        }
        assert!(!swallows(4, Exception::Own));
        tree.processes.clear();
        Ok(())
    }

    #[test]
    fn dropping_the_tree_kills_its_processes() -> Result<()> {
        // Once before the command's first event, and once after it.
        for begins in [false, true] {
            debug::begin().map_err(failed("this thread"))?;
            let mut tree = Tree::default();
            let program = std::env::current_exe().expect("this program");
            let mut command = std::process::Command::new(program);
            command.arg("--list").stdout(std::process::Stdio::null());
            let child = debug::spawn(&mut command).map_err(failed("this program"))?;
            tree.is_expected = true;
            if begins {
                let deadline = Some(Instant::now() + Duration::from_secs(10));
                let happened = tree.next(deadline)?.expect("the process begins");
                assert!(matches!(happened.what, What::Begins(_)), "{happened:?}");
                tree.go_on(happened, true)?;
                assert_eq!((tree.is_expected, tree.processes.len()), (false, 1));
            }
            drop(tree);
            let status = exit_status(child.process()).map_err(failed("the child"))?;
            // The process is neither still running (259) nor did it exit by itself (0).
            let code = status.and_then(|status| status.code());
            assert!(!matches!(code, Some(259 | 0)), "{code:?}");
        }
        Ok(())
    }
}
