//! The parts of the program that are specific to Linux.

use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

/// Advice for the user when access to a process was denied.
pub(crate) const ACCESS_ADVICE: &str = "run this as the process's own user or as root; note that a process can also deny access to its own user (PR_SET_DUMPABLE)";

/// Whether the path leads to a FIFO.
pub(crate) fn is_fifo(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.file_type().is_fifo())
}

/// The call that starts a program.
pub(crate) const SPAWN_CALL: &str = "execve";

/// Returns the exit code to pass on. A command that was killed by a signal gives 128 plus the signal's number, as in
/// shells.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// The system's name.
pub(crate) const SYSTEM: &str = "Linux";

/// Gives an event to a running child in a message that carries the file descriptor.
pub(crate) mod duplication {
    use handover::{Channel, Child, Command, Event, Message};

    use crate::exit::Stop;
    use crate::record::roles::{EVENT, TIMEOUT, channel_of};

    /// Gives the child a channel to the parent.
    pub(crate) fn prepare<'a, 'b>(command: &'a mut Command<'b>) -> &'a mut Command<'b> {
        command.channel()
    }

    /// Sends the event, in the parent.
    pub(crate) fn give(event: &Event, child: &mut Child) -> Result<(), Stop> {
        Ok(channel_of(child)?.send(Message::default().with(EVENT, event))?)
    }

    /// Receives the event, in the child.
    pub(crate) fn receive() -> Result<Event, Stop> {
        Ok(Channel::parent()?.recv_timeout(TIMEOUT)?.take(EVENT)?)
    }
}
