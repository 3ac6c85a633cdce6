use std::path::{Path, PathBuf};

use expect_test::expect;
use handover_tests::Ended;

/// What each strategy shows, in the order of their names on the command line.
pub(crate) const CALLS: [&[&str]; 4] = [
    &["CreateEventW(", "CreateProcessW(", "SetEvent(", "WaitForSingleObject(", "tells the number"],
    &["DuplicateHandle(", "WriteFile(", "ReadFile(", "second channel", "learns the number"],
    &["CreateEventW(manual reset, name ", "OpenEventW(name ", "No handle crossed"],
    &["DuplicateHandle(", "WriteFile(", "SetEvent("],
];

/// A call that only asks, and that each of them makes.
pub(crate) const ASKS: &str = "NtQueryObject(";

pub(crate) fn expect_table(text: &str) {
    expect![[r#"
        VALUE  KIND       ACCESS    RIGHTS                                              FLAGS    NAME
        <event>   event      0x100002  EVENT_MODIFY_STATE, SYNCHRONIZE                     inherit
        <shared memory>   shared memory    0x7       SECTION_QUERY, SECTION_MAP_WRITE, SECTION_MAP_READ  inherit
        <semaphore>   semaphore  0x100002  SEMAPHORE_MODIFY_STATE, SYNCHRONIZE                 inherit

        3 handles of the 16 of process <child>: 1 event, 1 shared memory, 1 semaphore
    "#]]
    .assert_eq(text);
}

/// Codes have 32 bits.
pub(crate) fn exit_codes_are_passed_on(ended_with: impl Fn(&str) -> Ended) {
    for code in ["1000", "-1073741819"] {
        ended_with(code).expect_code(code.parse().unwrap());
    }
}

/// A file that can't be started: it is text.
pub(crate) fn not_a_program(folder: &Path) -> PathBuf {
    let path = folder.join("not-a-program.exe");
    std::fs::write(&path, "no program\r\n").unwrap();
    path
}

/// None does.
pub(crate) fn a_file_that_waits_is_refused(_: &Path) {}

/// The system's own process may be nobody's to look at; under Wine it isn't there.
pub(crate) fn another_users_process_is_refused(program: &Path) {
    let ended =
        handover_tests::run(program, ["table", "4"], std::time::Duration::from_secs(60)).expect_code(1);
    assert!(
        ended.err.contains("there is no process 4") || ended.err.contains("SeDebugPrivilege"),
        "{ended:?}"
    );
}
