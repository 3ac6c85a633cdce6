//! A debugged process, and changes to its handles.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::handle::{Access, HandleValue};
use crate::inspect::observe::Change;
use crate::sys::create_object::{What, create};
use crate::sys::handle::{close_in, duplicate_from, duplicate_here, duplicate_into, is_invalid_handle};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::process::exit_status;
use crate::sys::{Errand, SysResult, begin_thread};

/// How long a close in the process may take.
const MAX_CLOSE: Duration = Duration::from_secs(5);
/// The right to query a semaphore, `SEMAPHORE_QUERY_STATE`.
const QUERY_ONLY: Option<Access> = Some(Access::from_bits_retain(1));
/// The most duplicates that are made to get a handle of a certain value.
const MAX_DUPLICATES: usize = 4096;

/// An unnamed pipe whose second end hasn't been opened yet. `CreatePipe` makes both ends, with two calls.
#[derive(Debug, Clone)]
pub(super) struct HalfPipe {
    pub(super) server: u64,
    pub(super) name: String,
    pub(super) inheritable: bool,
}

/// A process of the tree.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) handle: Owned,
    /// The kinds of breakpoints of the loader that it has already reached.
    pub(super) loader_breakpoints: Vec<i32>,
    /// Whether the breakpoints are set.
    pub(super) is_followed: bool,
    /// Whether it is a 32-bit program, or its calls can't be followed for another reason.
    pub(super) is_unseen: bool,
    pub(super) half_pipe: Option<HalfPipe>,
}

impl Process {
    pub(super) fn of(handle: Owned) -> Self {
        Self { handle, loader_breakpoints: Vec::new(), is_followed: false, is_unseen: false, half_pipe: None }
    }

    /// Returns whether it has been killed, or has exited.
    pub(super) fn has_exited(&self) -> bool {
        const STILL_ACTIVE: i32 = 259;
        let status = exit_status(self.handle.handle()).ok().flatten();
        status.and_then(|status| status.code()) != Some(STILL_ACTIVE)
    }

    /// Returns this process's duplicate of a handle, or `None` if the process has no such handle.
    pub(super) fn copy_of(&self, value: HandleValue) -> SysResult<Option<Owned>> {
        match duplicate_from(self.handle.handle(), value) {
            Ok(copy) => Ok(Some(copy)),
            Err(error) if is_invalid_handle(&error) || self.has_exited() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes a handle, and returns whether that could be done.
    pub(super) fn change(&self, value: HandleValue, change: Change, deadline: Instant) -> SysResult<bool> {
        if self.copy_of(value)?.is_none() {
            return Ok(false);
        }
        // A handle that is protected from being closed stays.
        if !self.close(value, deadline)? || self.copy_of(value)?.is_some() {
            return Ok(false);
        }
        match change {
            Change::Close => Ok(true),
            Change::Replace => self.put_other(value, deadline),
        }
    }

    /// Puts a semaphore under a value that no handle of the process has. The handle carries no right to wait, and isn't that of
    /// a file, so each call of the program on it fails. The system chooses the value of a new handle, so
    /// duplicates are made until one gets that value, and the others are closed.
    fn put_other(&self, value: HandleValue, deadline: Instant) -> SysResult<bool> {
        let (semaphore, _) = create(What::Semaphore { initial: 0, maximum: 1 }, None)?;
        let mut others = Vec::new();
        let mut is_put = Ok(false);
        while matches!(is_put, Ok(false)) && others.len() < MAX_DUPLICATES && Instant::now() < deadline {
            let made = duplicate_into(self.handle.handle(), semaphore.handle(), QUERY_ONLY, false);
            others.extend(made.as_ref().ok().filter(|made| **made != value));
            is_put = made.map(|made| made == value);
        }
        for other in others {
            self.close(other, deadline)?;
        }
        is_put
    }

    /// Closes a handle, and returns whether that was done before the deadline. Windows does it at once. Wine asks one of the
    /// process's threads to do it, which may never answer.
    fn close(&self, value: HandleValue, deadline: Instant) -> SysResult<bool> {
        let process = duplicate_here(self.handle.handle(), None, false)?;
        let errand = Errand::of_this_thread();
        let (closed, answer) = mpsc::channel();
        let work = move || {
            errand.run(|| close_in(process.handle(), value));
            drop(process);
            // The receiver is gone after the deadline.
            let _ = closed.send(());
        };
        let thread = begin_thread(|| thread::Builder::new().name("handover close".into()).spawn(work))?;
        let left = deadline.saturating_duration_since(Instant::now());
        let is_closed = answer.recv_timeout(left.min(MAX_CLOSE)).is_ok();
        // A thread that still waits ends with the process in which it closes the handle.
        Ok(is_closed && thread.join().is_ok())
    }
}
