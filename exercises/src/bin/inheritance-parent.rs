//! Shares an unnamed event with a child process, which inherits the handle.

use handover::Event;

fn main() -> std::process::ExitCode {
    exercises::parent("Shares an unnamed event with a child, which inherits the handle", |options, ()| {
        // Create an unnamed event kernel object.
        let event = Event::manual_reset()?;

        // Spawn a child process with CreateProcess(). It inherits the event and no other handle. Its only argument is
        // the handle value, because the child can't know which entry of its handle table is the event.
        let mut command = options.child("inheritance-child")?;
        let mut child = command.inherit("event", &event).arg_handle("{event}").spawn()?;
        options.delay(&mut child)?;

        // Signal the unnamed event object.
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
