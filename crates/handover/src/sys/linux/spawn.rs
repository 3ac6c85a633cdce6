//! Starting a program with exactly the descriptors that are listed for it.
//!
//! std's `Command` would fork, which costs a copy of the memory's map, and run code of ours in the new process, because the
//! variable that says for whom a manifest is has that process's id in it. Here the process is made without the copy
//! (`super::clone`), and does all of it itself (`super::child_exec`).

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::SysResult;
use super::child_exec::Newborn;
use super::clone::start;
use super::handle::{open_null, standard_stream};
use super::io::Owned;
use super::spawn_plan::{Plan, Stream};
use super::{Answered, Argument, Effects, Outcome, Slot, Table, always, ask, call, composed};

/// A child that runs: its process, and its id.
pub(crate) struct Started {
    pub(crate) process: Owned,
    pub(crate) id: u32,
}

/// Starts the program, and returns when it has begun.
pub(crate) fn spawn(plan: &Plan) -> SysResult<Started> {
    let inherit: Vec<u64> = plan.inherit.iter().map(|(own, _)| own.unsigned_abs().into()).collect();
    let arguments = [
        ("program", Path::new(OsStr::from_bytes(plan.program.as_bytes())).into()),
        ("arguments", Argument::Texts(plan.arguments.get(1..).unwrap_or_default())),
        ("inherits", Argument::Raws(&inherit)),
    ];
    let arguments = &arguments[..if inherit.is_empty() { 2 } else { 3 }];
    // Each of the calls that it consists of can fail for a test, and names itself in the error.
    let started = composed("clone+execve", arguments, || {
        let mut newborn = Newborn::new(plan)?;
        let (id, process) = start(&mut newborn)?;
        Ok(Reported { started: Started { process: process.into(), id }, plan })
    });
    started.map(|told| told.started)
}

/// What is told of a new process: which descriptor there is for it, and which of this one it has, under which numbers.
struct Reported<'a> {
    started: Started,
    plan: &'a Plan,
}

impl Outcome for Reported<'_> {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "process {}", self.started.id)
    }

    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        let Started { process, id } = &self.started;
        to.opened(Slot::own(process.borrowed()), None)?;
        let slot = |number: RawFd, table| Slot::new(number.unsigned_abs().into(), table);
        let streams = (0..).zip(&self.plan.streams).filter_map(|(number, stream)| match stream {
            Stream::Nothing => None,
            Stream::Same => Some((number, number)),
            Stream::Copy(copy) => Some((copy.as_raw_fd(), number)),
        });
        for (own, number) in streams.chain(self.plan.inherit.iter().copied()) {
            to.opened(slot(number, Table::OfId(*id)), Some(slot(own, Table::Own)))?;
        }
        Ok(())
    }
}

/// Whether the user that this process acts as may start the file.
pub(crate) fn can_be_started(file: &Path) -> SysResult<bool> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    use rustix::io::Errno;
    ask("faccessat2", &[("path", file.into())], || {
        match accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) => Ok(true),
            Err(Errno::ACCESS | Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(false),
            Err(error) => Err(error.into()),
        }
    })
}

/// Whether the kernel can close what isn't listed, which one before 5.11 can't.
pub(crate) fn check_can_close_the_rest() -> SysResult<()> {
    static CAN: AtomicBool = AtomicBool::new(false);
    if CAN.load(Relaxed) {
        return Ok(());
    }
    ask("close_range", &[("from", u32::MAX.into()), ("to", u32::MAX.into())], || {
        // SAFETY: the call takes numbers, and no descriptor has this one.
        let outcome =
            unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    })?;
    CAN.store(true, Relaxed);
    Ok(())
}

/// The signals that this thread doesn't want now.
pub(crate) fn blocked_signals() -> SysResult<libc::sigset_t> {
    let blocked = ask("rt_sigprocmask", &[], || {
        let mut blocked = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: nothing is changed, and the answer has a live place of its type.
        let outcome = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, null(), blocked.as_mut_ptr()) };
        if outcome != 0 {
            return Err(io::Error::from_raw_os_error(outcome));
        }
        // SAFETY: the place was zeroed, which is a value of the structure, and then filled.
        Ok(Answered(unsafe { blocked.assume_init() }))
    });
    blocked.map(|Answered(blocked)| blocked)
}

/// Sets which signals this thread doesn't want. It can't fail: the set is one, and so is the way.
fn block(signals: &libc::sigset_t, which: &'static str) {
    let _ = always("rt_sigprocmask", &[(which, Argument::Yes)], || {
        // SAFETY: the set is borrowed, and the old one isn't asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, signals, null_mut()) };
        Ok(())
    });
}

/// Begins a thread that none of the program's signals are delivered to.
pub(crate) fn without_signals<T>(begin: impl FnOnce() -> T) -> SysResult<T> {
    let before = blocked_signals()?;
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the place is live, and the call fills it.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the place was zeroed, which is a value of the structure, and then filled.
    block(&unsafe { all.assume_init() }, "all");
    let begun = begin();
    block(&before, "as before");
    Ok(begun)
}

/// Holds those of the three first numbers that are free, so that nothing of what a spawn makes for itself gets them: what
/// is put there for the child would overwrite it.
pub(crate) fn hold_free_streams() -> SysResult<[Option<Owned>; 3]> {
    let mut held = [None, None, None];
    for (which, held) in held.iter_mut().enumerate() {
        // The lowest number that is free is the one that is taken.
        if standard_stream(which)?.is_none() {
            *held = Some(open_null()?);
        }
    }
    Ok(held)
}

/// A pipe: the end to read from, and that to write to.
pub(crate) fn pipe() -> SysResult<(Owned, Owned)> {
    struct Ends(Owned, Owned);
    impl Outcome for Ends {
        fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
            to.opened(Slot::own(self.0.borrowed()), None)?;
            to.opened(Slot::own(self.1.borrowed()), None)
        }
    }
    let made = call("pipe2", &[], || {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        Ok(Ends(read.into(), write.into()))
    });
    made.map(|Ends(read, write)| (read, write))
}
