//! Waits for an unnamed event that a process has duplicated into it which is not its parent.

use handover::Event;

#[derive(clap::Args)]
struct Arguments {
    /// The name under which the sharer listens
    name: String,
}

fn main() -> std::process::ExitCode {
    exercises::child("Waits for an event that an unrelated process shares", |options, Arguments { name }| {
        // Connect to the sharer. It may not have got so far yet, because no process has started the two in order.
        let channel = options.connect(&name)?;

        // Acquire a handle to the unnamed event object. It is a new entry of this process's table.
        let event: Event = channel.recv_timeout(options.time_left())?.take("event")?;

        // Wait for the event object to become signaled.
        event.wait_timeout(options.time_left())?;

        // Cleanup and exit. The end of the connection tells the sharer.
        drop(event);
        Ok(())
    })
}
