//! Duplicates an unnamed event into a process that it hasn't started.

use handover::{Event, Listener, Message};

#[derive(clap::Args)]
struct Arguments {
    /// The name under which this process listens
    name: String,
}

fn main() -> std::process::ExitCode {
    exercises::child("Duplicates an event into an unrelated process", |options, Arguments { name }| {
        // Listen before there is anything to share. The name is the listener's; the event has none.
        let mut listener = Listener::bind(&name)?;

        // Create an unnamed event kernel object.
        let event = Event::manual_reset()?;

        // Let the receiver in, and duplicate the event into it. The library asks the kernel which process is at the
        // other end, so no process id has to be passed: on Windows it calls DuplicateHandle, on Linux a message carries
        // the descriptor.
        let channel = listener.accept_timeout(options.time_left())?.accept()?;
        channel.send(Message::default().with("event", &event))?;
        options.pause();

        // Signal the unnamed event object.
        event.set()?;

        // Wait until the receiver has closed its endpoint. The sharer is not its parent, so it gets no exit code.
        let gone = channel.recv_timeout(options.time_left());
        drop(event);
        exercises::expect_disconnected(gone)
    })
}
