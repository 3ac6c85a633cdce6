//! Processes: opening one, ending it, how it ended, and what identifies it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::SysError;
use super::SysResult;
use super::handle::page_at;
use super::io::Owned;
use super::{Argument, Outcome, ask, call};
use crate::handle::ProcessIdentity;

/// A process by its id.
pub(crate) fn open(id: u32) -> SysResult<Owned> {
    call("pidfd_open", &[("", Argument::ProcessId(id))], || {
        // An id that is a thread's and not a process's is invalid.
        match rustix::process::pidfd_open(pid(id)?, PidfdFlags::empty()) {
            Err(Errno::INVAL | Errno::NOENT) => Err(Errno::SRCH.into()),
            other => Ok(other?.into()),
        }
    })
}

/// The id of the process that a descriptor refers to, if the kernel tells: not of one that was waited for. The question is
/// for telling of calls, and not told of itself.
pub(crate) fn id_of(process: BorrowedFd<'_>) -> Option<u32> {
    let page = std::fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", process.as_raw_fd())).ok()?;
    page.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

/// Whether there is no such process any more.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::SRCH)
}

/// Whether nothing is left to be asked about a child: somebody has waited for it.
pub(crate) fn is_forgotten(error: &io::Error) -> bool {
    is_missing(error)
        || error.kind() == io::ErrorKind::NotFound
        || Errno::from_io_error(error) == Some(Errno::CHILD)
}

/// Ends a process, which can't refuse. Only begins it: the process is gone when a wait for it says so.
pub(crate) fn terminate(process: BorrowedFd<'_>) -> SysResult<()> {
    call("pidfd_send_signal", &[("", Argument::Process(process)), ("SIGKILL", Argument::Yes)], || {
        match rustix::process::pidfd_send_signal(process, Signal::KILL) {
            // It has ended, and was waited for.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
}

/// How a child has ended, if it has. The system forgets the child with that.
pub(crate) fn exit_status(process: BorrowedFd<'_>) -> SysResult<Option<ExitStatus>> {
    exit_status_of(libc::P_PIDFD, process.as_raw_fd().unsigned_abs(), Argument::Process(process))
}

/// The same for a child by its identity: if another process has its id, somebody has waited for it.
pub(crate) fn exit_status_of_identified(identity: ProcessIdentity) -> SysResult<Option<ExitStatus>> {
    let page = page_at(Path::new(&format!("/proc/{}/stat", identity.id)))?;
    if number_in(&page, STARTED)? != identity.created {
        return Err(SysError::new("waitid", Errno::CHILD));
    }
    exit_status_of(libc::P_PID, identity.id, Argument::ProcessId(identity.id))
}

fn pid(id: u32) -> io::Result<Pid> {
    Ok(i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?)
}

fn exit_status_of(kind: libc::idtype_t, id: libc::id_t, said: Argument<'_>) -> SysResult<Option<ExitStatus>> {
    // It does something: the system forgets a child that was asked about.
    call("waitid", &[("", said)], || {
        let heard = heard_of(kind, id, libc::WEXITED)?;
        Ok(heard.and_then(|heard| heard.end()))
    })
}

/// What the kernel says of a process or thread once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) id: u32,
    /// How it came to it, a number that begins with `CLD_`.
    code: i32,
    /// The exit code, or the signal.
    pub(super) status: i32,
}

impl Heard {
    /// How it has ended, if it has, as the number that the older calls answer.
    pub(super) fn end(self) -> Option<ExitStatus> {
        /// The process has left a memory dump.
        const DUMPED: i32 = 0x80;
        let number = match self.code {
            libc::CLD_EXITED => (self.status & 0xff) << 8,
            libc::CLD_KILLED => self.status,
            libc::CLD_DUMPED => self.status | DUMPED,
            _ => return None,
        };
        Some(ExitStatus::from_raw(number))
    }
}

/// What there is to be heard of such a child or tracee now.
pub(super) fn heard_of(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: libc::c_int,
) -> io::Result<Option<Heard>> {
    let mut answer = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the answer has a live place of its type.
    let outcome = unsafe { libc::waitid(kind, id, answer.as_mut_ptr(), options | libc::WNOHANG) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the place was zeroed, which is a value of the structure.
    let answer = unsafe { answer.assume_init() };
    // SAFETY: the call has filled what it fills for a child, or left zeros.
    let id = unsafe { answer.si_pid() };
    // SAFETY: likewise.
    let status = unsafe { answer.si_status() };
    Ok(match u32::try_from(id) {
        Ok(id @ 1..) => Some(Heard { id, code: answer.si_code, status }),
        _ => None,
    })
}

impl Outcome for ExitStatus {
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, to)
    }
}

/// When this process was created.
pub(crate) fn own_creation_time() -> SysResult<u64> {
    number_in(&page_at(Path::new("/proc/self/stat"))?, STARTED)
}

/// When a process was created, in clock ticks since the machine was started.
pub(crate) fn creation_time(process: BorrowedFd<'_>, id: u32) -> SysResult<u64> {
    let page = page_at(Path::new(&format!("/proc/{id}/stat")));
    let started = page.and_then(|page| number_in(&page, STARTED));
    // If it is known to the system now, nobody else had its id a moment ago.
    check_known(process)?;
    started.map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound { SysError::new(error.call, Errno::SRCH) } else { error }
    })
}

/// Whether the system still knows the process: it runs, or nobody has waited for it since it ended.
pub(crate) fn check_known(process: BorrowedFd<'_>) -> SysResult<()> {
    let asked =
        ask("pidfd_send_signal", &[("", Argument::Process(process)), ("signal", 0_u32.into())], || {
            // No signal at all: only the question whether it could be sent.
            // SAFETY: the call takes numbers; there is no information to go with the signal.
            let answer = unsafe {
                libc::syscall(
                    libc::SYS_pidfd_send_signal,
                    process.as_raw_fd(),
                    0,
                    std::ptr::null::<libc::siginfo_t>(),
                    0,
                )
            };
            if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        });
    match asked {
        // That it mustn't be sent is an answer too.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Whether a process may be about to end. It closes what it has before it counts as ended, and by then the kernel has
/// noted that it is exiting.
pub(crate) fn may_be_ending(id: u32) -> bool {
    /// `PF_EXITING`.
    const EXITING: u64 = 0x4;
    let page = page_at(Path::new(&format!("/proc/{id}/stat")));
    page.and_then(|page| number_in(&page, 9)).map_or(true, |flags| flags & EXITING != 0)
}

/// In which place it stands when the process was created.
const STARTED: usize = 22;

/// A number on the kernel's page about a process, by its place there, as `proc_pid_stat(5)` counts.
fn number_in(page: &[u8], place: usize) -> SysResult<u64> {
    let page = String::from_utf8_lossy(page);
    // The second word is the program's name in parentheses, with anything in it; the last parenthesis ends it.
    let behind_the_name = page.rsplit_once(')').map(|(_, rest)| rest);
    let number = behind_the_name.and_then(|rest| rest.split_whitespace().nth(place - 3)?.parse().ok());
    number.ok_or_else(|| SysError::unexpected("read", "the page about the process is not as documented"))
}

/// Whether this process doesn't want to hear of its children's ends: then the system forgets them at once, and their ids
/// are given again.
pub(crate) fn forgets_children() -> SysResult<bool> {
    ask("rt_sigaction", &[("SIGCHLD", Argument::Yes)], || {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: nothing is changed, and the answer has a live place of its type.
        let outcome = unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), action.as_mut_ptr()) };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the place was zeroed, which is a value of the structure, and then filled.
        let action = unsafe { action.assume_init() };
        Ok(action.sa_sigaction == libc::SIG_IGN || action.sa_flags & libc::SA_NOCLDWAIT != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_by_its_id() -> io::Result<()> {
        let this = std::process::id();
        let process = open(this)?;
        assert_eq!(id_of(process.borrowed()), Some(this));
        Ok(check_known(process.borrowed())?)
    }

    #[test]
    fn an_end_is_told_as_the_older_calls_tell_it() {
        let ended = |code, status| Heard { id: 1, code, status }.end();
        for (code, status) in [(libc::CLD_EXITED, 0), (libc::CLD_EXITED, 3), (libc::CLD_EXITED, 0x103)] {
            let end = ended(code, status).expect("it has exited");
            assert_eq!((end.code(), end.signal()), (Some(status & 0xff), None));
        }
        for (code, has_dumped) in [(libc::CLD_KILLED, false), (libc::CLD_DUMPED, true)] {
            let end = ended(code, libc::SIGSEGV).expect("it was killed");
            assert_eq!((end.code(), end.signal()), (None, Some(libc::SIGSEGV)));
            assert_eq!(end.core_dumped(), has_dumped);
        }
        for code in [libc::CLD_STOPPED, libc::CLD_TRAPPED, libc::CLD_CONTINUED] {
            assert_eq!(ended(code, libc::SIGSTOP), None);
        }
    }

    #[test]
    fn a_process_that_runs_is_not_ending() {
        assert!(!may_be_ending(std::process::id()));
    }

    #[test]
    fn nothing_is_left_of_what_somebody_has_waited_for() {
        for errno in [Errno::SRCH, Errno::CHILD, Errno::NOENT] {
            assert!(is_forgotten(&errno.into()), "{errno}");
        }
        for errno in [Errno::PERM, Errno::AGAIN, Errno::NOMEM] {
            assert!(!is_forgotten(&errno.into()), "{errno}");
        }
    }
}
