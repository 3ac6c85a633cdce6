//! The calls that a new process makes before it executes its program, and how it reports the one that failed.
//!
//! The rules of `super::child_exec` apply: no allocation, no lock, no panic.

use std::io;
use std::os::fd::RawFd;

use libc::{c_int, c_long};
use rustix::io::Errno;

use super::fault_in_new_process;
use super::spawn_plan::EXECUTE;

/// The name under which errors report a function of the caller.
pub(super) const PRE_EXEC: &str = "pre_exec";

/// A call that can fail in a new process.
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
    OpenAt,
    GetDEnts,
    GetRLimit,
    SigProcMask,
    ExecVe,
    Tracer,
    SocketPair,
    SendTo,
    RecvMsg,
    /// A function of the caller.
    PreExec,
}

impl Call {
    const ALL: [(Self, &str); 20] = [
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
        (Self::OpenAt, "openat"),
        (Self::GetDEnts, "getdents64"),
        (Self::GetRLimit, "getrlimit"),
        (Self::SigProcMask, "rt_sigprocmask"),
        (Self::ExecVe, EXECUTE),
        (Self::Tracer, "ptrace"),
        (Self::SocketPair, "socketpair"),
        (Self::SendTo, "sendto"),
        (Self::RecvMsg, "recvmsg"),
        (Self::PreExec, PRE_EXEC),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// The call that failed in a new process, and the system's error code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    pub(super) call: Call,
    pub(super) code: i32,
    /// The index of the program's file that `execve` refused.
    pub(super) program: u16,
}

impl Failure {
    pub(super) fn new(call: Call, code: i32) -> Self {
        Self { call, code, program: 0 }
    }

    /// Creates the failure of the call that has just set `errno`.
    pub(super) fn last(call: Call) -> Self {
        Self::new(call, io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// The size of a failure report that is written to the pipe.
    pub(super) const LENGTH: usize = 7;

    pub(super) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let ([a, b, c, d], [e, f]) = (self.code.to_ne_bytes(), self.program.to_ne_bytes());
        [self.call as u8, a, b, c, d, e, f]
    }

    pub(super) fn from_bytes([call, a, b, c, d, e, f]: [u8; Self::LENGTH]) -> Option<Self> {
        let (call, _) = *Call::ALL.get(usize::from(call))?;
        let (code, program) = (i32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([e, f]));
        Some(Self { call, code, program })
    }
}

/// Makes a call. Tests can inject a failure; then the call isn't made. The call has no event of its own.
pub(super) fn checked(call: Call, make: impl FnOnce() -> Result<(), Errno>) -> Result<(), Failure> {
    may_fail(call)?;
    make().map_err(|error| Failure::new(call, error.raw_os_error()))
}

/// Does the same for a raw system call, which returns -1 for a failure and sets `errno`.
pub(super) fn checked_raw(call: Call, make: impl FnOnce() -> c_long) -> Result<(), Failure> {
    may_fail(call)?;
    if make() == -1 { Err(Failure::last(call)) } else { Ok(()) }
}

pub(super) fn may_fail(call: Call) -> Result<(), Failure> {
    fault_in_new_process(call.name()).map_err(|error| Failure::new(call, error.raw_os_error().unwrap_or(0)))
}

pub(super) fn fcntl(own: RawFd, operation: c_int, argument: c_int) -> Result<RawFd, Failure> {
    let mut answer = -1;
    checked_raw(Call::FCntl, || {
        // SAFETY: all arguments are numbers, and the callers' operations take one, so the call accesses no memory. The
        // descriptor table is a copy that no other code uses.
        answer = unsafe { libc::fcntl(own, operation, argument) };
        answer.into()
    })?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_its_own_index_and_survives_the_pipe() {
        for (index, (call, name)) in Call::ALL.into_iter().enumerate() {
            assert_eq!((call as usize, call.name()), (index, name));
            let failure =
                Failure::from_bytes(Failure { call, code: -7, program: 300 }.to_bytes()).expect("a failure");
            assert_eq!((failure.call.name(), failure.code, failure.program), (name, -7, 300));
        }
        assert!(Failure::from_bytes([20, 0, 0, 0, 0, 0, 0]).is_none());
    }
}
