//! What a new process does before it is the program.
//!
//! It can be in its parent's memory, beside its parent's other threads, while the thread that has made it stands still
//! (`super::clone`). So here nothing is allocated, dropped or locked, and nothing panics. What is read was written before,
//! and nobody else has it. The calls are the kernel's own wherever the C library's do more: its `setuid` changes each
//! thread that it knows of, and its `sigaction` takes a lock. `errno` is that thread's, which looks at it only after a call
//! of its own that has failed.

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::null;

use libc::{c_char, c_int, c_long};
use rustix::fs::Uid;
use rustix::io::{Errno, FdFlags};
use rustix::process::{Gid, Pid, Signal};

use super::SysError;
use super::SysResult;
use super::fault;
use super::handle::FIRST;
use super::spawn_plan::{ID, Plan, Stream};

/// What can fail in a new process.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    SetGid,
    SetGroups,
    SetUid,
    ChDir,
    SetPGid,
    SigAction,
    PrCtl,
    CloseRange,
    Dup3,
    FCntl,
    SigProcMask,
    ExecVe,
}

impl Call {
    const ALL: [(Self, &str); 12] = [
        (Self::SetGid, "setgid"),
        (Self::SetGroups, "setgroups"),
        (Self::SetUid, "setuid"),
        (Self::ChDir, "chdir"),
        (Self::SetPGid, "setpgid"),
        (Self::SigAction, "rt_sigaction"),
        (Self::PrCtl, "prctl"),
        (Self::CloseRange, "close_range"),
        (Self::Dup3, "dup3"),
        (Self::FCntl, "fcntl"),
        (Self::SigProcMask, "rt_sigprocmask"),
        (Self::ExecVe, "execve"),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// Which call has failed there, and the system's number for why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    pub(super) call: Call,
    pub(super) code: i32,
}

impl Failure {
    /// Of the call that has failed just now.
    fn last(call: Call) -> Self {
        Self { call, code: io::Error::last_os_error().raw_os_error().unwrap_or(0) }
    }

    /// As it goes through a pipe.
    pub(super) const LENGTH: usize = 5;

    fn to_bytes(self) -> [u8; Self::LENGTH] {
        let [a, b, c, d] = self.code.to_ne_bytes();
        [self.call as u8, a, b, c, d]
    }

    pub(super) fn from_bytes([call, code @ ..]: [u8; Self::LENGTH]) -> Option<Self> {
        let (call, _) = *Call::ALL.get(usize::from(call))?;
        Some(Self { call, code: i32::from_ne_bytes(code) })
    }
}

/// A plan as the calls take it, and what its process says of itself.
pub(super) struct Newborn<'a> {
    plan: &'a Plan,
    arguments: Vec<*const c_char>,
    variables: Vec<*const c_char>,
    /// The variable with the process's id in it, as bytes that can be changed: which one, where, and they.
    id: Option<(usize, Range<usize>, Vec<u8>)>,
    /// Where it says what has failed; without that, in `failure`.
    pub(super) pipe: Option<RawFd>,
    /// Set by the process, and seen here if it was in this memory.
    pub(super) has_begun: bool,
    /// Likewise.
    pub(super) failure: Option<Failure>,
}

impl<'a> Newborn<'a> {
    pub(super) fn new(plan: &'a Plan) -> SysResult<Self> {
        let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([null()]).collect();
        let id = match plan.id {
            None => None,
            Some((variable, from)) => {
                let line = plan.variables.get(variable).map(|line| line.to_bytes_with_nul().to_vec());
                let line = line.filter(|line| line.len() > from + ID.len());
                let none = || SysError::unexpected("execve", "the variable has no place for the process id");
                Some((variable, from..from + ID.len(), line.ok_or_else(none)?))
            }
        };
        let (arguments, variables) = (pointers(&plan.arguments), pointers(&plan.variables));
        let (pipe, has_begun, failure) = (None, false, None);
        Ok(Self { plan, arguments, variables, id, pipe, has_begun, failure })
    }

    /// Whether it becomes another user, or one of another group.
    pub(super) fn is_another_user(&self) -> bool {
        self.plan.user.is_some() || self.plan.group.is_some()
    }

    /// In the new process: all that it does. Returns only if it fails, when that was told.
    pub(super) fn live(&mut self) {
        self.has_begun = true;
        let Err(failure) = self.become_the_program();
        match self.pipe {
            // Nobody is left to hear of a failure to say so.
            Some(pipe) => {
                let bytes = failure.to_bytes();
                // SAFETY: the bytes are live and as many, and the call takes a number that only this process has so.
                unsafe { libc::syscall(libc::SYS_write, pipe, bytes.as_ptr(), bytes.len()) };
            }
            None => self.failure = Some(failure),
        }
    }

    /// In the order in which std's builder does it.
    fn become_the_program(&mut self) -> Result<std::convert::Infallible, Failure> {
        self.become_the_user()?;
        if let Some(directory) = &self.plan.directory {
            done(Call::ChDir, || rustix::process::chdir(directory.as_c_str()))?;
        }
        if let Some(group) = self.plan.process_group {
            // SAFETY: the call takes numbers.
            answered(Call::SetPGid, || unsafe { libc::syscall(libc::SYS_setpgid, 0, group) })?;
        }
        reset_handlers()?;
        // Behind the change of the user, which would take it back.
        if let Some(parent) = self.plan.ends_with {
            done(Call::PrCtl, || rustix::process::set_parent_process_death_signal(Some(Signal::KILL)))?;
            // It may have ended before that.
            if rustix::process::getppid().map(id_of) != Some(parent) {
                return Err(Failure { call: Call::PrCtl, code: libc::ESRCH });
            }
        }
        self.place_descriptors()?;
        self.write_id();
        // Whatever comes to the process from here on, nothing of this memory handles it.
        let blocked = &raw const self.plan.blocked;
        // SAFETY: the set is in the plan, and begins with the kernel's; the old one isn't asked for.
        answered(Call::SigProcMask, || unsafe { set_mask(blocked.cast(), std::ptr::null_mut()) })?;
        may_fail(Call::ExecVe)?;
        let (program, arguments) = (self.plan.program.as_ptr(), self.arguments.as_ptr());
        // SAFETY: the texts end with NUL and the lists with a null pointer; all of them are in the plan, or here.
        unsafe { libc::syscall(libc::SYS_execve, program, arguments, self.variables.as_ptr()) };
        // It answers only if it has failed.
        Err(Failure::last(Call::ExecVe))
    }

    fn become_the_user(&self) -> Result<(), Failure> {
        use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
        if let Some(group) = self.plan.group {
            done(Call::SetGid, || set_thread_gid(Gid::from_raw_unchecked(group)))?;
        }
        let Some(user) = self.plan.user else { return Ok(()) };
        // Who may not give up groups gives up none.
        done(Call::SetGroups, || match set_thread_groups(&[]) {
            Err(Errno::PERM) => Ok(()),
            other => other,
        })?;
        done(Call::SetUid, || set_thread_uid(Uid::from_raw_unchecked(user)))
    }

    fn place_descriptors(&self) -> Result<(), Failure> {
        // Whatever somebody has left open for programs that are started, and whatever nobody knows of.
        let first = FIRST.unsigned_abs();
        // SAFETY: the call takes numbers, and the table is this process's own, a copy.
        answered(Call::CloseRange, || unsafe {
            libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
        })?;
        let streams = (0..).zip(&self.plan.streams).filter_map(|(number, stream)| match stream {
            Stream::Copy(copy) => Some((copy.as_raw_fd(), number)),
            Stream::Nothing | Stream::Same => None,
        });
        for (own, number) in streams.chain(self.plan.inherit.iter().copied()) {
            if own == number {
                // SAFETY: it is a number of this process's own table, which nobody else closes anything of.
                let own = unsafe { BorrowedFd::borrow_raw(own) };
                done(Call::FCntl, || rustix::io::fcntl_setfd(own, FdFlags::empty()))?;
            } else {
                // SAFETY: likewise; what has the number, if anything has, was held for this.
                answered(Call::Dup3, || unsafe { libc::syscall(libc::SYS_dup3, own, number, 0) })?;
            }
        }
        Ok(())
    }

    fn write_id(&mut self) {
        let Some((variable, place, line)) = &mut self.id else { return };
        let mut id = id_of(rustix::process::getpid());
        if let Some(digits) = line.get_mut(place.clone()) {
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (id % 10) as u8;
                id /= 10;
            }
        }
        if let Some(variable) = self.variables.get_mut(*variable) {
            *variable = line.as_ptr().cast();
        }
    }
}

fn id_of(process: Pid) -> u32 {
    process.as_raw_pid().unsigned_abs()
}

/// The signals that there are, and how many bytes have a bit for each.
const SIGNALS: c_int = 64;
pub(super) const SET: usize = 8;

/// Room for what the kernel has of a signal's handling, which begins with the handler; all zeros is the default. (MIPS
/// begins otherwise; it also has larger sets, so the calls fail there.)
type Action = [usize; 8];

/// Lets each signal that this program handles do what it does by default, as execve would a moment later: the mask goes
/// on to the program, so a signal can come between that and execve, and the handler would run in the parent's memory.
/// What is ignored stays so; only SIGPIPE, which std lets every Rust program ignore, isn't handed on, as std has it.
fn reset_handlers() -> Result<(), Failure> {
    for signal in 1..=SIGNALS {
        let mut action = Action::default();
        let nothing = null::<Action>();
        // SAFETY: nothing is changed, and the answer has a live place with more room than it needs.
        answered(Call::SigAction, || unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, nothing, action.as_mut_ptr(), SET)
        })?;
        let [handler, ..] = action;
        if handler == libc::SIG_DFL || (handler == libc::SIG_IGN && signal != libc::SIGPIPE) {
            continue;
        }
        let default = Action::default();
        // SAFETY: the new handling is live, and no code; the handlers are this process's own, a copy.
        answered(Call::SigAction, || unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), null::<Action>(), SET)
        })?;
    }
    Ok(())
}

/// Sets which signals this thread doesn't want: all that there are, the C library's own too, which its calls leave out.
///
/// # Safety
///
/// Both point to so many bytes, or the second to nothing.
pub(super) unsafe fn set_mask(mask: *const [u8; SET], before: *mut [u8; SET]) -> c_long {
    // SAFETY: the caller says so.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, mask, before, SET) }
}

/// Makes a call. Tests can let it fail, and then it isn't made; nobody is told of it.
fn done(call: Call, make: impl FnOnce() -> Result<(), Errno>) -> Result<(), Failure> {
    may_fail(call)?;
    make().map_err(|error| Failure { call, code: error.raw_os_error() })
}

/// The same for one that answers -1 for a failure.
fn answered(call: Call, make: impl FnOnce() -> c_long) -> Result<(), Failure> {
    may_fail(call)?;
    if make() == -1 { Err(Failure::last(call)) } else { Ok(()) }
}

fn may_fail(call: Call) -> Result<(), Failure> {
    fault(call.name()).map_err(|error| Failure { call, code: error.raw_os_error().unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_its_own_place_and_goes_through_a_pipe() {
        for (place, (call, name)) in Call::ALL.into_iter().enumerate() {
            assert_eq!((call as usize, call.name()), (place, name));
            let came = Failure::from_bytes(Failure { call, code: -7 }.to_bytes()).expect("a failure");
            assert_eq!((came.call.name(), came.code), (name, -7));
        }
        assert!(Failure::from_bytes([12, 0, 0, 0, 0]).is_none());
    }
}
