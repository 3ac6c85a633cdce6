//! The parent of the exercise "duplication". Do the steps marked TODO in `run`, in their order.
//!
//! Exit codes: 0 all steps are done, and the child has seen the signal; 1 a call failed; 3 a deadline passed; 4 not done
//! yet; otherwise the child's own.

use std::io;
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(windows)]
type Channel = std::process::ChildStdin;
#[cfg(unix)]
type Channel = std::os::unix::net::UnixStream;

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
    // Step 1. TODO: create an event without a name. Its handle must not be inheritable (Linux: EventfdFlags::CLOEXEC).
    // CreateEventW is in windows_sys::Win32::System::Threading, eventfd in rustix::event.

    // Step 2: start the child. It inherits its standard input and no handle to the event.
    let (mut child, channel) = start_child()?;

    // Step 3. TODO: on Windows, duplicate the handle into the child (DuplicateHandle, in windows_sys::Win32::Foundation),
    // and write the duplicate's value to the pipe, as one line. On Linux, send the descriptor over the socket, with
    // rustix::net::sendmsg. The channel is closed in any case, so that the child never waits for a message that doesn't come.
    drop(channel);

    // Step 4. TODO: signal the event.

    // Step 5: wait until the child exits.
    let code = wait_for_exit(&mut child)?;

    // Step 6. TODO: close the handle to the event.

    // TODO: delete these two lines when all steps are done.
    eprintln!("parent: not done yet: do the steps marked TODO in parent.rs");
    let code = code.max(4);

    Ok(code)
}

/// Starts the program `child` from this program's folder. Also returns what leads to its standard input: the writing end of a
/// pipe on Windows, one end of a Unix socket on Linux.
fn start_child() -> io::Result<(Child, Channel)> {
    let program =
        std::env::current_exe()?.with_file_name("child").with_extension(std::env::consts::EXE_EXTENSION);
    let mut command = Command::new(&program);
    let with_program = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("cannot start {}: {error}; cargo build makes it", program.display()),
        )
    };
    #[cfg(windows)]
    {
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().map_err(with_program)?;
        let pipe = child.stdin.take().expect("standard input is piped");
        Ok((child, pipe))
    }
    #[cfg(unix)]
    {
        let (near, far) = std::os::unix::net::UnixStream::pair()?;
        let child = command.stdin(std::os::fd::OwnedFd::from(far)).spawn().map_err(with_program)?;
        Ok((child, near))
    }
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
