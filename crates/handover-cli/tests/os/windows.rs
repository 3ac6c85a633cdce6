use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use expect_test::expect;
use handover_tests::Ended;

/// Texts in the output of each strategy, in the order of `STRATEGIES`.
pub(crate) const CALLS: [&[&str]; 4] = [
    &["CreateEventW(", "CreateProcessW(", "SetEvent(", "WaitForSingleObject(", "passes the handle value"],
    &["DuplicateHandle(", "WriteFile(", "ReadFile(", "second channel", "receives the handle value"],
    &["CreateEventW(manual reset, name ", "OpenEventW(name ", "No handle was passed"],
    &["DuplicateHandle(", "WriteFile(", "SetEvent("],
];

/// A call that only queries something, and that every strategy makes.
pub(crate) const QUERY: &str = "NtQueryObject(";

pub(crate) fn expect_table(text: &str) {
    expect![[r#"
        VALUE  KIND           ACCESS    RIGHTS                                              FLAGS    NAME
        <event>   event          0x100002  EVENT_MODIFY_STATE, SYNCHRONIZE                     inherit
        <shared memory>   shared memory  0x7       SECTION_QUERY, SECTION_MAP_WRITE, SECTION_MAP_READ  inherit
        <semaphore>   semaphore      0x100002  SEMAPHORE_MODIFY_STATE, SYNCHRONIZE                 inherit

        3 of <all> handles of process <child>: 1 event, 1 semaphore, 1 shared memory
    "#]]
    .assert_eq(text);
}

/// Asserts that exit codes of 32 bits are passed on.
pub(crate) fn expect_exit_codes_passed_on(exit_with: impl Fn(&str) -> Ended) {
    for code in ["1000", "-1073741819"] {
        exit_with(code).expect_code(code.parse().unwrap());
    }
}

/// Creates a file that can't be started, because it is text.
pub(crate) fn not_a_program(folder: &Path) -> PathBuf {
    let path = folder.join("not-a-program.exe");
    std::fs::write(&path, "no program\r\n").unwrap();
    path
}

/// Returns a text that is no Unicode, as a file's name can be.
pub(crate) fn not_unicode() -> OsString {
    OsString::from_wide(&[0xd800])
}

/// Does nothing: Windows has no FIFOs in its file system.
pub(crate) fn fifo_is_rejected(_: &Path) {}

/// Does nothing: a job has all processes of a command.
pub(crate) fn detached_processes_are_ended_at_the_timeout(_: &Path) {}

/// Does nothing: no test can press ^C on a console.
pub(crate) fn signals_are_left_to_the_command(_: &Path) {}

/// Does nothing: Windows has no such signal.
pub(crate) fn ignored_sigchld_is_no_obstacle(_: &Path) {}

/// Asserts that the system's own process can't be inspected. Under Wine it does not exist.
pub(crate) fn process_of_another_user_is_denied(program: &Path) {
    let ended =
        handover_tests::run(program, ["table", "4"], std::time::Duration::from_secs(60)).expect_code(1);
    assert!(
        ended.err.contains("no process has the id 4;") || ended.err.contains("SeDebugPrivilege"),
        "{ended:?}"
    );
}
