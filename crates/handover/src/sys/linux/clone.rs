//! Creates processes.
//!
//! The new process shares this process's memory until it executes its program, and the thread that created it is
//! suspended for that time (`vfork`). Copying the page tables instead would cost more than all other steps of a
//! spawn. The other threads continue. The kernel returns a descriptor for the process together with its id, so there
//! is no moment in which a reusable id is the only reference to it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
use std::time::{Duration, Instant};

use libc::{c_int, c_void};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, pidfd_open,
    pidfd_send_signal, waitid,
};

use super::SysError;
use super::SysResult;
use super::child_call::{Failure, PRE_EXEC};
use super::child_exec::{ChildExec, SET, set_mask};
use super::clone3::{CLEAR_HANDLERS, CloneArgs, clone3};
use super::fault;
use super::handle::FIRST;
use super::progress::{Pipe, Progress, Report};

/// The sets of flags, from the best to the last resort:
/// - shared memory, a descriptor for the process, and no signal handlers in it. Only `clone3` knows this flag;
/// - shared memory and a descriptor. The new process then resets its signal handlers;
/// - a copy of the memory, as `fork` makes it, and a descriptor;
/// - a copy of the memory only. The descriptor is then opened by the process id, which can't be reused before the
///   process has been waited for.
const WAYS: [u64; 4] = [LENT | CLEAR_HANDLERS, LENT, flag(libc::CLONE_PIDFD), 0];
const LENT: u64 = flag(libc::CLONE_PIDFD) | SHARED;
const SHARED: u64 = flag(libc::CLONE_VM) | flag(libc::CLONE_VFORK);
/// The index of the first set of flags with a copy of the memory.
const COPIED: usize = 2;
/// The index of the first set of flags that isn't known to fail.
static WAY: AtomicUsize = AtomicUsize::new(0);
/// Whether the kernel was seen to share memory. Emulators such as qemu and valgrind silently make a copy instead and
/// don't suspend the caller.
static IS_LENT: AtomicBool = AtomicBool::new(false);

/// Returns a flag of `clone` in the width that `clone3` has.
const fn flag(flag: c_int) -> u64 {
    flag.unsigned_abs() as u64
}

/// Makes one of the calls of a spawn. Tests can inject a failure. The call has no event of its own.
pub(super) fn step<T>(call: &'static str, make: impl FnOnce() -> Result<T, Errno>) -> SysResult<T> {
    fault(call).and_then(|()| Ok(make()?)).map_err(SysError::of(call))
}

/// Creates the process. Returns when it runs its program, or has failed and exited. Subscribers see the calls,
/// including those of the new process, as one event.
pub(super) fn start(child: &mut ChildExec<'_>) -> SysResult<(u32, OwnedFd)> {
    let (id, process) = begin_with(child, true)?;
    match process {
        Some(process) => Ok((number(id), process)),
        // It is asked for above, so this isn't reached.
        None => Err(SysError::unexpected("clone", "the kernel returned no descriptor for the process")),
    }
}

/// Creates the process as [`start`] does, and opens no descriptor.
pub(super) fn start_without_descriptor(child: &mut ChildExec<'_>) -> SysResult<u32> {
    begin_with(child, false).map(|(id, _)| number(id))
}

fn number(id: Pid) -> u32 {
    id.as_raw_pid().unsigned_abs()
}

fn begin_with(child: &mut ChildExec<'_>, wants_descriptor: bool) -> SysResult<(Pid, Option<OwnedFd>)> {
    if child.has_closures() {
        return begin_with_closures(child, wants_descriptor);
    }
    let stack = Stack::kept_or_new()?;
    // A process that changes its user must not share memory: through it, the other user could read and change this
    // process's memory, as it may with its own processes. The kernel would also mark the memory as that of a process
    // that changed users, and from then on refuse debuggers and /proc access to this process.
    let first = if child.is_another_user() { COPIED } else { 0 };
    let mut way = first.max(WAY.load(Relaxed));
    loop {
        let flags = WAYS[way];
        // End of file on the pipe says that the process has executed its program or exited. No pipe is needed where
        // this thread is known to be suspended until then.
        let is_shared = flags & SHARED == SHARED;
        let is_known = is_shared && IS_LENT.load(Relaxed);
        let pipe = if is_known { Ok(None) } else { report_pipe().map(Some) };
        let pipe = match pipe {
            // Where the memory turns out to be shared, no pipe is needed.
            Err(_) if !wants_descriptor && is_shared => None,
            other => other?,
        };
        child.pipe = pipe.as_ref().map(|(_, writer)| writer.as_raw_fd());
        let asked = if wants_descriptor { flags } else { flags & !flag(libc::CLONE_PIDFD) };
        child.has_handlers = flags & CLEAR_HANDLERS == 0;
        let cloned = without_any_signal(|| clone(asked, &stack, child))?;
        let (id, process) = match cloned {
            Err(error) if way + 1 < WAYS.len() && is_refused(&error) => {
                way += 1;
                WAY.fetch_max(way, Relaxed);
                continue;
            }
            other => other.map_err(SysError::of(name_with(flags)))?,
        };
        let failure = match pipe {
            None if !child.has_begun => Err(io::Error::from_raw_os_error(libc::EMFILE)),
            None => Ok(child.failure),
            Some((reader, writer)) => {
                drop(writer);
                read(&reader)
            }
        };
        match (is_shared, child.has_begun) {
            (true, true) => IS_LENT.store(true, Relaxed),
            (true, false) => drop(WAY.fetch_max(COPIED, Relaxed)),
            (false, _) => {}
        }
        // The process has executed its program or exited, so it no longer uses the stack in this memory.
        drop(stack);
        match failure {
            Ok(None) => {}
            Ok(Some(failure @ Failure { call, code, .. })) => {
                reap(id, process.as_ref());
                child.failure = Some(failure);
                return Err(SysError::new(call.name(), io::Error::from_raw_os_error(code)));
            }
            Err(error) => {
                end(id, process.as_ref());
                return Err(SysError::new("read", error));
            }
        }
        return Ok((id, with_descriptor(id, process, wants_descriptor)?));
    }
}

/// Returns the descriptor of a new process, which is opened now if the kernel didn't return one with its id.
fn with_descriptor(id: Pid, process: Option<OwnedFd>, is_wanted: bool) -> SysResult<Option<OwnedFd>> {
    // The process is this one's own child, and no code has waited for it, so the id can't mean another one.
    let process = match process {
        None if is_wanted => {
            let opened = step("pidfd_open", || pidfd_open(id, PidfdFlags::empty()));
            // Without a descriptor the child can't be returned. If other code has waited for it, the id may be another one's.
            let is_gone = |error: &SysError| error.source.raw_os_error() == Some(libc::ESRCH);
            Some(opened.inspect_err(|error| {
                if !is_gone(error) {
                    end(id, None);
                }
            })?)
        }
        process => process,
    };
    // The number of a standard stream has to stay free. Where no other number is, the process is returned anyway.
    Ok(match process {
        Some(low) if low.as_raw_fd() < FIRST => {
            Some(rustix::io::fcntl_dupfd_cloexec(&low, FIRST).unwrap_or(low))
        }
        process => process,
    })
}

/// Creates a process that runs functions of the caller before it executes its program.
fn begin_with_closures(
    child: &mut ChildExec<'_>,
    wants_descriptor: bool,
) -> SysResult<(Pid, Option<OwnedFd>)> {
    let (reader, writer) = report_pipe()?;
    let pipe = step("fstat", || Pipe::of(&writer))?;
    child.progress = Some(step("mmap", || Progress::new(pipe))?);
    let id = without_any_signal(|| fork(child))?.map_err(SysError::of("fork"))?;
    drop(writer);
    if let Err(error) = fault("read") {
        end(id, None);
        return Err(SysError::new("read", error));
    }
    if let Some(failure) = failure_of(id, &reader, child.progress.as_ref())? {
        child.failure = Some(failure);
        reap(id, None);
        return Err(SysError::new(failure.call.name(), io::Error::from_raw_os_error(failure.code)));
    }
    Ok((id, with_descriptor(id, None, wants_descriptor)?))
}

/// Waits until a process that runs functions of the caller has executed its program. Returns the failure that it reports
/// instead.
///
/// The program is executed when the pipe ends that the new process still had after the functions. A function may have closed
/// it, or let the program inherit it. Then a failure has `MAX_EXECUTE` to arrive.
fn failure_of(id: Pid, pipe: &OwnedFd, progress: Option<&Progress>) -> SysResult<Option<Failure>> {
    let report = || progress.map_or(Report::Passed { has_pipe: true }, Progress::report);
    let (mut has_ended, mut passed) = (false, None);
    loop {
        // Asked before the report, because a process reports before it exits.
        let exited =
            waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT);
        let has_exited = !matches!(exited, Ok(None) | Err(Errno::INTR));
        match report() {
            Report::Failed(failure) => return Ok(Some(failure)),
            Report::Passed { has_pipe } => {
                let passed: &mut Instant = passed.get_or_insert_with(Instant::now);
                if has_exited || (has_ended && has_pipe) || passed.elapsed() > MAX_EXECUTE {
                    return Ok(None);
                }
            }
            Report::Pending if has_exited => {
                reap(id, None);
                return Err(SysError::new(PRE_EXEC, ended_by_closure(exited.ok().flatten())));
            }
            Report::Pending => {}
        }
        if has_ended {
            std::thread::sleep(INTERVAL);
        } else {
            has_ended = ends_within(pipe, INTERVAL);
        }
    }
}

/// Returns whether no process has the other end of a pipe any more, after it has waited for that.
fn ends_within(pipe: &OwnedFd, timeout: Duration) -> bool {
    let mut polled = [PollFd::new(pipe, PollFlags::empty())];
    // A failure is like a timeout: the caller looks again.
    let timeout = Timespec::try_from(timeout).ok();
    poll(&mut polled, timeout.as_ref()).is_ok_and(|count| count > 0)
}

/// The time in which a process whose pipe tells nothing any more may report that it can't execute its program.
const MAX_EXECUTE: Duration = Duration::from_millis(100);

/// How long to wait before looking again whether a function of the caller has returned, or has ended the process.
const INTERVAL: Duration = Duration::from_millis(1);

/// Returns the error of a new process that a function of the caller ended.
fn ended_by_closure(status: Option<WaitIdStatus>) -> io::Error {
    let how = match status.as_ref().map(|status| (status.terminating_signal(), status.exit_status())) {
        Some((Some(signal), _)) => format!(" by signal {signal}"),
        Some((_, Some(code))) => format!(" with exit code {code}"),
        _ => String::new(),
    };
    io::Error::other(format!("a function given to pre_exec ended the new process{how}; it has to return"))
}

/// Creates the pipe for the failure report of a new process. Neither end has the number of a standard stream, which
/// the new process would replace.
fn report_pipe() -> SysResult<(OwnedFd, OwnedFd)> {
    let (reader, writer) = step("pipe2", || pipe_with(PipeFlags::CLOEXEC))?;
    Ok((out_of_the_streams(reader)?, out_of_the_streams(writer)?))
}

fn out_of_the_streams(descriptor: OwnedFd) -> SysResult<OwnedFd> {
    if descriptor.as_raw_fd() >= FIRST {
        return Ok(descriptor);
    }
    step("fcntl", || rustix::io::fcntl_dupfd_cloexec(&descriptor, FIRST))
}

/// Kills a child and waits for it.
fn end(id: Pid, process: Option<&OwnedFd>) {
    let _ = match process {
        Some(process) => pidfd_send_signal(process, Signal::KILL),
        None => kill_process(id, Signal::KILL),
    };
    reap(id, process);
}

/// Returns whether a kernel or a seccomp filter refused the flags.
fn is_refused(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::PERM))
}

/// Waits for a child that is exiting. If other code has already waited for it, nothing is left to do.
fn reap(id: Pid, process: Option<&OwnedFd>) {
    let which = process.map_or(WaitId::Pid(id), |process| WaitId::PidFd(process.as_fd()));
    while matches!(waitid(which.clone(), WaitIdOptions::EXITED), Err(Errno::INTR)) {}
}

/// Reads the failure report of a new process. Returns `None` at end of file, when the process runs its program.
fn read(pipe: &OwnedFd) -> io::Result<Option<Failure>> {
    let mut bytes = [0; Failure::LENGTH];
    fault("read")?;
    let length = rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut bytes))?;
    if length == 0 {
        return Ok(None);
    }
    // A write of a few bytes to a pipe is atomic, so one read returns all of them.
    let report = if length == bytes.len() { Failure::from_bytes(bytes) } else { None };
    report.map(Some).ok_or_else(|| io::Error::other("the new process wrote an invalid failure report"))
}

const SIG_PROC_MASK: &str = "rt_sigprocmask";

/// Runs `work` while all signals are blocked for this thread and for a process that it creates. A signal handler must
/// not run in the new process, because it would work on this process's memory.
pub(super) fn without_any_signal<T>(work: impl FnOnce() -> T) -> SysResult<T> {
    let (all, mut before) = ([u8::MAX; SET], [0; SET]);
    fault(SIG_PROC_MASK).map_err(SysError::of(SIG_PROC_MASK))?;
    // SAFETY: both pointers refer to live arrays of `SET` bytes, and the second one is writable.
    if unsafe { set_mask(&raw const all, &raw mut before) } != 0 {
        return Err(SysError::new(SIG_PROC_MASK, io::Error::last_os_error()));
    }
    let outcome = work();
    // SAFETY: the mask is a live array of `SET` bytes, and null means that the old mask isn't returned. The call
    // can't fail, because the same mask was in force before.
    unsafe { set_mask(&raw const before, null_mut()) };
    Ok(outcome)
}

/// Returns the name of the call that creates a process with these flags.
fn name_with(flags: u64) -> &'static str {
    if flags & CLEAR_HANDLERS == 0 { "clone" } else { "clone3" }
}

fn clone(flags: u64, stack: &Stack, child: &mut ChildExec<'_>) -> io::Result<(Pid, Option<OwnedFd>)> {
    #[cfg(feature = "faults")]
    let flags = crate::sys::fault_injection::as_simulated_system(flags, SHARED);
    fault(name_with(flags))?;
    let mut process: RawFd = -1;
    let (child, nothing) = (&raw mut *child, null_mut::<c_void>());
    let id = if flags & CLEAR_HANDLERS != 0 {
        let address = |pointer: *mut c_void| pointer.expose_provenance() as u64;
        let arguments = CloneArgs {
            flags,
            process: address((&raw mut process).cast()),
            exit_signal: flag(libc::SIGCHLD),
            stack: address(stack.lowest()),
            stack_size: stack.size as u64,
            ..CloneArgs::default()
        };
        // SAFETY: as for the call below, which does the same. The stack is given by its lowest address and its size.
        unsafe { clone3(&arguments, begin, child.cast()) }?
    } else {
        let flags = i32::try_from(flags).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: `begin` gets a stack that no other code uses, and `child`, which is borrowed mutably for the whole
        // call.
        // - With a copy of the memory, the new process can't affect this one's.
        // - With shared memory (`CLONE_VM | CLONE_VFORK`), the kernel suspends this thread until the new process has
        //   executed its program or exited. Until then the stack, the plan and this thread's variables stay alive, and
        //   this thread, which could use them, doesn't run.
        // - All signals are blocked, so the only code of this program that runs in the new process is `begin`, which
        //   keeps to the rules of the module `child_exec`.
        // - The flags share neither the descriptor table (`CLONE_FILES`), nor the working directory (`CLONE_FS`), nor
        //   the signal handlers (`CLONE_SIGHAND`).
        // - The pointer for the process descriptor refers to a live variable, and the other two arguments are unused
        //   with these flags.
        unsafe {
            libc::clone(
                begin,
                stack.top(),
                flags | libc::SIGCHLD,
                child.cast(),
                &raw mut process,
                nothing,
                nothing,
            )
        }
    };
    if id == -1 {
        return Err(io::Error::last_os_error());
    }
    // A kernel that doesn't know `CLONE_PIDFD` doesn't write to the variable.
    let process = if process == -1 {
        None
    } else {
        // SAFETY: the kernel has just opened this descriptor for this call, and wrote its number only to this local
        // variable, so no other owner exists.
        Some(unsafe { OwnedFd::from_raw_fd(process) })
    };
    let id = Pid::from_raw(id).ok_or_else(|| io::Error::other("the new process has no id"))?;
    Ok((id, process))
}

/// Copies this process. The copy runs `child`, and ends. Unlike the bare call, the C library's `fork` leaves the allocator
/// usable in the copy, even if another thread held its lock.
fn fork(child: &mut ChildExec<'_>) -> io::Result<Pid> {
    #[cfg(feature = "faults")]
    crate::sys::fault_injection::as_simulated_system(0, 0);
    fault("fork")?;
    // SAFETY: the new process has a copy of the memory and of the descriptor table, so it can't affect this one's. All
    // signals are blocked, so no signal handler runs in it. It runs the handlers of `pthread_atfork`, which are made for that,
    // and `run`, which keeps to the rules of the module `child_exec` but for the functions of the caller, who has promised that
    // they may run there. It ends by `_exit`, or by
    // `abort` after a panic, so it never returns to this process's code.
    let id = unsafe { libc::fork() };
    if id == 0 {
        child.run();
        // SAFETY: the call ends the process, and runs no exit handler of this program.
        unsafe { libc::_exit(127) };
    }
    match Pid::from_raw(id) {
        Some(id) if id.as_raw_pid() > 0 => Ok(id),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The entry point of the new process. When it returns, `clone` ends the process by the system call alone, so no exit
/// handler of this program runs.
pub(super) extern "C" fn begin(child: *mut c_void) -> c_int {
    // SAFETY: `clone` was called with a pointer to a live `ChildExec` that it borrows mutably. With shared memory,
    // the borrower is suspended while this process runs; with a copy, this process has its own. So the reference is
    // the only one in use.
    let child = unsafe { &mut *child.cast::<ChildExec<'_>>() };
    child.run();
    127
}

/// The stack of a new process until it executes its program. It can't use this thread's stack, because it would
/// overwrite it. Below the stack is a guard page, so an overflow kills the process.
///
/// One stack is kept for later spawns. To unmap it would interrupt each processor on which this memory was in use, and that
/// takes longer than all calls of the new process. It is kept without a lock, so a thread that forks or panics meanwhile
/// doesn't affect other spawns.
pub(super) struct Stack {
    base: *mut c_void,
    size: usize,
    /// Whether the drop keeps the stack if no other one is kept.
    is_reusable: bool,
}

/// The base of the stack that an earlier spawn has left, of `ROOM` bytes. It is null if a spawn is using the stack.
static KEPT: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

impl Stack {
    /// The size in bytes, many times the amount that is used.
    const ROOM: usize = 64 * 1024;

    /// Returns the kept stack, or a new one that can be kept.
    fn kept_or_new() -> SysResult<Self> {
        let base = KEPT.swap(null_mut(), Acquire);
        if !base.is_null() {
            return Ok(Self { base, size: Self::ROOM, is_reusable: true });
        }
        let mut stack = Self::new(Self::ROOM)?;
        stack.is_reusable = true;
        Ok(stack)
    }

    pub(super) fn new(size: usize) -> SysResult<Self> {
        let guard = guard();
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::STACK);
        let base = step("mmap", || {
            // SAFETY: the mapping is anonymous, and with a null address the kernel chooses a free range, so no
            // existing mapping is replaced.
            unsafe { mmap_anonymous(null_mut(), guard + size, protection, flags) }
        })?;
        let stack = Self { base, size, is_reusable: false };
        step("mprotect", || {
            // SAFETY: the page is the first one of the mapping that was just created, and no reference into it exists
            // yet.
            unsafe { mprotect(base, guard, MprotectFlags::empty()) }
        })?;
        Ok(stack)
    }

    /// Returns the upper end of the stack, which grows downwards.
    pub(super) fn top(&self) -> *mut c_void {
        self.lowest().wrapping_byte_add(self.size)
    }

    fn lowest(&self) -> *mut c_void {
        self.base.wrapping_byte_add(guard())
    }
}

fn guard() -> usize {
    rustix::param::page_size()
}

impl Drop for Stack {
    fn drop(&mut self) {
        // The process that used the stack in this memory has executed its program or exited, or it was never created.
        let is_kept =
            self.is_reusable && KEPT.compare_exchange(null_mut(), self.base, Release, Relaxed).is_ok();
        if !is_kept {
            // SAFETY: this object created the mapping, or took it from `KEPT`, and is its only owner. No process in this
            // memory uses it any more, as above.
            let _ = unsafe { munmap(self.base, guard() + self.size) };
        }
    }
}

/// Maps memory that a new process shares with this one, even if it gets a copy of all other memory. The mapping is
/// never removed.
///
/// # Panics
///
/// If the memory can't be mapped.
#[cfg(feature = "faults")]
pub(in crate::sys) fn shared_board() -> &'static crate::sys::fault_injection::Board {
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: the mapping is anonymous, and with a null address the kernel chooses a free range, so no existing
    // mapping is replaced.
    let board = unsafe { mmap_anonymous(null_mut(), rustix::param::page_size(), protection, flags) };
    let board = board.expect("the memory for a test can be mapped");
    // SAFETY: the mapping is page-aligned, at least as large as a board, writable and never unmapped. It is zeroed,
    // which is a valid value of a board, and a board consists of atomics, so it can be shared.
    unsafe { &*board.cast() }
}
