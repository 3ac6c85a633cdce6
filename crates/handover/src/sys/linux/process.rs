//! Processes: opening, terminating, exit status, and identity.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::SysError;
use super::SysResult;
use super::handle::{file_system_of, status_of};
use super::io::Owned;
use super::proc_pid::{hidden, page_of};
use super::{Argument, Outcome, ask, call};

/// Opens a process by its id.
pub(crate) fn open(id: u32) -> SysResult<Owned> {
    call("pidfd_open", &[("", Argument::ProcessId(id))], || {
        // The kernel reports the id of a thread that isn't a process as invalid.
        match rustix::process::pidfd_open(pid(id)?, PidfdFlags::empty()) {
            Err(Errno::INVAL | Errno::NOENT) => Err(Errno::SRCH.into()),
            other => Ok(other?.into()),
        }
    })
}

/// Returns the id of the process that a descriptor refers to. Once the process has been waited for, the kernel no
/// longer has it. The query is made for events, and has no event itself.
pub(crate) fn id_of(process: BorrowedFd<'_>) -> Option<u32> {
    let page = std::fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", process.as_raw_fd())).ok()?;
    page.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

/// Does the same as a part of an operation, with an event, and where the kernel can tell it, without `/proc`. Returns
/// `None` also for a process of another PID namespace.
pub(crate) fn ask_for_id(process: BorrowedFd<'_>) -> Option<u32> {
    /// `PIDFD_INFO_PID`.
    const IDS: u64 = 1;
    let id = match ask_info(process, IDS, |info| info.ids[1]) {
        Ok(None) => id_of(process),
        other => other.ok().flatten(),
    };
    id.filter(|id| *id != 0)
}

/// Returns whether the error says that the process doesn't exist.
pub(crate) fn is_missing(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::SRCH)
}

/// Returns whether the error says that the child has already been waited for, so its exit status is gone.
pub(crate) fn is_forgotten(error: &io::Error) -> bool {
    is_missing(error)
        || error.kind() == io::ErrorKind::NotFound
        || Errno::from_io_error(error) == Some(Errno::CHILD)
}

/// Starts to kill a process with SIGKILL, which it can't block. A wait tells when it has exited.
pub(crate) fn terminate(process: BorrowedFd<'_>) -> SysResult<()> {
    call("pidfd_send_signal", &[("", Argument::Process(process)), ("SIGKILL", Argument::Yes)], || {
        match rustix::process::pidfd_send_signal(process, Signal::KILL) {
            // It has exited and was waited for.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })
}

/// Returns the exit status of a child, or `None` if it is still running. The status can be fetched only once: the
/// kernel removes the child with it.
pub(crate) fn exit_status(process: BorrowedFd<'_>) -> SysResult<Option<ExitStatus>> {
    exit_status_of(libc::P_PIDFD, process.as_raw_fd().unsigned_abs(), Argument::Process(process))
}

/// Waits for a child that this process has just started, without a timeout. Returns `None` if a signal interrupted the
/// wait.
pub(super) fn wait_for_exit(id: u32) -> SysResult<Option<ExitStatus>> {
    call("waitid", &[("", Argument::ProcessId(id))], || {
        match next_wait_status(libc::P_PID, id, libc::WEXITED) {
            Ok(status) => Ok(status.and_then(WaitStatus::exit_status)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    })
}

fn pid(id: u32) -> io::Result<Pid> {
    Ok(i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?)
}

fn exit_status_of(
    kind: libc::idtype_t,
    id: libc::id_t,
    described: Argument<'_>,
) -> SysResult<Option<ExitStatus>> {
    // The call isn't only a query, because it removes a child that has exited.
    call("waitid", &[("", described)], || {
        let status = wait_status(kind, id, libc::WEXITED)?;
        Ok(status.and_then(|status| status.exit_status()))
    })
}

/// A state change of a process or thread, which the kernel reports once.
#[derive(Debug, Clone, Copy)]
pub(super) struct WaitStatus {
    pub(super) id: u32,
    /// The kind of the change: one of the `CLD_` constants.
    code: i32,
    /// The exit code or the signal.
    pub(super) status: i32,
}

impl WaitStatus {
    /// Returns the exit status, in the encoding of `wait(2)`, if the change is an exit.
    pub(super) fn exit_status(self) -> Option<ExitStatus> {
        /// The flag for a core dump.
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

/// Returns the next unreported state change of a child or tracee, without waiting.
pub(super) fn wait_status(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: libc::c_int,
) -> io::Result<Option<WaitStatus>> {
    next_wait_status(kind, id, options | libc::WNOHANG)
}

fn next_wait_status(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: libc::c_int,
) -> io::Result<Option<WaitStatus>> {
    let mut answer = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the pointer refers to a live, writable `siginfo_t`, which the call fills.
    let outcome = unsafe { libc::waitid(kind, id, answer.as_mut_ptr(), options) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all bytes of the structure were zeroed, and zeros are a valid `siginfo_t`; the call may have
    // overwritten some with valid values.
    let answer = unsafe { answer.assume_init() };
    // SAFETY: `si_pid` reads a field of a union of integers. The successful `waitid` either filled it for a child or
    // left the zeros.
    let id = unsafe { answer.si_pid() };
    // SAFETY: `si_status` reads a field of a union of integers. The successful `waitid` either filled it for a child
    // or left the zeros.
    let status = unsafe { answer.si_status() };
    Ok(match u32::try_from(id) {
        Ok(id @ 1..) => Some(WaitStatus { id, code: answer.si_code, status }),
        _ => None,
    })
}

impl Outcome for ExitStatus {
    #[inline]
    fn result(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, to)
    }
}

/// Returns the number that distinguishes a process from all others that have had its id: the inode number of its
/// descriptor, which the kernel never uses again, or before Linux 6.9 the creation time.
pub(crate) fn unique_number(process: BorrowedFd<'_>, id: u32) -> SysResult<u64> {
    match kept_number(process)? {
        Some(number) => Ok(number),
        None => creation_time(process, id),
    }
}

/// Returns this process's own [`unique_number`].
pub(crate) fn own_unique_number() -> SysResult<u64> {
    let this = std::process::id();
    unique_number(open(this)?.borrowed(), this)
}

/// Returns the inode number of a process's descriptor, if the kernel gives each process its own: since Linux 6.9.
pub(crate) fn kept_number(process: BorrowedFd<'_>) -> SysResult<Option<u64>> {
    /// `PID_FS_MAGIC`, the type of the file system to which such descriptors belong.
    const PIDFS: u32 = 0x5049_4446;
    match file_system_of(process) {
        Ok(PIDFS) => {}
        // A filter that refuses the call leaves the other way.
        Err(error) if !matches!(Errno::from_io_error(&error), Some(Errno::NOSYS | Errno::PERM)) => {
            return Err(error);
        }
        _ => return Ok(None),
    }
    status_of(process).map(|status| Some(status.st_ino))
}

/// Returns the creation time of a process, in clock ticks since the system was booted.
pub(crate) fn creation_time(process: BorrowedFd<'_>, id: u32) -> SysResult<u64> {
    let page = page_of(id, "stat");
    let started = page.and_then(|page| number_in(&page, STARTED));
    // The id belonged to this process when the file was read only if the process is still known now.
    check_known(process)?;
    started.map_err(hidden)
}

/// Returns the effective user id of a process.
pub(crate) fn user_of(process: BorrowedFd<'_>, id: u32) -> SysResult<u32> {
    if let Some(user) = ask_user(process)? {
        return Ok(user);
    }
    let page = page_of(id, "status");
    // The same as for the creation time.
    check_known(process)?;
    let page = page.map_err(hidden)?;
    let page = String::from_utf8_lossy(&page);
    let line = page.lines().find_map(|line| line.strip_prefix("Uid:"));
    // The line has the real, effective, saved and filesystem user ids.
    let effective = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    effective.ok_or_else(|| SysError::unexpected("read", "the status file of the process has no user id"))
}

/// Asks the kernel for the effective user id of a process. Returns `None` if it can't be asked in this way.
fn ask_user(process: BorrowedFd<'_>) -> SysResult<Option<u32>> {
    /// `PIDFD_INFO_CREDS`.
    const CREDENTIALS: u64 = 1 << 1;
    ask_info(process, CREDENTIALS, |info| info.effective_user)
}

/// `struct pidfd_info` as of its first version.
#[repr(C)]
#[derive(Default)]
struct Info {
    /// The requested fields, and then the answered ones.
    mask: u64,
    cgroup: u64,
    /// The ids of the first thread, of the process and of its parent, and the real user and group ids.
    ids: [u32; 5],
    effective_user: u32,
    more: [u32; 6],
}

const _: () = assert!(size_of::<Info>() == 64);

/// Asks the kernel for a field of a process's information. Returns `None` if it can't be asked in this way: before Linux
/// 6.13, and where a filter refuses the call.
fn ask_info(
    process: BorrowedFd<'_>,
    requested: u64,
    field: impl FnOnce(&Info) -> u32,
) -> SysResult<Option<u32>> {
    /// `PIDFD_GET_INFO` for a structure of 64 bytes.
    const GET_INFO: u32 = 0xc040_ff0b;
    ask("ioctl", &[("", Argument::Process(process)), ("PIDFD_GET_INFO", Argument::Yes)], || {
        let mut info = Info { mask: requested, ..Info::default() };
        // SAFETY: the descriptor is borrowed, so it is open. The kernel writes at most the 64 bytes that are encoded in
        // the request, to a live variable of that size in which any bytes are valid.
        let answer = unsafe { libc::ioctl(process.as_raw_fd(), GET_INFO as _, &raw mut info) };
        if answer == 0 {
            return Ok((info.mask & requested != 0).then(|| field(&info)));
        }
        let error = io::Error::last_os_error();
        if is_missing(&error) { Err(error) } else { Ok(None) }
    })
}

/// Checks that the kernel still knows the process: it runs, or nothing has waited for it since it exited.
pub(crate) fn check_known(process: BorrowedFd<'_>) -> SysResult<()> {
    let outcome =
        ask("pidfd_send_signal", &[("", Argument::Process(process)), ("signal", 0_u32.into())], || {
            // Signal 0 sends nothing; the call only checks whether a signal could be sent.
            // SAFETY: the arguments are numbers, except a null pointer, which the call accepts instead of signal
            // information. The descriptor is borrowed, so it is open.
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
    match outcome {
        // A refusal for lack of permission shows that the process exists.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

/// Returns whether a process may be exiting. A process closes its descriptors before a wait reports its exit; by then
/// the kernel has marked it as exiting. If the mark can't be read, the answer is `true`.
pub(crate) fn may_be_ending(id: u32) -> bool {
    /// `PF_EXITING`.
    const EXITING: u64 = 0x4;
    page_of(id, "stat").and_then(|page| number_in(&page, 9)).map_or(true, |flags| flags & EXITING != 0)
}

/// The field of `/proc/PID/stat` that has the creation time.
const STARTED: usize = 22;

/// Returns a number from `/proc/PID/stat`. Fields are counted as in `proc_pid_stat(5)`.
fn number_in(page: &[u8], field: usize) -> SysResult<u64> {
    let page = String::from_utf8_lossy(page);
    // The second field is the program's name in parentheses, which may itself contain parentheses and spaces. So the
    // fields are counted from the last closing parenthesis on.
    let after_name = page.rsplit_once(')').map(|(_, rest)| rest);
    let number = after_name.and_then(|rest| rest.split_whitespace().nth(field - 3)?.parse().ok());
    number.ok_or_else(|| SysError::unexpected("read", "the stat file of the process has an unknown format"))
}

/// Returns whether this process ignores `SIGCHLD` or has set `SA_NOCLDWAIT`. Then the kernel removes its children as
/// soon as they exit, and their ids can be reused at once.
pub(crate) fn forgets_children() -> SysResult<bool> {
    ask("rt_sigaction", &[("SIGCHLD", Argument::Yes)], || {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: the second pointer is null, so the action isn't changed. The third points to a live, writable
        // `sigaction`.
        let outcome = unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), action.as_mut_ptr()) };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all bytes of the structure were zeroed, which is a valid value of it, and the successful call has
        // filled it.
        let action = unsafe { action.assume_init() };
        Ok(action.sa_sigaction == libc::SIG_IGN || action.sa_flags & libc::SA_NOCLDWAIT != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_descriptor_yields_its_process_id() -> io::Result<()> {
        let this = std::process::id();
        let process = open(this)?;
        assert_eq!(id_of(process.borrowed()), Some(this));
        Ok(check_known(process.borrowed())?)
    }

    #[test]
    fn exit_status_has_the_encoding_of_wait() {
        let ended = |code, status| WaitStatus { id: 1, code, status }.exit_status();
        for (code, status) in [(libc::CLD_EXITED, 0), (libc::CLD_EXITED, 3), (libc::CLD_EXITED, 0x103)] {
            let status_of_exit = ended(code, status).expect("it has exited");
            assert_eq!((status_of_exit.code(), status_of_exit.signal()), (Some(status & 0xff), None));
        }
        for (code, has_dumped) in [(libc::CLD_KILLED, false), (libc::CLD_DUMPED, true)] {
            let status = ended(code, libc::SIGSEGV).expect("it was killed");
            assert_eq!((status.code(), status.signal()), (None, Some(libc::SIGSEGV)));
            assert_eq!(status.core_dumped(), has_dumped);
        }
        for code in [libc::CLD_STOPPED, libc::CLD_TRAPPED, libc::CLD_CONTINUED] {
            assert_eq!(ended(code, libc::SIGSTOP), None);
        }
    }

    #[test]
    fn running_process_is_not_reported_as_exiting() {
        assert!(!may_be_ending(std::process::id()));
    }

    #[test]
    fn missing_process_errors_mean_that_the_child_was_waited_for() {
        for errno in [Errno::SRCH, Errno::CHILD, Errno::NOENT] {
            assert!(is_forgotten(&errno.into()), "{errno}");
        }
        for errno in [Errno::PERM, Errno::AGAIN, Errno::NOMEM] {
            assert!(!is_forgotten(&errno.into()), "{errno}");
        }
    }
}
