//! Shares an event with a child that can wait for it, and can do nothing else with it.

fn main() -> std::process::ExitCode {
    exercises::parent("Shares an event for waiting alone", |options, ()| {
        let mut command = options.child("least-access-child")?;
        // Create the event, and let the child inherit a handle with the right SYNCHRONIZE alone.
        #[cfg(windows)]
        let event = handover::Event::manual_reset()?;
        #[cfg(windows)]
        command.inherit("event", event.with_access(handover::os::windows::Access::SYNCHRONIZE));
        // An eventfd's descriptor can always be written. A pipe has an end for each right, so one of them serves here.
        #[cfg(target_os = "linux")]
        let (reader, mut event) = exercises::pipe()?;
        #[cfg(target_os = "linux")]
        command.inherit("event", &reader);
        let mut child = command.arg_handle("{event}").spawn()?;
        options.delay(&mut child)?;

        // Signal the event.
        #[cfg(windows)]
        event.set()?;
        #[cfg(target_os = "linux")]
        std::io::Write::write_all(&mut event, b"x")?;

        // Wait for the child process to terminate.
        options.wait_for_exit(&mut child)
    })
}
