//! Reads a pipe to its end. Its parent has duplicated the reading end into it.

use std::fs::File;
use std::io::Read;

use handover::Channel;

fn main() -> std::process::ExitCode {
    exercises::child("Reads a pipe to the end, which its parent duplicates into it", |options, ()| {
        // Acquire a handle to the reading end. The message carries it, so no number has to be trusted.
        let mut reader: File = Channel::parent()?.recv_timeout(options.time_left())?.take("pipe")?;

        // Read to the end of file. It arrives when no process has a writing end any more: not this one, because it never
        // had one, and not the parent, because it closes its own.
        let text = options.until_deadline("the end of the pipe", move || {
            let mut text = String::new();
            Ok(reader.read_to_string(&mut text).map(|_| text))
        })??;

        // Cleanup and exit. The reading end was closed by the closure.
        println!("{text}");
        Ok(())
    })
}
