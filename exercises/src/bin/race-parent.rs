//! Starts two children at the same time from two threads. Each one inherits its own event and no other.

use exercises::{Failure, ParentOptions};
use handover::Event;

/// Shares one event with one child.
fn share(options: &ParentOptions, event: &Event) -> Result<(), Failure> {
    // The list is this child's alone. A spawn that passes on all inheritable handles would also pass on a handle that the
    // other thread has made inheritable for its own child at that moment. With `race_free` there is no such moment.
    let mut command = options.child("inheritance-child")?;
    let mut child = command.race_free().inherit("event", event).arg_handle("{event}").spawn()?;
    options.delay(&mut child)?;
    event.set()?;
    options.wait_for_exit(&mut child)
}

fn main() -> std::process::ExitCode {
    exercises::parent("Starts two children at once, each with its own event", |options, ()| {
        // Create both events before any child starts, so that each child could get the wrong one.
        let events = [Event::manual_reset()?, Event::manual_reset()?];

        // Share each event in a thread of its own.
        std::thread::scope(|scope| {
            let threads = events.each_ref().map(|event| scope.spawn(|| share(options, event)));
            threads.into_iter().try_for_each(|thread| thread.join().expect("a thread doesn't panic"))
        })
    })
}
