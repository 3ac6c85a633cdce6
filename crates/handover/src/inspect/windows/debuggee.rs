//! A debugged process, and changes to its handles.

use std::time::Instant;

use crate::handle::HandleValue;
use crate::inspect::observe::Change;
use crate::sys::SysResult;
use crate::sys::create_object::{What, create};
use crate::sys::handle::{close_in, duplicate_from, duplicate_into, is_invalid_handle};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::process::exit_status;

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
        close_in(self.handle.handle(), value);
        if self.copy_of(value)?.is_some() {
            // It is protected from being closed.
            return Ok(false);
        }
        match change {
            Change::Close => Ok(true),
            Change::Replace => self.put_other(value, deadline),
        }
    }

    /// Puts shared memory under a value that no handle of the process has. The system chooses the value of a new handle, so
    /// duplicates are made until one gets that value, and the others are closed.
    fn put_other(&self, value: HandleValue, deadline: Instant) -> SysResult<bool> {
        let (section, _) = create(What::SharedMemory(1), None)?;
        let mut others = Vec::new();
        let mut is_put = Ok(false);
        while matches!(is_put, Ok(false)) && others.len() < MAX_DUPLICATES && Instant::now() < deadline {
            let made = duplicate_into(self.handle.handle(), section.handle(), None, false);
            others.extend(made.as_ref().ok().filter(|made| **made != value));
            is_put = made.map(|made| made == value);
        }
        for other in others {
            close_in(self.handle.handle(), other);
        }
        is_put
    }
}
