//! The child of the exercise "duplication". On Windows its standard input is a pipe, from which it reads a handle value.
//! On Linux it is a Unix socket, from which it receives a descriptor. Do the steps marked TODO in `run`, in their order.
//!
//! Exit codes: 0 it has seen the signal; 1 a call failed; 2 wrong input; 3 the deadline passed; 4 not done yet.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("child: {error}");
            ExitCode::from(1)
        }
    }
}

fn run() -> io::Result<u8> {
    let code = 0;

    // Step 1. TODO: acquire the handle. On Windows, read a line from standard input, and make an OwnedHandle of its number.
    // That is unsafe: a number doesn't prove that this process owns a handle with that value. If the line isn't a number,
    // return 2. On Linux, receive a descriptor from standard input with rustix::net::recvmsg; if the message carries none,
    // return 1.

    // Step 2. TODO: wait for the event, at most ten seconds. WaitForSingleObject is in
    // windows_sys::Win32::System::Threading; on Linux, use rustix::event::poll, and then rustix::io::read. If the deadline
    // passes, return 3; if a call fails, 1.

    // Step 3: the handle is closed when its owner is dropped.

    // TODO: delete these two lines when all steps are done.
    eprintln!("child: not done yet: do the steps marked TODO in child.rs");
    let code = 4.max(code);

    Ok(code)
}
