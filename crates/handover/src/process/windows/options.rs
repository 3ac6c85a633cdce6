//! The methods of `Command` that only Windows has: raw arguments, creation flags and suspended children.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::windows::io::AsHandle;

use super::SuspendedChild;
use super::spawn::spawn_suspended;
use crate::error::Result;
use crate::process::Argument as AnyArgument;
use crate::process::command::Command;

/// The options that only Windows has.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) creation_flags: u32,
    /// How the child's first window is shown.
    pub(crate) show_window: Option<u16>,
}

/// An argument that is added to the command line without quoting.
#[derive(Debug)]
pub(crate) struct Argument(pub(super) OsString);

impl Argument {
    pub(crate) fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

/// Writes the program and its arguments, as std does.
pub(crate) fn write_line(command: &Command<'_>, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(to, "{:?}", command.program)?;
    command.arguments.iter().try_for_each(|argument| match argument {
        AnyArgument::Os(Argument(raw)) => write!(to, " {}", raw.to_string_lossy()),
        quoted => write!(to, " {:?}", quoted.as_os_str()),
    })
}

impl Command<'_> {
    /// Adds text to the command line unchanged, after a space.
    ///
    /// Use it for programs that split the command line by their own rules, such as `cmd.exe`. The caller must quote the
    /// text.
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn raw_arg(&mut self, text: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(AnyArgument::Os(Argument(text.as_ref().to_owned())));
        self
    }

    /// Sets the [process creation
    /// flags](https://learn.microsoft.com/windows/win32/procthread/process-creation-flags), such as
    /// `CREATE_NO_WINDOW` (0x08000000).
    ///
    /// The spawn returns an error for `CREATE_SUSPENDED`, because a [`Child`](crate::Child) can't be resumed. Call
    /// [`CommandExt::spawn_suspended`] instead.
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    pub fn creation_flags(&mut self, flags: u32) -> &mut Self {
        self.os.creation_flags = flags;
        self
    }

    /// Sets how the child shows its first window: one of the `SW_` values of
    /// [`ShowWindow`](https://learn.microsoft.com/windows/win32/api/winuser/nf-winuser-showwindow), such as `SW_HIDE` (0) or
    /// `SW_SHOWMINNOACTIVE` (7).
    ///
    /// The child finds the value in `STARTUPINFOW::wShowWindow`. A program with windows uses it if it shows its first one with
    /// `SW_SHOWDEFAULT`, and Windows uses it for the console that a console program gets. Without this call, the child gets
    /// no value.
    ///
    /// [`STARTUPINFOW`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/ns-processthreadsapi-startupinfow)
    #[cfg_attr(docsrs, doc(cfg(windows)))]
    #[doc(alias("STARTF_USESHOWWINDOW", "wShowWindow"))]
    pub fn show_window(&mut self, cmd_show: u16) -> &mut Self {
        self.os.show_window = Some(cmd_show);
        self
    }
}

/// Methods that only Windows adds to [`Command`] and that std doesn't have.
///
/// Methods that std has in an extension trait, such as [`raw_arg`](Command::raw_arg), are inherent methods of
/// [`Command`] instead.
///
/// ```no_run
/// use handover::os::windows::CommandExt;
/// use handover::{Command, Event};
///
/// let ready = Event::manual_reset()?;
/// let child = Command::new("worker").spawn_suspended()?;
/// let value = child.process().duplicate_into(&ready)?.into_value();
/// println!("the child has the event under {value}");
/// let child = child.resume()?;
/// # Ok::<(), handover::Error>(())
/// ```
#[cfg_attr(docsrs, doc(cfg(windows)))]
pub trait CommandExt<'a>: sealed::Sealed {
    /// Puts the child into a job from its creation on. Call it again for a job that is nested in the ones before.
    ///
    /// The command borrows the job's handle, and doesn't keep the job open. The job comes before the one that
    /// [`spawn_suspended`](Self::spawn_suspended) uses, which is nested in it.
    ///
    /// It can't be combined with [`kill_with_parent`](Command::kill_with_parent), which has a job for all of its children:
    /// set `JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE` on this job instead, and keep its handle open.
    ///
    /// The spawn fails with [`Error::System`](crate::Error::System) ("access denied") if the job can't be nested in those
    /// that this process is in, because it already has a process outside of them.
    ///
    /// [`PROC_THREAD_ATTRIBUTE_JOB_LIST`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-updateprocthreadattribute);
    /// [nested jobs](https://learn.microsoft.com/windows/win32/procthread/nested-jobs)
    #[doc(alias("PROC_THREAD_ATTRIBUTE_JOB_LIST", "AssignProcessToJobObject"))]
    fn job(&mut self, job: &'a impl AsHandle) -> &mut Self;

    /// Starts the child suspended. It runs its first instruction after [`SuspendedChild::resume`].
    ///
    /// Until then a job kills it if this process exits. The child stays in that job, which then no longer affects it: its
    /// own children stay outside of it. With `AssignProcessToJobObject`, only one such child can be put into a job
    /// afterwards; use [`job`](Self::job) instead.
    ///
    /// # Errors
    ///
    /// As [`Command::spawn`].
    ///
    /// [`CREATE_SUSPENDED`](https://learn.microsoft.com/windows/win32/procthread/process-creation-flags)
    #[doc(alias = "CREATE_SUSPENDED")]
    fn spawn_suspended(&mut self) -> Result<SuspendedChild>;
}

impl<'a> CommandExt<'a> for Command<'a> {
    fn job(&mut self, job: &'a impl AsHandle) -> &mut Self {
        self.jobs.push(job.as_handle());
        self
    }

    fn spawn_suspended(&mut self) -> Result<SuspendedChild> {
        spawn_suspended(self)
    }
}

mod sealed {
    use super::Command;

    pub trait Sealed {}

    impl Sealed for Command<'_> {}
}
