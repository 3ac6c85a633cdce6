//! Values that differ between systems.

use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::io::BorrowedHandle;
use std::path::Path;
use std::process::{Command, ExitStatus, Output};

use handover::{Error, Event, HandleValue, ObjectKind, Process};

use crate::Harmless;

use super::table;

/// Whether a wait for several objects has a limit.
pub const WAITS_ARE_LIMITED: bool = true;

/// The system call that starts a program.
pub const START: &str = "CreateProcessW";
/// The system call that fails if a child's working directory doesn't exist.
pub const CHANGE_DIRECTORY: &str = "CreateProcessW";

/// The minimum number of system calls of a spawn with an inherited stream before the child exists.
pub const CALLS_BEFORE_A_CHILD: u32 = 5;

/// The minimum number of system calls that accepting a client takes.
pub const CALLS_OF_ACCEPT: u32 = 16;

/// The default number of connections in the test of restarts.
pub const CONNECTIONS: usize = 1_000;

/// The default number of processes that a test of random kills kills.
pub const KILLS: u64 = 10;

/// The number of powers of two over which the delays before a kill are spread. The longest delay is a 15th of a second.
pub const DELAY_MAGNITUDES: u64 = 13;

/// The maximum number of handles that stay in a process if the stronger endpoint is killed in the middle of sending:
/// the three handles of the endpoint of a client that was about to be accepted. See docs/threat-model.md.
pub const LEFT_BY_KILLED_STRONGER: usize = 3;

/// The errors that a child may get when its parent is killed.
pub const ERRORS_AFTER_PARENT_KILL: &[&str] = &["ProcessExited"];

/// Duplicates an object into a process and closes it there. Under Wine the copy stays open, because closing it
/// sometimes hangs while that process is in the middle of a call.
///
/// # Errors
///
/// Returns the library's error.
pub fn push(process: &Process, object: &Event) -> Result<(), Error> {
    let copy = process.duplicate_into(object)?;
    if table::is_wine() {
        let _ = copy.into_value();
    }
    Ok(())
}

/// Asserts that the error reports the exit of the helper of race-free spawns. Under Wine, its sporadic internal error
/// is accepted too.
///
/// # Panics
///
/// Panics if it is a different error.
pub fn assert_helper_exited(error: &Error) {
    const INTERNAL_ERROR: i32 = 1359;
    let is_wines_own = table::is_wine() && error.raw_os_error() == Some(INTERNAL_ERROR);
    assert!(is_wines_own || matches!(error, Error::ProcessExited { .. }), "{error:?}");
}

/// The system call that starts a thread.
pub const BEGIN_THREAD: &str = "CreateThread";
/// The name of a program that a spawn finds by searching PATH.
pub const BARE_NAME: &str = "cmd";

/// The number of handles that the first spawn of a process may keep for later spawns: the helper's and a job's.
pub const KEPT_BY_A_FIRST_SPAWN: usize = 3;

/// Calls whose failure may be ignored, each with the reason: in the first spawn of a process.
pub const HARMLESS_FIRST: &[Harmless] = &[];

/// Calls whose failure may be ignored when a child exits.
pub const HARMLESS_END: &[Harmless] =
    &[("GetProcessTimes", "the creation time is only queried before the wait, to be known afterwards")];

/// Calls whose failure may be ignored by a wait.
pub const HARMLESS_WAIT: &[Harmless] = &[];

/// Calls whose failure may be ignored when a name is created or opened.
pub const HARMLESS_NAME: &[Harmless] = &[];

/// Calls whose failure may be ignored when handle tables are read.
pub const HARMLESS_LOOK: &[Harmless] = &[
    (
        "DuplicateHandle",
        "a failed query is reported in the handle's entry, and the other entries are complete",
    ),
    ("NtQueryObject", "as above"),
    ("CreateEventW", "as above: for the thread that queries a file's name"),
    ("SetEvent", "as above"),
    ("CreateThread", "as above"),
    ("WaitForSingleObject", "as above"),
    ("GetProcessId", "as above: the query of the process behind a handle"),
];

/// Calls whose failure may be ignored by an audit.
pub const HARMLESS_AUDIT: &[Harmless] = &[
    ("DuplicateHandle", "a failed query is reported in the handle's entry, and the audit continues"),
    ("NtQueryObject", "as above"),
    ("CreateEventW", "as above: for the thread that queries a file's name"),
    ("SetEvent", "as above"),
    ("CreateThread", "as above"),
    ("WaitForSingleObject", "as above"),
    ("GetProcessId", "as above: the query of the process behind a handle"),
    ("CompareObjectHandles", "as above: the query whether a handle is a stream"),
    ("NtQueryInformationProcess", "a process with a failed query is reported as incomplete"),
    ("NtQuerySystemInformation", "as above"),
    ("ReadProcessMemory", "as above"),
    ("QueryFullProcessImageNameW", "as above"),
    ("GetExitCodeProcess", "as above"),
];

/// Calls whose failure may be ignored when a message is sent and received.
pub const HARMLESS_SEND: &[Harmless] = &[KIND];

/// The question for an object's kind when it arrives.
const KIND: Harmless =
    ("NtQueryObject", "without memory for the answer, the kind is asked for when the object is taken");

/// Calls of a call and its reply whose failures are ignored.
pub const HARMLESS_CALL: &[Harmless] = &[KIND];

/// Calls of futures whose failures are ignored.
pub const HARMLESS_FUTURES: &[Harmless] = &[
    KIND,
    ("ReadFile", "after a receive the next read begins, whose failure the next receive reports"),
    ("GetOverlappedResult", "it is the second half of such a read"),
    ("GetProcessTimes", "the creation time is only queried before a child's exit, to be known afterwards"),
];

/// Calls whose failures are ignored when an endpoint has travelled.
pub const HARMLESS_TRAVEL: &[Harmless] = &[
    KIND,
    ("GetProcessId", "the peer process stays unknown, and only the end of the pipe shows"),
    ("GetProcessTimes", "likewise"),
];

/// Calls whose failure may be ignored when a channel is waited for beside other objects.
pub const HARMLESS_SET: &[Harmless] = &[
    KIND,
    ("ReadFile", "a wait reads before the receive, to which a real failure shows itself again"),
    ("GetOverlappedResult", "it is the second half of such a read"),
    ("WaitForSingleObject", "a member that can't be asked is asked again by the next wait"),
];

/// Calls that a send makes to read while it waits for the pipe, as it does on a busy machine. A real failure of such a
/// read repeats in the next receive; an injected one doesn't.
pub const READS_DURING_SEND: &[&str] = &["ReadFile", "GetOverlappedResult"];

/// Calls whose failure may be ignored when a client is accepted.
pub const HARMLESS_CLIENT: &[Harmless] = &[
    (
        "GetNamedPipeClientProcessId",
        "a client whose process can't be queried is disconnected, and connects again",
    ),
    ("OpenProcess", "as above"),
    ("OpenProcessToken", "as above"),
    ("GetTokenInformation", "as above"),
    ("ConvertSidToStringSidW", "as above"),
    ("ConnectNamedPipe", "without room, the listener waits a moment and tries again"),
    ("DisconnectNamedPipe", "the client is disconnected already"),
    ("ReadFile", "the ledger says whether the client has connected"),
    ("GetOverlappedResult", "as above"),
    ("WaitForMultipleObjects", "as above"),
];

/// The SID of another user.
pub const ANOTHER_USER: &str = "S-1-5-21-1-2-3-1000";

/// The variables that a program gets even if its environment was cleared.
pub const NEEDED_VARIABLES: &[&str] = &["SYSTEMROOT"];

/// The number of handles that this process keeps after a race-free spawn: the helper's process, its thread and its job.
pub const KEPT_BY_RACE_FREE: usize = 3;

/// The number of handles that this process keeps after it has spawned a child that is killed with its parent: a job's.
pub const KEPT_BY_KILL_WITH_PARENT: usize = 1;

/// The number of handles that this process keeps for each message with one object until the stronger endpoint has
/// fetched it.
pub const KEPT_UNTIL_FETCHED: usize = 1;

/// Whether a sent object is in the weaker process's table before that process receives it.
pub const SENT_IS_IN_TABLE: bool = true;

/// Returns whether a child was killed by its parent.
#[must_use]
pub fn was_killed(status: ExitStatus) -> bool {
    status.code() == Some(1)
}

/// Returns the access with which one of the library's objects arrives, if the sender's handle has the access `own`.
#[must_use]
pub const fn travelling_access(kind: &ObjectKind, own: u32) -> u32 {
    match kind {
        ObjectKind::Event => 0x0010_0002,
        _ => own,
    }
}

/// Returns numbers that look like handles but are not.
#[must_use]
pub fn pseudo_handles() -> Vec<BorrowedHandle<'static>> {
    vec![table::current_process(), table::borrowed(0)]
}

/// Returns process identities that a manifest for a child of this process cannot have.
#[must_use]
pub fn others() -> [String; 2] {
    let this = std::process::id();
    // Another parent; and an earlier process with this process's id.
    [format!("{}@1", this + 4), format!("{this}@1")]
}

/// Returns an argument that is allowed and is not valid Unicode: it contains a lone surrogate.
#[must_use]
pub fn not_text() -> OsString {
    OsString::from_wide(&[0x61, 0xd800, 0x62])
}

/// Formats a text as `says_what_it_got.c` prints it.
#[must_use]
pub fn to_hex(text: &OsStr) -> String {
    text.encode_wide().map(|unit| format!("{unit:04x}")).collect()
}

/// Parses a text that `says_what_it_got.c` has printed.
///
/// # Panics
///
/// Panics if it is not in that format.
#[must_use]
pub fn from_hex(hex: &str) -> OsString {
    let unit = |at: usize| u16::from_str_radix(&hex[at..at + 4], 16).expect("hex digits");
    OsString::from_wide(&(0..hex.len()).step_by(4).map(unit).collect::<Vec<_>>())
}

/// The names of calls in tracing events.
pub mod call_names {
    /// Creates an event.
    pub const CREATE: &str = "CreateEventW";
    /// Sets an event.
    pub const SET: &str = "SetEvent";
    /// Waits for an object.
    pub const WAIT: &str = "WaitForSingleObject";
    /// Closes a handle.
    pub const CLOSE: &str = "CloseHandle";
    /// Opens a process.
    pub const OPEN_PROCESS: &str = "OpenProcess";
    /// Queries the kind of a handle.
    pub const KIND: &str = "NtQueryObject";
    /// Starts a child.
    pub const SPAWN: &str = "CreateProcessW";
    /// Starts the command of an audit, by std's `Command`.
    pub const SPAWN_OF_STD: &str = SPAWN;
    /// The calls of an audit, except the one that starts the command.
    pub const AUDIT: [&str; 9] = [
        "DbgUiConnectToDbg",
        "DbgUiWaitStateChange",
        "DbgUiContinue",
        "NtQueryInformationProcess",
        "ReadProcessMemory",
        "QueryFullProcessImageNameW",
        "NtQuerySystemInformation",
        "DuplicateHandle",
        "CloseHandle",
    ];
    /// Sends bytes over a channel.
    pub const SEND: &str = "WriteFile";
    /// Sends an object from the parent to the child.
    pub const PASS: &str = "DuplicateHandle";

    /// The error of opening a process that doesn't exist.
    pub const NO_PROCESS: i32 = 87;

    /// Whether a parent fetches the child's objects out of the child's handle table.
    pub const PARENT_FETCHES: bool = true;

    /// The event of passing an object to a child: a part of its arguments, and its effects.
    #[must_use]
    pub fn passing(own: u32, child: u32, result: &str) -> (String, String) {
        (format!("handle {own:#x}, into process {child}, access 0x"), format!("+{result}@{child}={own:#x}"))
    }
}

/// Returns the kind that the system reports for a semaphore.
#[must_use]
pub fn kind_of_semaphore() -> ObjectKind {
    ObjectKind::Semaphore
}

/// Runs a program with a forged manifest for a child of this process, and returns its output.
///
/// # Panics
///
/// Panics if the program can't be started.
#[must_use]
pub fn forged(program: &Path, arguments: &[OsString], objects: &str) -> Output {
    let this = Process::current_identity().expect("a process knows itself");
    let mut command = Command::new(program);
    command.args(arguments).env("HANDOVER_INHERITED", format!("1 {this} {objects}"));
    command.output().expect("the program starts")
}

/// Returns a handle value as the library's errors write it: in decimal and in hex.
#[must_use]
pub fn value_in_errors(value: HandleValue) -> String {
    format!("{value} ({value:#x})")
}

/// Returns the kind in `Error::NameKindMismatch` if a semaphore has the name, and its text. Windows reports no kind.
#[must_use]
pub fn kind_of_named_semaphore() -> (Option<ObjectKind>, String) {
    (None, "an object of another kind".into())
}

/// Returns the maximum number of threads of a process in which that many tasks wait. One thread of the pool waits for 63, and the runtime has some.
#[must_use]
pub fn threads_for_waits(count: usize) -> usize {
    count.div_ceil(63) + 8
}

/// The minimum number of receives that are dropped before they are ready in such a test.
pub const MIN_DROPPED: u64 = 10;

/// How many futures a test drops at random points.
pub const DROPPED_FUTURES: u64 = 2_000;

/// Calls whose failures are ignored when a child's output is collected.
pub const HARMLESS_OUTPUT: &[Harmless] =
    &[("GetProcessTimes", "the creation time is only queried before a child's exit, to be known afterwards")];

/// Calls whose failure only leaves something out of an observer's report, or is followed by another attempt.
pub const HARMLESS_OBSERVER: &[Harmless] = &[
    ("AssignProcessToJobObject", "the debugger ends the process without the job"),
    ("NtQueryInformationProcess", "the report has no parent or no arguments"),
    ("ReadProcessMemory", "the report has no arguments"),
    ("QueryFullProcessImageNameW", "the report has no program"),
    ("DbgUiContinue", "while a session ends, the process exits when its debugger stops"),
    ("DbgUiWaitStateChange", "while a session ends, its processes exit when their debugger stops"),
    ("TerminateProcess", "the process exits when its debugger stops"),
];

/// How often a peer of tasks is killed in a test.
pub const ROUNDS_OF_KILLS: u32 = 15;

/// How many clients of a server run in one process, in a test with twenty of them.
pub const CLIENTS_OF_A_PROCESS: usize = 10;

/// Returns how many channels one thread serves in a test.
#[must_use]
pub fn channels_of_one_thread() -> usize {
    200
}

/// Returns how many events the largest set of a test has.
#[must_use]
pub fn events_of_largest_set() -> usize {
    1000
}
