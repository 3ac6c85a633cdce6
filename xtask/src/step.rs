//! Runs one command for the user: announces it, and says now and then that it is still running.

use std::ffi::OsStr;
use std::fmt;
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

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
///
/// It may take as long as it needs: each test has a deadline of its own, and how long a build takes depends on
/// the machine.
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

    /// Kills the command when this time is over. Only for a command that may hang and has no deadlines of its own.
    pub(crate) fn within(self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self }
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
            if let Some(limit) = self.limit.filter(|limit| started.elapsed() > *limit) {
                // Ended either way: a failure to kill or to wait adds nothing to the message below.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failed(format!("{} did not end within {limit:?} and was killed", self.title)));
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

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_step_has_no_limit_unless_it_is_given_one() {
        assert_eq!(Step::new("build", &mut Command::new("cargo")).limit, None);
    }

    #[test]
    fn a_step_is_killed_at_its_limit() {
        // Reads a program from a pipe that stays open, so it doesn't exit by itself.
        let mut waits = Command::new("rustc");
        waits.arg("-").stdin(Stdio::piped());
        let ended = Step::new("rustc", &mut waits).within(Duration::ZERO).run_quietly();
        let Failed(why) = ended.expect_err("it is killed");
        assert_eq!(why, "rustc did not end within 0ns and was killed");
    }
}
