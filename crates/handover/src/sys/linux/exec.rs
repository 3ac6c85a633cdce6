//! Replaces the program of this process, with exactly the descriptors that are listed for the new one.
//!
//! A thread of this process takes the steps of a new process (`super::child_exec`) and executes the program. It shares the
//! memory and the process id, but has a copy of the descriptor table and of the current directory. So no descriptor of
//! this process ever becomes inheritable, and a failure ends the thread and leaves this process as it was. If the program
//! is executed, the kernel ends all other threads, and the process keeps its id.
//!
//! The calling thread is suspended for that time (`vfork`), and lends its thread-local memory to the new one, as it does to
//! a new process. No C library can make such a thread by itself. A seccomp filter that lets a program make threads allows
//! it; emulators of user programs, such as QEMU's, refuse it, and then the call fails.

use std::convert::Infallible;
use std::io;
use std::mem::MaybeUninit;
use std::panic::resume_unwind;
use std::ptr::{null, null_mut};
use std::time::{Duration, Instant};

use libc::{c_int, c_void, pid_t};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Pid, dumpable_behavior, set_dumpable_behavior, setpgid};

use super::child_exec::{ChildExec, InPlace};
use super::clone::{Stack, begin, step, without_any_signal};
use super::spawn::{NotStarted, shown};
use super::spawn_plan::{EXECUTE, Plan};
use super::{Argument, Outcome, SysError, SysResult, composed, fault, last_error};
use crate::sys::mutex::Mutex;

/// A thread of this process with a descriptor table and a current directory of its own, for which the calling thread is
/// suspended. `CLONE_SYSVSEM` keeps the adjustments of System V semaphores, which the program inherits.
const IN_PLACE: c_int =
    libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_SYSVSEM;

/// The size of the thread's stack in bytes. Functions of the caller run on it, as on a stack of std's threads.
const STACK: usize = 2 * 1024 * 1024;

/// The time within which a thread that has returned is gone. It takes microseconds, but a debugger can delay it.
const MAX_THREAD_EXIT: Duration = Duration::from_secs(2);

impl Outcome for Infallible {}

/// Executes the program in place of this process's. It returns only if that fails.
///
/// # Panics
///
/// If a function of the caller panics.
pub(crate) fn exec(plan: &Plan) -> NotStarted {
    let inherit: Vec<u64> = plan.inherit.iter().map(|(own, _)| own.unsigned_abs().into()).collect();
    let arguments = [
        ("program", shown(plan).into()),
        ("arguments", Argument::Texts(plan.arguments.get(1..).unwrap_or_default())),
        ("inherits", Argument::Raws(&inherit)),
    ];
    let mut child = None;
    // The event covers several calls, as that of a spawn does. A program that was executed has no event.
    let Err(error) = composed(EXECUTE, &arguments, || -> SysResult<Infallible> {
        let child = child.insert(ChildExec::new(plan));
        Err(run(child))
    });
    let mut error = NotStarted::of(child.as_ref(), error);
    match child.as_mut().and_then(ChildExec::take_in_place) {
        Some(InPlace { panic: Some(panic), .. }) => {
            drop(child);
            resume_unwind(panic)
        }
        Some(InPlace { error: Some(source), .. }) => error.error.source = source,
        _ => {}
    }
    error
}

/// Lets a thread execute the program. Returns the reason why it didn't, once the thread is gone.
fn run(child: &mut ChildExec<'_>) -> SysError {
    match prepare(child) {
        // The drop of the state restores it, after the thread is gone.
        Ok((stack, _state)) => run_on(&stack, child),
        Err(error) => error,
    }
}

/// Creates the stack, and notes the state that a failure has to restore.
fn prepare(child: &mut ChildExec<'_>) -> SysResult<(Stack, KeptState)> {
    let stack = Stack::new(STACK)?;
    let mut signal: c_int = 0;
    step("prctl", || {
        // SAFETY: the option writes one `int` to the address, which is that of a live variable.
        succeeded(unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) })
    })?;
    child.set_in_place(signal);
    Ok((stack, KeptState::note()?))
}

fn succeeded(outcome: c_int) -> Result<(), Errno> {
    if outcome == -1 { Err(Errno::from_raw_os_error(last_error())) } else { Ok(()) }
}

fn run_on(stack: &Stack, child: &mut ChildExec<'_>) -> SysError {
    let started =
        without_any_signal(|| clone(stack, child)).and_then(|made| made.map_err(SysError::of("clone")));
    let thread = match started {
        Ok(thread) => thread,
        Err(error) => return error,
    };
    wait_until_thread_exits(thread);
    match child.failure {
        Some(failure) => SysError::new(failure.call.name(), io::Error::from_raw_os_error(failure.code)),
        // The kernel ends the thread in `execve`, after which this process has no other.
        None => SysError::unexpected(EXECUTE, "the thread that executes the program ended before it did"),
    }
}

fn clone(stack: &Stack, child: &mut ChildExec<'_>) -> io::Result<pid_t> {
    #[cfg(feature = "faults")]
    let flags = as_simulated_system(IN_PLACE)?;
    #[cfg(not(feature = "faults"))]
    let flags = IN_PLACE;
    fault("clone")?;
    let (child, unused) = (&raw mut *child, null_mut::<c_void>());
    // SAFETY: `begin` gets a stack that no other code uses, and `child`, which is borrowed mutably for the whole call.
    // - With `CLONE_VFORK`, the kernel suspends this thread until the new one has executed the program, which ends this
    //   thread too, or has ended. Until then the stack, the plan and this thread's variables stay alive, and this thread,
    //   which could use them and whose thread-local memory the new one uses, doesn't run.
    // - The code of this program that runs in the new thread is `begin`, which keeps to the rules of the module
    //   `child_exec`, and the functions of the caller, who has promised that they may run there. Signals are blocked until
    //   `begin` sets the program's mask, which is that of this thread. A handler that runs then could run in this thread as
    //   well, and this thread is suspended in a system call with all signals blocked, so no other handler runs on its
    //   thread-local memory.
    // - The flags share neither the descriptor table (`CLONE_FILES`) nor the working directory (`CLONE_FS`).
    // - The other arguments are unused with these flags. The kernel writes nothing to this memory when the thread ends.
    let id = unsafe { libc::clone(begin, stack.top(), flags, child.cast(), unused, unused, unused) };
    if id == -1 { Err(io::Error::last_os_error()) } else { Ok(id) }
}

#[cfg(feature = "faults")]
fn as_simulated_system(flags: c_int) -> io::Result<c_int> {
    let flags = crate::sys::fault_injection::as_simulated_system(flags.unsigned_abs().into(), 0);
    i32::try_from(flags).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Waits until the kernel has let go of the thread's descriptors and of its place in this process. The calling thread is
/// resumed a moment before.
fn wait_until_thread_exits(thread: pid_t) {
    let process = rustix::process::getpid().as_raw_pid();
    let started = Instant::now();
    loop {
        // SAFETY: all arguments are numbers. The signal 0 only asks whether the thread exists.
        let asked = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) };
        if asked == -1 || started.elapsed() > MAX_THREAD_EXIT {
            return;
        }
        std::thread::yield_now();
    }
}

/// The state of the whole process that such a thread changes, as it was before the first of the threads that exist now.
struct ProcessState {
    /// The number of threads.
    threads: usize,
    /// The process group. `None` if it has no id here; then no call can bring the process back to it.
    group: Option<Pid>,
    /// Whether debuggers may look into this process. The kernel forbids it when a thread changes its user.
    dumpable: Option<DumpableBehavior>,
    /// The action for SIGPIPE, if it was replaced.
    sigpipe: Option<libc::sigaction>,
}

static STATE: Mutex<ProcessState> =
    Mutex::new(ProcessState { threads: 0, group: None, dumpable: None, sigpipe: None });

/// Keeps the note of the state for one thread. The drop of the last one restores it.
#[derive(Debug)]
struct KeptState;

extern "C" fn do_nothing(_: c_int) {}

fn handler() -> usize {
    do_nothing as extern "C" fn(c_int) as usize
}

impl KeptState {
    /// Notes the state, unless another thread has, and makes the program start with the default action for SIGPIPE, which std
    /// ignores in every Rust program.
    ///
    /// The action belongs to all threads, so the default one must not be set before the program is executed: it would kill
    /// this process if another thread wrote to a closed pipe. `execve` itself sets each signal that has a handler to its
    /// default action. So until then the signal has a handler that does nothing.
    fn note() -> SysResult<Self> {
        let mut state = STATE.lock();
        if state.threads == 0 {
            state.group = step("getpgid", group)?;
            state.dumpable = Some(step("prctl", dumpable_behavior)?);
            state.sigpipe = None;
            let action = step("rt_sigaction", action)?;
            if action.sa_sigaction == libc::SIG_IGN {
                step("rt_sigaction", || {
                    set_action(&libc::sigaction {
                        sa_sigaction: handler(),
                        sa_flags: libc::SA_RESTART,
                        ..action
                    })
                })?;
                state.sigpipe = Some(action);
            }
        }
        state.threads += 1;
        Ok(Self)
    }
}

/// Returns the group of this process. `None` if the group is one of another PID namespace, as that of a process may be which
/// was started into this one from outside: `getpgid` returns zero then.
fn group() -> Result<Option<Pid>, Errno> {
    // SAFETY: the argument is a number, and the call accesses no memory of this process.
    let group = unsafe { libc::getpgid(0) };
    succeeded(group)?;
    Ok(Pid::from_raw(group))
}

impl Drop for KeptState {
    /// Restores the state. A failure can't be reported beside the one that led here.
    fn drop(&mut self) {
        let mut state = STATE.lock();
        state.threads -= 1;
        if state.threads > 0 {
            return;
        }
        if let Some(group) = state.group.take() {
            if self::group() != Ok(Some(group)) {
                let _ = setpgid(None, Some(group));
            }
        }
        if let Some(before) = state.dumpable.take() {
            if dumpable_behavior() != Ok(before) {
                let _ = set_dumpable_behavior(before);
            }
        }
        // Another action was set by other code meanwhile, and stays.
        let is_ours = action().is_ok_and(|action| action.sa_sigaction == handler());
        if let (true, Some(before)) = (is_ours, state.sigpipe.take()) {
            let _ = set_action(&before);
        }
    }
}

/// Returns this process's action for SIGPIPE.
fn action() -> Result<libc::sigaction, Errno> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the new action is null, so nothing is changed. The old one is written to live memory of its size.
    succeeded(unsafe { libc::sigaction(libc::SIGPIPE, null(), action.as_mut_ptr()) })?;
    // SAFETY: the successful call has written the action.
    Ok(unsafe { action.assume_init() })
}

fn set_action(action: &libc::sigaction) -> Result<(), Errno> {
    // SAFETY: the action is alive. Its handler is `SIG_IGN`, or a function that does nothing and lives as long as the
    // program, so it may run at any moment. Null means that the old action isn't returned.
    succeeded(unsafe { libc::sigaction(libc::SIGPIPE, action, null_mut()) })
}
