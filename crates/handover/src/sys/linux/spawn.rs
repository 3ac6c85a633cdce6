//! Starting a program with exactly the descriptors that are listed for it.
//!
//! std's `Command` forks and places the standard streams, and brings an error back. What it calls in the new process
//! before it would start the program does the rest, and starts it: so the variable that says for whom a manifest is can
//! have the new process's id in it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::ptr::null;

use super::fault;

/// What is done in the new process.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) program: CString,
    pub(crate) arguments: Vec<CString>,
    /// Each `name=value`.
    pub(crate) variables: Vec<CString>,
    /// Which of the variables has the new process's id in it, and from which byte on: as many digits as [`ID`].
    pub(crate) id: Option<(usize, usize)>,
    /// The descriptors that the program gets beside its three streams, under the same numbers.
    pub(crate) inherit: Vec<RawFd>,
    /// Whether the system ends the child with the thread that starts it; this is the id of its process.
    pub(crate) ends_with: Option<u32>,
}

/// What stands for the new process's id until it is known.
pub(crate) const ID: &str = "0000000000";

/// Starts the program. The builder has the streams, the folder and the users, and nothing else to do.
pub(crate) fn spawn(mut command: Command, plan: Plan) -> io::Result<Child> {
    fault("fork")?;
    let mut prepared = Prepared::new(plan)?;
    // SAFETY: between fork and execve other threads' locks can be held for ever, so only system calls are made and
    // memory is changed that was there before; nothing is allocated, and nothing dropped.
    unsafe { command.pre_exec(move || Err(prepared.become_the_program())) };
    fault("execve")?;
    command.spawn()
}

/// A plan as the calls take it.
#[derive(Debug)]
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
        for descriptor in &self.plan.inherit {
            // SAFETY: as above; the descriptor is a duplicate that was made for this.
            succeeded(unsafe { libc::fcntl(*descriptor, libc::F_SETFD, 0) })?;
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
