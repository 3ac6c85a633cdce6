//! Shares an unnamed event with two children. One signal releases both.

use handover::Event;

fn main() -> std::process::ExitCode {
    exercises::parent("Shares an unnamed event with two children, which inherit it", |options, ()| {
        // Create an unnamed event kernel object. It has to stay signaled until both children have seen it, so it is a
        // manual-reset event: an auto-reset event would release one child, and a waiting child would take the signal.
        let event = Event::manual_reset()?;

        // Spawn two child processes. Each one inherits the event, and waits as the child of the first exercise does.
        let mut children = Vec::new();
        for _ in 0..2 {
            let mut command = options.child("inheritance-child")?;
            children.push(command.inherit("event", &event).arg_handle("{event}").spawn()?);
        }
        for child in &mut children {
            options.delay(child)?;
        }

        // Signal the unnamed event object, once.
        if options.signals() {
            event.set()?;
        }

        // Wait for both child processes to terminate.
        for child in &mut children {
            options.wait_for_exit(child)?;
        }

        // Cleanup and exit.
        drop(event);
        Ok(())
    })
}
