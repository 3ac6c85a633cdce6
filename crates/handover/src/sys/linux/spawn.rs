//! Starting a program with exactly the descriptors that are listed for it.
//!
//! std's `Command` forks and places the standard streams, and brings an error back. What it calls in the new process
//! before it would start the program does the rest, and starts it: so the variable that says for whom a manifest is can
//! have the new process's id in it.

use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::handle::{open_null, standard_stream};
use super::io::Owned;
use super::{Answered, Argument, Effects, Outcome, Slot, Table, always, always_ask, call, fault};

/// What is done in the new process.
pub(crate) struct Plan {
    pub(crate) program: CString,
    pub(crate) arguments: Vec<CString>,
    /// Each `name=value`.
    pub(crate) variables: Vec<CString>,
    /// Which of the variables has the new process's id in it, and from which byte on: as many digits as [`ID`].
    pub(crate) id: Option<(usize, usize)>,
    /// The descriptors that the program gets beside its three streams: which, and under which number.
    pub(crate) inherit: Vec<(RawFd, RawFd)>,
    /// Its three streams.
    pub(crate) streams: [Stream; 3],
    /// The signals that are blocked in it.
    pub(crate) blocked: libc::sigset_t,
    /// Whether the system ends the child with the thread that starts it; this is the id of its process.
    pub(crate) ends_with: Option<u32>,
}

/// What the program has as one of its streams.
#[derive(Debug)]
pub(crate) enum Stream {
    Nothing,
    /// This process's own.
    Same,
    /// What std's builder makes for it, a pipe or the null device.
    New,
    /// Another descriptor for what this one is for.
    Copy(Owned),
}

/// What stands for the new process's id until it is known.
pub(crate) const ID: &str = "0000000000";

/// Starts the program. The builder has the streams, the folder and the users, and nothing else to do.
pub(crate) fn spawn(mut command: Command, plan: Plan) -> io::Result<Child> {
    // As the plan is the new process's, what is told of it is kept beside it, if anybody is told.
    let told = Told::of(&plan);
    let mut prepared = Prepared::new(plan)?;
    // SAFETY: between fork and execve other threads' locks can be held for ever, so only system calls are made and
    // memory is changed that was there before; nothing is allocated, and nothing dropped.
    unsafe { command.pre_exec(move || Err(prepared.become_the_program())) };
    let inherit: Vec<u64> = told.inherit.iter().map(|(own, _)| own.unsigned_abs().into()).collect();
    let arguments = [
        ("program", Path::new(OsStr::from_bytes(told.program.as_bytes())).into()),
        ("arguments", Argument::Texts(&told.arguments)),
        ("inherits", Argument::Raws(&inherit)),
    ];
    let arguments = &arguments[..if inherit.is_empty() { 2 } else { 3 }];
    let started = call("fork+execve", arguments, || {
        // One event has two calls that can fail in different ways, so a test can let each of them.
        fault("execve")?;
        Ok(Started { child: command.spawn()?, told: &told })
    });
    started.map(|started| started.child)
}

/// What is told of a new process: among it which descriptors of this one it has, and under which numbers.
struct Told {
    program: CString,
    arguments: Vec<CString>,
    streams: [Option<Option<RawFd>>; 3],
    inherit: Vec<(RawFd, RawFd)>,
}

impl Told {
    fn of(plan: &Plan) -> Self {
        let own = |which: RawFd, stream: &Stream| match stream {
            Stream::Nothing => None,
            Stream::Same => Some(Some(which)),
            Stream::New => Some(None),
            Stream::Copy(copy) => Some(Some(copy.as_raw_fd())),
        };
        let [input, output, error] = &plan.streams;
        let streams = [own(0, input), own(1, output), own(2, error)];
        // Nobody reads it if nobody is told.
        if !cfg!(feature = "tracing") {
            return Self { program: CString::default(), arguments: Vec::new(), streams, inherit: Vec::new() };
        }
        let arguments = plan.arguments.iter().skip(1).cloned().collect();
        Self { program: plan.program.clone(), arguments, streams, inherit: plan.inherit.clone() }
    }
}

struct Started<'a> {
    child: Child,
    told: &'a Told,
}

impl Outcome for Started<'_> {
    fn result(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "process {}", self.child.id())
    }

    fn effects(&self, to: &mut Effects<'_, '_>) -> fmt::Result {
        let Child { stdin, stdout, stderr, .. } = &self.child;
        let ours = [
            stdin.as_ref().map(AsFd::as_fd),
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
        ];
        for own in ours.into_iter().flatten() {
            to.opened(Slot::own(own), None)?;
        }
        let slot = |number: RawFd, table| Slot::new(number.unsigned_abs().into(), table);
        let there = Table::OfId(self.child.id());
        for (number, stream) in (0..).zip(self.told.streams) {
            if let Some(own) = stream {
                to.opened(slot(number, there), own.map(|own| slot(own, Table::Own)))?;
            }
        }
        for (own, number) in &self.told.inherit {
            to.opened(slot(*number, there), Some(slot(*own, Table::Own)))?;
        }
        Ok(())
    }
}

/// Whether the user that this process acts as may start the file.
pub(crate) fn can_be_started(file: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let access = || Ok(accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS)?);
    always_ask("faccessat2", &[("path", file.into())], access).is_ok()
}

/// Whether the kernel can close what isn't listed, which one before 5.11 can't.
pub(crate) fn check_can_close_the_rest() -> io::Result<()> {
    static CAN: AtomicBool = AtomicBool::new(false);
    if CAN.load(Relaxed) {
        return Ok(());
    }
    always_ask("close_range", &[("from", u32::MAX.into()), ("to", u32::MAX.into())], || {
        // SAFETY: the call takes numbers, and no descriptor has this one.
        let outcome =
            unsafe { libc::syscall(libc::SYS_close_range, u32::MAX, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    })?;
    CAN.store(true, Relaxed);
    Ok(())
}

/// The signals that this thread doesn't want now.
pub(crate) fn blocked_signals() -> io::Result<libc::sigset_t> {
    let blocked = always_ask("rt_sigprocmask", &[], || {
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
pub(crate) fn without_signals<T>(begin: impl FnOnce() -> T) -> io::Result<T> {
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
pub(crate) fn hold_free_streams() -> io::Result<[Option<Owned>; 3]> {
    let mut held = [None, None, None];
    for (which, held) in held.iter_mut().enumerate() {
        // The lowest number that is free is the one that is taken.
        if standard_stream(which)?.is_none() {
            *held = Some(open_null()?);
        }
    }
    Ok(held)
}

/// A plan as the calls take it.
struct Prepared {
    plan: Plan,
    /// The variable with the id in it, as bytes that can be changed; the pointers have its place.
    with_id: Vec<u8>,
    arguments: Vec<*const libc::c_char>,
    variables: Vec<*const libc::c_char>,
}

// SAFETY: the pointers are to memory that goes with this and that only the new process changes, in its own copy.
unsafe impl Send for Prepared {}
// SAFETY: likewise.
unsafe impl Sync for Prepared {}

impl Prepared {
    fn new(plan: Plan) -> io::Result<Self> {
        let pointers =
            |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([null()]).collect::<Vec<_>>();
        let (arguments, mut variables) = (pointers(&plan.arguments), pointers(&plan.variables));
        let mut with_id = Vec::new();
        if let Some((variable, from)) = plan.id {
            with_id = plan.variables[variable].to_bytes_with_nul().to_vec();
            if with_id.get(from..).is_none_or(|rest| rest.len() < ID.len()) {
                return Err(io::Error::other("the variable has no place for the id"));
            }
            variables[variable] = with_id.as_ptr().cast();
        }
        Ok(Self { plan, with_id, arguments, variables })
    }

    /// In the new process: all that is left to do. Returns only if it fails.
    fn become_the_program(&mut self) -> io::Error {
        match self.prepare() {
            Ok(()) => start(&self.plan.program, &self.arguments, &self.variables),
            Err(error) => error,
        }
    }

    fn prepare(&mut self) -> io::Result<()> {
        if let Some(parent) = self.plan.ends_with {
            // SAFETY: the call takes numbers.
            succeeded(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
            // It may have ended before that.
            if std::os::unix::process::parent_id() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        // Whatever somebody has left open for programs that are started, and whatever nobody knows of.
        let first = super::handle::FIRST.unsigned_abs();
        // SAFETY: the call takes numbers, and what has these descriptors here is this copy of the process alone.
        let outcome =
            unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
        for (number, stream) in (0..).zip(&self.plan.streams) {
            if let Stream::Copy(copy) = stream {
                // SAFETY: as above: the builder has put nothing else there.
                succeeded(unsafe { libc::dup2(copy.as_raw_fd(), number) })?;
            }
        }
        for (own, number) in &self.plan.inherit {
            if own == number {
                // SAFETY: as above: the flag in this copy of the table is nobody else's.
                succeeded(unsafe { libc::fcntl(*own, libc::F_SETFD, 0) })?;
            } else {
                // SAFETY: as above; the number was held for this.
                succeeded(unsafe { libc::dup2(*own, *number) })?;
            }
        }
        // SAFETY: the set is in the plan, and the old one isn't asked for.
        let outcome =
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.plan.blocked, null_mut()) };
        if outcome != 0 {
            return Err(io::Error::from_raw_os_error(outcome));
        }
        if let Some((_, from)) = self.plan.id {
            let mut id = std::process::id();
            for digit in self.with_id[from..from + ID.len()].iter_mut().rev() {
                *digit = b'0' + (id % 10) as u8;
                id /= 10;
            }
        }
        Ok(())
    }
}

fn start(program: &CStr, arguments: &[*const libc::c_char], variables: &[*const libc::c_char]) -> io::Error {
    // SAFETY: the texts end with NUL and the lists with a null pointer; all of them live in this process.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), variables.as_ptr()) };
    io::Error::last_os_error()
}

fn succeeded(answer: i32) -> io::Result<()> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
