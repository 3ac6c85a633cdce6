//! Values that differ between systems.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Output};

use handover::{Error, Event, HandleValue, ObjectKind, Process};

use crate::{Harmless, raw, table};

/// Whether a wait for several objects has a limit.
pub const WAITS_ARE_LIMITED: bool = false;

/// The system call that starts a program.
pub const START: &str = "execve";
/// The system call that fails if a child's working directory doesn't exist.
pub const CHANGE_DIRECTORY: &str = "chdir";

/// The minimum number of system calls of a spawn with an inherited stream before the child exists.
pub const CALLS_BEFORE_A_CHILD: u32 = 2;

/// The minimum number of system calls that accepting a client takes.
pub const CALLS_OF_ACCEPT: u32 = 5;

/// The default number of connections in the test of restarts.
pub const CONNECTIONS: usize = 10_000;

/// The default number of processes that a test of random kills kills.
pub const KILLS: u64 = 40;

/// The number of powers of two over which the delays before a kill are spread. The longest delay is half of a 60th of a
/// second.
pub const DELAY_MAGNITUDES: u64 = 12;

/// The maximum number of handles that stay in a process if the stronger endpoint is killed in the middle of sending.
/// Objects in flight belong to the kernel on Linux, so the number is 0.
pub const LEFT_BY_KILLED_STRONGER: usize = 0;

/// The errors that a child may get when its parent is killed.
pub const ERRORS_AFTER_PARENT_KILL: &[&str] = &["ProcessExited"];

/// Does nothing: Linux has no way to put an object into another process.
///
/// # Errors
///
/// Never fails.
pub fn push(_process: &Process, _object: &Event) -> Result<(), Error> {
    Ok(())
}

/// Asserts that the error reports the exit of the helper of race-free spawns. Linux has no helper.
///
/// # Panics
///
/// Panics if it is called.
pub fn assert_helper_exited(error: &Error) {
    panic!("Linux has no helper of race-free spawns: {error:?}");
}

/// Returns the kind that the kernel reports for a semaphore. Before Linux 6.5 it reports an event.
///
/// # Panics
///
/// Panics if the system cannot create a semaphore.
#[must_use]
pub fn kind_of_semaphore() -> ObjectKind {
    let semaphore = raw::semaphore();
    let page = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", semaphore.as_raw_fd()));
    let is_shown = page.expect("the descriptor is open").contains("eventfd-semaphore:");
    if is_shown { ObjectKind::Semaphore } else { ObjectKind::Event }
}

/// The system call that starts a thread.
pub const BEGIN_THREAD: &str = "clone3";
/// The name of a program that a spawn finds by searching PATH.
pub const BARE_NAME: &str = "cat";

/// The number of handles that the first spawn of a process may keep for later spawns.
pub const KEPT_BY_A_FIRST_SPAWN: usize = 0;

/// Calls whose failure may be ignored, each with the reason: in the first spawn of a process.
pub const HARMLESS_FIRST: &[Harmless] = &[];

/// Calls whose failure may be ignored when a child exits.
pub const HARMLESS_END: &[Harmless] = &[
    ("fstatfs", "the identity is only queried before the wait, to be known afterwards"),
    ("fstat", "the same, since Linux 6.9"),
    ("read", "the same, before Linux 6.9"),
    ("pidfd_send_signal", "whether the page was about this very process, before Linux 6.9"),
];

/// Calls whose failure may be ignored by a wait.
pub const HARMLESS_WAIT: &[Harmless] = &[("fcntl", "the wait queries the reset mode again")];

/// Calls whose failure may be ignored when a name is created or opened.
pub const HARMLESS_NAME: &[Harmless] = &[];

/// Calls whose failure may be ignored when handle tables are read.
pub const HARMLESS_LOOK: &[Harmless] = &[
    ("statx", "a failed query is reported in the descriptor's entry, and the other entries are complete"),
    ("open", "as above: the query whether memory is sealed"),
    ("fcntl", "as above"),
    ("fstatfs", "as above"),
];

/// Calls whose failure may be ignored by an audit.
pub const HARMLESS_AUDIT: &[Harmless] = &[
    ("open", "a process with a failed query is reported as incomplete, and the audit continues"),
    ("readdir", "as above"),
    ("readlink", "as above"),
    ("read", "as above"),
    ("statx", "as above"),
    ("kcmp", "as above"),
    ("ptrace", "the thread is identified again when it stops"),
    ("waitid", "the wait is repeated at the end"),
];

/// Calls whose failure may be ignored when a message is sent and received.
pub const HARMLESS_SEND: &[Harmless] = &[FILE_TYPE, EVENTFD, EVENTFD_WITHOUT_MARK];

/// The cheap questions for an object's kind when it arrives.
const FILE_TYPE: Harmless = ("statx", "the kind is asked for in another way");
const EVENTFD: Harmless = ("write+preadv2+fcntl", "as above");
const EVENTFD_WITHOUT_MARK: Harmless = ("write+preadv2", "as above");

/// Calls of a call and its reply whose failures are ignored.
pub const HARMLESS_CALL: &[Harmless] = &[
    FILE_TYPE,
    EVENTFD,
    EVENTFD_WITHOUT_MARK,
    ("shutdown", "the connection has ended, or ends when it is dropped"),
];

/// Calls of futures whose failures are ignored.
pub const HARMLESS_FUTURES: &[Harmless] = &[
    FILE_TYPE,
    EVENTFD,
    EVENTFD_WITHOUT_MARK,
    ("shutdown", "the connection has ended, or ends when it is dropped"),
    (
        "fstatfs",
        "the identity of a child that has exited can't be asked for later; its status doesn't need it",
    ),
    ("fstat", "as above"),
];

/// Calls whose failures are ignored when an endpoint has travelled.
pub const HARMLESS_TRAVEL: &[Harmless] = &[
    FILE_TYPE,
    EVENTFD,
    EVENTFD_WITHOUT_MARK,
    ("setsockopt", "the peer process stays unknown, and only the end of the connection shows"),
    ("sendmsg", "a greeting is sent again, or the peer process stays unknown"),
    ("ppoll", "the peer process stays unknown, or a descriptor of it is not shared"),
];

/// Calls whose failure may be ignored when a flush finds the connection closed.
pub const HARMLESS_FLUSH: &[Harmless] = &[
    ("read", "whether the peer process is exiting, which only chooses between two errors"),
    ("ppoll", "whether it has exited, likewise"),
];

/// Calls whose failure may be ignored when a channel is waited for beside other objects.
pub const HARMLESS_SET: &[Harmless] = &[
    FILE_TYPE,
    EVENTFD,
    EVENTFD_WITHOUT_MARK,
    ("recvmsg", "a wait reads before the receive, to which a real failure shows itself again"),
];

/// Calls that a send makes to read while it waits for the peer to make room. A small message never waits.
pub const READS_DURING_SEND: &[&str] = &[];

/// Calls whose failure may be ignored when a client is accepted.
pub const HARMLESS_CLIENT: &[Harmless] = &[
    ("getsockopt", "a client that cannot be identified is disconnected, and connects again"),
    ("ppoll", "a client whose process can't be queried is disconnected, and connects again"),
];

/// The id of another user.
pub const ANOTHER_USER: &str = "4294967294";

/// The variables that a program gets even if its environment was cleared.
pub const NEEDED_VARIABLES: &[&str] = &[];

/// The number of handles that this process keeps after a race-free spawn.
pub const KEPT_BY_RACE_FREE: usize = 0;

/// The number of handles that this process keeps after it has spawned a child that is killed with its parent.
pub const KEPT_BY_KILL_WITH_PARENT: usize = 0;

/// The number of handles that this process keeps for each sent object until the stronger endpoint has fetched it. On
/// Linux the kernel keeps it.
pub const KEPT_UNTIL_FETCHED: usize = 0;

/// Whether a sent object is in the weaker process's table before that process receives it.
pub const SENT_IS_IN_TABLE: bool = false;

/// Returns whether a child was killed by its parent.
#[must_use]
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9) && status.code().is_none()
}

/// Returns the access with which one of the library's objects arrives, if the sender's handle has the access `own`.
#[must_use]
pub const fn travelling_access(_kind: &ObjectKind, own: u32) -> u32 {
    own
}

/// Returns numbers that look like handles but are not: the current directory's descriptor `AT_FDCWD`.
#[must_use]
pub fn pseudo_handles() -> Vec<BorrowedFd<'static>> {
    vec![rustix::fs::CWD]
}

/// Returns process identities that a manifest for a child of this process cannot have.
#[must_use]
pub fn others() -> [String; 2] {
    // Process 1; and this process, whose environment the child has copied.
    [format!("{:010}", 1), format!("{:010}", std::process::id())]
}

/// Returns an argument that is allowed and is not UTF-8.
#[must_use]
pub fn not_text() -> OsString {
    OsString::from_vec(vec![0x61, 0xff, 0x62])
}

/// Formats a text as `says_what_it_got.c` prints it.
#[must_use]
pub fn to_hex(text: &OsStr) -> String {
    text.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses a text that `says_what_it_got.c` has printed.
///
/// # Panics
///
/// Panics if it is not in that format.
#[must_use]
pub fn from_hex(hex: &str) -> OsString {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
    OsString::from_vec((0..hex.len()).step_by(2).map(byte).collect())
}

/// The names of calls in tracing events.
pub mod call_names {
    /// Creates an event.
    pub const CREATE: &str = "eventfd2";
    /// Sets an event.
    pub const SET: &str = "write";
    /// Waits for an object.
    pub const WAIT: &str = "ppoll";
    /// Closes a handle.
    pub const CLOSE: &str = "close";
    /// Opens a process.
    pub const OPEN_PROCESS: &str = "pidfd_open";
    /// Queries the kind of a handle.
    pub const KIND: &str = "fstat";
    /// Starts a child.
    pub const SPAWN: &str = "clone+execve";
    /// Starts the command of an audit, by std's `Command`.
    pub const SPAWN_OF_STD: &str = "fork+execve";
    /// The calls of an audit, except the one that starts the command.
    pub const AUDIT: [&str; 9] =
        ["socketpair", "ptrace", "waitid", "readdir", "readlink", "read", "sendto", "recvmsg", "close"];
    /// Sends bytes over a channel.
    pub const SEND: &str = "sendto";
    /// Sends an object from the parent to the child.
    pub const PASS: &str = "sendmsg";

    /// The error of opening a process that doesn't exist.
    pub const NO_PROCESS: i32 = 3;

    /// Whether a parent fetches the child's objects out of the child's handle table.
    pub const PARENT_FETCHES: bool = false;

    /// The event of passing an object to a child: a part of its arguments, and its effects.
    #[must_use]
    pub fn passing(own: u32, _child: u32, _result: &str) -> (String, String) {
        (format!(", handles {own:#x}"), String::new())
    }
}

/// Runs a program with a forged manifest that names the program's own process, and returns its output.
///
/// # Panics
///
/// Panics if the shell cannot be started.
#[must_use]
pub fn forged(program: &Path, arguments: &[OsString], objects: &str) -> Output {
    // The shell's process becomes the program, so `$$` is the program's process id.
    let script = "HANDOVER_INHERITED=\"1 $$ $0\" exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, objects]).arg(program).args(arguments);
    command.output().expect("the shell starts")
}

/// Returns a handle value as the library's errors write it: in decimal.
#[must_use]
pub fn value_in_errors(value: HandleValue) -> String {
    value.to_string()
}

/// Returns the kind in `Error::NameKindMismatch` if a semaphore has the name, and its text.
#[must_use]
pub fn kind_of_named_semaphore() -> (Option<ObjectKind>, String) {
    let kind = kind_of_semaphore();
    let text = kind.to_string();
    (Some(kind), text)
}

/// Returns the maximum number of threads of a process in which that many tasks wait. A runtime waits for all with one of its threads.
#[must_use]
pub fn threads_for_waits(_count: usize) -> usize {
    16
}

/// The minimum number of receives that are dropped before they are ready in such a test.
pub const MIN_DROPPED: u64 = 100;

/// How many futures a test drops at random points.
pub const DROPPED_FUTURES: u64 = 60_000;

/// Calls whose failures are ignored when a child's output is collected.
pub const HARMLESS_OUTPUT: &[Harmless] = &[
    (
        "fstatfs",
        "the identity of a child that has exited can't be asked for later; its status doesn't need it",
    ),
    ("fstat", "as above"),
];

/// Calls whose failure only leaves something out of an observer's report, or is followed by another attempt.
pub const HARMLESS_OBSERVER: &[Harmless] = &[
    ("waitid", "while a session ends, the query is repeated"),
    ("readlink", "the report has no program, or no kind of a handle"),
    ("open", "the report has no arguments"),
    ("read", "the report has no arguments"),
];

/// How often a peer of tasks is killed in a test.
pub const ROUNDS_OF_KILLS: u32 = 100;

/// How many clients of a server run in one process, in a test with twenty of them.
pub const CLIENTS_OF_A_PROCESS: usize = 50;

/// Returns how many channels one thread serves in a test: 10,000, or as many as the limit of descriptors allows. Each takes
/// one descriptor.
#[must_use]
pub fn channels_of_one_thread() -> usize {
    members_with(1)
}

/// Returns how many events the largest set of a test has. Each takes two descriptors: its own, and the set's copy.
#[must_use]
pub fn events_of_largest_set() -> usize {
    members_with(2)
}

fn members_with(descriptors: usize) -> usize {
    const MOST: usize = 10_000;
    const OTHERS: usize = 500;
    (table::make_most_room(60_000).saturating_sub(OTHERS) / descriptors).min(MOST)
}
