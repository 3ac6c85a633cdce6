//! Runs a command for the user: prints it first, and prints every 30 seconds that it is still running.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The time between two messages of a long step.
const MESSAGE_INTERVAL: Duration = Duration::from_secs(30);

/// The reason why a command stops, as printed for the user.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

impl Failed {
    /// Returns a closure for `map_err` that puts the path before the error.
    pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |error| Self(format!("{path}: {error}"))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A command with a title.
///
/// It has no time limit by default: each test has its own deadline, and the time for a build depends on the machine.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    title: &'a str,
    command: &'a mut Command,
    limit: Option<Duration>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(title: &'a str, command: &'a mut Command) -> Self {
        command.current_dir(crate::root());
        Self { title, command, limit: None }
    }

    pub(crate) fn env(self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Runs the command in this folder instead of the repository's root.
    pub(crate) fn in_folder(self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Kills the command after this time. Only for a command that may hang and has no deadlines of its own.
    pub(crate) fn within(self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Prints the command and runs it until it exits.
    pub(crate) fn run(self) -> Result<(), Failed> {
        eprintln!("\n== {}: {}", self.title, command_line(self.command));
        let (title, command) = (self.title, command_line(self.command));
        let status = self.run_quietly()?;
        if status.success() {
            return Ok(());
        }
        Err(Failed(format!("{title} failed ({status}): {command}")))
    }

    /// Runs the command until it exits, without printing it, and returns its status.
    pub(crate) fn run_quietly(self) -> Result<ExitStatus, Failed> {
        let line = command_line(self.command);
        let cannot = |error| Failed(format!("{}: cannot run {line}: {error}", self.title));
        let started = Instant::now();
        let mut last_message = started;
        let mut child = self.command.spawn().map_err(cannot)?;
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = child.try_wait().map_err(cannot)? {
                return Ok(status);
            }
            if let Some(limit) = self.limit.filter(|limit| started.elapsed() > *limit) {
                // A failure to kill or to wait would add nothing to the message below.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failed(format!("{} did not exit within {limit:?} and was killed", self.title)));
            }
            if last_message.elapsed() > MESSAGE_INTERVAL {
                last_message = Instant::now();
                eprintln!("   … {}: {} s so far", self.title, started.elapsed().as_secs());
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

/// The command line as typed in a shell.
fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_step_has_no_limit_by_default() {
        assert_eq!(Step::new("build", &mut Command::new("cargo")).limit, None);
    }

    #[test]
    fn a_step_is_killed_at_its_limit() {
        // Reads a program from a pipe that stays open, so it doesn't exit by itself.
        let mut waits = Command::new("rustc");
        waits.arg("-").stdin(Stdio::piped());
        let outcome = Step::new("rustc", &mut waits).within(Duration::ZERO).run_quietly();
        let Failed(reason) = outcome.expect_err("the step is killed");
        assert_eq!(reason, "rustc did not exit within 0ns and was killed");
    }
}
