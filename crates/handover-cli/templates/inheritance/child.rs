//! The child of the exercise "inheritance". Its argument is the value of an inherited handle. Do the steps marked TODO in
//! `run`, in their order.
//!
//! Exit codes: 0 it has seen the signal; 1 a call failed; 2 wrong usage; 3 the deadline passed; 4 not done yet.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(argument), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: child HANDLE");
        return ExitCode::from(2);
    };
    match run(&argument) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("child: {error}");
            ExitCode::from(1)
        }
    }
}

fn run(argument: &str) -> io::Result<u8> {
    let code = 0;

    // Step 1. TODO: make an OwnedHandle (Linux: an OwnedFd) of the number. That is unsafe: a number doesn't prove that this
    // process owns a handle with that value. If the text isn't a number, return 2.

    // Step 2. TODO: wait for the event, at most ten seconds. WaitForSingleObject is in
    // windows_sys::Win32::System::Threading; on Linux, use rustix::event::poll, and then rustix::io::read. If the deadline
    // passes, return 3; if a call fails, 1.

    // Step 3: the handle is closed when its owner is dropped.

    // TODO: delete these two lines when all steps are done.
    eprintln!("child: not done yet: do the steps marked TODO in child.rs; its argument is {argument}");
    let code = 4.max(code);

    Ok(code)
}
