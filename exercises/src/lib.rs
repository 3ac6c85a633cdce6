//! The common parts of the programs: their options, their exit codes, and the lines that they print.
//!
//! The programs themselves are in `src/bin`, one page each. [`parent`] and [`child`] run their steps.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | the event was shared, signaled, and waited for |
//! | 1 | a call or the other process failed |
//! | 2 | wrong usage, or an argument that can't be a handle value or a name |
//! | 3 | a deadline passed |
//! | 4 | the owner of a mutex exited without releasing it |

mod failure;
mod options;
mod os;
mod steps;

use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser};

pub use failure::Failure;
pub use options::{ChildOptions, ParentOptions};
pub use os::{MutexObject, SharedMutex, pipe};

const EXIT_CODES: &str = "\
Exit codes: 0 the event was shared and signaled; 1 a call or the other process failed; \
2 wrong usage, or an argument that can't be a handle value or a name; 3 a deadline passed";

/// Runs a parent's steps, and returns the exit code for their result.
///
/// `A` are the arguments that this program alone has; `()` if it has none. While the steps run, the system calls that
/// the exercise is about are printed.
pub fn parent<A: Args>(
    about: &'static str,
    steps: impl FnOnce(&ParentOptions, A) -> Result<(), Failure>,
) -> ExitCode {
    run("parent", about, steps)
}

/// Runs a child's steps, as [`parent`] does a parent's.
pub fn child<A: Args>(
    about: &'static str,
    steps: impl FnOnce(&ChildOptions, A) -> Result<(), Failure>,
) -> ExitCode {
    run("child", about, steps)
}

/// Returns whether a wait for a message ended because the other process closed the channel.
///
/// # Errors
///
/// [`Failure::Call`] if it ended for another reason, and [`Failure::Late`] if a message came.
pub fn expect_disconnected<T>(received: handover::Result<T>) -> Result<(), Failure> {
    match received {
        Err(handover::Error::Disconnected { .. } | handover::Error::ProcessExited { .. }) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => {
            Err(Failure::Late("a message came, but the other process should only close the channel".into()))
        }
    }
}

#[derive(Parser)]
#[group(skip)]
struct CommandLine<O: Args, A: Args> {
    #[command(flatten)]
    own: A,
    #[command(flatten)]
    options: O,
}

fn run<O: Args, A: Args>(
    role: &'static str,
    about: &'static str,
    steps: impl FnOnce(&O, A) -> Result<(), Failure>,
) -> ExitCode {
    let matches = CommandLine::<O, A>::command().about(about).after_help(EXIT_CODES).get_matches();
    let CommandLine { own, options } =
        CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    steps::print_as(role);
    match steps(&options, own) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{role} {} error: {failure}", std::process::id());
            ExitCode::from(failure.exit_code())
        }
    }
}
