//! The child of the exercise "naming". Its argument is the name of an event. Do the steps marked TODO in `run`, in their
//! order.
//!
//! Exit codes: 0 it has seen the signal; 1 a call failed; 2 wrong usage; 3 the deadline passed; 4 not done yet.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(argument), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: child NAME");
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

    // Step 1. TODO: open the object with this name. On Windows, OpenEventW is in windows_sys::Win32::System::Threading; ask
    // for the right SYNCHRONIZE alone. On Linux, open the FIFO for reading with std::fs::File.

    // Step 2. TODO: wait for the signal, at most ten seconds: WaitForSingleObject on Windows; rustix::event::poll, and then a
    // read, on Linux. If the deadline passes, return 3; if a call fails or the FIFO ends without a byte, 1.

    // Step 3: the handle is closed when its owner is dropped.

    // TODO: delete these two lines when all steps are done.
    eprintln!("child: not done yet: do the steps marked TODO in child.rs; its argument is {argument}");
    let code = 4.max(code);

    Ok(code)
}
