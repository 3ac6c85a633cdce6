//! The lines that a program prints, and the one that it reads.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

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
        // Whoever closed our output doesn't want to hear; the work goes on.
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{} {what}", self.who);
        let _ = out.flush();
    }

    pub(crate) fn complain(&self, why: &Stop) {
        let _ = writeln!(io::stderr(), "{} error: {why}", self.who);
    }
}

/// Reads one line from standard input, without its end.
///
/// # Errors
///
/// [`Stop::Late`] if none came in time, [`Stop::Channel`] if the input ended before a line did, and
/// [`Stop::NoHandle`] for a line that is too long or no text.
pub fn line_within(time: Duration) -> Result<String, Stop> {
    let (sender, receiver) = mpsc::channel();
    // A read can't be told to end at a deadline; the thread that is stuck in one ends with the process.
    thread::spawn(move || sender.send(read_line(io::stdin())));
    match receiver.recv_timeout(time) {
        Ok(line) => line,
        Err(_) => Err(Stop::Late(format!("no line came on standard input within {time:?}"))),
    }
}

fn read_line(input: impl Read) -> Result<String, Stop> {
    /// A handle's number has ten digits at most; this leaves room to show what came instead.
    const LONGEST: u64 = 64;
    let expected = "expected one line with the number of a handle";
    let mut line = Vec::new();
    BufReader::new(input.take(LONGEST))
        .read_until(b'\n', &mut line)
        .map_err(|error| Stop::Channel(format!("{expected}; standard input can't be read: {error}")))?;
    let Some(text) = line.strip_suffix(b"\n") else {
        let came = String::from_utf8_lossy(&line);
        return Err(if line.len() as u64 == LONGEST {
            Stop::NoHandle(format!("{expected}; came a line of {LONGEST} bytes and more, {came:?}…"))
        } else {
            Stop::Channel(format!("{expected}; standard input ended after {came:?}"))
        });
    };
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    match std::str::from_utf8(text) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Stop::NoHandle(format!("{expected}; came {:?}", String::from_utf8_lossy(text)))),
    }
}
