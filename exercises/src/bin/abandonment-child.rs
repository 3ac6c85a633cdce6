//! Owns a mutex for half a second, and releases it unless it is killed.

use std::thread::sleep;
use std::time::Duration;

use exercises::{MutexObject, SharedMutex};
use handover::{Event, HandleValue};

#[derive(clap::Args)]
struct Arguments {
    /// The mutex's handle value in this process; on Linux that of the memory that contains it
    mutex: HandleValue,
    /// The event's handle value in this process
    owned: HandleValue,
}

fn main() -> std::process::ExitCode {
    exercises::child("Owns a mutex for half a second", |options, Arguments { mutex, owned }| {
        #[allow(unsafe_code, reason = "the library can't check who owns a handle")]
        // SAFETY: the parent made this handle for this process and passed its value here, and no other code of this
        // process owns it. With two owners, the second close could hit an unrelated handle with the same value.
        let object: MutexObject = unsafe { mutex.adopt() }?;
        #[allow(unsafe_code, reason = "the library can't check who owns a handle")]
        // SAFETY: as above.
        let owned: Event = unsafe { owned.adopt() }?;

        // Own the mutex, say so, and work for a while. A killed process releases nothing, so the kernel does it.
        SharedMutex::open(object)?.hold(options.time_left(), |_| {
            owned.set()?;
            sleep(Duration::from_millis(500));
            Ok(())
        })
    })
}
