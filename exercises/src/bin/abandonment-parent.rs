//! Waits for a mutex that its child owns, and finds out whether the child has released or abandoned it.

use exercises::{Failure, SharedMutex};
use handover::Event;

fn main() -> std::process::ExitCode {
    exercises::parent("Waits for a mutex whose owner may be killed", |options, ()| {
        // Create the mutex, and an event with which the child says that it owns the mutex.
        let mutex = SharedMutex::new()?;
        let owned = Event::manual_reset()?;

        // Spawn the child process, which inherits both.
        let mut command = options.child("abandonment-child")?;
        command.inherit("mutex", mutex.object()).inherit("owned", &owned);
        let mut child = command.arg_handle("{mutex}").arg_handle("{owned}").spawn()?;
        owned.wait_timeout(options.timeout())?;

        // Wait for the mutex. If the child has abandoned it, its data may be half changed.
        let is_abandoned = mutex.hold(options.timeout(), Ok)?;

        // Wait for the child process to terminate. If it was killed, the mutex has said so already.
        let ended = options.wait_for_exit(&mut child);
        if is_abandoned { Err(Failure::Abandoned) } else { ended }
    })
}
