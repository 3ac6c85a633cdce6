//! Starts a child that runs until its input is closed, for tests that look at another process.

use std::io::{BufRead, BufReader};

use handover::{Child, Command, Stdio};

use crate::settled;

const WAITING: &str = "waiting";

/// A role: reports that it runs, and waits for the end of its input.
///
/// # Panics
///
/// Panics if the input can't be read.
pub fn waits(_: &[String]) {
    println!("{WAITING}");
    std::io::stdin().read_line(&mut String::new()).expect("the input ends");
}

/// Starts a child that plays the role [`waits`], and returns once it runs. Dropping the result kills the child.
///
/// # Panics
///
/// Panics if it can't be started, or its report is different.
#[must_use]
pub fn begun(command: &mut Command<'_>) -> Child {
    command.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the child starts");
    let mut line = String::new();
    let stream = child.stdout.as_mut().expect("its output is piped");
    BufReader::with_capacity(1, stream).read_line(&mut line).expect("its output can be read");
    assert_eq!(line.trim_end(), WAITING);
    // Under Wine, the child opens one more handle when it begins to wait.
    let _ = settled(child.id());
    child
}
