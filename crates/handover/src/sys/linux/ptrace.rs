//! Tracing another process with `ptrace`, so that each of its events stops it until this process resumes it.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use super::SysResult;
use super::handle::out_of_the_streams;
use super::io::Owned;
use super::spawn_plan::Meeting;
use super::unix_socket::{self, Look};
use super::{Argument, Outcome, always, ask, call, process};

/// The options of a traced process. Its new threads and child processes are traced too, and it is killed when this
/// thread exits.
const OPTIONS: libc::c_int = libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_EXITKILL;

/// The event of a stop that no signal caused: the first stop of a new thread, or a group stop.
pub(crate) const EVENT_STOP: libc::c_int = libc::PTRACE_EVENT_STOP;

/// An event of a traced thread.
#[derive(Debug)]
pub(crate) enum Happened {
    /// The thread is stopped, either before this signal is delivered or because of this event.
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

/// The result of a query for the next event.
#[derive(Debug)]
pub(crate) enum NextEvent {
    One(Happened),
    Nothing,
    /// This thread traces no thread.
    NoneIsLeft,
}

impl Outcome for NextEvent {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(Happened::Stopped { thread, signal, event: 0 }) => {
                write!(to, "thread {thread} stopped by signal {signal}")
            }
            Self::One(Happened::Stopped { thread, signal, event }) => {
                write!(to, "thread {thread} stopped by signal {signal}, event {event}")
            }
            Self::One(Happened::Ended { thread, status }) => write!(to, "thread {thread} exited: {status}"),
            Self::Nothing => to.write_str("nothing"),
            Self::NoneIsLeft => to.write_str("no tracees"),
        }
    }
}

/// Creates the connection between a new process, which waits for its tracer before it executes its program, and the
/// tracer. The first end is inherited by the process, and must be kept until it was started; the second is the tracer's.
/// The process sends its id, and [`let_go`] answers.
pub(crate) fn meeting() -> SysResult<(Owned, Owned, Meeting)> {
    let (near, far) = unix_socket::pair()?;
    // The child gets its streams before it waits, and they would replace an end with the number of one.
    let (near, far) = (out_of_the_streams(near)?, out_of_the_streams(far)?);
    let meeting = Meeting { near: near.as_raw_fd(), far: far.as_raw_fd() };
    Ok((near, far, meeting))
}

/// Makes the command's process wait for its tracer.
pub(crate) fn meet(command: &mut Command, meeting: Meeting) {
    // SAFETY: the closure runs between fork and `execve`. It makes only system calls that are safe there, allocates
    // nothing and takes no lock, and it owns nothing that it would have to drop.
    unsafe { command.pre_exec(move || wait_for_tracer(meeting)) };
}

/// Waits for the tracer. It runs in the new process, which may share its parent's memory: it must not allocate, lock or
/// panic.
pub(super) fn wait_for_tracer(Meeting { near, far }: Meeting) -> io::Result<()> {
    // With its own copy of the tracer's end open, this process would never see end of file if the tracer exits.
    // SAFETY: the descriptor is this process's own copy, made by the fork. No other code runs in this process that
    // could use it, and `execve` follows.
    unsafe { libc::close(far) };
    let id = std::process::id().to_ne_bytes();
    // If the tracer has exited, the send must fail with an error. A death by SIGPIPE would look to std as if the
    // program had been executed.
    // SAFETY: the pointer and the length describe a live local array, which the call only reads. The descriptor is a
    // number that the kernel checks.
    let written = unsafe { libc::send(near, id.as_ptr().cast(), id.len(), libc::MSG_NOSIGNAL) };
    if usize::try_from(written) != Ok(id.len()) {
        return Err(io::Error::last_os_error());
    }
    let mut answer = [0; 4];
    // SAFETY: the parent kept this end open until the fork, so this process's copy is open. No other code runs in
    // this process that could close it before `execve`.
    let near = unsafe { BorrowedFd::borrow_raw(near) };
    if rustix::io::retry_on_intr(|| rustix::io::read(near, &mut answer))? != answer.len() {
        // The tracer has exited.
        return Err(io::Error::from_raw_os_error(libc::ECANCELED));
    }
    match i32::from_ne_bytes(answer) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// A process that std has started for a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spawned {
    id: u32,
    /// Whether a standard stream was piped to this process. The pipe's end in this process is already closed.
    pub(crate) is_piped: bool,
}

impl Outcome for Spawned {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "process {}", self.id)
    }
}

/// Starts the command. Returns when it has executed its program. The call can't list the inherited descriptors; the
/// audit finds them.
pub(crate) fn spawn(command: &mut Command) -> SysResult<Spawned> {
    let program = command.get_program().to_owned();
    call("fork+execve", &[("program", Path::new(&program).into())], || {
        // Dropping `child` closes its pipes, and std keeps no descriptor for the process, so nothing stays open.
        let child = command.spawn()?;
        let is_piped = child.stdin.is_some() || child.stdout.is_some() || child.stderr.is_some();
        Ok(Spawned { id: child.id(), is_piped })
    })
}

/// Receives the id of the waiting process. Returns `None` if the process exited before it sent one.
pub(crate) fn hear_id(far: BorrowedFd<'_>) -> SysResult<Option<u32>> {
    let mut id = Vec::new();
    loop {
        match unix_socket::receive(far, &mut id, size_of::<u32>(), Look::Wait) {
            // The id was sent in one piece of four bytes, so one receive returns all of it.
            Ok(Some(_)) => return Ok(id.try_into().ok().map(u32::from_ne_bytes)),
            // The call was interrupted by a signal.
            Ok(None) => {}
            Err(error) if unix_socket::is_end(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Lets the waiting process execute its program, or makes its start fail with the error.
pub(crate) fn let_go(far: BorrowedFd<'_>, traced: Result<(), &io::Error>) -> SysResult<()> {
    let code = traced.err().map_or(0, |error| error.raw_os_error().unwrap_or(libc::EPERM));
    match unix_socket::send(far, &code.to_ne_bytes(), &[]) {
        // The process has been killed and needs no answer.
        Err(error) if unix_socket::is_end(&error) => Ok(()),
        // If no answer can be sent, the connection is closed, which makes the start fail.
        other => other.map(drop),
    }
}

/// The events at which a tracee stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stops {
    AtPrograms,
    /// Also before and after each system call, if the tracee is resumed by [`resume_to_call`].
    #[cfg_attr(
        not(all(feature = "observe", target_pointer_width = "64")),
        allow(dead_code, reason = "only the feature `observe` follows calls")
    )]
    AtCalls,
}

/// Becomes the tracer of a process, without stopping it.
pub(crate) fn seize(process: u32, stops: Stops) -> SysResult<()> {
    let options = match stops {
        Stops::AtPrograms => OPTIONS,
        Stops::AtCalls => OPTIONS | libc::PTRACE_O_TRACESYSGOOD,
    };
    let arguments = [("", Argument::ProcessId(process)), ("PTRACE_SEIZE", Argument::Yes)];
    call("ptrace", &arguments, || request(libc::PTRACE_SEIZE, process, options.unsigned_abs() as usize))
}

/// Resumes a thread, delivering this signal; zero is none. If the thread has been killed, it does nothing; the exit
/// is reported as an event.
pub(crate) fn resume(thread: u32, signal: i32) -> SysResult<()> {
    let arguments = [("thread", thread.into()), ("PTRACE_CONT", Argument::Yes), ("signal", signal.into())];
    or_exited(call("ptrace", &arguments, || {
        request(libc::PTRACE_CONT, thread, signal.unsigned_abs() as usize)
    }))
}

/// Leaves a thread in its group stop, as it would be without a tracer, until SIGCONT resumes it.
pub(crate) fn listen(thread: u32) -> SysResult<()> {
    let arguments = [("thread", thread.into()), ("PTRACE_LISTEN", Argument::Yes)];
    or_exited(call("ptrace", &arguments, || request(libc::PTRACE_LISTEN, thread, 0)))
}

/// Resumes a thread until it makes a system call or returns from one, delivering this signal; zero is none. A thread
/// that has been killed is ignored, as by [`resume`].
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
pub(crate) fn resume_to_call(thread: u32, signal: i32) -> SysResult<()> {
    let arguments = [("thread", thread.into()), ("PTRACE_SYSCALL", Argument::Yes), ("signal", signal.into())];
    or_exited(call("ptrace", &arguments, || {
        request(libc::PTRACE_SYSCALL, thread, signal.unsigned_abs() as usize)
    }))
}

/// The signal that a stop at a system call shows.
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
pub(crate) const CALL_STOP: libc::c_int = libc::SIGTRAP | 0x80;

/// Where a thread that is stopped at a system call stands.
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallStop {
    Before {
        number: u64,
        arguments: [u64; 6],
    },
    After {
        result: i64,
        is_error: bool,
    },
    /// The program is of another architecture, such as a 32-bit program on a 64-bit kernel.
    OfOtherArchitecture,
    Elsewhere,
}

#[cfg(all(feature = "observe", target_pointer_width = "64"))]
impl Outcome for CallStop {
    #[inline]
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before { number, .. } => write!(to, "before system call {number}"),
            Self::After { result, .. } => write!(to, "after a system call, which returned {result}"),
            Self::OfOtherArchitecture => to.write_str("a system call of another architecture"),
            Self::Elsewhere => to.write_str("at no system call"),
        }
    }
}

/// `struct ptrace_syscall_info` of the kernel, whose union is one list of numbers here.
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
struct SyscallInfo {
    operation: u8,
    padding: [u8; 3],
    architecture: u32,
    instruction: u64,
    stack: u64,
    numbers: [u64; 8],
}

/// Returns the architecture of the kernel's calls (`AUDIT_ARCH_…`), where it is known.
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
const ARCHITECTURE: Option<u32> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// Returns the system call at which a thread is stopped.
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
pub(crate) fn call_stop(thread: u32) -> SysResult<CallStop> {
    const GET_SYSCALL_INFO: Request = 0x420e;
    /// The bit of the numbers of x32, whose programs share the architecture's number.
    const X32: u64 = 0x4000_0000;
    let arguments = [("thread", thread.into()), ("PTRACE_GET_SYSCALL_INFO", Argument::Yes)];
    ask("ptrace", &arguments, || {
        let mut info = SyscallInfo::default();
        let size = size_of::<SyscallInfo>();
        request_at(GET_SYSCALL_INFO, thread, size, (&raw mut info).expose_provenance())?;
        let [first, second, ..] = info.numbers;
        let is_other = ARCHITECTURE.is_some_and(|own| own != info.architecture);
        Ok(match info.operation {
            1 | 2 if is_other => CallStop::OfOtherArchitecture,
            1 if cfg!(target_arch = "x86_64") && first & X32 != 0 => CallStop::OfOtherArchitecture,
            1 => {
                let [_, a, b, c, d, e, f, _] = info.numbers;
                CallStop::Before { number: first, arguments: [a, b, c, d, e, f] }
            }
            2 => CallStop::After {
                result: i64::from_ne_bytes(first.to_ne_bytes()),
                is_error: second.to_ne_bytes()[0] != 0,
            },
            _ => CallStop::Elsewhere,
        })
    })
}

/// Returns the next stop of one thread, without waiting. Returns `None` if the thread runs, or has exited; its exit
/// stays unreported.
#[cfg(all(feature = "observe", target_pointer_width = "64"))]
pub(crate) fn next_stop_of(thread: u32) -> SysResult<NextEvent> {
    call("waitid", &[("thread", thread.into())], || {
        let options = libc::WSTOPPED | libc::__WALL;
        match process::wait_status(libc::P_PID, thread, options) {
            Ok(Some(status)) => Ok(NextEvent::One(Happened::Stopped {
                thread,
                signal: status.status & 0xff,
                event: status.status >> 8,
            })),
            Ok(None) => Ok(NextEvent::Nothing),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(NextEvent::NoneIsLeft),
            Err(error) => Err(error),
        }
    })
}

/// Ignores the error for a thread that is no longer stopped. It has been killed, and its exit is reported as an
/// event.
fn or_exited(outcome: SysResult<()>) -> SysResult<()> {
    match outcome {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// Returns the message of the event at which a thread is stopped. Fails if the thread is no longer stopped.
pub(crate) fn message(thread: u32) -> SysResult<u64> {
    let arguments = [("thread", thread.into()), ("PTRACE_GETEVENTMSG", Argument::Yes)];
    ask("ptrace", &arguments, || {
        let mut message: libc::c_ulong = 0;
        request(libc::PTRACE_GETEVENTMSG, thread, (&raw mut message).expose_provenance())?;
        #[allow(clippy::useless_conversion, reason = "it has 32 bits on some machines")]
        Ok(u64::from(message))
    })
}

/// The type of a request, which differs between C libraries.
#[cfg(any(target_env = "musl", target_env = "ohos"))]
pub(super) type Request = libc::c_int;
#[cfg(not(any(target_env = "musl", target_env = "ohos")))]
pub(super) type Request = libc::c_uint;

/// Makes a request that uses only the data argument.
fn request(request: Request, thread: u32, data: usize) -> io::Result<()> {
    request_at(request, thread, 0, data)
}

/// Makes a request.
pub(super) fn request_at(request: Request, thread: u32, address: usize, data: usize) -> io::Result<()> {
    let (address, data) = (address as *mut libc::c_void, data as *mut libc::c_void);
    // SAFETY: each caller passes a request of which the address is a plain number, and the data is either a plain
    // number or the address of a live value that the request fills or reads: a `c_ulong` for `PTRACE_GETEVENTMSG`, a
    // `SyscallInfo` with its size for `PTRACE_GET_SYSCALL_INFO`, an `iovec` that describes a live buffer for
    // `PTRACE_GETREGSET` and `PTRACE_SETREGSET`. The address of `PTRACE_POKEDATA` is in the other process, where the
    // kernel checks it.
    let answer = unsafe { libc::ptrace(request, thread, address, data) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Kills the process of a thread.
pub(crate) fn kill(thread: u32) {
    let _ = always("tkill", &[("thread", thread.into()), ("SIGKILL", Argument::Yes)], || {
        // SAFETY: both arguments of `tkill` are numbers, and the call accesses no memory of this process. The thread
        // is traced and hasn't been waited for, so its id can't belong to another thread.
        let answer = unsafe { libc::syscall(libc::SYS_tkill, thread, libc::SIGKILL) };
        if answer != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    });
}

/// Returns whether it is one of the signals that stop a process.
pub(crate) fn is_stop(signal: i32) -> bool {
    matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// Returns the next event of the threads that this thread traces, without waiting. It never takes an event of another
/// child of this process. Exits are reported only if `with_exits` is set.
pub(crate) fn next(with_exits: bool) -> SysResult<NextEvent> {
    // The call isn't only a query: each event is reported once, and the kernel removes a process whose exit it has
    // reported.
    call("waitid", &[("all that is traced", Argument::Yes)], || wait(with_exits))
}

fn wait(with_exits: bool) -> io::Result<NextEvent> {
    // `__WNOTHREAD` limits the call to children and tracees of this thread.
    let options = libc::WSTOPPED | libc::__WALL | libc::__WNOTHREAD;
    let options = if with_exits { options | libc::WEXITED } else { options };
    let status = match process::wait_status(libc::P_ALL, 0, options) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(NextEvent::NoneIsLeft),
        other => other?,
    };
    let Some(status) = status else { return Ok(NextEvent::Nothing) };
    let thread = status.id;
    Ok(NextEvent::One(match status.exit_status() {
        Some(status) => Happened::Ended { thread, status },
        None => Happened::Stopped { thread, signal: status.status & 0xff, event: status.status >> 8 },
    }))
}
