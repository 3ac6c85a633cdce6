//! Following a command and all that it creates, from process to process.

use std::os::windows::io::AsHandle;
use std::os::windows::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use super::audited_process::look;
use crate::error::{Error, Result};
use crate::inspect::audit::{AuditedProcess, Show, Watch, gallery};
use crate::sys::debug::{self, Exception, Happened, What};
use crate::sys::io::Owned;
use crate::sys::process::terminate;
use crate::sys::{Errand, SysError, begin_thread};

/// How the command was and what it has started; `None` if the deadline came first.
type Outcome = Option<(ExitStatus, Vec<AuditedProcess>)>;

/// Runs the command to the end of its tree, on a thread of its own: what is debugged is debugged by a thread.
pub(crate) fn run(command: Command, until: Option<Instant>, watch: &mut Watch<'_>) -> Result<Outcome> {
    let errand = Errand::of_this_thread();
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("handover audit".into());
        let (show, gallery) = gallery();
        let begun =
            begin_thread(|| thread.spawn_scoped(scope, move || errand.run(|| follow(command, until, &show))));
        let debugger = begun.map_err(failed("the thread that debugs"))?;
        let started = gallery.watch(watch);
        let status = debugger.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(status.map(|status| (status, started)))
    })
}

fn failed(what: &str) -> impl FnOnce(SysError) -> Error {
    let what = what.to_owned();
    move |error| Error::system(what, error)
}

/// The debugger's thread.
fn follow(mut command: Command, until: Option<Instant>, show: &Show) -> Result<Option<ExitStatus>> {
    let what = format!("the program {:?}", command.get_program());
    let mut tree = Tree::default();
    debug::begin().map_err(failed("the thread that debugs"))?;
    let child = debug::spawn(&mut command).map_err(failed(&what))?;
    tree.is_expected = true;
    if child.is_piped {
        return Err(Error::invalid(
            what,
            "has a pipe to this process for a stream, and nobody at its other end",
        ));
    }
    let mut status = None;
    while tree.is_expected || !tree.processes.is_empty() {
        let Some(happened) = tree.next(until)? else { return Ok(None) };
        let swallow = match &happened.what {
            What::Begins(process) => {
                if !show.show(look(happened.process, process.as_handle()).into()) {
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
            What::Raises(exception) => tree.is_the_debuggers(happened.process, *exception),
            What::Other => true,
        };
        tree.go_on(happened, swallow)?;
    }
    match status {
        Some(status) => Ok(Some(status)),
        None => {
            let error = SysError::unexpected("DbgUiWaitStateChange", "it did not report the command's exit");
            Err(failed(&what)(error))
        }
    }
}

/// A process that is debugged.
struct Debugged {
    id: u32,
    process: Owned,
    /// The kinds of breakpoints that it has come to.
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
            // However much happens, and however fast.
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
            let left = until.map_or(LONGEST, |until| until.saturating_duration_since(Instant::now()));
            // Rounded up, so that the deadline has passed when it is said to.
            let milliseconds = left.min(LONGEST).as_micros().div_ceil(1000);
            let milliseconds = u32::try_from(milliseconds).unwrap_or(u32::MAX - 1);
            if let Some(happened) = self.wait(milliseconds)? {
                return Ok(Some(happened));
            }
        }
    }

    fn wait(&self, milliseconds: u32) -> Result<Option<Happened>> {
        debug::next(milliseconds).map_err(failed("the processes that are debugged"))
    }

    /// Whether an exception is there for the debugger alone, so that the program shouldn't see it.
    fn is_the_debuggers(&mut self, id: u32, exception: Exception) -> bool {
        let Exception::Breakpoint(code) = exception else { return exception == Exception::OfADebuggedCall };
        // With one a process begins, a 32-bit one on 64-bit Windows with two kinds; those that follow are its
        // own.
        let Some(debugged) = self.processes.iter_mut().find(|debugged| debugged.id == id) else {
            return false;
        };
        let is_first = !debugged.breakpoints.contains(&code);
        if is_first {
            debugged.breakpoints.push(code);
        }
        is_first
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
        gone.map_err(failed(&format!("process {}", happened.process)))
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

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Foundation::{STATUS_BREAKPOINT, STATUS_WX86_BREAKPOINT};

    use super::*;
    use crate::sys::create_object;
    use crate::sys::process::exit_status;

    #[test]
    fn the_first_breakpoint_of_each_kind_is_the_debuggers() -> Result<(), std::io::Error> {
        // An event stands for the process: it is never ended by this.
        let process = create_object::event(true)?;
        let mut tree = Tree::default();
        tree.processes.push(Debugged { id: 4, process, breakpoints: Vec::new() });
        let mut swallows = |id, exception| tree.is_the_debuggers(id, exception);
        for kind in [STATUS_BREAKPOINT, STATUS_WX86_BREAKPOINT] {
            assert!(!swallows(8, Exception::Breakpoint(kind)), "of a process that nobody knows");
            assert!(swallows(4, Exception::Breakpoint(kind)));
            assert!(!swallows(4, Exception::Breakpoint(kind)));
        }
        assert!(swallows(4, Exception::OfADebuggedCall));
        assert!(!swallows(4, Exception::Own));
        tree.processes.clear();
        Ok(())
    }

    #[test]
    fn what_is_left_has_ended_when_its_tree_has() -> Result<()> {
        // The command of which nothing is known yet, and one that goes on.
        for begins in [false, true] {
            debug::begin().map_err(failed("this thread"))?;
            let mut tree = Tree::default();
            let program = std::env::current_exe().expect("this program");
            let mut command = Command::new(program);
            command.arg("--list").stdout(std::process::Stdio::null());
            let child = debug::spawn(&mut command).map_err(failed("this program"))?;
            tree.is_expected = true;
            if begins {
                let until = Some(Instant::now() + Duration::from_secs(10));
                let happened = tree.next(until)?.expect("it begins");
                assert!(matches!(happened.what, What::Begins(_)), "{happened:?}");
                tree.go_on(happened, true)?;
                assert_eq!((tree.is_expected, tree.processes.len()), (false, 1));
            }
            drop(tree);
            let status = exit_status(child.process()).map_err(failed("the child"))?;
            // Neither running still, nor at its own end.
            let code = status.and_then(|status| status.code());
            assert!(!matches!(code, Some(259 | 0)), "{code:?}");
        }
        Ok(())
    }
}
