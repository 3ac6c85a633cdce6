//! `Child`: the parent's handle to a child process.

use std::any::Any;
use std::fmt;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output};
use std::sync::Arc;
use std::time::Duration;

use super::Process;
use super::imp;
use crate::error::{Error, Result};
use crate::handle::HandleValue;
use crate::inherit::is_reserved;
use crate::sys::creator::Creator;
use crate::sys::io::{HasHandle, Owned, OwnedHandle, as_handle};
use crate::sys::mutex::Mutex;
use crate::sys::{process as sys, wait as sys_wait};
use crate::wait;
use crate::wait::Deadline;

/// A process started by [`Command::spawn`](crate::Command::spawn).
///
/// As with [`std::process::Child`], dropping it neither kills the child nor waits for it. Dropping it closes this
/// process's handle to the child. It also closes the piped streams and the channel, unless they were taken. With
/// [`kill_on_drop`](crate::Command::kill_on_drop), dropping it kills the child, except in a forked copy of the process
/// that started it.
///
/// Threads that share a child by reference, for example in an `Arc`, wait for [`process`](Self::process) and kill it, and ask
/// for the [`exit_status`](Self::exit_status).
pub struct Child {
    /// The writing end of the child's standard input, if it is [piped](crate::Stdio::piped). Take it and drop it to let
    /// the child read end of file.
    pub stdin: Option<ChildStdin>,
    /// The reading end of the child's standard output, if it is piped.
    pub stdout: Option<ChildStdout>,
    /// The reading end of the child's standard error, if it is piped.
    pub stderr: Option<ChildStderr>,
    /// The parent's side of what another module added to the spawn, such as a channel.
    attached: Attached,
    guard: Guard,
    inherited_handles: Vec<(Arc<str>, HandleValue)>,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("id", &self.id())
            .field("stdin", &self.stdin)
            .field("stdout", &self.stdout)
            .field("stderr", &self.stderr)
            .finish_non_exhaustive()
    }
}

/// How long to wait before asking again for the exit status of a child that has exited, if the system didn't report it.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_millis(1);

/// The time that a killed child may take to exit.
const MAX_END: Duration = Duration::from_secs(5);

/// The parent's side of what another module added to the spawn.
struct Attached(Option<Box<dyn Any + Send + Sync>>);

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "attached" } else { "none" })
    }
}

/// Kills the child on drop, if `kill_on_drop` is set. It is separate from [`Child`], because streams can't be moved out
/// of a type that implements `Drop`.
#[derive(Debug)]
struct Guard {
    process: Process,
    kill_on_drop: bool,
    /// The exit status, once the child was waited for.
    status: Mutex<Option<ExitStatus>>,
    creator: Creator,
    /// Set if the handle, and what is left to do for the child, has gone to another owner.
    is_released: bool,
}

impl Child {
    pub(crate) fn new(
        process: Process,
        kill_on_drop: bool,
        inherited_handles: Vec<(Arc<str>, HandleValue)>,
    ) -> Self {
        let (status, creator) = (Mutex::new(None), Creator::this_process());
        let guard = Guard { process, kill_on_drop, status, creator, is_released: false };
        Self { stdin: None, stdout: None, stderr: None, attached: Attached(None), guard, inherited_handles }
    }

    /// Stores the parent's side of what another module added to the spawn.
    pub(crate) fn set_attached(&mut self, attached: Option<Box<dyn Any + Send + Sync>>) {
        if attached.is_some() {
            self.attached.0 = attached;
        }
    }

    /// Takes the parent's side of what another module added to the spawn, if it has this type.
    pub(crate) fn take_attached<T: Any>(&mut self) -> Option<T> {
        if !self.attached.0.as_ref().is_some_and(|attached| attached.is::<T>()) {
            return None;
        }
        self.attached.0.take()?.downcast().ok().map(|attached| *attached)
    }

    /// Returns the child's process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.guard.process.id()
    }

    /// Returns the child as a [`Process`], to share objects with. A clone of it may outlive this `Child`.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.guard.process
    }

    /// Returns each object that the child inherited, as its name and the handle value in the child's table. On Windows, sockets
    /// are left out: the child itself gives them values.
    pub fn inherited_handles(&self) -> impl Iterator<Item = (&str, HandleValue)> {
        let listed = self.inherited_handles.iter().filter(|(name, _)| !is_reserved(name));
        listed.map(|(name, value)| (&**name, *value))
    }

    /// Waits until the child exits, without a timeout, and returns its exit status.
    ///
    /// On Linux, other code of this process must not wait for all children (`waitpid(-1)`): the system reports each exit
    /// once.
    ///
    /// The child's standard input and its channel are closed first, unless they were taken. So a child that reads them
    /// until end of file can exit.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a call fails.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.close_inputs();
        loop {
            let end = sys_wait::readable(self.guard.process.handle());
            wait::without_timeout(end).map_err(self.guard.process.failed())?;
            match self.status_at_exit()? {
                Some(status) => return Ok(status),
                None => std::thread::sleep(RETRY_INTERVAL),
            }
        }
    }

    /// Waits until the child exits, for at most this time, and returns its exit status.
    ///
    /// Unlike [`wait`](Self::wait), it leaves the child's standard input and its channel open. A child that reads them until
    /// end of file exits only after they were closed: take them and drop them before.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if the child is still running. You can wait for it again or [kill](Self::kill) it.
    /// [`Error::System`] if a call fails.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Deadline::after(timeout);
        while self.guard.process.ends_within(deadline.left())? {
            match self.status_at_exit()? {
                Some(status) => return Ok(status),
                None if deadline.has_passed() => break,
                None => std::thread::sleep(RETRY_INTERVAL.min(deadline.left())),
            }
        }
        Err(Error::TimedOut { waiting_for: format!("process {} to exit", self.id()), timeout })
    }

    /// Returns the child's exit status if it has exited, without waiting and without closing anything.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a call fails.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.exit_status()
    }

    /// Returns the child's exit status if it has exited, as [`try_wait`](Self::try_wait) does, for threads that share the child
    /// by reference.
    ///
    /// The system reports the status once. Of several threads, one asks, and all get what it was told.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use handover::Command;
    ///
    /// let child = Arc::new(Command::new("worker").spawn()?);
    /// let watched = child.clone();
    /// let watch = std::thread::spawn(move || {
    ///     watched.process().wait_timeout(Duration::from_secs(60))?;
    ///     watched.exit_status()
    /// });
    /// child.process().kill()?;
    /// println!("{:?}", watch.join().expect("it doesn't panic")?);
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a call fails.
    pub fn exit_status(&self) -> Result<Option<ExitStatus>> {
        // On Windows the exit code alone isn't enough: 259 is reported for a running process and is also a valid exit
        // code.
        if self.guard.process.has_exited()? { self.status_at_exit() } else { Ok(None) }
    }

    /// Kills the child: on Windows with exit code 1, on Linux by the signal SIGKILL.
    ///
    /// Killing a child that has already exited does nothing. The system takes a moment to end the process, so wait
    /// afterwards to be sure that it has exited.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the call fails for a running child.
    ///
    /// [`TerminateProcess`](https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-terminateprocess);
    /// [`pidfd_send_signal(2)`](https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html)
    #[doc(alias = "TerminateProcess", alias = "pidfd_send_signal")]
    pub fn kill(&mut self) -> Result<()> {
        self.process().kill()
    }

    /// Waits until the child exits, without a timeout, and collects the output that it writes to piped streams.
    ///
    /// Both streams are read at the same time, so a child that fills one of them doesn't block. The streams reach end
    /// of file only when every process that has them has closed them. So this also waits for a process that inherited
    /// the streams from the child and outlives it.
    ///
    /// As in [`wait`](Self::wait), the child's standard input and its channel are closed first.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if a stream can't be read, or if the wait fails.
    pub fn wait_with_output(mut self) -> Result<Output> {
        self.close_inputs();
        let output = self.read_output(Deadline::NEVER)?;
        let [stdout, stderr] = output.expect("the deadline never passes");
        Ok(Output { status: self.wait()?, stdout, stderr })
    }

    /// Does the same within the timeout. A child that isn't done by then is killed.
    pub(crate) fn wait_with_output_timeout(mut self, timeout: Duration) -> Result<Output> {
        let deadline = Deadline::after(timeout);
        self.close_inputs();
        let output = self.read_output(deadline).and_then(|output| {
            let Some([stdout, stderr]) = output else { return Err(self.output_timed_out(timeout)) };
            match self.wait_timeout(deadline.left()) {
                Ok(status) => Ok(Output { status, stdout, stderr }),
                Err(Error::TimedOut { .. }) => Err(self.output_timed_out(timeout)),
                Err(other) => Err(other),
            }
        });
        // A child that can't be killed, because it runs as another user, is left to itself.
        if output.is_err() && self.kill().is_ok() {
            let _ = self.wait_timeout(MAX_END);
        }
        output
    }

    fn output_timed_out(&self, timeout: Duration) -> Error {
        let waiting_for = format!("process {} to exit and to close its output", self.id());
        Error::TimedOut { waiting_for, timeout }
    }

    fn read_output(&mut self, deadline: Deadline) -> Result<Option<[Vec<u8>; 2]>> {
        imp::read_output(self.stdout.take(), self.stderr.take(), deadline)
            .map_err(|error| Error::system("the child's output", error))
    }

    /// Closes the child's standard input and its channel, unless they were taken. The child may be reading them until
    /// end of file.
    pub(crate) fn close_inputs(&mut self) {
        drop(self.stdin.take().map(|stdin| Owned::from(OwnedHandle::from(stdin))));
        drop(self.attached.0.take());
    }

    /// Returns the exit status of the child, which has exited. The system may report it only once. While a debugger
    /// traces the child, the system reports it only after the debugger has been notified.
    pub(crate) fn status_at_exit(&self) -> Result<Option<ExitStatus>> {
        // Of several threads, one asks, and the others get what it was told.
        let mut known = self.guard.status.lock();
        if known.is_some() {
            return Ok(*known);
        }
        // Caches the identity, which the system may forget when the status was reported. A failure doesn't matter for
        // the status.
        let _ = self.guard.process.identity();
        let process = &self.guard.process;
        *known = sys::exit_status(process.handle()).map_err(process.failed())?;
        Ok(*known)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.is_released || self.status.lock().is_some() || !self.creator.is_this_process() {
            return;
        }
        if self.kill_on_drop {
            // `drop` can't report a failure. A child that has already exited isn't one.
            let _ = self.process.kill();
        }
        imp::leave(&self.process, self.kill_on_drop);
    }
}

as_handle!(Child, guard.process);

impl From<Child> for OwnedHandle {
    /// Takes the handle to the process: on Linux its pidfd. The piped streams and the channel are closed, unless they were
    /// taken.
    ///
    /// The new owner closes the handle, and decides alone about the child:
    /// [`kill_on_drop`](crate::Command::kill_on_drop) no longer applies. On Linux it also has to wait for the child
    /// (`waitid(2)` with `P_PIDFD`), because this crate no longer does, and a child that exits stays a zombie until then.
    ///
    /// # Panics
    ///
    /// If a clone of [`process`](Child::process) exists, it keeps the handle, and the new owner gets a duplicate. The conversion
    /// panics if the system can't make one.
    fn from(child: Child) -> Self {
        let Child { stdin, stdout, stderr, attached, mut guard, .. } = child;
        drop((stdin, stdout, stderr, attached));
        guard.is_released = true;
        let process = guard.process.clone();
        drop(guard);
        process
            .into_handle()
            .expect("the handle can be duplicated, because a clone of the process has it")
            .into()
    }
}

impl wait::sealed::Sealed for Child {
    fn target(&self) -> Result<sys_wait::Target<'_>> {
        self.process().target()
    }

    fn memberships(&self) -> &wait::set::Memberships {
        self.process().memberships()
    }
}

impl wait::Waitable for Child {}
