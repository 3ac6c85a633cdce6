//! The methods of `Command` that only Linux has.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;

use super::spawn::exec;
use crate::error::Error;
use crate::process::check_names;
use crate::process::command::Command;
use crate::sys::spawn_plan::{Closures, Meeting};

/// The options that only Linux has.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(super) first_argument: Option<OsString>,
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    pub(super) process_group: Option<i32>,
    /// The functions of `pre_exec`.
    pub(super) closures: Closures,
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

/// Writes the line that a shell would need for a similar child, as std does.
pub(crate) fn write_line(command: &Command<'_>, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(directory) = command.get_current_dir() {
        write!(to, "cd {directory:?} && ")?;
    }
    if command.clears_environment() {
        to.write_str("env -i ")?;
    } else {
        let mut removed = command.get_envs().filter(|(_, value)| value.is_none()).peekable();
        if removed.peek().is_some() {
            to.write_str("env ")?;
        }
        removed.try_for_each(|(name, _)| write!(to, "-u {} ", name.to_string_lossy()))?;
    }
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            write!(to, "{}={value:?} ", name.to_string_lossy())?;
        }
    }
    let program = command.get_program();
    let first = command.os.first_argument.as_deref().unwrap_or(program);
    if first != program {
        write!(to, "[{program:?}] ")?;
    }
    write!(to, "{first:?}")?;
    command.get_args().try_for_each(|argument| write!(to, " {argument:?}"))
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

    /// Adds a function that runs in the child before it executes its program. Linux only.
    ///
    /// The functions run in the order in which they were added, each time that the command starts a child. By then the child
    /// has its user, its groups, its current directory, its signal mask, its standard streams and the listed objects, which
    /// have their numbers and are inheritable. Other descriptors of this process are still open there, but are marked
    /// close-on-exec. The program gets them too if a function clears that mark, and it gets those that a function opens
    /// without the mark. The environment is that of this process.
    ///
    /// The child is a forked copy of this process with one thread, so what the function stores in memory is lost. If it
    /// returns an error, the program isn't executed, and the spawn fails with an
    /// [`Error::System`](crate::Error::System) whose call is `pre_exec` and whose code is that of the error, or `EINVAL` for
    /// one without a code. If it panics or ends the child in another way, the spawn fails too. A spawn waits for the function
    /// without a timeout.
    ///
    /// If a function closes the descriptor by which the child reports, or clears its mark, a program that can't be executed is
    /// an error only within 100 ms. After that, as in std, it is a child that exits with 127.
    ///
    /// With [`exec`](Self::exec), the function runs in this process, in a thread that shares its memory but has descriptors
    /// and a current directory of its own. The calling thread is suspended meanwhile, and the other threads run. An error or
    /// a panic of the function is then returned or continued unchanged.
    ///
    /// ```no_run
    /// use handover::Command;
    ///
    /// let mut command = Command::new("worker");
    /// // SAFETY: the function makes one system call, which allocates nothing and takes no lock.
    /// unsafe {
    ///     command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
    /// }
    /// let child = command.spawn()?;
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// After a fork, other threads of this process don't exist in the child, but the locks that they held stay locked there.
    /// So the function may only make calls that are async-signal-safe
    /// ([`signal-safety(7)`](https://man7.org/linux/man-pages/man7/signal-safety.7.html)). A panic runs the panic hook in the
    /// child, which may wait for such a lock for ever. The C library's allocator works,
    /// but another one may not. Descriptors of which this process has owners may not be closed or replaced by their
    /// numbers, except where nothing uses them before the program is executed.
    ///
    /// With [`exec`](Self::exec), the function may not end its thread, start threads that use this thread's values, nor give
    /// away descriptors that it opened, because the thread's table ends with it. A descriptor whose owner it drops stays open in
    /// this process.
    #[allow(unsafe_code, reason = "the code that relies on the caller's promise is in sys")]
    pub unsafe fn pre_exec<F>(&mut self, function: F) -> &mut Self
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        self.os.closures.push(Box::new(function));
        self
    }

    /// Replaces the program of this process, and returns only if that fails. Linux only.
    ///
    /// The process keeps its id, its parent and its children. The new program gets the listed objects, takes them from
    /// [`inherited`](crate::inherited), and gets its standard streams; all other descriptors are closed. All threads of this
    /// process end. No destructor and no exit handler runs, so flush what is buffered before.
    ///
    /// If it fails, this process is as before: its descriptors and their flags, its current directory, its user, its process
    /// group, its signal mask and its signal handlers. At no moment does a descriptor of this process become inheritable. So
    /// it may be called from any thread, while others start children.
    ///
    /// The other options are those of a child, with these differences:
    ///
    /// - children that were started with [`kill_with_parent`](Self::kill_with_parent) are killed, because the thread that
    ///   started them ends;
    /// - a stream that is [piped](crate::Stdio::piped) has no other end once the program runs, as with std;
    /// - [`kill_on_drop`](Self::kill_on_drop) and [`kill_with_parent`](Self::kill_with_parent) have no effect. The signal by
    ///   which this process is killed with its own parent stays, if the calling thread has it;
    /// - this process's record locks on files (`fcntl(2)`) are released, those of `flock(2)` are not;
    /// - a process whose group belongs to another PID namespace, as that of a program that was started into a container from
    ///   outside, isn't moved back to it if it fails after [`process_group`](Self::process_group);
    /// - until the program runs, SIGPIPE has a handler that does nothing if this process ignores the signal; the program has the
    ///   default action.
    ///
    /// ```no_run
    /// use handover::{Command, Event};
    ///
    /// let ready = Event::manual_reset()?;
    /// let error = Command::new("worker").inherit("ready", &ready).exec();
    /// eprintln!("the program stays: {error}");
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn), and [`Error::InvalidInput`](crate::Error::InvalidInput) for a command with a channel.
    /// [`Error::System`](crate::Error::System) of `clone` where threads with descriptors of their own are refused, as by
    /// QEMU's emulation of user programs.
    ///
    /// # Panics
    ///
    /// If a function of [`pre_exec`](Self::pre_exec) panics.
    ///
    /// [`execve(2)`](https://man7.org/linux/man-pages/man2/execve.2.html);
    /// [`clone(2)`](https://man7.org/linux/man-pages/man2/clone.2.html)
    #[doc(alias = "execve", alias = "execvp")]
    pub fn exec(&mut self) -> Error {
        match check_names(self) {
            Ok(()) => exec(self),
            Err(error) => error,
        }
    }
}
