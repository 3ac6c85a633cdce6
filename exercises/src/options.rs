//! The options of the programs.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use clap::Args;
use handover::Command;

use crate::Stop;

/// The variable in which a parent tells its child how long to wait; the command line is the handle's.
const TIMEOUT: &str = "HANDOVER_EXERCISE_TIMEOUT";
/// How much longer a parent waits than its child, so that a child that is late can say so itself.
const GRACE: Duration = Duration::from_secs(2);

/// For the help text of a parent.
pub const PARENT_EXIT_CODES: &str = "\
Exit codes: 0 done; 1 a call or the child failed; 2 wrong usage; 3 a deadline passed";

/// For the help text of a child.
pub const CHILD_EXIT_CODES: &str = "\
Exit codes: 0 the event was signaled; 1 a call or the parent failed, or the number is no event of this process; \
2 it can't be a handle at all, or wrong usage; 3 a deadline passed";

/// For the help text of the child that is told a name.
pub const NAMED_CHILD_EXIT_CODES: &str = "\
Exit codes: 0 the event was signaled; 1 a call or the parent failed, or no event has the name; \
2 it can't be a name at all, or wrong usage; 3 a deadline passed";

/// The options of a parent.
#[derive(Debug, Args)]
pub struct ParentOptions {
    /// Start this program in the child's place: a path, from the current directory [default: the file beside this one]
    #[arg(long, value_name = "PATH")]
    child: Option<PathBuf>,
    /// Wait so long before the signal, so that one sees the child wait
    #[arg(long, value_name = "MS", default_value = "200", value_parser = milliseconds)]
    delay: Duration,
    /// Let the child wait so long for the signal; two seconds later it is killed
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// Never signal, to show what a failed share looks like: the child runs into its deadline
    #[arg(long)]
    no_signal: bool,
}

impl ParentOptions {
    /// A builder for the child: the program given, or the file beside this one. It is told of its deadline by a
    /// variable.
    ///
    /// # Errors
    ///
    /// If this program can't tell where it is.
    pub fn child(&self, sibling: &str) -> Result<Command<'static>, Stop> {
        let path = match &self.child {
            Some(path) => std::path::absolute(path),
            None => std::env::current_exe()
                .map(|file| file.with_file_name(sibling).with_extension(std::env::consts::EXE_EXTENSION)),
        };
        let path = path.map_err(|error| Stop::NoProgram(format!("the path of {sibling}: {error}")))?;
        let mut command = Command::new(path);
        command.env(TIMEOUT, (self.delay + self.timeout).as_secs_f64().to_string()).kill_on_drop(true);
        Ok(command)
    }

    /// How long to wait before the signal.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// How long to wait for the child's end.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.timeout + GRACE
    }

    /// Whether to signal.
    #[must_use]
    pub fn signals(&self) -> bool {
        !self.no_signal
    }
}

/// The options of a child.
#[derive(Debug, Args)]
pub struct ChildOptions {
    /// Wait so long for the event
    #[arg(long, value_name = "SECONDS", env = TIMEOUT, default_value = "10", value_parser = childs_seconds)]
    timeout: Duration,
}

impl ChildOptions {
    /// How long to wait still: one deadline for all that the child waits for, counted from the first question.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        static STARTED: OnceLock<Instant> = OnceLock::new();
        self.timeout.saturating_sub(STARTED.get_or_init(Instant::now).elapsed())
    }
}

/// More than anybody waits for, and far from what a sum could overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn seconds(text: &str) -> Result<Duration, String> {
    at_most(LONGEST, text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

/// A parent's delay and timeout together.
fn childs_seconds(text: &str) -> Result<Duration, String> {
    at_most(2 * LONGEST, text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    at_most(LONGEST, text.parse().ok().map(Duration::from_millis))
}

fn at_most(longest: Duration, time: Option<Duration>) -> Result<Duration, String> {
    time.filter(|time| *time <= longest)
        .ok_or_else(|| format!("expected a number from 0 to {} s", longest.as_secs()))
}
