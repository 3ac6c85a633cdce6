//! What differs between systems and doesn't matter.

use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::io::BorrowedHandle;
use std::path::Path;
use std::process::{Command, ExitStatus, Output};

use handover::{Error, Event, ObjectKind, Process};

use crate::Harmless;

use super::table;

/// The call with which a program is started.
pub const START: &str = "CreateProcessW";
/// The call that fails if the folder isn't there in which a child is to start.
pub const CHANGE_FOLDER: &str = "CreateProcessW";

/// How many calls a spawn with a passed-on stream makes at least before there is a child.
pub const CALLS_BEFORE_A_CHILD: u32 = 5;

/// How many calls letting a client in takes at least.
pub const CALLS_OF_A_DOOR: u32 = 16;

/// How many processes are killed if nobody says how many.
pub const KILLS: u64 = 10;

/// By how many powers of two the moments differ at which one is killed; the longest is a 15th of a second.
pub const MAGNITUDES_OF_A_MOMENT: u64 = 13;

/// How many handles can stay in a process that a stronger end has put there, and was killed before it could tell of: of a
/// client that was about to be let in, the three that make an end of a channel; docs/threat-model.md says so.
pub const LEFT_BY_A_KILLED_STRONGER: usize = 3;

/// What a child hears whose parent is killed.
pub const HEARD_OF_A_PARENT: &[&str] = &["ProcessExited"];

/// Puts an object into a process, and takes it back; under Wine, where that hangs now and then with a process that is in the
/// middle of a call, it is left there.
///
/// # Errors
///
/// The library's.
pub fn push(process: &Process, object: &Event) -> Result<(), Error> {
    let copy = process.duplicate_into(object)?;
    if table::is_wine() {
        let _ = copy.into_value();
    }
    Ok(())
}

/// Asserts that an error is one by which a sealed spawn says that its helper was killed; or, under Wine, what that answers
/// now and then to any spawn when it is busy.
///
/// # Panics
///
/// If it is another.
pub fn helper_is_gone(error: &Error) {
    const INTERNAL_ERROR: i32 = 1359;
    let is_wines_own = table::is_wine() && error.raw_os_error() == Some(INTERNAL_ERROR);
    assert!(is_wines_own || matches!(error, Error::ProcessExited { .. }), "{error:?}");
}

/// What a spawn is started by that looks for its file.
pub const BARE_NAME: &str = "cmd";

/// How many handles the first spawn of a process may leave for the next: a helper's, and a job's.
pub const KEPT_BY_A_FIRST_SPAWN: usize = 3;

/// Calls whose failure is made light of, and why: in the first spawn of a process.
pub const HARMLESS_FIRST: &[Harmless] = &[];

/// When a child ends.
pub const HARMLESS_END: &[Harmless] = &[(
    "GetProcessTimes",
    "when a child was created is asked before it is waited for, so that it is known afterwards",
)];

/// When something is waited for.
pub const HARMLESS_WAIT: &[Harmless] = &[];

/// When a name is taken.
pub const HARMLESS_NAME: &[Harmless] = &[];

/// When tables are looked into.
pub const HARMLESS_LOOK: &[Harmless] = &[
    ("DuplicateHandle", "what can't be asked of one handle stands in its row, and the rest is there"),
    ("NtQueryObject", "as above"),
    ("CreateEventW", "as above: for the thread that asks for a file's name"),
    ("SetEvent", "as above"),
    ("CreateThread", "as above"),
    ("WaitForSingleObject", "as above"),
    ("GetProcessId", "as above: which process a handle is of"),
];

/// When a command is audited.
pub const HARMLESS_AUDIT: &[Harmless] = &[
    ("DuplicateHandle", "what can't be asked of one handle stands in its row, and the audit goes on"),
    ("NtQueryObject", "as above"),
    ("CreateEventW", "as above: for the thread that asks for a file's name"),
    ("SetEvent", "as above"),
    ("CreateThread", "as above"),
    ("WaitForSingleObject", "as above"),
    ("GetProcessId", "as above: which process a handle is of"),
    ("CompareObjectHandles", "as above: whether a handle has the object of a stream"),
    ("NtQueryInformationProcess", "what can't be asked of a process is untold in its line"),
    ("NtQuerySystemInformation", "as above"),
    ("ReadProcessMemory", "as above"),
    ("QueryFullProcessImageNameW", "as above"),
    ("GetExitCodeProcess", "as above"),
];

/// When a message is sent and received.
pub const HARMLESS_SEND: &[Harmless] = &[];

/// What is read while a send waits for the pipe, which it does when the machine is busy. What fails of that fails again for
/// whoever receives; if it was made to fail, it doesn't.
pub const BESIDE_A_SEND: &[&str] = &["ReadFile", "GetOverlappedResult"];

/// When a client is let in.
pub const HARMLESS_CLIENT: &[Harmless] = &[
    ("GetNamedPipeClientProcessId", "a client that can't be asked who it is is sent away, and comes again"),
    ("OpenProcess", "as above"),
    ("OpenProcessToken", "as above"),
    ("GetTokenInformation", "as above"),
    ("ConvertSidToStringSidW", "as above"),
    ("DisconnectNamedPipe", "nobody stands in the door any more"),
    ("ReadFile", "whether a client has come in stands in the ledger"),
    ("GetOverlappedResult", "as above"),
    ("WaitForMultipleObjects", "as above"),
];

/// A user who isn't this one.
pub const ANOTHER_USER: &str = "S-1-5-21-1-2-3-1000";

/// The variables that a program gets though its environment was cleared.
pub const NEEDED_VARIABLES: &[&str] = &["SYSTEMROOT"];

/// How many handles this process keeps when it has spawned a sealed child: the helper's, its thread's and its job's.
pub const KEPT_BY_SEALED: usize = 3;

/// How many it keeps when it has spawned a child that is to end with it: a job's.
pub const KEPT_BY_KILL_WITH_PARENT: usize = 1;

/// How many it keeps for each message with one object that the stronger end hasn't fetched yet.
pub const KEPT_UNTIL_FETCHED: usize = 1;

/// Whether what was sent to a weaker end is in its table before it has received it.
pub const SENT_IS_THERE: bool = true;

/// Whether a child was killed by its parent.
#[must_use]
pub fn was_killed(status: ExitStatus) -> bool {
    status.code() == Some(1)
}

/// With which access one of the library's own objects arrives that has this access here.
#[must_use]
pub const fn travelling_access(kind: &ObjectKind, own: u32) -> u32 {
    match kind {
        ObjectKind::Event => 0x0010_0002,
        _ => own,
    }
}

/// Numbers that are no handles but look like some.
#[must_use]
pub fn pseudo_handles() -> Vec<BorrowedHandle<'static>> {
    vec![table::current_process(), table::borrowed(0)]
}

/// Whom a manifest can be meant for that isn't meant for a child of this process.
#[must_use]
pub fn others() -> [String; 2] {
    let this = std::process::id();
    // Another parent; and one that had this process's id before.
    [format!("{}@1", this + 4), format!("{this}@1")]
}

/// An argument that isn't text, and is allowed: a lone surrogate.
#[must_use]
pub fn not_text() -> OsString {
    OsString::from_wide(&[0x61, 0xd800, 0x62])
}

/// As `says_what_it_got.c` prints it.
#[must_use]
pub fn to_hex(text: &OsStr) -> String {
    text.encode_wide().map(|unit| format!("{unit:04x}")).collect()
}

/// What `says_what_it_got.c` prints.
///
/// # Panics
///
/// If it isn't that.
#[must_use]
pub fn from_hex(hex: &str) -> OsString {
    let unit = |at: usize| u16::from_str_radix(&hex[at..at + 4], 16).expect("hex digits");
    OsString::from_wide(&(0..hex.len()).step_by(4).map(unit).collect::<Vec<_>>())
}

/// The names of calls in the events that tell of them.
pub mod told {
    /// Makes an event.
    pub const CREATE: &str = "CreateEventW";
    /// Sets an event.
    pub const SET: &str = "SetEvent";
    /// Waits for something.
    pub const WAIT: &str = "WaitForSingleObject";
    /// Closes a handle.
    pub const CLOSE: &str = "CloseHandle";
    /// Opens a process.
    pub const OPEN_PROCESS: &str = "OpenProcess";
    /// Asks what a handle refers to.
    pub const KIND: &str = "NtQueryObject";
    /// Starts a child.
    pub const SPAWN: &str = "CreateProcessW";
    /// Starts the command of an audit, which std does.
    pub const SPAWN_OF_STD: &str = SPAWN;
    /// What an audit does, beside starting the command.
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
    /// Sends an object, in the direction from parent to child.
    pub const PASS: &str = "DuplicateHandle";

    /// The error of opening a process that isn't there.
    pub const NO_PROCESS: i32 = 87;

    /// Whether a parent takes what its child sends out of the child's table.
    pub const TAKES: bool = true;

    /// What is told of passing an object to a child: a part of the arguments, and the effects.
    #[must_use]
    pub fn passing(own: u32, child: u32, result: &str) -> (String, String) {
        (format!("handle {own:#x}, into process {child}, access 0x"), format!("+{result}@{child}={own:#x}"))
    }
}

/// What a program says that is started with a manifest which somebody else has made, for a child of this process.
///
/// # Panics
///
/// If it can't be started.
#[must_use]
pub fn forged(program: &Path, arguments: &[OsString], objects: &str) -> Output {
    let this = Process::current_identity().expect("a process knows itself");
    let mut command = Command::new(program);
    command.args(arguments).env("HANDOVER_INHERITED", format!("1 {this} {objects}"));
    command.output().expect("the program starts")
}
