//! Windows: numbers that are told over a pipe, and access.

use std::path::Path;

use handover_tests::{Role, Test, run_with_input, table, tests};

use crate::{
    DEADLINE, DUPLICATION_CHILD, DUPLICATION_PARENT, INHERITANCE_CHILD, INHERITANCE_PARENT, NAMING_CHILD,
    NAMING_PARENT, SOON, start,
};

pub(crate) const TESTS: &[Test] = tests![a_line_that_is_no_handle_is_refused, a_mutex_is_no_event];
pub(crate) const ROLES: &[Role] = tests![];

/// What std calls it when a process ends by itself.
pub(crate) const EXIT: &str = "exit code";
/// A program that isn't there.
pub(crate) const NO_PROGRAM: &str = r"C:\no\such\program.exe";

/// Whose place a foreign child can take: the number comes on the command line, on standard input, and by name.
pub(crate) const FOREIGN_CHILDREN: [(&str, &str); 3] = [
    (INHERITANCE_PARENT, "inheritance_child"),
    (DUPLICATION_PARENT, "duplication_child"),
    (NAMING_PARENT, "naming_child"),
];
/// Which children foreign parents start.
pub(crate) const FOREIGN_PARENTS: [(&str, &str); 2] =
    [("inheritance_parent", INHERITANCE_CHILD), ("naming_parent", NAMING_CHILD)];

/// A child can wait for the event and set it; what is duplicated into it, it can only wait for.
pub(crate) fn check_the_access(parent: &str, child: u32, handle: u32) {
    let expected = if parent == DUPLICATION_PARENT { 0x0010_0000 } else { 0x0010_0002 };
    assert_eq!(table::entry(child, handle).expect("the child has the event").access, expected);
}

/// What can't be a handle in any process, and a part of the message about it.
pub(crate) const NO_HANDLES: [(&str, &str); 16] = [
    ("", "no number"),
    ("event", "not a number"),
    ("68x", "not a number"),
    ("68 68", "not a number"),
    ("0x", "no number"),
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

fn a_line_that_is_no_handle_is_refused() {
    let child = Path::new(DUPLICATION_CHILD);
    let no_arguments: [&str; 0] = [];
    // The pipe stays open after what is written: the child must not wait for more.
    let told = |input: &[u8]| run_with_input(child, no_arguments, input, true, DEADLINE).expect_within(SOON);
    for (number, part) in NO_HANDLES {
        told(format!("{number}\n").as_bytes()).expect_code(2).expect_text(part);
        told(format!("{number}\r\n").as_bytes()).expect_code(2).expect_text(part);
    }
    told(b"\xff\xfe\n").expect_code(2).expect_text("expected the number of a handle");
    told(b"32764\n").expect_code(1).expect_text("is not open");
    told(&[b'6'; 100_000]).expect_code(2).expect_text("a line without an end");

    let closed =
        |input: &[u8]| run_with_input(child, no_arguments, input, false, DEADLINE).expect_within(SOON);
    closed(b"").expect_code(1).expect_text("standard input ended");
    closed(b"68").expect_code(1).expect_text("standard input ended");
    // Nothing comes, and nothing closes.
    run_with_input(child, ["--timeout", "0.5"], b"", true, DEADLINE)
        .expect_code(3)
        .expect_text("no line came")
        .expect_within(SOON);
}

fn a_mutex_is_no_event() {
    let mutex = table::mutex();
    table::make_inheritable(&mutex);
    // std's builder lets the child inherit it.
    start(INHERITANCE_CHILD, &[&table::value(&mutex).to_string()])
        .expect_code(1)
        .expect_text("expected an event")
        .expect_text("a mutex")
        .expect_within(SOON);
}
