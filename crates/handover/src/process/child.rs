//! What a parent has of its child.

use std::any::Any;
use std::fmt;
use std::io::ErrorKind::PermissionDenied;
use std::io::Read;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output};
use std::time::Duration;

use super::Process;
use super::imp;
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inherit::is_reserved;
use crate::sys::io::{HasHandle, Owned, OwnedHandle, as_handle};
use crate::sys::{call, process as sys, wait as sys_wait};
use crate::wait;
use crate::wait::Deadline;

/// A process started by [`Command::spawn`](crate::Command::spawn).
///
/// As with [`std::process::Child`], dropping it neither ends the child nor waits for it; it closes this process's
/// handle to it and the streams that were not taken. [`kill_on_drop`](crate::Command::kill_on_drop) changes that.
#[derive(Debug)]
pub struct Child {
    /// The end of the child's standard input to write to, if it is [piped](crate::Stdio::piped). Take it, and drop it
    /// to let the child read the end.
    pub stdin: Option<ChildStdin>,
    /// The end of the child's standard output to read from, if it is piped.
    pub stdout: Option<ChildStdout>,
    /// The end of the child's standard error to read from, if it is piped.
    pub stderr: Option<ChildStderr>,
    /// What other concepts have added to the spawn, such as a channel.
    attached: Attached,
    guard: Guard,
    inherited_handles: Vec<(String, HandleValue)>,
}

/// After which time a child that has ended is asked again how, if the system hasn't said.
const NOT_YET: Duration = Duration::from_millis(1);

/// The parent's side of what was added to a spawn.
struct Attached(Option<Box<dyn Any + Send + Sync>>);

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "attached" } else { "none" })
    }
}

/// Kills the child on drop, if it is told to. Apart from [`Child`], whose streams can be moved out of it for that.
#[derive(Debug)]
struct Guard {
    process: Process,
    kill_on_drop: bool,
    /// Once it was waited for.
    status: Option<ExitStatus>,
}

impl Child {
    pub(crate) fn new(
        process: Process,
        kill_on_drop: bool,
        inherited_handles: Vec<(String, HandleValue)>,
    ) -> Self {
        let guard = Guard { process, kill_on_drop, status: None };
        Self { stdin: None, stdout: None, stderr: None, attached: Attached(None), guard, inherited_handles }
    }

    /// Keeps the parent's side of what was added to the spawn.
    pub(crate) fn set_attached(&mut self, attached: Option<Box<dyn Any + Send + Sync>>) {
        self.attached.0 = attached;
    }

    /// Takes the parent's side of what was added to the spawn, if it has this type.
    pub(crate) fn take_attached<T: Any>(&mut self) -> Option<T> {
        if !self.attached.0.as_ref().is_some_and(|attached| attached.is::<T>()) {
            return None;
        }
        self.attached.0.take()?.downcast().ok().map(|attached| *attached)
    }

    /// The child's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.guard.process.id()
    }

    /// The child as a process to share objects with. A clone of it outlives this `Child`.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.guard.process
    }

    /// What the child inherited by name, and under which value in its own handle table.
    pub fn inherited_handles(&self) -> impl Iterator<Item = (&str, HandleValue)> {
        let listed = self.inherited_handles.iter().filter(|(name, _)| !is_reserved(name));
        listed.map(|(name, value)| (name.as_str(), *value))
    }

    /// Waits until the child has ended, however long that takes. The child's standard input and its channel are closed
    /// first, unless they were taken, so that a child which reads them to the end can end.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a call fails.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.close_ends();
        loop {
            let end = sys_wait::end_of(self.guard.process.handle());
            wait::for_ever(end).map_err(self.guard.process.failed())?;
            match self.exit_status()? {
                Some(status) => return Ok(status),
                None => std::thread::sleep(NOT_YET),
            }
        }
    }

    /// Waits until the child has ended, or for this long. The child's standard input and its channel are closed first.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if it runs on; it can be waited for again, or [killed](Self::kill).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.close_ends();
        let deadline = Deadline::after(timeout);
        while self.guard.process.ends_within(deadline.left())? {
            match self.exit_status()? {
                Some(status) => return Ok(status),
                None if deadline.has_passed() => break,
                None => std::thread::sleep(NOT_YET.min(deadline.left())),
            }
        }
        Err(Error::TimedOut { waiting_for: format!("process {} to exit", self.id()), timeout })
    }

    /// The child's status if it has ended, without waiting and without closing anything.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a call fails.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        // The exit code alone can't tell: 259 is a running process's and can be an ended one's.
        if self.guard.process.has_exited()? { self.exit_status() } else { Ok(None) }
    }

    /// Ends the child at once: on Windows with exit code 1, on Linux by the signal SIGKILL. A child that has ended already is left as it is. Wait afterwards to
    /// know that it is gone: the system takes a moment.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the call fails on a child that runs.
    #[doc(alias = "TerminateProcess", alias = "pidfd_send_signal")]
    pub fn kill(&mut self) -> Result<()> {
        self.guard.kill()
    }

    /// Waits until the child has ended, however long that takes, and collects what it writes to the streams that are
    /// piped. Both are read at the same time, so a child that fills one of them isn't stuck. A process that the child
    /// has given its streams to, and that outlives it, is waited for too: only then the streams end.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a stream can't be read.
    pub fn wait_with_output(mut self) -> Result<Output> {
        self.close_ends();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let failed =
            |source| Error::System { call: call::READ, context: "the child's output".into(), source };
        std::thread::scope(|scope| {
            let err = &mut err;
            let reader =
                stderr.map(|mut stream| scope.spawn(move || closed_after(stream.read_to_end(err), stream)));
            if let Some(mut stream) = stdout {
                closed_after(stream.read_to_end(&mut out), stream).map_err(failed)?;
            }
            match reader.map(std::thread::ScopedJoinHandle::join) {
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                Some(Ok(outcome)) => outcome.map(drop).map_err(failed),
                None => Ok(()),
            }
        })?;
        Ok(Output { status: self.wait()?, stdout: out, stderr: err })
    }

    /// Closes what a child may be waiting for the end of, if nobody has taken it.
    fn close_ends(&mut self) {
        drop(self.stdin.take().map(|stdin| Owned::from(OwnedHandle::from(stdin))));
        drop(self.attached.0.take());
    }

    /// How the child, which has ended, has ended. The system may say it only once, and not before a debugger that looks
    /// at the child has heard of it.
    fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        if self.guard.status.is_some() {
            return Ok(self.guard.status);
        }
        // After it, the system needn't know any more. That it doesn't know now is no reason not to go on.
        let _ = self.guard.process.creation_time();
        let process = &self.guard.process;
        self.guard.status = sys::exit_status(process.handle()).map_err(process.failed())?;
        Ok(self.guard.status)
    }
}

/// Closes a stream of a child, which has been read.
fn closed_after(outcome: std::io::Result<usize>, stream: impl Into<OwnedHandle>) -> std::io::Result<usize> {
    drop(Owned::from(stream.into()));
    outcome
}

impl Guard {
    fn kill(&self) -> Result<()> {
        match sys::terminate(self.process.handle()) {
            Ok(()) => Ok(()),
            // The system refuses access to a process that is ending or has ended.
            Err(error) if error.kind() == PermissionDenied && self.process.is_going() => Ok(()),
            Err(error) => Err(self.process.failed()(error)),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.status.is_some() {
            return;
        }
        if self.kill_on_drop {
            // Nobody is left to hear of a failure; that the child has ended already is none.
            let _ = self.kill();
        }
        imp::leave(&self.process, self.kill_on_drop);
    }
}

as_handle!(Child, guard.process);

impl wait::sealed::Sealed for Child {
    fn target(&self) -> sys_wait::Target<'_> {
        self.process().target()
    }
}

impl wait::Waitable for Child {}
