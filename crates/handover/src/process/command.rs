//! The builder of a child process.

use std::ffi::{OsStr, OsString};

use super::{Child, Stdio, spawn};
use crate::inherit::Listed;
use crate::{Result, Share};

/// A child process to be started, with exactly the objects that it is to have.
///
/// The methods are those of [`std::process::Command`], and mean the same. Unlike std's, the child inherits what is
/// listed with [`inherit`](Self::inherit), its three standard streams, and nothing else: a handle that somebody in
/// this process left inheritable stays here.
///
/// The builder borrows what it lists (`'a`), so an object can't be closed before it is handed down. It can be used
/// again; each spawn makes an equal child.
///
/// ```no_run
/// use std::time::Duration;
/// use handover::{Command, Event};
///
/// let ready = Event::manual_reset()?;
/// let mut child = Command::new("worker").inherit("ready", &ready).arg_handle("{ready}").spawn()?;
/// ready.set()?;
/// let status = child.wait_timeout(Duration::from_secs(5))?;
/// # Ok::<(), handover::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias = "CreateProcess")]
pub struct Command<'a> {
    pub(super) program: OsString,
    pub(super) arguments: Vec<Argument>,
    pub(super) environment: Vec<Change>,
    pub(super) streams: [Option<Stdio>; 3],
    pub(super) inherit: Vec<Listed<'a>>,
    pub(super) kill_on_drop: bool,
}

/// One argument of the child.
#[derive(Debug)]
pub(super) enum Argument {
    Plain(OsString),
    /// Text with `{name}`s in it.
    Template(String),
}

/// One change to the environment that the child gets a copy of.
#[derive(Debug)]
pub(super) enum Change {
    Set(OsString, OsString),
    Remove(OsString),
    /// Removes what the parent has and what was set before.
    Clear,
}

impl<'a> Command<'a> {
    /// Begins with a program, which is looked for when the child is started: a path as it is, a bare name in the
    /// folder of the running program, in the system's folders and in `PATH`, and never in the current directory.
    /// `.exe` may be left out.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            streams: [None, None, None],
            inherit: Vec::new(),
            kill_on_drop: false,
        }
    }

    /// Adds an argument, which the child reads back as it is.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(Argument::Plain(argument.as_ref().to_owned()));
        self
    }

    /// Adds several arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        for argument in arguments {
            self.arg(argument);
        }
        self
    }

    /// Adds an argument in which each `{name}` is replaced by the number of the handle that is
    /// [inherited](Self::inherit) under that name: `"{ready}"`, `"--event={ready}"`. For programs that don't know
    /// this crate. `{{` and `}}` stand for braces.
    pub fn arg_handle(&mut self, template: impl Into<String>) -> &mut Self {
        self.arguments.push(Argument::Template(template.into()));
        self
    }

    /// Sets a variable of the child's environment; the others are copied from this process.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.environment.push(Change::Set(name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets several variables of the child's environment.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Removes a variable from the child's environment.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.environment.push(Change::Remove(name.as_ref().to_owned()));
        self
    }

    /// Removes all variables, those of this process and those set before. What is set afterwards is all that the
    /// child has, and `SystemRoot`, without which Windows itself fails in the child; to remove even that, say so with
    /// [`env_remove`](Self::env_remove).
    pub fn env_clear(&mut self) -> &mut Self {
        self.environment.push(Change::Clear);
        self
    }

    /// Lists an object for the child, under a name.
    ///
    /// The child inherits a duplicate of its own; the object's handle here is neither changed nor used up. It
    /// travels with the access of its [`Share`]: an [`Event`](crate::Event) with the rights to use it,
    /// `event.only(…)` with fewer, a file or another handle with the access that it has. The duplicate is
    /// inheritable and exists in this process while the child is being created, no longer.
    ///
    /// Which value the child finds it under is in [`Child::handed_down`] and in the templates of
    /// [`arg_handle`](Self::arg_handle). The child owns the handle and closes it.
    #[doc(alias = "PROC_THREAD_ATTRIBUTE_HANDLE_LIST")]
    pub fn inherit(&mut self, name: impl Into<String>, object: impl Into<Share<'a>>) -> &mut Self {
        self.inherit.push(Listed { name: name.into(), object: object.into() });
        self
    }

    /// The child's standard input; this process's own if this isn't called.
    pub fn stdin(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.streams[0] = Some(stream.into());
        self
    }

    /// The child's standard output; this process's own if this isn't called.
    pub fn stdout(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.streams[1] = Some(stream.into());
        self
    }

    /// The child's standard error; this process's own if this isn't called.
    pub fn stderr(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.streams[2] = Some(stream.into());
        self
    }

    /// Whether dropping the [`Child`] ends the process, so that an error on the parent's way leaves no child behind.
    /// It doesn't if this isn't called.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.kill_on_drop = kill;
        self
    }

    /// Starts the child.
    ///
    /// # Errors
    ///
    /// [`Error::ProgramNotFound`](crate::Error::ProgramNotFound) with the places looked at;
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) for a name listed twice, a NUL in a text or a `{name}` that
    /// isn't listed; [`Error::NotAHandle`](crate::Error::NotAHandle) and [`Error::NotOpen`](crate::Error::NotOpen) for
    /// a listed handle that is none. All of these come before a process exists.
    /// [`Error::System`](crate::Error::System) if the system doesn't create one. After an error nothing is left: no
    /// process, no handle, no changed flag.
    #[doc(alias = "CreateProcess")]
    pub fn spawn(&mut self) -> Result<Child> {
        spawn::spawn(self)
    }
}
