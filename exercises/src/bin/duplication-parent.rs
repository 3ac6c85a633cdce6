//! Shares an unnamed event with a child process that already runs, by duplicating the handle into it.

use handover::{Event, Stdio};

fn main() -> std::process::ExitCode {
    exercises::parent("Shares an unnamed event with a running child, by duplication", |options, ()| {
        // Create an unnamed event kernel object.
        let event = Event::manual_reset()?;

        // Spawn a child process with CreateProcess(). It inherits a pipe or a socket, but not the event.
        let mut command = options.child("duplication-child")?;
        let command = if cfg!(windows) { command.stdin(Stdio::piped()) } else { command.channel() };
        let mut child = command.spawn()?;

        // Duplicate the handle to the unnamed event object with DuplicateHandle(), and write its index in the
        // child's table to the pipe. On Linux a message carries the descriptor, and the kernel duplicates it.
        #[cfg(windows)]
        child.process().duplicate_into(&event)?.write_to(child.stdin.as_mut().expect("it is piped"))?;
        #[cfg(target_os = "linux")]
        child.take_channel().expect("it has one").send(handover::Message::default().with("event", &event))?;
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
