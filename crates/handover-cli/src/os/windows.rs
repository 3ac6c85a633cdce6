//! The parts of the program that are specific to Windows.

use std::path::Path;
use std::process::ExitStatus;

/// Advice for the user when access to a process was denied.
pub(crate) const ACCESS_ADVICE: &str =
    "run this as the process's own user, or with the privilege SeDebugPrivilege";

/// Returns false: Windows has no FIFOs in its file system.
pub(crate) fn is_fifo(_: &Path) -> bool {
    false
}

/// The call that starts a program.
pub(crate) const SPAWN_CALL: &str = "CreateProcessW";

/// Returns the exit code to pass on, which is the command's own.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_default()
}

/// The system's name.
pub(crate) const SYSTEM: &str = "Windows";

/// Duplicates an event into the handle table of a running child, and passes the handle value over its standard input.
pub(crate) mod duplication {
    use std::sync::mpsc;

    use handover::os::windows::Access;
    use handover::{Child, Command, Event, HandleValue, Stdio};

    use crate::exit::Stop;
    use crate::record::roles::{TIMEOUT, adopt};

    /// Makes the child's standard input a pipe, which carries the handle value.
    pub(crate) fn prepare<'a, 'b>(command: &'a mut Command<'b>) -> &'a mut Command<'b> {
        command.stdin(Stdio::piped())
    }

    /// Duplicates the event and writes the handle value, in the parent.
    pub(crate) fn give(event: &Event, child: &mut Child) -> Result<(), Stop> {
        let copy = child.process().duplicate_into(event.with_access(Access::SYNCHRONIZE))?;
        match child.stdin.as_mut() {
            Some(pipe) => Ok(copy.write_to(pipe)?),
            None => Err(Stop::failed("the child's standard input is not a pipe")),
        }
    }

    /// Reads the handle value and adopts the event, in the child.
    pub(crate) fn receive() -> Result<Event, Stop> {
        let (sender, receiver) = mpsc::channel();
        // A blocking read of standard input has no timeout. After the timeout, the thread ends with the process.
        std::thread::spawn(move || sender.send(HandleValue::from_stdin()));
        let timed_out = |_| {
            Stop::failed(format_args!("timed out after {TIMEOUT:?}: waiting for a line on standard input"))
        };
        Ok(adopt(receiver.recv_timeout(TIMEOUT).map_err(timed_out)??)?)
    }
}
