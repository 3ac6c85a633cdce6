//! Waits for an event that it opens by its name.

use handover::Event;

#[derive(clap::Args)]
struct Arguments {
    /// The event's name
    name: String,
}

fn main() -> std::process::ExitCode {
    exercises::child("Waits for an event that it opens by its name", |options, Arguments { name }| {
        // Acquire a handle to the named event object. Any process of this user that knows the name can open it.
        let event = Event::open_named(&name)?;

        // Wait for the named event object to become signaled.
        event.wait_timeout(options.time_left())?;

        // Cleanup and exit.
        drop(event);
        Ok(())
    })
}
