//! Passes an inherited event on to a child of its own, and waits until that child exits.

use handover::{Event, HandleValue};

#[derive(clap::Args)]
struct Arguments {
    /// The event's handle value in this process: in decimal, or in hex with 0x
    #[arg(allow_hyphen_values = true)]
    handle: HandleValue,
}

fn main() -> std::process::ExitCode {
    exercises::child("Passes an inherited event on to a child of its own", |options, Arguments { handle }| {
        // Acquire a handle to the unnamed event object. From here on it isn't inheritable any more, so it is passed on
        // to no process by accident.
        #[allow(unsafe_code, reason = "the library can't check who owns a handle")]
        // SAFETY: the parent made this handle for this process and passed its value here, and no other code of this
        // process owns it. With two owners, the second close could hit an unrelated handle with the same value.
        let event: Event = unsafe { handle.adopt() }?;

        // Spawn the grandchild. It inherits the event, perhaps with another handle value, which is its argument.
        let mut command = options.child("inheritance-child")?;
        let mut grandchild = command.inherit("event", &event).arg_handle("{event}").spawn()?;
        drop(event);

        // Wait for the grandchild to terminate. It waits for the event.
        options.wait_for_exit(&mut grandchild)
    })
}
