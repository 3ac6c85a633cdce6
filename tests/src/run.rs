//! Running a program to its end, or to a deadline. With std alone: what is tested isn't what tests.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if the deadline passed and it was killed.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// How long it took.
    pub after: Duration,
}

impl Ended {
    /// Asserts the exit code.
    ///
    /// # Panics
    ///
    /// If it is another.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Asserts what the output or the error output says.
    ///
    /// # Panics
    ///
    /// If it doesn't.
    #[track_caller]
    pub fn expect_text(self, part: &str) -> Self {
        assert!(self.out.contains(part) || self.err.contains(part), "nothing says {part:?}: {self:#?}");
        self
    }

    /// Asserts that it took no longer.
    ///
    /// # Panics
    ///
    /// If it did.
    #[track_caller]
    pub fn expect_within(self, time: Duration) -> Self {
        assert!(self.after <= time, "took {:?} and not {time:?}: {self:#?}", self.after);
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

/// Runs a program with this input, and then, if the input isn't left open, its end.
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
        // A program that has had enough closes the pipe, which is its right.
        let _ = pipe.as_mut().expect("standard input is piped").write_all(input);
        if !leave_open {
            pipe = None;
        }
    }
    let out = collect(child.stdout.take().expect("standard output is piped"));
    let err = collect(child.stderr.take().expect("standard error is piped"));
    let code = loop {
        if let Some(status) = child.try_wait().expect("one's own child can be asked") {
            break status.code();
        }
        if started.elapsed() > deadline {
            // It may end by itself in this moment, and then can't be killed.
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
    /// What Wine answers now and then when it is busy; the same call succeeds a moment later.
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

/// Reads a stream on a thread: the program must not block on a full pipe.
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

/// What came, up to the end of the stream. A process that was left behind can hold the stream open, so there is a
/// limit to how long the end is waited for.
fn text(stream: &Receiver<Vec<u8>>) -> String {
    let mut bytes = Vec::new();
    while let Ok(part) = stream.recv_timeout(Duration::from_secs(2)) {
        bytes.extend(part);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
