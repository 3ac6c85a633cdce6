//! Linux.

use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

/// What to do where a right is lacking.
pub(crate) const WHO_HAS_RIGHTS: &str = "run this as the process's own user or as root; a process can also forbid it to its own user (PR_SET_DUMPABLE)";

/// Whether a path leads to a FIFO.
pub(crate) fn is_fifo(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.file_type().is_fifo())
}

/// The call that starts a program.
pub(crate) const STARTING: &str = "execve";

/// The exit code that stands for how a command ended, as shells have it.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// The system's name.
pub(crate) const SYSTEM: &str = "Linux";

/// Giving an event to a child that runs: by a message that carries the descriptor.
pub(crate) mod duplication {
    use handover::{Channel, Child, Command, Event, Message};

    use crate::exit::Stop;
    use crate::record::roles::{EVENT, TIME, channel_of};

    /// The child inherits one end of a channel.
    pub(crate) fn prepare<'a, 'b>(command: &'a mut Command<'b>) -> &'a mut Command<'b> {
        command.channel()
    }

    /// The parent's half.
    pub(crate) fn hand_over(event: &Event, child: &mut Child) -> Result<(), Stop> {
        Ok(channel_of(child)?.send(Message::default().with(EVENT, event))?)
    }

    /// The child's half.
    pub(crate) fn take_over() -> Result<Event, Stop> {
        Ok(Channel::parent()?.recv_timeout(TIME)?.take(EVENT)?)
    }
}
