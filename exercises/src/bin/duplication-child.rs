//! Waits for an unnamed event that its parent duplicates into it.

use handover::Event;

fn main() -> std::process::ExitCode {
    exercises::child("Waits for an unnamed event that its parent duplicates into it", |options, ()| {
        // Acquire a handle to the unnamed event object. The parent puts it into this process's handle table, and
        // writes its index there to standard input.
        #[cfg(windows)]
        let handle = options.until_deadline("a line on standard input", handover::HandleValue::from_stdin)?;
        #[cfg(windows)]
        #[allow(unsafe_code, reason = "the library can't check who owns a handle")]
        // SAFETY: the parent duplicated this handle into this process and wrote its value, and no other code of this
        // process owns it. With two owners, the second close could hit an unrelated handle with the same value.
        let event: Event = unsafe { handle.adopt() }?;
        // On Linux the event arrives in a message, so no number has to be trusted.
        #[cfg(target_os = "linux")]
        let event: Event = handover::Channel::parent()?.recv_timeout(options.time_left())?.take("event")?;

        // Wait for the event object to become signaled.
        event.wait_timeout(options.time_left())?;

        // Cleanup and exit.
        drop(event);
        Ok(())
    })
}
