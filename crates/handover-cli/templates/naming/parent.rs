//! The parent of the exercise "naming". Do the steps marked TODO in `run`, in their order.
//!
//! Exit codes: 0 all steps are done, and the child has seen the signal; 1 a call failed; 3 a deadline passed; 4 not done
//! yet; otherwise the child's own.

use std::io;
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

/// How long the parent waits for the child's end: longer than the child waits for the signal.
const DEADLINE: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("parent: {error}");
            ExitCode::from(1)
        }
    }
}

fn run() -> io::Result<u8> {
    // Step 1. TODO: create an object with a name, and fail if the name is in use. On Windows it is an event; CreateEventW is
    // in windows_sys::Win32::System::Threading. An eventfd of Linux has no name, so make a FIFO there: mknodat in rustix::fs,
    // in a new folder. Open it for reading and writing, which doesn't wait for a reader.

    // Step 2: start the child. TODO: pass the name as its argument.
    let mut child = start_child("no-name-yet")?;

    // Step 3. TODO: signal the event. In a FIFO, a byte is the signal.

    // Step 4: wait until the child exits.
    let code = wait_for_exit(&mut child)?;

    // Step 5. TODO: close the handle. Remove the FIFO and its folder, also if a step fails.

    // TODO: delete these two lines when all steps are done.
    eprintln!("parent: not done yet: do the steps marked TODO in parent.rs");
    let code = code.max(4);

    Ok(code)
}

/// Starts the program `child` from this program's folder, with one argument.
fn start_child(argument: &str) -> io::Result<Child> {
    let program =
        std::env::current_exe()?.with_file_name("child").with_extension(std::env::consts::EXE_EXTENSION);
    Command::new(&program).arg(argument).spawn().map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot start {}: {error}; cargo build makes it", program.display()),
        )
    })
}

/// Waits until the child exits, and returns its exit code. Ends it at the deadline.
fn wait_for_exit(child: &mut Child) -> io::Result<u8> {
    let started = Instant::now();
    while started.elapsed() < DEADLINE {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
        }
        thread::sleep(Duration::from_millis(10));
    }
    eprintln!("parent: the child didn't exit within {DEADLINE:?}, so it is ended");
    child.kill()?;
    child.wait()?;
    Ok(3)
}
