//! Waits for an event with a handle that can do nothing else.

use handover::HandleValue;

#[derive(clap::Args)]
struct Arguments {
    /// The event's handle value in this process: in decimal, or in hex with 0x
    #[arg(allow_hyphen_values = true)]
    handle: HandleValue,
}

fn main() -> std::process::ExitCode {
    exercises::child("Waits for an event with the least access", |options, Arguments { handle }| {
        #[cfg(windows)]
        type Event = handover::Event;
        // On Linux the reading end of a pipe serves as the event.
        #[cfg(target_os = "linux")]
        type Event = std::fs::File;
        #[allow(unsafe_code, reason = "the library can't check who owns a handle")]
        // SAFETY: the parent made this handle for this process and passed its value here, and no other code of this
        // process owns it. With two owners, the second close could hit an unrelated handle with the same value.
        let event: Event = unsafe { handle.adopt() }?;

        // Wait for the event object to become signaled.
        #[cfg(windows)]
        event.wait_timeout(options.time_left())?;
        #[cfg(target_os = "linux")]
        options.until_deadline("a byte", move || Ok(std::io::Read::read_exact(&mut &event, &mut [0])))??;
        Ok(())
    })
}
