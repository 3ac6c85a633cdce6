//! The parent of the exercise "inheritance". Do the steps marked TODO in `run`, in their order.
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
    // Step 1. TODO: create an event without a name. Its handle must be inheritable. On Windows, CreateEventW is in
    // windows_sys::Win32::System::Threading; on Linux, eventfd is in rustix::event.

    // Step 2: start the child. TODO: pass the handle value as its argument. On both systems std's Command lets a child
    // inherit each handle that is inheritable.
    let mut child = start_child("0")?;

    // Step 3. TODO: signal the event.

    // Step 4: wait until the child exits.
    let code = wait_for_exit(&mut child)?;

    // Step 5. TODO: close the handle to the event.

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
