//! Shares an unnamed event with a child, which passes it on to a child of its own.

use handover::Event;

fn main() -> std::process::ExitCode {
    exercises::parent("Shares an unnamed event with a child, which passes it on", |options, ()| {
        // Create an unnamed event kernel object.
        let event = Event::manual_reset()?;

        // Spawn a child process, which inherits the event. The parent doesn't know that there will be a grandchild.
        let mut command = options.child("grandchild-child")?;
        let mut child = command.inherit("event", &event).arg_handle("{event}").spawn()?;
        options.delay(&mut child)?;

        // Signal the unnamed event object.
        if options.signals() {
            event.set()?;
        }

        // Wait for the child process to terminate. It waits for the grandchild itself.
        options.wait_for_exit(&mut child)?;

        // Cleanup and exit.
        drop(event);
        Ok(())
    })
}
