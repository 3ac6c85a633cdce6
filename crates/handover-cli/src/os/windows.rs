//! Windows.

use std::path::Path;
use std::process::ExitStatus;

/// What to do where a right is lacking.
pub(crate) const WHO_HAS_RIGHTS: &str =
    "run this as the process's own user, or with the privilege SeDebugPrivilege";

/// Whether a path leads to a FIFO, which is nothing that lies in a folder here.
pub(crate) fn is_fifo(_: &Path) -> bool {
    false
}

/// The call that starts a program.
pub(crate) const STARTING: &str = "CreateProcessW";

/// The exit code that stands for how a command ended: its own.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_default()
}

/// The system's name.
pub(crate) const SYSTEM: &str = "Windows";

/// Giving an event to a child that runs: into its handle table, and the number over its standard input.
pub(crate) mod duplication {
    use std::sync::mpsc;

    use handover::os::windows::Access;
    use handover::{Child, Command, Event, HandleValue, Stdio};

    use crate::exit::Stop;
    use crate::record::roles::{TIME, adopt};

    /// The child's standard input is a pipe.
    pub(crate) fn prepare<'a, 'b>(command: &'a mut Command<'b>) -> &'a mut Command<'b> {
        command.stdin(Stdio::piped())
    }

    /// The parent's half.
    pub(crate) fn hand_over(event: &Event, child: &mut Child) -> Result<(), Stop> {
        let copy = child.process().duplicate_into(event.with_access(Access::SYNCHRONIZE))?;
        match child.stdin.as_mut() {
            Some(pipe) => Ok(copy.write_to(pipe)?),
            None => Err(Stop::failed("the child has no pipe")),
        }
    }

    /// The child's half.
    pub(crate) fn take_over() -> Result<Event, Stop> {
        let (sender, receiver) = mpsc::channel();
        // A read can't be told to end at a deadline; the thread that is stuck in one ends with the process.
        std::thread::spawn(move || sender.send(HandleValue::from_stdin()));
        let late =
            |_| Stop::failed(format_args!("timed out after {TIME:?}: waiting for a line on standard input"));
        Ok(adopt(receiver.recv_timeout(TIME).map_err(late)??)?)
    }
}
