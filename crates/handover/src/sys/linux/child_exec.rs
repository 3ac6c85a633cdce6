//! The code that runs in a new process before it executes its program.
//!
//! The process may share its parent's memory, while the parent's other threads run and the thread that created it is
//! suspended (`super::clone`). Therefore this code must not allocate, drop, lock or panic. All data that it reads was
//! written before the clone, and no other thread uses it. It makes raw system calls where the C library does more
//! than the call: `setuid` changes the user of all threads that the library knows, and `sigaction` takes a lock. It
//! may change `errno` of the suspended thread, which reads it only after a failed call of its own.
//!
//! The same code runs in a thread of this process that replaces the process's program (`super::exec`). The thread has
//! a descriptor table and a current directory of its own, but not its own signal handlers, so it leaves those alone.
//!
//! The functions of `pre_exec` are the caller's, who has promised that they may run there. They run in a process that has
//! a copy of the memory, or in that thread.

use std::any::Any;
use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;
use std::ptr::null;

use libc::{c_char, c_int, c_long};
use rustix::fs::Uid;
use rustix::io::Errno;
use rustix::process::{Gid, Pid, Signal};

use super::child_call::{Call, Failure, checked, checked_raw, fcntl, may_fail};
use super::close_at_exec::close_the_rest_at_exec;
use super::handle::FIRST;
use super::progress::Progress;
use super::ptrace::wait_for_tracer;
use super::spawn_plan::{Closure, IdLine, Plan, Stream};
use crate::sys::mutex::MutexGuard;

/// A plan in the form that the system calls need, and the results that the new process reports through shared memory.
pub(super) struct ChildExec<'a> {
    plan: &'a Plan,
    arguments: Vec<*const c_char>,
    variables: Vec<*const c_char>,
    /// The variable that contains the process id, as a copy that can be changed, and its index.
    id: Option<(usize, IdLine)>,
    /// The pipe to which a failure is written. Without one, the failure is stored in `failure`.
    pub(super) pipe: Option<RawFd>,
    /// Where a process with functions of the caller reports instead. A function may close the pipe.
    pub(super) progress: Option<Progress>,
    closures: Option<MutexGuard<'a, Vec<Closure>>>,
    /// Set if the program replaces that of this process.
    in_place: Option<InPlace>,
    /// Whether the new process has signal handlers that it has to reset.
    pub(super) has_handlers: bool,
    /// Set by the new process. The parent sees it only if the two share their memory.
    pub(super) has_begun: bool,
    /// Set by the new process if it fails. The parent sees it only if the two share their memory.
    pub(super) failure: Option<Failure>,
}

/// The state of a thread that replaces this process's program.
#[derive(Debug, Default)]
pub(super) struct InPlace {
    /// The signal that this process gets when its parent exits, or 0. The kernel keeps it for each thread.
    pub(super) parent_death_signal: c_int,
    /// The error of a function of the caller.
    pub(super) error: Option<io::Error>,
    /// The panic of a function of the caller.
    pub(super) panic: Option<Box<dyn Any + Send>>,
}

impl<'a> ChildExec<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        let mut arguments: Vec<_> = plan.arguments.iter().map(|text| text.as_ptr()).collect();
        arguments.push(null());
        let mut variables: Vec<_> = plan.variables.pointers().collect();
        let id = plan.id.clone().map(|line| (variables.len(), line));
        if let Some((_, line)) = &id {
            variables.push(line.pointer());
        }
        variables.push(null());
        Self {
            plan,
            arguments,
            variables,
            id,
            pipe: None,
            progress: None,
            closures: plan.closures.lock(),
            in_place: None,
            has_handlers: true,
            has_begun: false,
            failure: None,
        }
    }

    /// Makes the program replace that of this process.
    pub(super) fn set_in_place(&mut self, parent_death_signal: c_int) {
        self.in_place = Some(InPlace { parent_death_signal, ..InPlace::default() });
    }

    /// Returns the state of the thread that replaced this process's program, or failed to.
    pub(super) fn take_in_place(&mut self) -> Option<InPlace> {
        self.in_place.take()
    }

    /// Returns whether the new process runs functions of the caller.
    pub(super) fn has_closures(&self) -> bool {
        self.closures.is_some()
    }

    /// Returns whether the program will run as another user or in another group.
    pub(super) fn is_another_user(&self) -> bool {
        self.plan.user.is_some() || self.plan.group.is_some()
    }

    /// Does all the work of the new process. It returns only if a step fails, after it has reported the failure.
    pub(super) fn run(&mut self) {
        self.has_begun = true;
        let Err(failure) = self.execute();
        if let Some(progress) = &self.progress {
            progress.fail(failure);
            return;
        }
        match self.pipe {
            // A failure of the write can't be reported to any process, so it is ignored.
            Some(pipe) => {
                let bytes = failure.to_bytes();
                // SAFETY: the pointer and the length describe a live local array, which the call only reads. The
                // descriptor is a number that the kernel checks.
                unsafe { libc::syscall(libc::SYS_write, pipe, bytes.as_ptr(), bytes.len()) };
            }
            None => self.failure = Some(failure),
        }
    }

    /// Takes the steps in the order in which std's `Command` takes them.
    fn execute(&mut self) -> Result<std::convert::Infallible, Failure> {
        self.change_user()?;
        if let Some(directory) = &self.plan.directory {
            checked(Call::ChDir, || rustix::process::chdir(directory.as_c_str()))?;
        }
        if let Some(group) = self.plan.process_group {
            // SAFETY: all arguments of `setpgid` are numbers, and the call accesses no memory of this process.
            checked_raw(Call::SetPGid, || unsafe { libc::syscall(libc::SYS_setpgid, 0, group) })?;
        }
        match &self.in_place {
            None => reset_signals(self.has_handlers)?,
            Some(InPlace { parent_death_signal: 0, .. }) => {}
            Some(InPlace { parent_death_signal: signal, .. }) => {
                // SAFETY: all arguments are numbers, and the call changes only what the kernel keeps for this thread.
                checked_raw(Call::PrCtl, || unsafe {
                    libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, *signal, 0, 0, 0)
                })?;
            }
        }
        // This follows the change of the user, because the kernel resets the signal when a process changes its user.
        if let Some(parent) = self.plan.ends_with {
            checked(Call::PrCtl, || rustix::process::set_parent_process_death_signal(Some(Signal::KILL)))?;
            // The parent may have exited before the signal was set.
            if rustix::process::getppid().map(id_of) != Some(parent) {
                return Err(Failure::new(Call::PrCtl, libc::ESRCH));
            }
        }
        self.place_descriptors()?;
        self.write_id();
        // The handlers of a new process were reset above, so no handler of this program can run in it, even if an
        // unblocked signal arrives. In place, one may run until `execve`, as it could in the calling thread, which is
        // suspended and has all signals blocked: it sees that thread's stack limits, `errno` and thread-local values.
        let blocked = &raw const self.plan.blocked;
        // SAFETY: the pointer refers to a `sigset_t` in the plan, which is alive and at least `SET` bytes long; the
        // kernel's set is its first part. Null means that the old mask isn't returned.
        checked_raw(Call::SigProcMask, || unsafe { set_mask(blocked.cast(), std::ptr::null_mut()) })?;
        self.run_closures()?;
        if let Some(progress) = &self.progress {
            progress.pass();
        }
        if let Some(meeting) = self.plan.tracer {
            may_fail(Call::Tracer)?;
            let traced = wait_for_tracer(meeting);
            traced.map_err(|error| Failure::new(Call::Tracer, error.raw_os_error().unwrap_or(0)))?;
        }
        may_fail(Call::ExecVe)?;
        Err(self.execute_first())
    }

    /// Executes the first of the program's files that can be executed. It returns only if none can: as `execvp(3)`,
    /// with the first file that this user may not execute, or with the last one if none exists. Another error ends the
    /// search.
    fn execute_first(&self) -> Failure {
        let mut refused = None;
        let mut last = Failure::new(Call::ExecVe, libc::ENOENT);
        for (index, program) in (0..).zip(&self.plan.programs) {
            let (program, arguments) = (program.as_ptr(), self.arguments.as_ptr());
            // SAFETY: all texts are `CString`s and end with NUL, and both lists end with a null pointer. The texts and
            // lists belong to the plan and to `self`, so they are alive during the call.
            unsafe { libc::syscall(libc::SYS_execve, program, arguments, self.variables.as_ptr()) };
            // `execve` returns only if it failed.
            last = Failure { program: index, ..Failure::last(Call::ExecVe) };
            match last.code {
                libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
                libc::EACCES if refused.is_none() => refused = Some(last),
                libc::EACCES => {}
                _ => return last,
            }
        }
        refused.unwrap_or(last)
    }

    /// Runs the functions of the caller. As in std, an error without a code of the system is reported as `EINVAL`.
    fn run_closures(&mut self) -> Result<(), Failure> {
        let Some(closures) = &mut self.closures else { return Ok(()) };
        for closure in closures.iter_mut() {
            may_fail(Call::PreExec)?;
            // `AssertUnwindSafe` is right: a new process ends at once, and in place the panic goes on in the caller.
            let outcome = catch_unwind(AssertUnwindSafe(closure));
            match (outcome, &mut self.in_place) {
                (Ok(Ok(())), _) => {}
                (Ok(Err(error)), in_place) => {
                    let code = error.raw_os_error().unwrap_or(libc::EINVAL);
                    if let Some(in_place) = in_place {
                        in_place.error = Some(error);
                    }
                    return Err(Failure::new(Call::PreExec, code));
                }
                (Err(_), None) => abort(),
                (Err(panic), Some(in_place)) => {
                    in_place.panic = Some(panic);
                    return Err(Failure::new(Call::PreExec, 0));
                }
            }
        }
        Ok(())
    }

    fn change_user(&self) -> Result<(), Failure> {
        use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
        if let Some(group) = self.plan.group {
            checked(Call::SetGid, || set_thread_gid(Gid::from_raw_unchecked(group)))?;
        }
        let Some(user) = self.plan.user else { return Ok(()) };
        // A process without the privilege to drop its supplementary groups keeps them.
        checked(Call::SetGroups, || match set_thread_groups(&[]) {
            Err(Errno::PERM) => Ok(()),
            other => other,
        })?;
        checked(Call::SetUid, || set_thread_uid(Uid::from_raw_unchecked(user)))
    }

    /// Gives the new program the listed descriptors and its streams, and no others.
    ///
    /// The listed descriptors come first: their numbers are above those of the streams, but one of them may be a copy of
    /// a descriptor that has the number of a stream. Such a descriptor may also be the source of another stream, so the
    /// sources are moved out of the way before the first stream is placed.
    fn place_descriptors(&self) -> Result<(), Failure> {
        close_the_rest_at_exec()?;
        for (own, number) in &self.plan.inherit {
            place(*own, *number)?;
        }
        let mut sources = [None; 3];
        for ((number, stream), source) in (0..).zip(&self.plan.streams).zip(&mut sources) {
            *source = match stream {
                Stream::Same => None,
                Stream::CopyOf(own) if *own < FIRST && *own != number => {
                    Some(fcntl(*own, libc::F_DUPFD_CLOEXEC, FIRST)?)
                }
                Stream::CopyOf(own) => Some(*own),
            };
        }
        for (number, source) in (0..).zip(sources) {
            if let Some(own) = source {
                place(own, number)?;
            }
        }
        Ok(())
    }

    fn write_id(&mut self) {
        let Some((index, line)) = &mut self.id else { return };
        line.write(id_of(rustix::process::getpid()));
        if let Some(variable) = self.variables.get_mut(*index) {
            *variable = line.pointer();
        }
    }
}

/// Gives the new program a descriptor of this process under a number. If the number is in use, it is by a descriptor
/// that the parent reserved for this purpose, or by a stream that is replaced.
pub(super) fn place(own: RawFd, number: RawFd) -> Result<(), Failure> {
    if own == number {
        return fcntl(own, libc::F_SETFD, 0).map(drop);
    }
    // SAFETY: all arguments of `dup3` are numbers. The descriptor table is the new process's own copy, so no descriptor
    // of the parent is replaced.
    checked_raw(Call::Dup3, || unsafe { libc::syscall(libc::SYS_dup3, own, number, 0) })
}

fn id_of(process: Pid) -> u32 {
    process.as_raw_pid().unsigned_abs()
}

/// The number of signals, and the size in bytes of the kernel's set of signals, with one bit each.
const SIGNALS: c_int = 64;
pub(super) const SET: usize = 8;

/// Space for the kernel's `sigaction` structure, which begins with the handler. All zeros is the default action. On
/// MIPS the structure begins with another field, but MIPS also has larger signal sets, so these calls fail there.
type Action = [usize; 8];

/// Sets each signal that this program handles to its default action, as `execve` does a moment later. It has to be
/// done before, because the plan's signal mask is set before `execve`: a signal could arrive in between, and its
/// handler would run in the parent's memory. The kernel may have done so already (`CLONE_CLEAR_SIGHAND`).
///
/// Ignored signals stay ignored. The exception is SIGPIPE, which std ignores in every Rust program; std's `Command`
/// resets it too.
fn reset_signals(has_handlers: bool) -> Result<(), Failure> {
    let signals = if has_handlers { 1..=SIGNALS } else { libc::SIGPIPE..=libc::SIGPIPE };
    for signal in signals {
        let mut action = Action::default();
        let nothing = null::<Action>();
        // SAFETY: the new action is null, so the action isn't changed. The old one is written to a live array that is
        // larger than the kernel's structure. `SET` is the size that the kernel requires.
        checked_raw(Call::SigAction, || unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, nothing, action.as_mut_ptr(), SET)
        })?;
        let [handler, ..] = action;
        if handler == libc::SIG_DFL || (handler == libc::SIG_IGN && signal != libc::SIGPIPE) {
            continue;
        }
        let default = Action::default();
        // SAFETY: the new action is a live array of zeros, larger than the kernel's structure, and stands for the
        // default action, so no handler address is involved. The signal handlers are the new process's own copy.
        checked_raw(Call::SigAction, || unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), null::<Action>(), SET)
        })?;
    }
    Ok(())
}

/// Sets the signals that this thread blocks. Unlike the C library's function, it can also block the signals that the
/// library uses itself.
///
/// # Safety
///
/// `mask` must point to `SET` readable bytes. `before` must be null or point to `SET` writable bytes.
pub(super) unsafe fn set_mask(mask: *const [u8; SET], before: *mut [u8; SET]) -> c_long {
    // SAFETY: the caller guarantees that `mask` is readable for `SET` bytes, and that `before` is null or writable
    // for `SET` bytes. The call accesses no other memory of this process.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, mask, before, SET) }
}
