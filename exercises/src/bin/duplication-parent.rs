//! Shares an unnamed event with a child process that already runs, by duplicating the handle into it.

use std::process::ExitCode;

#[cfg(windows)]
use handover::os::windows::Access;
use handover::{Event, Stdio};

fn main() -> ExitCode {
    exercises::parent("Shares an unnamed event with a running child, by duplication", |options, ()| {
        // Create an unnamed event kernel object.
        let event = Event::manual_reset()?;

        // Spawn a child process with CreateProcess(). It inherits no handle to the event: only a pipe or a socket.
        let mut command = options.child("duplication-child")?;
        let mut child =
            if cfg!(windows) { command.stdin(Stdio::piped()) } else { command.channel() }.spawn()?;

        // Duplicate the handle to the unnamed event object with DuplicateHandle(): into the child's handle table, with
        // the right to wait for it and no other. The child reads its index there from the pipe.
        #[cfg(windows)]
        let copy = child.process().duplicate_into(event.with_access(Access::SYNCHRONIZE))?;
        #[cfg(windows)]
        copy.write_to(child.stdin.as_mut().expect("it is piped"))?;
        // Linux has no such call. A message carries the descriptor, and the kernel duplicates it into the receiver.
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
