//! The options of the programs, and the waits that depend on them.

use std::path::PathBuf;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use handover::{Channel, Child, Command, Error};

use crate::failure::{Failure, LATE};

/// The variable in which a parent passes its child the timeout. The command line is left to the strategy.
const TIMEOUT: &str = "HANDOVER_EXERCISE_TIMEOUT";
/// The time that a parent waits longer than its child, so that a child whose deadline passes can report it.
const GRACE: Duration = Duration::from_secs(2);

/// The time between a share and its signal.
const PAUSE: Duration = Duration::from_millis(200);
/// The time between two attempts to connect.
const STEP: Duration = Duration::from_millis(10);

/// The options of a parent.
#[derive(Debug, Args)]
pub struct ParentOptions {
    /// Start this program as the child: a path, relative to the current directory [default: the file beside this one]
    #[arg(long, value_name = "PATH")]
    child: Option<PathBuf>,
    /// Wait this long before the signal, so that the child can be seen waiting
    #[arg(long, value_name = "MS", default_value = "200", value_parser = milliseconds)]
    delay: Duration,
    /// Let the child wait this long for the signal; kill it two seconds later
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// Never signal, to show what a failed share looks like: the child waits until its deadline
    #[arg(long)]
    no_signal: bool,
}

impl ParentOptions {
    /// Returns a builder for the child: the program given with `--child`, or the file of this name beside this program.
    ///
    /// # Errors
    ///
    /// [`Failure::NoProgram`] if the system doesn't return the path of this program.
    pub fn child(&self, sibling: &str) -> Result<Command<'static>, Failure> {
        let path = match &self.child {
            Some(path) => std::path::absolute(path).map_err(|error| no_path(sibling, &error))?,
            None => beside_this(sibling)?,
        };
        let mut command = Command::new(path);
        command.env(TIMEOUT, (self.delay + self.timeout).as_secs_f64().to_string()).kill_on_drop(true);
        Ok(command)
    }

    /// Waits for `--delay`, in which the child should keep waiting for the signal.
    ///
    /// # Errors
    ///
    /// [`Failure::Child`] as soon as the child exits.
    pub fn delay(&self, child: &mut Child) -> Result<(), Failure> {
        match child.wait_timeout(self.delay) {
            Err(Error::TimedOut { .. }) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(status) => Err(Failure::Child { id: child.id(), status, before: "the event was signaled" }),
        }
    }

    /// Returns how long a wait may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns whether to signal the event.
    #[must_use]
    pub fn signals(&self) -> bool {
        !self.no_signal
    }

    /// Waits until the child exits, and kills it at the deadline.
    ///
    /// # Errors
    ///
    /// [`Failure::Child`] if it exits with a code other than 0. [`Failure::Late`] if it doesn't exit, or if
    /// `--no-signal` is set and its exit code says that its deadline passed.
    pub fn wait_for_exit(&self, child: &mut Child) -> Result<(), Failure> {
        let (id, timeout) = (child.id(), self.timeout + GRACE);
        let status = match child.wait_timeout(timeout) {
            Ok(status) => status,
            Err(late @ Error::TimedOut { .. }) => {
                child.kill()?;
                child.wait_timeout(Duration::from_secs(5))?;
                return Err(Failure::Late(format!("{late}, so it was killed")));
            }
            Err(error) => return Err(error.into()),
        };
        if status.success() {
            return Ok(());
        }
        if self.no_signal && status.code() == Some(LATE.into()) {
            let reason = "because the event was not signaled";
            return Err(Failure::Late(format!("child {id} waited until its deadline ({status}), {reason}")));
        }
        Err(Failure::Child { id, status, before: "it had waited for the event" })
    }
}

/// Returns the path of the program of this name beside this one.
fn beside_this(sibling: &str) -> Result<PathBuf, Failure> {
    let this = std::env::current_exe().map_err(|error| no_path(sibling, &error))?;
    Ok(this.with_file_name(sibling).with_extension(std::env::consts::EXE_EXTENSION))
}

fn no_path(sibling: &str, error: &std::io::Error) -> Failure {
    Failure::NoProgram(format!("cannot find the path of {sibling}: {error}"))
}

/// The options of a child.
#[derive(Debug, Args)]
pub struct ChildOptions {
    /// Wait this long for the event
    #[arg(long, value_name = "SECONDS", env = TIMEOUT, default_value = "10", value_parser = seconds_of_child)]
    timeout: Duration,
    #[arg(skip)]
    started: OnceLock<Instant>,
}

impl ChildOptions {
    /// Returns the time until the deadline. There is one deadline for all waits of the child, counted from the first.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.timeout.saturating_sub(self.started.get_or_init(Instant::now).elapsed())
    }

    /// Returns a builder for a child of this child: the program of this name beside this one.
    ///
    /// # Errors
    ///
    /// [`Failure::NoProgram`] if the system doesn't return the path of this program.
    pub fn child(&self, sibling: &str) -> Result<Command<'static>, Failure> {
        let mut command = Command::new(beside_this(sibling)?);
        command.env(TIMEOUT, self.time_left().as_secs_f64().to_string()).kill_on_drop(true);
        Ok(command)
    }

    /// Waits until a child of this child exits. At the deadline the builder's `kill_on_drop` ends it.
    ///
    /// # Errors
    ///
    /// [`Failure::Child`] if it exits with a code other than 0, and [`Failure::Call`] at the deadline.
    pub fn wait_for_exit(&self, child: &mut Child) -> Result<(), Failure> {
        let status = child.wait_timeout(self.time_left() + GRACE / 2)?;
        let id = child.id();
        status.success().then_some(()).ok_or(Failure::Child {
            id,
            status,
            before: "it had waited for the event",
        })
    }

    /// Waits for a moment before the signal, so that the other process can be seen waiting.
    pub fn pause(&self) {
        thread::sleep(PAUSE.min(self.time_left()));
    }

    /// Connects to the process that listens under a name, as soon as there is one.
    ///
    /// # Errors
    ///
    /// Those of [`Channel::connect_timeout`]; [`Failure::Late`] if no process listens before the deadline.
    pub fn connect(&self, name: &str) -> Result<Channel, Failure> {
        loop {
            match Channel::connect_timeout(name, self.time_left()) {
                Err(Error::NoListener { .. }) if !self.time_left().is_zero() => thread::sleep(STEP),
                Err(Error::NoListener { .. }) => {
                    let timeout = self.timeout;
                    return Err(Failure::Late(format!(
                        "timed out after {timeout:?}: waiting for the listener {name:?}"
                    )));
                }
                other => return Ok(other?),
            }
        }
    }

    /// Makes a call that has no timeout of its own, and gives up at the deadline.
    ///
    /// The call runs on a thread, because nothing can interrupt it. If it never returns, the thread ends with the
    /// process.
    ///
    /// # Errors
    ///
    /// [`Failure::Late`] at the deadline, and [`Failure::Call`] if the call fails.
    pub fn until_deadline<T: Send + 'static>(
        &self,
        waiting_for: &str,
        call: impl FnOnce() -> handover::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(call()));
        match receiver.recv_timeout(self.time_left()) {
            Ok(result) => Ok(result?),
            Err(_) => {
                Err(Failure::Late(format!("timed out after {:?}: waiting for {waiting_for}", self.timeout)))
            }
        }
    }
}

/// The longest time that an option accepts. Sums of two such times don't overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn seconds(text: &str) -> Result<Duration, String> {
    seconds_up_to(LONGEST, text)
}

/// Reads a child's timeout, which is the sum of its parent's delay and timeout.
fn seconds_of_child(text: &str) -> Result<Duration, String> {
    seconds_up_to(2 * LONGEST, text)
}

fn seconds_up_to(longest: Duration, text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| *time <= longest)
        .ok_or_else(|| format!("expected a number of seconds from 0 to {}", longest.as_secs()))
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().map(Duration::from_millis);
    time.filter(|time| *time <= LONGEST)
        .ok_or_else(|| format!("expected a number of milliseconds from 0 to {}", LONGEST.as_millis()))
}
