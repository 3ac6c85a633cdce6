//! What differs between systems and doesn't matter.

use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Output};

use handover::{Error, Event, ObjectKind, Process};

use crate::Harmless;

/// The call with which a program is started.
pub const START: &str = "execve";
/// The call that fails if the folder isn't there in which a child is to start.
pub const CHANGE_FOLDER: &str = "chdir";

/// How many calls a spawn with a passed-on stream makes at least before there is a child.
pub const CALLS_BEFORE_A_CHILD: u32 = 2;

/// How many calls letting a client in takes at least.
pub const CALLS_OF_A_DOOR: u32 = 5;

/// How many processes are killed if nobody says how many.
pub const KILLS: u64 = 40;

/// By how many powers of two the moments differ at which one is killed; the longest is half a 60th of a second.
pub const MAGNITUDES_OF_A_MOMENT: u64 = 12;

/// How many handles can stay in a process that a stronger end has put there, and was killed before it could tell of: what is
/// under way is the kernel's here.
pub const LEFT_BY_A_KILLED_STRONGER: usize = 0;

/// What a child hears whose parent is killed.
pub const HEARD_OF_A_PARENT: &[&str] = &["ProcessExited"];

/// Puts an object into a process, which can't be done here.
///
/// # Errors
///
/// None.
pub fn push(_process: &Process, _object: &Event) -> Result<(), Error> {
    Ok(())
}

/// Asserts that an error is one by which a sealed spawn says that its helper was killed. Here there is none.
///
/// # Panics
///
/// Always.
pub fn helper_is_gone(error: &Error) {
    panic!("no sealed spawn has a helper here: {error:?}");
}

/// What a spawn is started by that looks for its file.
pub const BARE_NAME: &str = "cat";

/// How many handles the first spawn of a process may leave for the next: none.
pub const KEPT_BY_A_FIRST_SPAWN: usize = 0;

/// Calls whose failure is made light of, and why: in the first spawn of a process.
pub const HARMLESS_FIRST: &[Harmless] = &[];

/// When a child ends.
pub const HARMLESS_END: &[Harmless] = &[
    ("read", "when a child was created is asked before it is waited for, so that it is known afterwards"),
    ("pidfd_send_signal", "as above: whether the page was about this very process"),
];

/// When something is waited for.
pub const HARMLESS_WAIT: &[Harmless] = &[("fcntl", "how it is waited for is asked once more by the wait")];

/// When a name is taken.
pub const HARMLESS_NAME: &[Harmless] = &[];

/// When tables are looked into.
pub const HARMLESS_LOOK: &[Harmless] = &[
    ("statx", "what can't be asked of one descriptor stands in its row, and the rest is there"),
    ("open", "as above: whether memory is sealed"),
    ("fcntl", "as above"),
    ("fstatfs", "as above"),
];

/// When a command is audited.
pub const HARMLESS_AUDIT: &[Harmless] = &[
    ("open", "what can't be asked of a process is untold in its line, and the audit goes on"),
    ("readdir", "as above"),
    ("readlink", "as above"),
    ("read", "as above"),
    ("statx", "as above"),
    ("kcmp", "as above"),
    ("ptrace", "which thread was meant is heard of once more when it stops"),
    ("waitid", "at the end it is asked again"),
];

/// When a message is sent and received.
pub const HARMLESS_SEND: &[Harmless] = &[];

/// What is read while a send waits for room, which a small message never does.
pub const BESIDE_A_SEND: &[&str] = &[];

/// When a client is let in.
pub const HARMLESS_CLIENT: &[Harmless] =
    &[("ppoll", "a client that can't be asked who it is is sent away, and comes again")];

/// A user who isn't this one.
pub const ANOTHER_USER: &str = "4294967294";

/// The variables that a program gets though its environment was cleared.
pub const NEEDED_VARIABLES: &[&str] = &[];

/// How many handles this process keeps when it has spawned a sealed child.
pub const KEPT_BY_SEALED: usize = 0;

/// How many it keeps when it has spawned a child that is to end with it.
pub const KEPT_BY_KILL_WITH_PARENT: usize = 0;

/// How many it keeps for each message with one object that the stronger end hasn't fetched yet: the kernel has it.
pub const KEPT_UNTIL_FETCHED: usize = 0;

/// Whether what was sent to a weaker end is in its table before it has received it.
pub const SENT_IS_THERE: bool = false;

/// Whether a child was killed by its parent.
#[must_use]
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9) && status.code().is_none()
}

/// With which access one of the library's own objects arrives that has this access here.
#[must_use]
pub const fn travelling_access(_kind: &ObjectKind, own: u32) -> u32 {
    own
}

/// Numbers that are no handles but look like some: the current directory's.
#[must_use]
pub fn pseudo_handles() -> Vec<BorrowedFd<'static>> {
    vec![rustix::fs::CWD]
}

/// Whom a manifest can be meant for that isn't meant for a child of this process.
#[must_use]
pub fn others() -> [String; 2] {
    // The first process of all; and this one, whose environment the child has copied.
    [format!("{:010}", 1), format!("{:010}", std::process::id())]
}

/// An argument that isn't text, and is allowed.
#[must_use]
pub fn not_text() -> OsString {
    OsString::from_vec(vec![0x61, 0xff, 0x62])
}

/// As `says_what_it_got.c` prints it.
#[must_use]
pub fn to_hex(text: &OsStr) -> String {
    text.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What `says_what_it_got.c` prints.
///
/// # Panics
///
/// If it isn't that.
#[must_use]
pub fn from_hex(hex: &str) -> OsString {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
    OsString::from_vec((0..hex.len()).step_by(2).map(byte).collect())
}

/// The names of calls in the events that tell of them.
pub mod told {
    /// Makes an event.
    pub const CREATE: &str = "eventfd2";
    /// Sets an event.
    pub const SET: &str = "write";
    /// Waits for something.
    pub const WAIT: &str = "ppoll";
    /// Closes a handle.
    pub const CLOSE: &str = "close";
    /// Opens a process.
    pub const OPEN_PROCESS: &str = "pidfd_open";
    /// Asks what a handle refers to.
    pub const KIND: &str = "fstat";
    /// Starts a child.
    pub const SPAWN: &str = "clone+execve";
    /// Starts the command of an audit, which std does.
    pub const SPAWN_OF_STD: &str = "fork+execve";
    /// What an audit does, beside starting the command.
    pub const AUDIT: [&str; 9] =
        ["socketpair", "ptrace", "waitid", "readdir", "readlink", "read", "sendto", "recvmsg", "close"];
    /// Sends bytes over a channel.
    pub const SEND: &str = "sendto";
    /// Sends an object, in the direction from parent to child.
    pub const PASS: &str = "sendmsg";

    /// The error of opening a process that isn't there.
    pub const NO_PROCESS: i32 = 3;

    /// Whether a parent takes what its child sends out of the child's table.
    pub const TAKES: bool = false;

    /// What is told of passing an object to a child: a part of the arguments, and the effects.
    #[must_use]
    pub fn passing(own: u32, _child: u32, _result: &str) -> (String, String) {
        (format!(", handles {own:#x}"), String::new())
    }
}

/// What a program says that is started with a manifest which somebody else has made, for this very process.
///
/// # Panics
///
/// If it can't be started.
#[must_use]
pub fn forged(program: &Path, arguments: &[OsString], objects: &str) -> Output {
    // The shell becomes the program, whose id it knows.
    let script = "HANDOVER_INHERITED=\"1 $$ $0\" exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, objects]).arg(program).args(arguments);
    command.output().expect("there is a shell")
}
