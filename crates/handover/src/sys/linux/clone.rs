//! Making a process.
//!
//! It is lent this one's memory until it is the program, and the thread that makes it stands still for so long (`vfork`):
//! to copy the map of the memory would cost more than all else that a start does. Other threads go on. With the process
//! comes a descriptor for it, so that there is no moment in which only its number is known.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use libc::{c_int, c_void};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid, waitpid,
};

use super::SysError;
use super::SysResult;
use super::child_exec::{Failure, Newborn, SET, set_mask};
use super::fault;

/// The flags by which a process can be made, and the first that is best. Without lent memory it is a copy of this process,
/// as `fork` makes it. The last is without a descriptor, which is then opened by the process's id: until somebody has waited
/// for it, no other process has that.
const WAYS: [c_int; 3] = [LENT, libc::CLONE_PIDFD, 0];
const LENT: c_int = libc::CLONE_PIDFD | libc::CLONE_VM | libc::CLONE_VFORK;
/// The first of the ways that isn't known not to work.
static WAY: AtomicUsize = AtomicUsize::new(0);
/// Whether memory was seen to be lent. Some that run programs in a kernel's stead, qemu and valgrind among them, make a
/// copy, don't wait, and say nothing of it.
static IS_LENT: AtomicBool = AtomicBool::new(false);

/// Makes one of the calls that a start consists of. Tests can let it fail; of itself it isn't told.
fn made<T>(call: &'static str, make: impl FnOnce() -> Result<T, Errno>) -> SysResult<T> {
    fault(call).and_then(|()| Ok(make()?)).map_err(SysError::of(call))
}

/// Makes the process and waits until it is the program, or has failed and is gone. The calls of which this consists, the
/// new process's among them, are one to who is told.
pub(super) fn start(newborn: &mut Newborn<'_>) -> SysResult<(u32, OwnedFd)> {
    let stack = Stack::new()?;
    // In lent memory, another user could do to this process what it may do to its own. And the kernel would note of the
    // memory that its process has changed users, and keep debuggers and /proc from this one from then on.
    let first = if newborn.is_another_user() { 1 } else { 0 };
    let mut way = first.max(WAY.load(Relaxed));
    loop {
        let flags = WAYS[way];
        // The end of the pipe says that it is the program, or gone. It needs none where it is known to be one of the two
        // as soon as this thread goes on.
        let is_known = flags == LENT && IS_LENT.load(Relaxed);
        let pipe = if is_known { None } else { Some(made("pipe2", || pipe_with(PipeFlags::CLOEXEC))?) };
        newborn.pipe = pipe.as_ref().map(|(_, tells)| tells.as_raw_fd());
        let cloned = without_any_signal(|| clone(flags, &stack, newborn))?;
        let (id, process) = match cloned {
            Err(error) if way + 1 < WAYS.len() && is_refused(&error) => {
                way += 1;
                WAY.fetch_max(way, Relaxed);
                continue;
            }
            other => other.map_err(SysError::of("clone"))?,
        };
        let failure = match pipe {
            None => Ok(newborn.failure),
            Some((hears, tells)) => {
                drop(tells);
                read(&hears)
            }
        };
        match (flags == LENT, newborn.has_begun) {
            (true, true) => IS_LENT.store(true, Relaxed),
            (true, false) => drop(WAY.fetch_max(1, Relaxed)),
            (false, _) => {}
        }
        // From here on the process doesn't run in this memory.
        drop(stack);
        let process = match process {
            Some(process) => process,
            None => made("pidfd_open", || pidfd_open(id, PidfdFlags::empty())).inspect_err(|_| {
                // It is ours, and nobody should have waited for it.
                let _ = kill_process(id, Signal::KILL);
                while matches!(waitpid(Some(id), rustix::process::WaitOptions::empty()), Err(Errno::INTR)) {}
            })?,
        };
        return match failure {
            Ok(None) => Ok((id.as_raw_pid().unsigned_abs(), process)),
            Ok(Some(Failure { call, code })) => {
                forget(&process);
                Err(SysError::new(call.name(), io::Error::from_raw_os_error(code)))
            }
            Err(error) => {
                let _ = rustix::process::pidfd_send_signal(&process, Signal::KILL);
                forget(&process);
                Err(SysError::new("read", error))
            }
        };
    }
}

/// Whether a kernel or a filter doesn't know or doesn't want the flags.
fn is_refused(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::PERM))
}

/// Waits for a process that ends. If somebody else has, there is nothing to wait for.
fn forget(process: &OwnedFd) {
    while matches!(waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED), Err(Errno::INTR)) {}
}

/// What a process says through a pipe until its end: nothing if it is the program.
fn read(pipe: &OwnedFd) -> io::Result<Option<Failure>> {
    let mut bytes = [0; Failure::LENGTH];
    fault("read")?;
    let came = rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut bytes))?;
    if came == 0 {
        return Ok(None);
    }
    // So few bytes come at once.
    let said = if came == bytes.len() { Failure::from_bytes(bytes) } else { None };
    said.map(Some)
        .ok_or_else(|| io::Error::other("the new process has said something else than why it failed"))
}

const SIG_PROC_MASK: &str = "rt_sigprocmask";

/// Does something while no signal comes to this thread, nor to a process that it makes: the handlers are for this memory.
fn without_any_signal<T>(work: impl FnOnce() -> T) -> SysResult<T> {
    let (all, mut before) = ([u8::MAX; SET], [0; SET]);
    fault(SIG_PROC_MASK).map_err(SysError::of(SIG_PROC_MASK))?;
    // SAFETY: both are live.
    if unsafe { set_mask(&raw const all, &raw mut before) } != 0 {
        return Err(SysError::new(SIG_PROC_MASK, io::Error::last_os_error()));
    }
    let outcome = work();
    // SAFETY: the set is live, and the old one isn't asked for. It can't fail: it has just been done.
    unsafe { set_mask(&raw const before, null_mut()) };
    Ok(outcome)
}

fn clone(flags: c_int, stack: &Stack, newborn: &mut Newborn<'_>) -> io::Result<(Pid, Option<OwnedFd>)> {
    #[cfg(feature = "faults")]
    let flags = crate::sys::fault_injection::as_that_system(flags, libc::CLONE_VM | libc::CLONE_VFORK);
    fault("clone")?;
    let mut process: RawFd = -1;
    let (newborn, nothing) = (&raw mut *newborn, null_mut::<c_void>());
    // SAFETY: if the new process gets a copy of the memory, nothing happens in this one. If it is lent it, this thread
    // doesn't go on before the process has given it back, with its start as the program or with its end; so what the
    // process has (its stack, the plan, this thread's own variables) stays, and nobody else uses it. No signal comes to the
    // process, so nothing else of this program runs in it than what begins here, which keeps to the rules of its file. The
    // flags share no table of descriptors, no directory and no handlers.
    let id = unsafe {
        libc::clone(
            begin,
            stack.top(),
            flags | libc::SIGCHLD,
            newborn.cast(),
            &raw mut process,
            nothing,
            nothing,
        )
    };
    if id == -1 {
        return Err(io::Error::last_os_error());
    }
    // A kernel that doesn't know the flag leaves the number as it is.
    let process = if process == -1 {
        None
    } else {
        // SAFETY: the kernel has made it for this call just now, and nobody else knows of it.
        Some(unsafe { OwnedFd::from_raw_fd(process) })
    };
    let id = Pid::from_raw(id).ok_or_else(|| io::Error::other("the new process has no id"))?;
    Ok((id, process))
}

/// Where the new process begins. With its return it ends, alone and at once, by clone's own exit: nothing that this program
/// has registered for its end is done.
extern "C" fn begin(newborn: *mut c_void) -> c_int {
    // SAFETY: it is what `clone` was called with, which is nobody else's until it returns, if the memory is the same.
    let newborn = unsafe { &mut *newborn.cast::<Newborn<'_>>() };
    newborn.live();
    127
}

/// What a new process has its own variables on, until it is the program: no room of this thread's, which would be the
/// process's to overwrite. What would go beyond its end ends the process.
struct Stack {
    base: *mut c_void,
    guard: usize,
}

impl Stack {
    /// Many times of what is used.
    const ROOM: usize = 64 * 1024;

    fn new() -> SysResult<Self> {
        let guard = rustix::param::page_size();
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::STACK);
        let base = made("mmap", || {
            // SAFETY: the kernel chooses where, so nothing that is there is replaced.
            unsafe { mmap_anonymous(null_mut(), guard + Self::ROOM, protection, flags) }
        })?;
        let stack = Self { base, guard };
        made("mprotect", || {
            // SAFETY: the page is the first of the mapping, and nobody has a reference into it.
            unsafe { mprotect(base, guard, MprotectFlags::empty()) }
        })?;
        Ok(stack)
    }

    /// It grows towards its base.
    fn top(&self) -> *mut c_void {
        self.base.wrapping_byte_add(self.guard + Self::ROOM)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's, and no process uses it in this memory any more.
        let _ = unsafe { munmap(self.base, self.guard + Self::ROOM) };
    }
}

/// A place that a process which is made has in one piece with this one, whether it is lent the rest of the memory or gets a
/// copy. It stays for as long as this process.
///
/// # Panics
///
/// If there is no memory.
#[cfg(feature = "faults")]
pub(in crate::sys) fn shared_board() -> &'static crate::sys::fault_injection::Board {
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: the kernel chooses where, so nothing that is there is replaced.
    let place = unsafe { mmap_anonymous(null_mut(), rustix::param::page_size(), protection, flags) };
    let place = place.expect("there is memory for a test");
    // SAFETY: it has room for the board, begins with a page, is never unmapped, and all zeros are a board.
    unsafe { &*place.cast() }
}
