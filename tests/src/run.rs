//! Runs a program until it exits, or until a timeout. It uses only std, so that the tests don't depend on the library
//! under test.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The outcome of a program: its exit code and its output.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if the program was killed, by a signal or at the timeout.
    pub code: Option<i32>,
    /// The standard output.
    pub out: String,
    /// The standard error.
    pub err: String,
    /// The time from the start to the exit.
    pub after: Duration,
}

impl Ended {
    /// Asserts the exit code.
    ///
    /// # Panics
    ///
    /// Panics if it is different.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Asserts that the output or the error output contains a text.
    ///
    /// # Panics
    ///
    /// Panics if neither does.
    #[track_caller]
    pub fn expect_text(self, part: &str) -> Self {
        assert!(self.out.contains(part) || self.err.contains(part), "no output contains {part:?}: {self:#?}");
        self
    }

    /// Asserts that the program took at most this time.
    ///
    /// # Panics
    ///
    /// Panics if it took longer.
    #[track_caller]
    pub fn expect_within(self, time: Duration) -> Self {
        assert!(self.after <= time, "took {:?}, more than {time:?}: {self:#?}", self.after);
        self
    }
}

/// Runs a program without input.
#[must_use]
pub fn run<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
    deadline: Duration,
) -> Ended {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    finish(command, None, deadline)
}

/// Runs a program with this input. Closes the input afterwards, unless `leave_open` is set.
#[must_use]
pub fn run_with_input<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
    input: &[u8],
    leave_open: bool,
    deadline: Duration,
) -> Ended {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped());
    finish(command, Some((input, leave_open)), deadline)
}

fn finish(mut command: Command, input: Option<(&[u8], bool)>, deadline: Duration) -> Ended {
    let started = Instant::now();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawned(&mut command);
    let mut pipe = child.stdin.take();
    if let Some((input, leave_open)) = input {
        // The program may close its input early.
        let _ = pipe.as_mut().expect("standard input is piped").write_all(input);
        if !leave_open {
            pipe = None;
        }
    }
    let out = collect(child.stdout.take().expect("standard output is piped"));
    let err = collect(child.stderr.take().expect("standard error is piped"));
    let code = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status.code();
        }
        if started.elapsed() > deadline {
            // The kill fails if the program exits at this moment.
            let _ = child.kill();
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let after = started.elapsed();
    drop(pipe);
    Ended { code, out: text(&out), err: text(&err), after }
}

fn spawned(command: &mut Command) -> Child {
    /// An error that Wine returns now and then (docs/wine.md). A retry succeeds.
    const INTERNAL_ERROR: i32 = 1359;
    let mut tries = 5;
    loop {
        match command.spawn() {
            Ok(child) => return child,
            Err(error) if error.raw_os_error() == Some(INTERNAL_ERROR) && tries > 0 => {
                tries -= 1;
                thread::sleep(Duration::from_millis(200));
            }
            Err(error) => panic!("{command:?} can't be started: {error}"),
        }
    }
}

/// Reads a stream on a thread of its own, so that the program doesn't block on a full pipe.
fn collect(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Returns the stream's content up to end of file. A leaked process can keep the stream open, so each wait for more
/// content has a timeout.
fn text(stream: &Receiver<Vec<u8>>) -> String {
    let mut bytes = Vec::new();
    while let Ok(part) = stream.recv_timeout(Duration::from_secs(2)) {
        bytes.extend(part);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
