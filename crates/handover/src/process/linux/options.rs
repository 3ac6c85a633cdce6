//! The methods of `Command` that only Linux has.

use std::ffi::{OsStr, OsString};

use crate::process::command::Command;
use crate::sys::spawn_plan::Meeting;

/// The options that only Linux has.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(super) first_argument: Option<OsString>,
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    pub(super) process_group: Option<i32>,
    /// Set if an audit traces the child from its start.
    pub(crate) tracer: Option<Meeting>,
}

/// Linux has no arguments that other systems lack, so this type has no values.
#[derive(Debug)]
pub(crate) enum Argument {}

impl Argument {
    pub(crate) fn as_os_str(&self) -> &OsStr {
        match *self {}
    }
}

impl Command<'_> {
    /// Sets the child's zeroth argument, which is its own name. By default, it is the program's name. Linux only.
    ///
    /// [`execve(2)`](https://man7.org/linux/man-pages/man2/execve.2.html)
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.os.first_argument = Some(name.as_ref().to_owned());
        self
    }

    /// Sets the user id of the child. Linux only.
    ///
    /// Without [`gid`](Self::gid), the child keeps this process's group. If this process runs as root, the child loses
    /// its supplementary groups.
    ///
    /// [`setuid(2)`](https://man7.org/linux/man-pages/man2/setuid.2.html)
    pub fn uid(&mut self, user: u32) -> &mut Self {
        self.os.user = Some(user);
        self
    }

    /// Sets the group id of the child. Linux only.
    ///
    /// [`setgid(2)`](https://man7.org/linux/man-pages/man2/setgid.2.html)
    pub fn gid(&mut self, group: u32) -> &mut Self {
        self.os.group = Some(group);
        self
    }

    /// Puts the child into the process group with this id, or into a new one if the id is 0. Linux only.
    ///
    /// [`setpgid(2)`](https://man7.org/linux/man-pages/man2/setpgid.2.html)
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.os.process_group = Some(group);
        self
    }
}
