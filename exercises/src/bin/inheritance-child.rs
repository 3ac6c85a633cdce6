//! Waits for an unnamed event whose handle it inherited.

use handover::{Event, HandleValue};

#[derive(clap::Args)]
struct Arguments {
    /// The event's handle value in this process: in decimal, or in hex with 0x
    #[arg(allow_hyphen_values = true)]
    handle: HandleValue,
}

fn main() -> std::process::ExitCode {
    exercises::child("Waits for an unnamed event that it inherited", |options, Arguments { handle }| {
        // Acquire a handle to the unnamed event object. It is in this process's table already, at the index on the
        // command line. The library asks the kernel whether the object is an event.
        #[allow(unsafe_code, reason = "the library can't check who owns a handle")]
        // SAFETY: the parent made this handle for this process and passed its value here, and no other code of this
        // process owns it. With two owners, the second close could hit an unrelated handle with the same value.
        let event: Event = unsafe { handle.adopt() }?;

        // Wait for the event object to become signaled.
        event.wait_timeout(options.time_left())?;

        // Cleanup and exit.
        drop(event);
        Ok(())
    })
}
