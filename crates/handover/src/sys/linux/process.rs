//! Processes: opening one, ending it, how it ended, and what identifies it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::handle::page_at;
use super::io::Owned;
use super::{Argument, Outcome, ask, call};
use crate::Identity;

/// A process by its id.
pub(crate) fn open(id: u32) -> io::Result<Owned> {
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
pub(crate) fn terminate(process: BorrowedFd<'_>) -> io::Result<()> {
    call("pidfd_send_signal", &[("", Argument::Process(process)), ("SIGKILL", Argument::Yes)], || {
        match rustix::process::pidfd_send_signal(process, Signal::KILL) {
            // It has ended, and was waited for.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
}

/// How a child has ended, if it has. The system forgets the child with that.
pub(crate) fn exit_status(process: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    exit_status_of(WaitId::PidFd(process), Argument::Process(process))
}

/// The same for a child by its identity: if another process has its id, somebody has waited for it.
pub(crate) fn exit_status_of_identified(identity: Identity) -> io::Result<Option<ExitStatus>> {
    let page = page_at(Path::new(&format!("/proc/{}/stat", identity.id)))?;
    if number_in(&page, STARTED)? != identity.created {
        return Err(Errno::CHILD.into());
    }
    exit_status_of(WaitId::Pid(pid(identity.id)?), Argument::ProcessId(identity.id))
}

fn pid(id: u32) -> io::Result<Pid> {
    Ok(i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?)
}

/// The number that the older calls answer.
fn exit_status_of(process: WaitId<'_>, said: Argument<'_>) -> io::Result<Option<ExitStatus>> {
    /// The process has left a memory dump.
    const DUMPED: i32 = 0x80;
    // It does something: the system forgets a child that was asked about.
    call("waitid", &[("", said)], || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let Some(status) = rustix::process::waitid(process, options)? else { return Ok(None) };
        let number = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => (code & 0xff) << 8,
            (None, Some(signal)) if status.dumped() => signal | DUMPED,
            (None, Some(signal)) => signal,
            (None, None) => return Err(io::Error::other("the process has neither ended nor was killed")),
        };
        Ok(Some(ExitStatus::from_raw(number)))
    })
}

impl Outcome for ExitStatus {
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, to)
    }
}

/// When this process was created.
pub(crate) fn own_creation_time() -> io::Result<u64> {
    number_in(&page_at(Path::new("/proc/self/stat"))?, STARTED)
}

/// When a process was created, in clock ticks since the machine was started.
pub(crate) fn creation_time(process: BorrowedFd<'_>, id: u32) -> io::Result<u64> {
    let page = page_at(Path::new(&format!("/proc/{id}/stat")));
    let started = page.and_then(|page| number_in(&page, STARTED));
    // If it is known to the system now, nobody else had its id a moment ago.
    check_known(process)?;
    started.map_err(|error| if error.kind() == io::ErrorKind::NotFound { Errno::SRCH.into() } else { error })
}

/// Whether the system still knows the process: it runs, or nobody has waited for it since it ended.
pub(crate) fn check_known(process: BorrowedFd<'_>) -> io::Result<()> {
    ask("pidfd_send_signal", &[("", Argument::Process(process)), ("signal", 0_u32.into())], || {
        // No signal at all: only the question whether it could be sent. That it mustn't be is an answer too.
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
        match (answer, io::Error::last_os_error()) {
            (0, _) => Ok(()),
            (_, error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            (_, error) => Err(error),
        }
    })
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
fn number_in(page: &[u8], place: usize) -> io::Result<u64> {
    let page = String::from_utf8_lossy(page);
    // The second word is the program's name in parentheses, with anything in it; the last parenthesis ends it.
    let behind_the_name = page.rsplit_once(')').map(|(_, rest)| rest);
    let number = behind_the_name.and_then(|rest| rest.split_whitespace().nth(place - 3)?.parse().ok());
    number.ok_or_else(|| io::Error::other("the page about the process isn't as it is documented"))
}

/// Whether this process doesn't want to hear of its children's ends: then the system forgets them at once, and their ids
/// are given again.
pub(crate) fn forgets_children() -> io::Result<bool> {
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
        check_known(process.borrowed())
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
