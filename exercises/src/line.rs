//! The lines that a program prints.

use std::fmt::Display;
use std::io::{self, Write};

use crate::Stop;

/// What a program says while it runs: one line a step, each with who says it in front.
#[derive(Debug)]
pub struct Story {
    who: String,
}

impl Story {
    /// The story of this process, in the role of `parent` or `child`.
    #[must_use]
    pub fn of(role: &str) -> Self {
        Self { who: format!("{role} {}", std::process::id()) }
    }

    /// Prints a step that was done: the call, the handle's value, the result.
    pub fn step(&self, what: impl Display) {
        // In one piece: parent and child may write to the same terminal. Whoever closed our output doesn't want to
        // hear; the work goes on.
        let mut out = io::stdout().lock();
        let _ = out.write_all(format!("{} {what}\n", self.who).as_bytes());
        let _ = out.flush();
    }

    pub(crate) fn complain(&self, why: &Stop) {
        let _ = io::stderr().write_all(format!("{} error: {why}\n", self.who).as_bytes());
    }
}
