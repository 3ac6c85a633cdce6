//! One command that is run for the user: announced, seen to be alive, ended at a deadline.

use std::ffi::OsStr;
use std::fmt;
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Nothing of what runs on each change takes longer on a slow machine.
const DEADLINE: Duration = Duration::from_secs(12 * 60);
/// For what doesn't.
pub(crate) const AN_HOUR: Duration = Duration::from_secs(60 * 60);
/// How often a long step says that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Why a command of ours stops; shown as it is.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command with a title.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    title: &'a str,
    command: &'a mut Command,
    deadline: Duration,
}

impl<'a> Step<'a> {
    pub(crate) fn new(title: &'a str, command: &'a mut Command) -> Self {
        command.current_dir(crate::root());
        Self { title, command, deadline: DEADLINE }
    }

    pub(crate) fn env(self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Lets it take longer, or less.
    pub(crate) fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Announces the command and runs it to its end.
    pub(crate) fn run(self) -> Result<(), Failed> {
        eprintln!("\n== {}: {}", self.title, shown(self.command));
        let (title, command) = (self.title, shown(self.command));
        let status = self.run_quietly()?;
        if status.success() {
            return Ok(());
        }
        Err(Failed(format!("{title} failed ({status}): {command}")))
    }

    /// Runs the command to its end; the caller announces it and judges its status.
    pub(crate) fn run_quietly(self) -> Result<ExitStatus, Failed> {
        let line = shown(self.command);
        let cannot = |error| Failed(format!("{}: cannot run {line}: {error}", self.title));
        let started = Instant::now();
        let mut said = started;
        let mut child = self.command.spawn().map_err(cannot)?;
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = child.try_wait().map_err(cannot)? {
                return Ok(status);
            }
            if started.elapsed() > self.deadline {
                // Ended either way: a failure to kill or to wait adds nothing to the message below.
                let _ = child.kill();
                let _ = child.wait();
                let Self { title, deadline, .. } = self;
                return Err(Failed(format!("{title} did not end within {deadline:?} and was killed")));
            }
            if said.elapsed() > SIGN_OF_LIFE {
                said = Instant::now();
                eprintln!("   … {}: {} s so far", self.title, started.elapsed().as_secs());
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

/// The command line as one would type it.
fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
