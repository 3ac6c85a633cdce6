//! Starts a program with exactly the descriptors that are listed for it.
//!
//! The environment variable with the manifest contains the new process's id, which only the new process knows. With
//! std's `Command`, a closure would have to run there to write it, and `Command` would fork, which copies this
//! process's page tables. So this module creates the process without that copy (`super::clone`), and makes all calls
//! between the clone and `execve` itself (`super::child_exec`).

use std::ffi::{CString, OsStr};
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitStatus;
use std::ptr::{null, null_mut};

use super::SysError;
use super::SysResult;
use super::child_exec::ChildExec;
use super::clone::{start, start_without_descriptor};
use super::handle::out_of_the_streams;
use super::io::Owned;
use super::process::wait_for_exit;
use super::spawn_plan::{Plan, Stream};
use super::{Answered, Argument, Effects, Outcome, Slot, Table, always, ask, call, composed};

/// A child process that runs its program, and its process id.
pub(crate) struct Started {
    pub(crate) process: Owned,
    pub(crate) id: u32,
}

/// The reason why a program could not be started.
#[derive(Debug)]
pub(crate) struct NotStarted {
    pub(crate) error: SysError,
    /// The index of the program's file that the error is about, if the call was `execve`.
    pub(crate) program: usize,
}

impl From<SysError> for NotStarted {
    fn from(error: SysError) -> Self {
        Self { error, program: 0 }
    }
}

impl NotStarted {
    pub(super) fn of(child: Option<&ChildExec<'_>>, error: SysError) -> Self {
        let failure = child.and_then(|child| child.failure.as_ref());
        Self { error, program: failure.map_or(0, |failure| failure.program.into()) }
    }
}

/// Returns the program as events show it: its path, or its name if it is looked for in several folders.
pub(super) fn shown(plan: &Plan) -> &Path {
    fn path(program: &CString) -> &Path {
        Path::new(OsStr::from_bytes(program.as_bytes()))
    }
    match plan.programs.as_slice() {
        [] => Path::new(""),
        [one] => path(one),
        [first, ..] => path(first).file_name().map_or(path(first), Path::new),
    }
}

/// Starts the program, and returns when it runs.
pub(crate) fn spawn(plan: &Plan) -> Result<Started, NotStarted> {
    let inherit: Vec<u64> = plan.inherit.iter().map(|(own, _)| own.unsigned_abs().into()).collect();
    let arguments = [
        ("program", shown(plan).into()),
        ("arguments", Argument::Texts(plan.arguments.get(1..).unwrap_or_default())),
        ("inherits", Argument::Raws(&inherit)),
    ];
    let arguments = &arguments[..if inherit.is_empty() { 2 } else { 3 }];
    // The event covers several calls. Tests can inject a failure in each of them, and the error names the one that
    // failed.
    let mut child = None;
    let started = composed("clone+execve", arguments, || {
        let (id, process) = start(child.insert(ChildExec::new(plan)))?;
        Ok(Reported { started: Started { process: process.into(), id }, plan })
    });
    started.map(|reported| reported.started).map_err(|error| NotStarted::of(child.as_ref(), error))
}

/// Starts the program, opens no descriptor for its process, and waits until it exits, without a timeout.
pub(crate) fn run_to_exit(plan: &Plan) -> Result<ExitStatus, NotStarted> {
    let mut child = None;
    let id = composed("clone+execve", &[("program", shown(plan).into())], || {
        start_without_descriptor(child.insert(ChildExec::new(plan)))
    });
    let id = id.map_err(|error| NotStarted::of(child.as_ref(), error))?;
    loop {
        if let Some(status) = wait_for_exit(id)? {
            return Ok(status);
        }
    }
}

/// The event's view of a new process: the descriptor that refers to it, and the descriptors that it inherited.
struct Reported<'a> {
    started: Started,
    plan: &'a Plan,
}

impl Outcome for Reported<'_> {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "process {}", self.started.id)
    }

    #[inline]
    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        let Started { process, id } = &self.started;
        to.opened(Slot::own(process.borrowed()), None)?;
        let slot = |number: RawFd, table| Slot::new(number.unsigned_abs().into(), table);
        let streams = (0..).zip(&self.plan.streams).map(|(number, stream)| match stream {
            Stream::Same => (number, number),
            Stream::CopyOf(own) => (*own, number),
        });
        for (own, number) in streams.chain(self.plan.inherit.iter().copied()) {
            to.opened(slot(number, Table::OfId(*id)), Some(slot(own, Table::Own)))?;
        }
        Ok(())
    }
}

/// Returns the signals that this thread blocks.
pub(crate) fn blocked_signals() -> SysResult<libc::sigset_t> {
    let blocked = ask("rt_sigprocmask", &[], || {
        let mut blocked = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the first pointer is null, so the mask isn't changed. The second points to a live, writable
        // `sigset_t`.
        let outcome = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, null(), blocked.as_mut_ptr()) };
        if outcome != 0 {
            return Err(io::Error::from_raw_os_error(outcome));
        }
        // SAFETY: a `sigset_t` consists of integers, so the zeroed memory is already a valid value, and the
        // successful call has written the mask to it.
        Ok(Answered(unsafe { blocked.assume_init() }))
    });
    blocked.map(|Answered(blocked)| blocked)
}

/// Sets the signals that this thread blocks. With a valid set and `SIG_SETMASK` the call can't fail.
fn block(signals: &libc::sigset_t, which: &'static str) {
    let _ = always("rt_sigprocmask", &[(which, Argument::Yes)], || {
        // SAFETY: `signals` is borrowed for the call, and the null pointer means that the old mask isn't returned.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, signals, null_mut()) };
        Ok(())
    });
}

/// Runs `begin` with all signals blocked, so that a thread that it starts inherits the mask and no signal handler of
/// the program runs on it.
pub(crate) fn without_signals<T>(begin: impl FnOnce() -> T) -> SysResult<T> {
    let before = blocked_signals()?;
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the pointer refers to a live, writable `sigset_t`, which the call fills.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: a `sigset_t` consists of integers, so the zeroed memory is already a valid value, and `sigfillset` has
    // filled it.
    block(&unsafe { all.assume_init() }, "all");
    let outcome = begin();
    block(&before, "as before");
    Ok(outcome)
}

/// Creates a pipe. Returns the read end and the write end.
pub(crate) fn pipe() -> SysResult<(Owned, Owned)> {
    struct Ends(Owned, Owned);
    impl Outcome for Ends {
        #[inline]
        fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
            to.opened(Slot::own(self.0.borrowed()), None)?;
            to.opened(Slot::own(self.1.borrowed()), None)
        }
    }
    let made = call("pipe2", &[], || {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Ok(Ends(read.into(), write.into()))
    });
    let Ends(read, write) = made?;
    Ok((out_of_the_streams(read)?, out_of_the_streams(write)?))
}
