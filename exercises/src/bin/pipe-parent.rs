//! Duplicates the reading end of a pipe into a running child, and writes to the other end.

use std::io::Write;

use handover::Message;

fn main() -> std::process::ExitCode {
    exercises::parent("Duplicates a pipe's reading end into a running child", |options, ()| {
        // Create a pipe. Neither end is inheritable, so no other process keeps the pipe open by accident.
        let (reader, mut writer) = exercises::pipe()?;

        // Spawn a child process. It inherits its end of a channel, but not the pipe.
        let mut child = options.child("pipe-child")?.channel().spawn()?;

        // Duplicate the reading end, and close it here: this process has no use for it.
        child.take_channel().expect("it has one").send(Message::default().with("pipe", &reader))?;
        drop(reader);
        options.delay(&mut child)?;

        // Write. Then close the writing end, which is the only one: this is the end of file for the child.
        writer.write_all(b"bytes through the pipe")?;
        drop(writer);

        // Wait for the child process to terminate.
        options.wait_for_exit(&mut child)
    })
}
