//! Shares an event with a child process, which opens it by its name.

use handover::{Event, ResetMode};

#[derive(clap::Args)]
struct Arguments {
    /// The event's name [default: one that no other parent has]
    #[arg(long)]
    name: Option<String>,
}

fn main() -> std::process::ExitCode {
    exercises::parent("Shares an event that has a name with a child", |options, Arguments { name }| {
        // Create a named event kernel object. It is an error if any object already has the name.
        let name = name.unwrap_or_else(|| format!("handover-exercise.{}", std::process::id()));
        let event = Event::create_named(&name, ResetMode::Manual)?;

        // Spawn a child process with CreateProcess(). It inherits no handle to the event: its argument is the name.
        let mut child = options.child("naming-child")?.arg(&name).spawn()?;
        options.delay(&mut child)?;

        // Signal the named event object.
        if options.signals() {
            event.set()?;
        }

        // Wait for the child process to terminate.
        options.wait_for_exit(&mut child)?;

        // Cleanup and exit.
        drop(event);
        Ok(())
    })
}
