//! `cargo xtask within SECONDS -- PROGRAM`: runs a program with a time limit, as the runner of std's tests.

use std::process::Command;
use std::time::Duration;

use clap::Args;

use crate::step::{Failed, Step};

#[derive(Debug, Args)]
pub(crate) struct Within {
    /// The time limit in seconds
    seconds: u64,
    /// The program and its arguments
    #[arg(required = true, last = true)]
    program: Vec<String>,
}

/// Runs a program in the current folder, and kills it after the time limit.
pub(crate) fn within(options: &Within) -> Result<(), Failed> {
    let mut command = Command::new(&options.program[0]);
    command.args(&options.program[1..]);
    let step = Step::new("the test", &mut command).in_folder(".".as_ref());
    let status = step.within(Duration::from_secs(options.seconds)).run_quietly()?;
    if status.success() { Ok(()) } else { Err(Failed(format!("{} failed ({status})", options.program[0]))) }
}
