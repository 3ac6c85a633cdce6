//! The parts of the program that are specific to Windows.

use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::ExitStatus;

/// Advice for the user when access to a process was denied.
pub(crate) const ACCESS_ADVICE: &str =
    "run this as the process's own user, or with the privilege SeDebugPrivilege";

/// Returns false: Windows has no FIFOs in its file system.
pub(crate) fn is_fifo(_: &Path) -> bool {
    false
}

/// Splits an argument at its first equals sign.
pub(crate) fn split_at_equals(text: &OsStr) -> Option<(OsString, OsString)> {
    let units: Vec<u16> = text.encode_wide().collect();
    let mut parts = units.splitn(2, |unit| *unit == u16::from(b'=')).map(OsString::from_wide);
    Some((parts.next()?, parts.next()?))
}

/// The call that starts a program.
pub(crate) const SPAWN_CALL: &str = "CreateProcessW";

/// Returns the exit code to pass on, which is the command's own.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_default()
}

/// A command's process tree, while `handover run` waits for the command.
pub(crate) mod tree {
    use std::os::windows::io::{AsHandle, AsRawHandle};

    use handover::os::windows::CommandExt;
    use handover::{Child, Command};
    use win32job::{ExtendedLimitInfo, Job};

    use crate::exit::{Stop, code};

    /// A job that contains the command and the processes that it starts.
    #[derive(Debug)]
    pub(crate) struct Tree(Job);

    impl Tree {
        /// Prepares this process. It lets the command handle ^C.
        pub(crate) fn prepare() -> Result<Self, Stop> {
            super::leave_terminal_signals_to_command();
            let failed = |error| {
                Stop::with_code(
                    code::SETUP_FAILED,
                    format_args!("cannot create a job for the command: {error}"),
                )
            };
            Job::create().map(Self).map_err(failed)
        }

        pub(crate) fn spawn(&self, command: &mut Command<'_>) -> handover::Result<Child> {
            let child = command.spawn_suspended()?;
            let handle = child.process().as_handle().as_raw_handle().expose_provenance();
            // If the command can't be put into the job, the timeout ends the command alone.
            let _ = self.0.assign_process(handle.cast_signed());
            child.resume()
        }

        /// Kills all processes that the command has started.
        pub(crate) fn end(self) {
            let mut limits = ExtendedLimitInfo::new();
            limits.limit_kill_on_job_close();
            // It can't fail for a job of this process's own, which is closed next.
            let _ = self.0.set_extended_limit_info(&limits);
        }
    }
}

/// Does nothing: the session ends each process of a pair.
#[allow(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
pub(crate) fn prepare_check() -> Result<(), crate::exit::Stop> {
    Ok(())
}

/// Does nothing: no key of the terminal reaches the pair before the checker.
pub(crate) fn set_apart(_: &mut std::process::Command) {}

/// Does nothing: the session's job ends them.
pub(crate) fn end_escaped_processes() {}

/// Lets the command decide what ^C does: this process goes on, and reports how the command ended.
pub(crate) fn leave_terminal_signals_to_command() {
    // If it fails, ^C ends this process, as without the call.
    let _ = ctrlc::set_handler(|| {});
}

/// Does nothing: Windows has no signals.
pub(crate) fn reset_signals() {}

/// The parts of advice, in `handover check`, that name the system's calls.
pub(crate) mod advice {
    use handover::inspect::observe::{Action, Kind};

    pub(crate) const EVENTS: &str = "event, semaphore, mutex or pipe";
    pub(crate) const SPAWN: &str = "start the child with CreateProcessW, or your language's function for it";
    pub(crate) const CHILD_NOT_FOUND: &str = "check that the path of the child's program is right, and look at the error that GetLastError returns";
    pub(crate) const MAKE_INHERITABLE: &str = "create it with a SECURITY_ATTRIBUTES whose bInheritHandle is TRUE, or call SetHandleInformation with HANDLE_FLAG_INHERIT before you start the child";
    pub(crate) const DUPLICATE: &str = "call DuplicateHandle with the child's process handle as the target, and send the new value to the child; or let the child duplicate it out of the parent's process";
    pub(crate) const DONT_INHERIT: &str = "create the handle without bInheritHandle, so that the child gets it by the exercise's strategy alone";
    pub(crate) const WAIT: &str = "wait with WaitForSingleObject, and compare its result with WAIT_OBJECT_0; check that the child reads the handle's number exactly as the parent writes it";
    pub(crate) const SIGNAL: &str = "after the child has been started, call SetEvent";
    pub(crate) const WAIT_FOR_CHILD: &str = "wait for the child's process handle (hProcess) with WaitForSingleObject, and look at the code that GetExitCodeProcess returns";
    pub(crate) const REPLACED: &str = "replaced by a semaphore without the right to wait";
    pub(crate) const CHECK_RESULTS: &str = "check the result of each call in the child: only WAIT_OBJECT_0 is the signal, and neither WAIT_FAILED nor WAIT_TIMEOUT is; exit with another code if a call fails";
    pub(crate) const CLEAR_INHERIT: &str = "clear it with SetHandleInformation";
    pub(crate) const ONE_SIGNAL: &str =
        "an auto-reset event releases one waiter; create a manual-reset event, which stays signaled";
    pub(crate) const LEAST_ACCESS: &str =
        "duplicate the handle with the access SYNCHRONIZE alone, instead of DUPLICATE_SAME_ACCESS";
    pub(crate) const MUTEX: &str = "create one with CreateMutexW";
    pub(crate) const ABANDONED: &str = "exit with code 4 if the wait returns WAIT_ABANDONED";
    pub(crate) const OWN_HANDLE_ONLY: &str = "list the handles of each child with PROC_THREAD_ATTRIBUTE_HANDLE_LIST; bInheritHandles alone passes all that are inheritable";
    pub(crate) const INHERIT: &str = "call CreateProcessW with bInheritHandles TRUE; a handle list (PROC_THREAD_ATTRIBUTE_HANDLE_LIST) must contain the handle";
    pub(crate) const NO_PSEUDO_HANDLE: &str = "a pseudo handle, such as that of GetCurrentProcess, means the process that uses it; give the child the parent's process id or a real handle to the parent";
    /// Whether a parent can limit the time of its wait for a child.
    pub(crate) const PARENT_CAN_LIMIT_ITS_WAIT: bool = true;

    /// Returns a remark on a call that asks for more rights than a child needs.
    pub(crate) fn excess_of(action: &Action) -> Option<&'static str> {
        match action {
            Action::OpenProcess { access, .. } if access.contains("PROCESS_ALL_ACCESS") => Some(
                "the child opens a process with PROCESS_ALL_ACCESS; to duplicate its handles, PROCESS_DUP_HANDLE is enough",
            ),
            Action::Open { kind: Kind::Event, access, .. } if access != "SYNCHRONIZE" => {
                Some("the child opens the event with more rights than SYNCHRONIZE, which is enough to wait")
            }
            Action::Duplicate { access, .. } if access.as_deref() != Some("SYNCHRONIZE") => Some(
                "the child's duplicate has more rights than SYNCHRONIZE, which is enough to wait; DuplicateHandle without DUPLICATE_SAME_ACCESS can leave them out",
            ),
            _ => None,
        }
    }
}

/// Whether a new process runs only after a call of its parent has returned: `CreateProcessW` resumes the first thread. Under
/// Wine, the process is reported before that.
pub(crate) const PARENT_STARTS_FIRST_THREAD: bool = true;

/// Whether the system opens handles in a new process that stay open, under the lowest free values.
pub(crate) const CLOSED_VALUES_ARE_REUSED: bool = true;

/// Returns whether a read that fails with this code has come to the end of a pipe: `ERROR_BROKEN_PIPE`.
pub(crate) fn is_end_of_pipe(code: i32) -> bool {
    code == 109
}

/// Returns the status of a process that has exited with a code.
#[cfg(test)]
pub(crate) fn exit_status(code: u8) -> ExitStatus {
    std::os::windows::process::ExitStatusExt::from_raw(code.into())
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

/// The commands that build and start the programs of `handover new`. Those for mingw are in the template's README.
pub(crate) mod template {
    pub(crate) const BUILD_C: &str = "cl /W3 parent.c && cl /W3 child.c";
    pub(crate) const BUILD_CPP: &str = "cl /W3 /EHsc parent.cpp && cl /W3 /EHsc child.cpp";
    pub(crate) const PARENT_IN_C: &str = ".\\parent.exe";
    pub(crate) const PARENT_IN_RUST: &str = "target\\debug\\parent.exe";
    pub(crate) const PARENT_IN_PYTHON: &str = "python parent.py";
}

/// Returns whether a handle with these rights can only wait.
pub(crate) fn can_only_wait(access: &str) -> bool {
    access == "SYNCHRONIZE"
}
