//! What a builder can say here beyond other systems.

use std::ffi::{OsStr, OsString};

use crate::process::Command;

/// What a builder holds of it.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(super) first_argument: Option<OsString>,
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    pub(super) process_group: Option<i32>,
}

/// There are no arguments that only this system knows.
#[derive(Debug)]
pub(crate) enum Argument {}

impl Argument {
    pub(crate) fn as_os_str(&self) -> &OsStr {
        match *self {}
    }
}

impl Command<'_> {
    /// Sets what the child sees as its own name, its zeroth argument; the program's name if this isn't called. Linux
    /// only.
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.os.first_argument = Some(name.as_ref().to_owned());
        self
    }

    /// Sets the user that the child acts as, by number. Without a group of its own it has that of this process; if this
    /// process is root's, its supplementary groups are taken from it. Linux only.
    pub fn uid(&mut self, user: u32) -> &mut Self {
        self.os.user = Some(user);
        self
    }

    /// Sets the group that the child acts as, by number. Linux only.
    pub fn gid(&mut self, group: u32) -> &mut Self {
        self.os.group = Some(group);
        self
    }

    /// Puts the child into a process group: that of this number, or with 0 a new one of its own. Linux only.
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.os.process_group = Some(group);
        self
    }
}
