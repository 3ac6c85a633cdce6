//! A child that has begun, and then waits for the end of its input: somebody to look at.

use std::io::{BufRead, BufReader};

use handover::{Child, Command, Stdio};

use crate::settled;

const WAITING: &str = "waiting";

/// A role: says that it runs, and waits for the end of its input.
///
/// # Panics
///
/// If the input can't be read.
pub fn waits(_: &[String]) {
    println!("{WAITING}");
    std::io::stdin().read_line(&mut String::new()).expect("the input ends");
}

/// Starts a child that [`waits`], and returns when it does. It ends with what is returned.
///
/// # Panics
///
/// If it can't be started, or says something else.
#[must_use]
pub fn begun(command: &mut Command<'_>) -> Child {
    command.kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the child starts");
    let mut line = String::new();
    let stream = child.stdout.as_mut().expect("its output is piped");
    BufReader::with_capacity(1, stream).read_line(&mut line).expect("its output can be read");
    assert_eq!(line.trim_end(), WAITING);
    // Under Wine it opens one more handle then, to wait with.
    let _ = settled(child.id());
    child
}
