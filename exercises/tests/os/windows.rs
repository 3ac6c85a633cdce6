//! Windows: the calls of each program, handle values that are written to a pipe, and access.

use std::path::Path;

use handover::{Command, Stdio};
use handover_tests::{Role, Test, run_with_input, table, tests};

use crate::{
    DEADLINE, DUPLICATION_CHILD, DUPLICATION_PARENT, INHERITANCE_CHILD, INHERITANCE_PARENT, NAMING_CHILD,
    NAMING_PARENT, SOON, start,
};

pub(crate) const TESTS: &[Test] =
    tests![a_line_that_is_not_a_handle_value_is_refused, a_mutex_is_refused_as_an_event];
pub(crate) const ROLES: &[Role] = tests![];

/// The calls that each parent prints, and those of its child.
pub(crate) const STEPS: [(&str, &[&str], &[&str]); 3] = [
    (
        INHERITANCE_PARENT,
        &[
            "CreateEventW",
            "DuplicateHandle",
            "CreateProcessW",
            "CloseHandle",
            "WaitForSingleObject",
            "SetEvent",
            "WaitForSingleObject",
            "GetExitCodeProcess",
            "CloseHandle",
            "CloseHandle",
        ],
        &["SetHandleInformation", "WaitForSingleObject", "CloseHandle"],
    ),
    (
        DUPLICATION_PARENT,
        &[
            "CreateEventW",
            "CreateProcessW",
            "DuplicateHandle",
            "WriteFile",
            "WaitForSingleObject",
            "SetEvent",
            "WaitForSingleObject",
            "GetExitCodeProcess",
            "CloseHandle",
            "CloseHandle",
        ],
        &["ReadFile", "SetHandleInformation", "WaitForSingleObject", "CloseHandle"],
    ),
    (
        NAMING_PARENT,
        &[
            "CreateEventW",
            "CreateProcessW",
            "WaitForSingleObject",
            "SetEvent",
            "WaitForSingleObject",
            "GetExitCodeProcess",
            "CloseHandle",
            "CloseHandle",
        ],
        &["OpenEventW", "WaitForSingleObject", "CloseHandle"],
    ),
];
/// The call by which each parent's child gets its event.
pub(crate) const GETS_EVENT: [(&str, &str); 3] = [
    (INHERITANCE_PARENT, "SetHandleInformation"),
    (DUPLICATION_PARENT, "SetHandleInformation"),
    (NAMING_PARENT, "OpenEventW"),
];
/// The parts of the parents' lines that show the child's exit code.
pub(crate) const EXITED_WITH_0: &str = ") = 0";
pub(crate) const EXITED_WITH_3: &str = ") = 3";
/// The path of a program that doesn't exist.
pub(crate) const NO_PROGRAM: &str = r"C:\no\such\program.exe";

/// Adds what a parent needs to share an event with the running child.
pub(crate) fn connect<'a, 'b>(command: &'a mut Command<'b>) -> &'a mut Command<'b> {
    command.stdin(Stdio::piped())
}

/// The parents that work with a child in C, which gets the value on its command line or standard input, or the name.
pub(crate) const FOREIGN_CHILDREN: [(&str, &str); 3] = [
    (INHERITANCE_PARENT, "inheritance_child"),
    (DUPLICATION_PARENT, "duplication_child"),
    (NAMING_PARENT, "naming_child"),
];
/// The parents in C, and the children that they start.
pub(crate) const FOREIGN_PARENTS: [(&str, &str); 2] =
    [("inheritance_parent", INHERITANCE_CHILD), ("naming_parent", NAMING_CHILD)];

/// Checks that the child can wait for its event and set it, but can't delete it or change its permissions.
pub(crate) fn check_access(child: u32, handle: u32) {
    assert_eq!(table::entry(child, handle).expect("the child has the event").access, 0x0010_0002);
}

/// Texts that can't be a handle value in any process, and a part of the message about each.
pub(crate) const NO_HANDLES: [(&str, &str); 16] = [
    ("", "no digits"),
    ("event", "not a number"),
    ("68x", "not a number"),
    ("68 68", "not a number"),
    ("0x", "no digits"),
    ("0x4g", "not a number"),
    ("+68", "not a number"),
    ("-4", "negative"),
    ("-1", "negative"),
    ("0", "NULL"),
    ("0x0", "NULL"),
    ("4294967295", "pseudo handle"),
    ("0xfffffffe", "pseudo handle"),
    ("0xffffffffffffffff", "pseudo handle"),
    ("4294967364", "more than 32 bits"),
    ("70", "not a multiple of 4"),
];

fn a_line_that_is_not_a_handle_value_is_refused() {
    let child = Path::new(DUPLICATION_CHILD);
    let no_arguments: [&str; 0] = [];
    // The pipe stays open after the line, so the child must not wait for end of file.
    let run_with_open_pipe =
        |input: &[u8]| run_with_input(child, no_arguments, input, true, DEADLINE).expect_within(SOON);
    for (number, part) in NO_HANDLES {
        run_with_open_pipe(format!("{number}\n").as_bytes()).expect_code(2).expect_text(part);
        run_with_open_pipe(format!("{number}\r\n").as_bytes()).expect_code(2).expect_text(part);
    }
    run_with_open_pipe(b"\xff\xfe\n").expect_code(2).expect_text("is not a handle value");
    run_with_open_pipe(b"32764\n").expect_code(1).expect_text("is not open");
    run_with_open_pipe(&[b'6'; 100_000]).expect_code(2).expect_text("too long");

    let run_with_closed_pipe =
        |input: &[u8]| run_with_input(child, no_arguments, input, false, DEADLINE).expect_within(SOON);
    run_with_closed_pipe(b"").expect_code(1).expect_text("standard input: it ended");
    run_with_closed_pipe(b"68").expect_code(1).expect_text("standard input: it ended");
    // The parent writes nothing, and keeps the pipe open.
    run_with_input(child, ["--timeout", "0.5"], b"", true, DEADLINE)
        .expect_code(3)
        .expect_text("waiting for a line on standard input")
        .expect_within(SOON);
}

fn a_mutex_is_refused_as_an_event() {
    let mutex = table::mutex();
    table::make_inheritable(&mutex);
    // std's `Command` lets the child inherit it.
    start(INHERITANCE_CHILD, &[&table::value(&mutex).to_string()])
        .expect_code(1)
        .expect_text("expected an event")
        .expect_text("a mutex")
        .expect_within(SOON);
}
