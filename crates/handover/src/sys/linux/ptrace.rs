//! Tracing: being the one without whom a process doesn't go on.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::ptr::null_mut;

use super::SysResult;
use super::io::Owned;
use super::unix_socket::{self, Look};
use super::{Argument, Outcome, always, ask, call, process};

/// What a process brings along, and that it ends with this thread.
const OPTIONS: libc::c_int = libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_EXITKILL;

/// A stop that is no signal's: a new thread's first, or one that lasts.
pub(crate) const EVENT_STOP: libc::c_int = libc::PTRACE_EVENT_STOP;

/// What has happened to a thread that is traced.
#[derive(Debug)]
pub(crate) enum Happened {
    /// It stands still, before this signal is delivered or because of this event.
    Stopped {
        thread: u32,
        signal: i32,
        event: i32,
    },
    Ended {
        thread: u32,
        status: ExitStatus,
    },
}

/// What there is to hear.
#[derive(Debug)]
pub(crate) enum NextEvent {
    One(Happened),
    Nothing,
    /// This thread traces nothing.
    NoneIsLeft,
}

impl Outcome for NextEvent {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(Happened::Stopped { thread, signal, event: 0 }) => {
                write!(to, "thread {thread} stopped by signal {signal}")
            }
            Self::One(Happened::Stopped { thread, signal, event }) => {
                write!(to, "thread {thread} stopped by signal {signal}, event {event}")
            }
            Self::One(Happened::Ended { thread, status }) => write!(to, "thread {thread} ended: {status}"),
            Self::Nothing => to.write_str("nothing"),
            Self::NoneIsLeft => to.write_str("none is left"),
        }
    }
}

/// Lets the command's process wait for its tracer, before it becomes the program. The first end is the process's, and
/// to be kept until it was started; the second the tracer's. The process's id comes, and [`let_go`] answers.
pub(crate) fn meet(command: &mut Command) -> SysResult<(Owned, Owned)> {
    let (near, far) = unix_socket::pair()?;
    let (raw_near, raw_far) = (near.as_raw_fd(), far.as_raw_fd());
    // SAFETY: only system calls are made in the new process; nothing is allocated, and nothing dropped.
    unsafe { command.pre_exec(move || wait_for_tracer(raw_near, raw_far)) };
    Ok((near, far))
}

/// In the new process.
fn wait_for_tracer(near: RawFd, far: RawFd) -> io::Result<()> {
    // Otherwise this would wait for an answer from itself if the tracer is no more.
    // SAFETY: what has this number here is this copy of the process alone, which goes on to become the program.
    unsafe { libc::close(far) };
    let id = std::process::id().to_ne_bytes();
    // If the tracer is no more, this is to fail: an end by SIGPIPE would look to std as if the program had begun.
    // SAFETY: the bytes are live and as many.
    let written = unsafe { libc::send(near, id.as_ptr().cast(), id.len(), libc::MSG_NOSIGNAL) };
    if usize::try_from(written) != Ok(id.len()) {
        return Err(io::Error::last_os_error());
    }
    let mut answer = [0; 4];
    // SAFETY: this copy of the process has it open until it is the program.
    let near = unsafe { BorrowedFd::borrow_raw(near) };
    if rustix::io::retry_on_intr(|| rustix::io::read(near, &mut answer))? != answer.len() {
        // The tracer is no more.
        return Err(io::Error::from_raw_os_error(libc::ECANCELED));
    }
    match i32::from_ne_bytes(answer) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// A command that was started, by std.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spawned {
    id: u32,
    /// Whether it had a pipe to this process for a stream, whose end here is closed by now.
    pub(crate) is_piped: bool,
}

impl Outcome for Spawned {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "process {}", self.id)
    }
}

/// Starts the command; comes back when it has become the program. What it inherits, the audit tells, and nothing of it is
/// known here.
pub(crate) fn spawn(command: &mut Command) -> SysResult<Spawned> {
    let program = command.get_program().to_owned();
    call("fork+execve", &[("program", Path::new(&program).into())], || {
        // Here nothing of it stays open: its pipes are closed, and std keeps no descriptor for its process.
        let child = command.spawn()?;
        let is_piped = child.stdin.is_some() || child.stdout.is_some() || child.stderr.is_some();
        Ok(Spawned { id: child.id(), is_piped })
    })
}

/// The id of the process that waits, as it tells; `None` if it never came to that.
pub(crate) fn hear_id(far: BorrowedFd<'_>) -> SysResult<Option<u32>> {
    let mut id = Vec::new();
    loop {
        match unix_socket::receive(far, &mut id, size_of::<u32>(), Look::Wait) {
            // It was written in one piece, and so it comes.
            Ok(Some(_)) => return Ok(id.try_into().ok().map(u32::from_ne_bytes)),
            // Interrupted.
            Ok(None) => {}
            Err(error) if unix_socket::is_end(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Lets the process that waits become its program, or fail.
pub(crate) fn let_go(far: BorrowedFd<'_>, traced: Result<(), &io::Error>) -> SysResult<()> {
    let code = traced.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EPERM));
    match unix_socket::send(far, &code.to_ne_bytes(), &[]) {
        // If it has been ended, nobody hears it.
        Err(error) if unix_socket::is_end(&error) => Ok(()),
        // Without an answer it fails, by the end of the connection.
        other => other.map(drop),
    }
}

/// Becomes the tracer of a process, which isn't stopped by it.
pub(crate) fn seize(process: u32) -> SysResult<()> {
    let arguments = [("", Argument::ProcessId(process)), ("PTRACE_SEIZE", Argument::Yes)];
    call("ptrace", &arguments, || request(libc::PTRACE_SEIZE, process, OPTIONS.unsigned_abs() as usize))
}

/// Lets a thread go on, with this signal or none. One that has been ended doesn't, and says so by its end.
pub(crate) fn resume(thread: u32, signal: i32) -> SysResult<()> {
    let arguments = [("thread", thread.into()), ("PTRACE_CONT", Argument::Yes), ("signal", signal.into())];
    or_ended(call("ptrace", &arguments, || {
        request(libc::PTRACE_CONT, thread, signal.unsigned_abs() as usize)
    }))
}

/// Leaves a thread stopped as it would be without a tracer, until something else lets it go on.
pub(crate) fn listen(thread: u32) -> SysResult<()> {
    let arguments = [("thread", thread.into()), ("PTRACE_LISTEN", Argument::Yes)];
    or_ended(call("ptrace", &arguments, || request(libc::PTRACE_LISTEN, thread, 0)))
}

/// A thread that doesn't stand still any more has been ended, which is heard of otherwise.
fn or_ended(outcome: SysResult<()>) -> SysResult<()> {
    match outcome {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// What the event brings at which a thread stands still; an error if it doesn't stand still any more.
pub(crate) fn message(thread: u32) -> SysResult<u64> {
    let arguments = [("thread", thread.into()), ("PTRACE_GETEVENTMSG", Argument::Yes)];
    ask("ptrace", &arguments, || {
        let mut message: libc::c_ulong = 0;
        request(libc::PTRACE_GETEVENTMSG, thread, (&raw mut message).expose_provenance())?;
        #[allow(clippy::useless_conversion, reason = "it has 32 bits on some machines")]
        Ok(u64::from(message))
    })
}

/// A request of the kind in which only the last argument says something.
fn request(request: libc::c_uint, thread: u32, data: usize) -> io::Result<()> {
    // SAFETY: the requests of this file take a number, or the address of a live place of the type that they answer with.
    let answer =
        unsafe { libc::ptrace(request, thread, null_mut::<libc::c_void>(), data as *mut libc::c_void) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Ends the process that the thread belongs to.
pub(crate) fn kill(thread: u32) {
    let _ = always("tkill", &[("thread", thread.into()), ("SIGKILL", Argument::Yes)], || {
        // SAFETY: the call takes numbers. The thread is traced and wasn't waited for since it ended, so the id is its own.
        let answer = unsafe { libc::syscall(libc::SYS_tkill, thread, libc::SIGKILL) };
        if answer != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    });
}

/// Whether it is one of the signals that stop a process.
pub(crate) fn is_stop(signal: i32) -> bool {
    matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// What has happened to any thread that this one traces; never anything to another child of the process. An end is
/// only heard of if it is asked for.
pub(crate) fn next(ends_too: bool) -> SysResult<NextEvent> {
    // It does something: what is heard of isn't told again, and the system forgets what has ended.
    call("waitid", &[("all that is traced", Argument::Yes)], || wait(ends_too))
}

fn wait(ends_too: bool) -> io::Result<NextEvent> {
    // This thread's children and tracees, and no other thread's.
    let options = libc::WSTOPPED | libc::__WALL | libc::__WNOTHREAD;
    let options = if ends_too { options | libc::WEXITED } else { options };
    let heard = match process::heard_of(libc::P_ALL, 0, options) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(NextEvent::NoneIsLeft),
        other => other?,
    };
    let Some(heard) = heard else { return Ok(NextEvent::Nothing) };
    let thread = heard.id;
    Ok(NextEvent::One(match heard.end() {
        Some(status) => Happened::Ended { thread, status },
        None => Happened::Stopped { thread, signal: heard.status & 0xff, event: heard.status >> 8 },
    }))
}
