//! The builder of a child process.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};

use super::imp;
use super::{Child, OpenAttachment, Stdio, spawn};
use crate::error::Result;
use crate::inherit::Listed;
use crate::object::BorrowedObject;
use crate::sys::text::is_same_variable;

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
///
/// An object that is gone before the spawn doesn't compile:
///
/// ```compile_fail,E0505
/// use handover::{Command, Event};
///
/// let ready = Event::manual_reset()?;
/// let mut command = Command::new("worker");
/// command.inherit("ready", &ready);
/// drop(ready);
/// command.spawn()?;
/// # Ok::<(), handover::Error>(())
/// ```
///
#[doc = include_str!("../../docs/command.md")]
#[derive(Debug)]
#[doc(alias = "CreateProcess")]
pub struct Command<'a> {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) environment: Vec<Change>,
    pub(crate) streams: [Option<Stdio>; 3],
    pub(crate) inherit: Vec<Listed<'a>>,
    pub(crate) environment_handles: Vec<(OsString, String)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) race_free: bool,
    pub(crate) kill_on_drop: bool,
    pub(crate) kill_with_parent: bool,
    pub(crate) attachment: Option<OpenAttachment>,
    /// What only this system can do.
    pub(crate) os: imp::Options,
}

/// One argument of the child.
#[derive(Debug)]
pub(crate) enum Argument {
    Plain(OsString),
    /// As only this system knows it.
    #[allow(dead_code, reason = "not every system knows one")]
    Os(imp::Argument),
    /// Text with `{name}`s in it.
    Template(String),
}

/// One change to the environment that the child gets a copy of.
#[derive(Debug)]
pub(crate) enum Change {
    Set(OsString, OsString),
    Remove(OsString),
    /// Removes what the parent has and what was set before.
    Clear,
}

impl<'a> Command<'a> {
    /// Begins with a program, which is looked for when the child is started: a path as it is, a bare name in `PATH`, on
    /// Windows before that in the folder of the running program and in the system's, and never in the current
    /// directory. On Windows `.exe` may be left out.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            streams: [None, None, None],
            inherit: Vec::new(),
            environment_handles: Vec::new(),
            directory: None,
            race_free: false,
            kill_on_drop: false,
            kill_with_parent: false,
            attachment: None,
            os: imp::Options::default(),
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
    /// child has, and on Windows `SystemRoot`, without which the system itself fails in the child; to remove even that, say
    /// so with [`env_remove`](Self::env_remove).
    pub fn env_clear(&mut self) -> &mut Self {
        self.environment.push(Change::Clear);
        self
    }

    /// Sets a variable of the child's environment to text in which each `{name}` is replaced as in
    /// [`arg_handle`](Self::arg_handle). It comes after all other changes to the environment.
    pub fn env_handle(&mut self, name: impl AsRef<OsStr>, template: impl Into<String>) -> &mut Self {
        self.environment_handles.push((name.as_ref().to_owned(), template.into()));
        self
    }

    /// The child's current directory; this process's own if this isn't called. A relative path of the program is
    /// taken from this process's directory all the same.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Lists an object for the child, under a name.
    ///
    /// The child inherits a duplicate of its own; the object's handle here is neither changed nor used up. It
    /// travels with the access of its [`BorrowedObject`]: an [`Event`](crate::Event) with the rights to use it, on Windows
    /// `event.only(…)` with fewer, a file or another handle with the access that it has. An object can be listed under
    /// several names, and be a standard stream too; each is a handle of its own over there. All names together have
    /// room in one environment variable, some 32,000 characters with a few more for each name.
    ///
    /// The child takes it by name from [`inherited`](crate::inherited), owns it and closes it. A program that doesn't
    /// know this crate can be told the number by [`arg_handle`](Self::arg_handle) or [`env_handle`](Self::env_handle);
    /// here it is in [`Child::inherited_handles`].
    ///
    /// On Windows the duplicate is inheritable and exists in this process while the child is being created, no longer.
    /// Another thread that creates a process in just that moment, by other means and with inheritance of all, gives it to
    /// that process too; [`race_free`](Self::race_free) closes the gap.
    #[doc(alias = "PROC_THREAD_ATTRIBUTE_HANDLE_LIST")]
    pub fn inherit(&mut self, name: impl Into<String>, object: impl Into<BorrowedObject<'a>>) -> &mut Self {
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

    /// Whether the system ends the child when this process ends, however it ends: also when it crashes or is killed.
    /// On Windows the child is in a job for that from its first moment, and so are the processes that it starts. On
    /// Linux those aren't ended with it; a thread of this process's own starts the child; and a child that gains rights
    /// by its program's set-user-ID bit, or whose user this process isn't any more, is let go. It isn't ended if this
    /// isn't called.
    #[doc(alias = "PROC_THREAD_ATTRIBUTE_JOB_LIST", alias = "PR_SET_PDEATHSIG")]
    pub fn kill_with_parent(&mut self, kill: bool) -> &mut Self {
        self.kill_with_parent = kill;
        self
    }

    /// Adds what another concept passes to the child.
    pub(crate) fn attach(&mut self, open: OpenAttachment) -> &mut Self {
        self.attachment = Some(open);
        self
    }

    /// Creates no inheritable handle in this process, not even for the moment of creating the child. On Linux no spawn
    /// does, so this changes nothing there.
    ///
    /// On Windows without this, the inheritable duplicates of what is listed exist here for that moment, and another thread that
    /// then creates a process with inheritance of all (std's `Command` does, and many a DLL) gives them to its child
    /// too: a pipe doesn't end, a file stays locked, a secret is read. With this they are made in a dormant helper
    /// process, which is named as the child's parent. The helper is this program, suspended before its first
    /// instruction; it is made at the first sealed spawn, serves all later ones, is made anew if it is ended, and
    /// ends with this process.
    ///
    /// What else changes for the child on Windows: the id of its parent, where tools show it, is the helper's; priority,
    /// affinity, quotas, token and device map are those that this process had when the helper was made; software that
    /// guards a machine may take exception to a suspended process that is named as a parent; and on Windows a console program
    /// may get a console of its own instead of this process's (the standard streams are handed down all the same).
    /// Whether that is so is not proven: the tests have run under Wine.
    #[doc(alias = "PROC_THREAD_ATTRIBUTE_PARENT_PROCESS")]
    pub fn race_free(&mut self) -> &mut Self {
        self.race_free = true;
        self
    }

    /// Starts the child.
    ///
    /// # Errors
    ///
    /// [`Error::ProgramNotFound`](crate::Error::ProgramNotFound) with the places looked at;
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) for a name listed twice, a NUL in a text or a `{name}` that
    /// isn't listed; [`Error::InvalidHandleValue`](crate::Error::InvalidHandleValue) and [`Error::InvalidHandle`](crate::Error::InvalidHandle) for
    /// a listed handle that is none, [`Error::SocketUnsupported`](crate::Error::SocketUnsupported) for one that is a socket's;
    /// [`Error::BatchFile`](crate::Error::BatchFile). All of these come before a process exists.
    /// [`Error::System`](crate::Error::System) if the system doesn't create one. After an error nothing is left: no
    /// process, no handle, no changed flag.
    #[doc(alias = "CreateProcess")]
    pub fn spawn(&mut self) -> Result<Child> {
        spawn::spawn(self, spawn::Default::Inherit)
    }

    /// Starts the child and waits until it has ended, however long that takes.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn), and those of [`Child::wait`].
    pub fn status(&mut self) -> Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Starts the child, collects what it writes to standard output and standard error, and waits until it has ended.
    /// Streams that the builder says something about stay as it says; standard input is empty otherwise.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn), and those of [`Child::wait_with_output`].
    pub fn output(&mut self) -> Result<Output> {
        spawn::spawn(self, spawn::Default::Collect)?.wait_with_output()
    }

    /// The program, as it was given.
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        &self.program
    }

    /// The arguments, as they were given.
    pub fn get_args(&self) -> impl ExactSizeIterator<Item = &OsStr> {
        self.arguments.iter().map(|argument| match argument {
            Argument::Plain(text) => text.as_os_str(),
            Argument::Os(argument) => argument.as_os_str(),
            Argument::Template(text) => OsStr::new(text),
        })
    }

    /// The changes to the environment, in the order in which they were made last: a value, or `None` for a variable
    /// that is removed. Those of [`env_handle`](Self::env_handle) have no value yet and aren't among them.
    pub fn get_envs(&self) -> impl Iterator<Item = (&OsStr, Option<&OsStr>)> {
        let since_cleared =
            self.environment.iter().rposition(|change| matches!(change, Change::Clear)).unwrap_or(0);
        let changes = &self.environment[since_cleared..];
        changes.iter().enumerate().filter_map(move |(at, change)| {
            let (name, value) = change.parts()?;
            let again = changes[at + 1..]
                .iter()
                .filter_map(Change::parts)
                .any(|(other, _)| is_same_variable(other, name));
            (!again).then_some((name, value))
        })
    }

    /// The child's current directory, if the builder sets it.
    #[must_use]
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.directory.as_deref()
    }
}

impl Command<'_> {
    /// The child's `PATH`, if the builder says anything about it: what it sets, or that it has none.
    pub(crate) fn path(&self) -> Option<Option<OsString>> {
        let last = self.environment.iter().rev().find_map(|change| match change {
            Change::Set(name, value) if is_same_variable(name, OsStr::new("PATH")) => Some(Some(value)),
            Change::Remove(name) if is_same_variable(name, OsStr::new("PATH")) => Some(None),
            Change::Clear => Some(None),
            Change::Set(..) | Change::Remove(_) => None,
        });
        last.map(Option::<&OsString>::cloned)
    }
}

impl Change {
    fn parts(&self) -> Option<(&OsStr, Option<&OsStr>)> {
        match self {
            Self::Set(name, value) => Some((name, Some(value))),
            Self::Remove(name) => Some((name, None)),
            Self::Clear => None,
        }
    }
}
