//! `Command`: the builder of a child process.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::time::Duration;

use super::imp;
use super::{Child, CommandArgs, CommandEnvs, OpenAttachment, Stdio, spawn};
use crate::error::Result;
use crate::inherit::Listed;
use crate::object::BorrowedObject;
use crate::sys::io::BorrowedHandle;
use crate::sys::text::is_same_variable;

/// A builder that starts a child process with exactly the objects listed for it.
///
/// The methods of [`std::process::Command`] are here with the same meaning. The child inherits the objects listed with
/// [`inherit`](Self::inherit) and its three standard streams, and no other handle, even if other handles in this
/// process are inheritable. A child that std's `Command` starts inherits those too.
///
/// The builder borrows the listed objects for `'a`, so none of them can be closed before the spawn. The builder can be
/// reused; each spawn starts an equal child.
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
/// Closing a listed object before the spawn is a compile error:
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
    pub(crate) attachments: Vec<Box<dyn OpenAttachment>>,
    /// The jobs that the child belongs to from its creation on.
    #[allow(dead_code, reason = "Linux has no jobs")]
    pub(crate) jobs: Vec<BorrowedHandle<'a>>,
    /// The options that only this system has.
    pub(crate) os: imp::Options,
}

impl fmt::Debug for Command<'_> {
    /// Writes the command as a line for a reader, as std does: the program and its arguments, on Linux after the changes
    /// to its directory and environment, with the values of the variables: don't log a command that has secrets in them. The
    /// alternate form, `{:#?}`, shows all options. Neither is stable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return imp::write_line(self, f);
        }
        let mut fields = f.debug_struct("Command");
        fields.field("program", &self.program).field("args", &self.get_args());
        if !self.environment.is_empty() {
            fields.field("env_clear", &self.clears_environment()).field("env", &self.get_envs());
        }
        if !self.environment_handles.is_empty() {
            fields.field("env_handles", &self.environment_handles);
        }
        if let Some(directory) = &self.directory {
            fields.field("cwd", directory);
        }
        for (name, stream) in ["stdin", "stdout", "stderr"].iter().zip(&self.streams) {
            if let Some(stream) = stream {
                fields.field(name, stream);
            }
        }
        let names: Vec<&str> = self.inherit.iter().map(|listed| &*listed.name).collect();
        fields.field("inherit", &names).field("attachments", &self.attachments.len());
        fields.field("race_free", &self.race_free).field("kill_on_drop", &self.kill_on_drop);
        fields.field("kill_with_parent", &self.kill_with_parent).field("os", &self.os).finish()
    }
}

/// One argument for the child.
#[derive(Debug)]
pub(crate) enum Argument {
    Plain(OsString),
    /// A kind of argument that only this system has.
    #[allow(dead_code, reason = "Linux has no such kind")]
    Os(imp::Argument),
    /// Text in which each `{name}` stands for the value of an inherited handle.
    Template(String),
}

/// One change to the copy of the environment that the child gets.
#[derive(Debug)]
pub(crate) enum Change {
    Set(OsString, OsString),
    Remove(OsString),
    /// Removes the parent's variables and those set earlier in the builder.
    Clear,
}

impl Argument {
    pub(crate) fn as_os_str(&self) -> &OsStr {
        match self {
            Self::Plain(text) => text,
            Self::Os(argument) => argument.as_os_str(),
            Self::Template(text) => OsStr::new(text),
        }
    }
}

impl<'a> Command<'a> {
    /// Creates a builder for this program.
    ///
    /// The spawn looks for the program. A path is used unchanged. A bare name is searched for in the folders of `PATH`,
    /// on Windows also in the running program's folder and in the system folders, but never in the current directory.
    /// On Windows, the extension `.exe` may be omitted. [How a program is found](#how-a-program-is-found) has the exact
    /// order.
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
            attachments: Vec::new(),
            jobs: Vec::new(),
            os: imp::Options::default(),
        }
    }

    /// Adds an argument. The child reads back exactly this text.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(Argument::Plain(argument.as_ref().to_owned()));
        self
    }

    /// Adds several arguments, as [`arg`](Self::arg) does.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        for argument in arguments {
            self.arg(argument);
        }
        self
    }

    /// Adds an argument in which each `{name}` is replaced by the value of the handle [inherited](Self::inherit) under
    /// that name, such as `"{ready}"` or `"--event={ready}"`.
    ///
    /// Use it for programs that don't use this crate. A child that does can read the value with
    /// [`HandleValue::from_arg`](crate::HandleValue::from_arg). Write `{{` and `}}` for literal braces.
    ///
    /// Python and shell children:
    /// [`examples/foreign_children.rs`](https://docs.rs/crate/handover/latest/source/examples/foreign_children.rs).
    pub fn arg_handle(&mut self, template: impl Into<String>) -> &mut Self {
        self.arguments.push(Argument::Template(template.into()));
        self
    }

    /// Sets an environment variable for the child. Variables that the builder doesn't change are copied from this
    /// process.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.environment.push(Change::Set(name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets several environment variables for the child, as [`env`](Self::env) does.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Removes an environment variable for the child.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.environment.push(Change::Remove(name.as_ref().to_owned()));
        self
    }

    /// Removes all environment variables for the child: those copied from this process and those set earlier. The child
    /// gets only the variables that are set afterwards.
    ///
    /// On Windows, `SystemRoot` stays, because parts of Windows fail in a child without it. To remove it too, call
    /// [`env_remove`](Self::env_remove).
    pub fn env_clear(&mut self) -> &mut Self {
        self.environment.push(Change::Clear);
        self
    }

    /// Sets an environment variable for the child. In its value, each `{name}` is replaced by the value of the handle
    /// [inherited](Self::inherit) under that name, as in [`arg_handle`](Self::arg_handle).
    ///
    /// The variable is set after all other changes to the environment. A child that uses this crate can read the value
    /// with [`HandleValue::from_env`](crate::HandleValue::from_env).
    pub fn env_handle(&mut self, name: impl AsRef<OsStr>, template: impl Into<String>) -> &mut Self {
        self.environment_handles.push((name.as_ref().to_owned(), template.into()));
        self
    }

    /// Sets the child's current directory. By default, it is this process's current directory.
    ///
    /// A relative path of the program is still resolved against this process's directory.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Lists an object for the child to inherit, under a name.
    ///
    /// The child gets a handle of its own, takes it by name from [`inherited`](crate::inherited), owns it and closes
    /// it. This process's handle isn't changed; this process still owns it and closes it.
    ///
    /// The child's handle has the access of the [`BorrowedObject`]:
    ///
    /// - a typed object, such as an [`Event`](crate::Event), has the rights to use it, and on Windows fewer with
    ///   `event.with_access(…)`;
    /// - a file, or any other object that is passed as a plain handle, has the access of this process's handle.
    ///
    /// A `TcpListener`, `TcpStream` or `UdpSocket` is listed in the same way. Both processes then have the socket, with
    /// its queue of connections and its unread data, and may close their own at any time. On Windows the child has it
    /// from this call's spawn on, makes it its own in [`inherited`](crate::inherited), and has no handle value for it
    /// before, so [`arg_handle`](Self::arg_handle), [`env_handle`](Self::env_handle) and [`Child::inherited_handles`]
    /// don't know it. There the child is created suspended, in a job of its own, and runs as soon as Winsock has
    /// duplicated its sockets. If this process exits before that, the system kills the child. A socket of a layered
    /// service provider can't be listed there, since that provider may not let another process have it.
    ///
    /// An object can be listed under several names and also be a standard stream. The child then has a separate handle
    /// for each. The names of all listed objects share one environment variable, which holds about 32,000 characters;
    /// each name needs a few more characters than its own length.
    ///
    /// A program that doesn't use this crate can get the handle value from [`arg_handle`](Self::arg_handle) or
    /// [`env_handle`](Self::env_handle). In this process, [`Child::inherited_handles`] returns it.
    ///
    /// On Windows, this process holds an inheritable duplicate while the child is being created. If another thread
    /// creates a process at that moment by other means and lets it inherit all inheritable handles, that process gets
    /// the duplicate too. [`race_free`](Self::race_free) prevents that.
    ///
    /// [`PROC_THREAD_ATTRIBUTE_HANDLE_LIST`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-updateprocthreadattribute)
    #[doc(alias = "PROC_THREAD_ATTRIBUTE_HANDLE_LIST")]
    pub fn inherit(&mut self, name: impl Into<String>, object: impl Into<BorrowedObject<'a>>) -> &mut Self {
        self.inherit.push(Listed::borrowed(name.into(), object.into()));
        self
    }

    /// Lists an object for the child to inherit, as [`inherit`](Self::inherit) does, and takes it.
    ///
    /// The command owns the object from now on, and closes it when it is dropped. So the command borrows nothing for this
    /// object, and can be returned from the function that created it, as a [`Command<'static>`](crate::process::Command).
    /// Each spawn gives its child a handle of its own.
    ///
    /// ```
    /// use handover::{Event, Result, process::Command};
    ///
    /// /// Returns a command, and the event that its child will set.
    /// fn worker() -> Result<(Command, Event)> {
    ///     let ready = Event::manual_reset()?;
    ///     let mut command = Command::new("worker");
    ///     command.inherit_owned("ready", ready.try_clone()?);
    ///     Ok((command, ready))
    /// }
    /// # worker().map(drop).expect("it can be built");
    /// ```
    pub fn inherit_owned<T>(&mut self, name: impl Into<String>, object: T) -> &mut Self
    where
        T: Send + Sync + 'static,
        for<'b> &'b T: Into<BorrowedObject<'b>>,
    {
        self.inherit.push(Listed::owned(name.into(), object));
        self
    }

    /// Sets the child's standard input. By default, the child inherits this process's own; with
    /// [`output`](Self::output), its standard input is empty.
    pub fn stdin(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.streams[0] = Some(stream.into());
        self
    }

    /// Sets the child's standard output. By default, the child inherits this process's own; with
    /// [`output`](Self::output), it is piped.
    pub fn stdout(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.streams[1] = Some(stream.into());
        self
    }

    /// Sets the child's standard error. By default, the child inherits this process's own; with
    /// [`output`](Self::output), it is piped.
    pub fn stderr(&mut self, stream: impl Into<Stdio>) -> &mut Self {
        self.streams[2] = Some(stream.into());
        self
    }

    /// Sets whether dropping the [`Child`] kills the process, so that a parent that returns early on an error leaves no
    /// child running. By default, dropping it doesn't.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.kill_on_drop = kill;
        self
    }

    /// Sets whether the system kills the child when this process exits, crashes or is killed. By default, it doesn't.
    ///
    /// On Windows, the child is in a job from its creation, and so are the processes that it starts: the system kills
    /// them all. Its job lets no process out, so a child that itself starts one with `CREATE_BREAKAWAY_FROM_JOB` is refused.
    /// See [job objects](https://learn.microsoft.com/windows/win32/procthread/job-objects).
    ///
    /// On Linux ([`PR_SET_PDEATHSIG`](https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html)):
    ///
    /// - Linux would kill the child when the thread that started it exits. So a thread of this crate, which lives as
    ///   long as this process, starts it, and the child survives the thread that called [`spawn`](Self::spawn). The
    ///   state that Linux keeps for each thread is therefore that of this crate's thread, not of the calling one: the
    ///   namespaces of `unshare(2)`, seccomp filters, capabilities, CPU affinity and priority. Set those for the whole
    ///   process, before its first such child, or in the child by `pre_exec`;
    /// - the processes that the child starts aren't killed with it;
    /// - the child isn't killed if its program gained privileges by a set-user-ID bit, or if this process no longer
    ///   runs as the child's user.
    #[doc(alias = "PROC_THREAD_ATTRIBUTE_JOB_LIST", alias = "PR_SET_PDEATHSIG")]
    pub fn kill_with_parent(&mut self, kill: bool) -> &mut Self {
        self.kill_with_parent = kill;
        self
    }

    /// Adds the handles that another module passes to the child.
    pub(crate) fn attach(&mut self, attachment: impl OpenAttachment + 'static) -> &mut Self {
        self.attachments.push(Box::new(attachment));
        self
    }

    /// Never creates an inheritable handle in this process, so a child spawned concurrently by other code cannot
    /// inherit one. On Linux, no spawn creates one, so this has no effect there.
    ///
    /// On Windows by default, inheritable duplicates of the listed objects exist in this process while the child is
    /// being created. If another thread creates a process at that moment and lets it inherit all inheritable handles
    /// (std's `Command` and many DLLs do), that process gets them too. As a result, a pipe may never reach end of file,
    /// a file may stay locked, or a secret may be read.
    ///
    /// With this option, the duplicates are created in a helper process, which becomes the child's parent. The helper
    /// is this program (or `cmd.exe`, if this program's file was renamed meanwhile), suspended before its first
    /// instruction. The first race-free spawn creates it and later ones reuse it. A new one is created if the helper
    /// was killed. The system kills the helper when this process exits.
    ///
    /// On Windows, this also changes the following for the child:
    ///
    /// - tools show the helper's process id as the id of its parent;
    /// - priority, affinity, quotas, token and device map are those that this process had when the helper was created;
    /// - security software may object to a suspended process that is named as a parent;
    /// - a console program may get a new console instead of this process's, although it still inherits the standard
    ///   streams. This last point isn't confirmed, because the tests ran under Wine.
    ///
    /// [`PROC_THREAD_ATTRIBUTE_PARENT_PROCESS`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-updateprocthreadattribute)
    #[doc(alias = "PROC_THREAD_ATTRIBUTE_PARENT_PROCESS")]
    pub fn race_free(&mut self) -> &mut Self {
        self.race_free = true;
        self
    }

    /// Starts the child.
    ///
    /// The returned [`Child`] owns this process's handle to the child and its ends of piped streams.
    ///
    /// # Errors
    ///
    /// These errors occur before a process is created:
    ///
    /// - [`Error::ProgramNotFound`](crate::Error::ProgramNotFound), with the files that were tried;
    /// - [`Error::CannotExecute`](crate::Error::CannotExecute) if its file can't be started: a folder, a file without the
    ///   permission, a script whose interpreter is missing;
    /// - [`Error::BatchFile`](crate::Error::BatchFile) if the program is a batch file;
    /// - [`Error::InvalidInput`](crate::Error::InvalidInput) if a name is listed twice, a text contains a NUL, or a
    ///   template has a `{name}` that isn't listed;
    /// - [`Error::InvalidHandleValue`](crate::Error::InvalidHandleValue) or
    ///   [`Error::InvalidHandle`](crate::Error::InvalidHandle) if a listed handle isn't valid;
    /// - [`Error::SocketUnsupported`](crate::Error::SocketUnsupported) if a listed plain handle is a socket's, or a
    ///   standard stream is a socket.
    ///
    /// [`Error::System`](crate::Error::System) if the system doesn't create the process. A spawn that fails leaves no
    /// process, no handle and no changed flag.
    ///
    /// [`CreateProcess`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-createprocessw),
    /// [`WSADuplicateSocket`](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaduplicatesocketw)
    #[doc(alias = "CreateProcess")]
    pub fn spawn(&mut self) -> Result<Child> {
        spawn::spawn(self, spawn::Default::Inherit)
    }

    /// Starts the child and waits until it exits, without a timeout.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn), and those of [`Child::wait`].
    pub fn status(&mut self) -> Result<ExitStatus> {
        spawn::run_to_exit(self)
    }

    /// Starts the child, collects its standard output and standard error, and waits until it exits.
    ///
    /// Streams that were set with the builder stay as set; they are collected only if they are piped. Standard input is
    /// empty by default.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn), and those of [`Child::wait_with_output`].
    pub fn output(&mut self) -> Result<Output> {
        spawn::spawn(self, spawn::Default::Collect)?.wait_with_output()
    }

    /// Does what [`output`](Self::output) does, for at most this time.
    ///
    /// At the timeout the child is killed, and what it has written is dropped. A process that the child has started, and
    /// that still has its output open, isn't killed. The timeout holds for the output too, so such a process delays this call
    /// no longer than that.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use handover::Command;
    ///
    /// let output = Command::new("worker").output_timeout(Duration::from_secs(5))?;
    /// println!("{}", String::from_utf8_lossy(&output.stdout));
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`](crate::Error::TimedOut), and those of [`output`](Self::output).
    pub fn output_timeout(&mut self, timeout: Duration) -> Result<Output> {
        spawn::spawn(self, spawn::Default::Collect)?.wait_with_output_timeout(timeout)
    }

    /// Returns the program, as it was passed to [`new`](Self::new).
    #[must_use]
    pub fn get_program(&self) -> &OsStr {
        &self.program
    }

    /// Returns the arguments, as they were added: templates are not filled in.
    pub fn get_args(&self) -> CommandArgs<'_> {
        CommandArgs::new(&self.arguments)
    }

    /// Returns the changes to the environment: a value for a variable that is set, `None` for one that is removed. After
    /// [`env_clear`](Self::env_clear) no variable is left that could be removed, so only set ones are returned.
    ///
    /// Each variable occurs once, with its last change, sorted by name. Variables set with [`env_handle`](Self::env_handle)
    /// are left out, because their values are known only at the spawn.
    pub fn get_envs(&self) -> CommandEnvs<'_> {
        CommandEnvs::new(&self.environment)
    }

    /// Returns the child's current directory, if it was set with [`current_dir`](Self::current_dir).
    #[must_use]
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.directory.as_deref()
    }
}

impl Command<'_> {
    /// Returns whether the child gets only the variables that the builder sets.
    pub(crate) fn clears_environment(&self) -> bool {
        self.environment.iter().any(|change| matches!(change, Change::Clear))
    }

    /// Returns the child's `PATH` if the builder changes it: `Some(None)` if the builder removes it.
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
    pub(crate) fn parts(&self) -> Option<(&OsStr, Option<&OsStr>)> {
        match self {
            Self::Set(name, value) => Some((name, Some(value))),
            Self::Remove(name) => Some((name, None)),
            Self::Clear => None,
        }
    }
}
