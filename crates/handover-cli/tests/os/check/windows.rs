//! Right and wrong pairs of programs in C and Rust on Windows, and the verdicts on them.

use std::path::PathBuf;

use handover_tests::{Role, Test, foreign, is_foreign_there, table, tests, until};

use super::common::{
    NO_SUCCESS, Wrong, acquires, assert_fails, assert_holds, assert_page_shows, check, for_each, in_c,
    judged, right_pairs_of_the_library_hold, shares, the_exercises_hold, the_levels_hold,
};

pub(crate) const TESTS: &[Test] = tests![
    right_inheritance_pairs_in_c_hold,
    right_duplication_and_naming_pairs_in_c_hold,
    right_pairs_of_the_library_hold,
    the_exercises_hold,
    inheritance_pairs_without_a_right_handle_fail,
    inheritance_pairs_without_a_right_wait_fail,
    inheritance_pairs_without_a_right_signal_or_end_fail,
    wrong_duplication_pairs_fail_for_their_reason,
    wrong_naming_pairs_fail_for_their_reason,
    the_page_shows_these_verdicts,
    remarks_say_what_good_programs_do,
    the_checklist_shows_evidence_and_advice,
    pair_that_prints_much_is_judged,
    hostile_pair_leaves_no_process,
    killed_checker_leaves_no_process,
    each_wrong_usage_has_its_exit_code,
];
/// The wrong groups are Linux programs.
pub(crate) const LEVELS: &[Test] = tests![the_levels_hold];
pub(crate) const ROLES: &[Role] = tests![shares, acquires];

fn all_hold(pairs: &[(&str, &str)]) {
    if is_foreign_there("pair") {
        for_each(pairs.iter().copied(), |(strategy, pair)| assert_holds(strategy, &in_c(pair)));
    }
}

fn right_inheritance_pairs_in_c_hold() {
    all_hold(&[
        ("inheritance", "inherit-all"),
        ("inheritance", "list"),
        ("inheritance", "environment"),
        ("inheritance", "stdin"),
        ("inheritance", "shared-memory"),
        ("inheritance", "named-pipe"),
        ("inheritance", "several"),
        ("inheritance", "pipe-as-event"),
    ]);
}

fn right_duplication_and_naming_pairs_in_c_hold() {
    all_hold(&[
        ("duplication", "push"),
        ("duplication", "push-suspended"),
        ("duplication", "push-named-pipe"),
        ("duplication", "pull"),
        ("naming", "name"),
        ("naming", "semaphore"),
    ]);
}

const WITHOUT_HANDLE: &[Wrong] = &[
    ("inheritance", "no-event", &["creates-event", "exit-codes"], "created no event"),
    ("inheritance", "named-for-unnamed", &["creates-event"], "has the name"),
    ("inheritance", "no-child", &["starts-child", "signals"], "started no process"),
    (
        "inheritance",
        "child-not-found",
        &["starts-child", "signals", "exit-codes"],
        "the call with which the parent starts a process fails",
    ),
    ("inheritance", "inherit-false", &["same-object", "exit-codes"], "without inheriting any handle"),
    ("inheritance", "not-inheritable", &["same-object", "exit-codes"], "not inheritable"),
    ("inheritance", "not-in-list", &["same-object", "exit-codes"], "with a list of handles"),
    (
        "inheritance",
        "closes-too-early",
        &["same-object", "signals", "exit-codes"],
        "before the child was started",
    ),
    ("inheritance", "pull", &["acquired"], "a later call brought it"),
];

const WITHOUT_WAIT: &[Wrong] = &[
    ("inheritance", "own-event", &["waits", "closes", "exit-codes"], "created itself"),
    ("inheritance", "number-in-hex", &["waits", "closes", "exit-codes"], "not one of the event"),
    ("inheritance", "number-in-octal", &["waits", "closes", "exit-codes"], "not one of the event"),
    ("inheritance", "number-as-pointer", &["waits", "closes", "exit-codes"], "not one of the event"),
    ("inheritance", "sleeps", &["waits", "handle-closed", "handle-replaced", "parent-killed"], "sleeps"),
    (
        "inheritance",
        "exits-at-once",
        &["waits", "handle-closed", "handle-replaced", "parent-killed"],
        "no call",
    ),
    (
        "inheritance",
        "waits-for-process",
        &["waits", "handle-closed", "handle-replaced", "parent-killed"],
        "waits for a process",
    ),
    ("inheritance", "ignores-wait-failed", &["handle-closed", "handle-replaced"], NO_SUCCESS),
    ("inheritance", "timeout-is-success", &["parent-killed"], NO_SUCCESS),
    ("inheritance", "pipe-end-of-file", &["parent-killed"], NO_SUCCESS),
];

const WITHOUT_SIGNAL_OR_END: &[Wrong] = &[
    ("inheritance", "signals-first", &["signals"], "before there is a child"),
    ("inheritance", "signals-and-resets", &["signals", "exit-codes"], "before there is a child"),
    ("inheritance", "never-signals", &["signals", "exit-codes"], "no process signals"),
    ("inheritance", "waits-first", &["signals", "exit-codes"], "no process signals"),
    ("inheritance", "pulses", &["signals"], "pulses the event"),
    (
        "inheritance",
        "set-from-the-start",
        &["exits-after-signal", "parent-killed"],
        "before the parent's signal",
    ),
    ("inheritance", "waits-for-thread", &["waits-for-child"], "a thread of the child"),
    ("inheritance", "parent-leaves", &["waits-for-child"], "no call that waits"),
    ("inheritance", "parent-never-closes", &["closes"], "the parent exits with handle"),
    ("inheritance", "child-never-closes", &["closes"], "the child exits with handle"),
    ("inheritance", "leaves-a-process", &["ends"], "still ran"),
    ("inheritance", "child-fails", &["exit-codes"], "the child exited with code 7"),
];

const WRONG_DUPLICATION: &[Wrong] = &[
    ("duplication", "name", &["creates-event"], "has the name"),
    ("duplication", "list", &["acquired"], "has inherited"),
    ("duplication", "duplicated-into-itself", &["same-object", "exit-codes"], "its own table"),
    ("duplication", "not-duplicated", &["same-object", "exit-codes"], "the call with which"),
    ("duplication", "pseudo-handle", &["same-object", "exit-codes"], "of its own table"),
    ("duplication", "push-modify-only", &["exits-after-signal", "exit-codes"], "the child exited"),
];

const WRONG_NAMING: &[Wrong] = &[
    ("naming", "list", &["creates-event"], "has no name"),
    ("naming", "other-name", &["same-object", "exit-codes"], "acquires the event"),
    ("naming", "name-modify-only", &["exits-after-signal", "exit-codes"], "the child exited"),
];

fn assert_all_fail(pairs: &[Wrong]) {
    if is_foreign_there("pair") {
        for_each(pairs.iter().copied(), |wrong| assert_fails(&in_c(wrong.1), wrong));
    }
}

fn inheritance_pairs_without_a_right_handle_fail() {
    assert_all_fail(WITHOUT_HANDLE);
}

fn inheritance_pairs_without_a_right_wait_fail() {
    assert_all_fail(WITHOUT_WAIT);
}

fn inheritance_pairs_without_a_right_signal_or_end_fail() {
    assert_all_fail(WITHOUT_SIGNAL_OR_END);
}

fn wrong_duplication_pairs_fail_for_their_reason() {
    assert_all_fail(WRONG_DUPLICATION);
}

fn wrong_naming_pairs_fail_for_their_reason() {
    assert_all_fail(WRONG_NAMING);
}

fn the_page_shows_these_verdicts() {
    let all = [WITHOUT_HANDLE, WITHOUT_WAIT, WITHOUT_SIGNAL_OR_END, WRONG_DUPLICATION, WRONG_NAMING].concat();
    assert_page_shows("Wrong pairs on Windows", &all);
}

fn remarks_say_what_good_programs_do() {
    if !is_foreign_there("pair") {
        return;
    }
    let pairs = [
        ("inheritance", "leaks", &["leak", "inheritable"][..]),
        ("inheritance", "list", &["inheritable"]),
        ("inheritance", "no-time-limit", &["inheritable", "no-timeout", "no-timeout-parent"]),
        ("inheritance", "status-ignored", &["inheritable", "status-ignored"]),
        ("duplication", "push", &[]),
        ("duplication", "push-all-rights", &["access"]),
        ("duplication", "pull-all-access", &["access"]),
        ("naming", "name", &[]),
        ("naming", "name-all-access", &["access"]),
        ("naming", "semaphore", &["stand-in"]),
    ];
    for_each(pairs, |(strategy, pair, remarks)| {
        let judged = judged(strategy, "20", &in_c(pair));
        assert_eq!(judged.remarks, remarks, "{strategy}, {pair}: {judged:#?}");
    });
}

fn the_checklist_shows_evidence_and_advice() {
    if !is_foreign_there("pair") {
        return;
    }
    let ended = check(&["inheritance"], &in_c("list")).expect_code(0);
    for part in [
        "✓ The parent creates an unnamed event\n",
        "NtCreateEvent(inheritable) = ",
        "✓ The child has a handle to that very object\n",
        " (event, EVENT_ALL_ACCESS) in the table of the child before its first instruction",
        ", for 3000 ms)",
        " replaced by a semaphore without the right to wait: the child exited with code 4",
        "result: 14 requirements hold\n",
    ] {
        assert!(ended.out.contains(part), "no {part:?}: {}", ended.out);
    }
    let ended = check(&["inheritance"], &in_c("sleeps")).expect_code(1);
    for part in [
        "✗ The child waits for the event\n",
        "NtDelayExecution(700 ms)",
        "try: wait with WaitForSingleObject",
    ] {
        assert!(ended.out.contains(part), "no {part:?}: {}", ended.out);
    }
}

fn pair_that_prints_much_is_judged() {
    if !is_foreign_there("pair") {
        return;
    }
    let judged = judged("inheritance", "60", &in_c("prints-much"));
    assert_eq!(judged.fails, [""; 0], "{judged:#?}");
}

/// A copy of the pair in C under a name of its own, by which its processes are found. It is removed at the end.
struct Copy(PathBuf);

impl Copy {
    fn of(name: &str) -> Self {
        let copy = std::env::temp_dir().join(format!("{name}-{}.exe", std::process::id()));
        std::fs::copy(foreign("pair"), &copy).unwrap();
        Self(copy)
    }

    fn command(&self, pair: &str) -> Vec<String> {
        vec![self.0.clone().into_os_string().into_string().unwrap(), pair.to_owned()]
    }

    /// Returns the processes of this program that are left.
    fn left(&self) -> Vec<u32> {
        table::processes_of(&self.0.file_name().unwrap().to_string_lossy())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // The system deletes the file later if a process of it is still exiting.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn hostile_pair_leaves_no_process() {
    if !is_foreign_there("pair") {
        return;
    }
    let copy = Copy::of("hostile");
    let judged = judged("inheritance", "5", &copy.command("hostile"));
    assert_eq!(judged.code, Some(3), "{judged:#?}");
    assert!(judged.fails.contains(&"ends".to_owned()), "{judged:#?}");
    until("all processes have exited", || copy.left().is_empty());
}

fn killed_checker_leaves_no_process() {
    if !is_foreign_there("pair") {
        return;
    }
    let copy = Copy::of("kills-its-debugger");
    let ended = check(&["inheritance", "--timeout", "20"], &copy.command("kills-its-debugger"));
    assert_eq!(ended.code, Some(99), "{ended:#?}");
    until("all processes have exited", || copy.left().is_empty());
}

fn each_wrong_usage_has_its_exit_code() {
    let missing = ["C:\\nonexistent\\parent.exe".to_owned()];
    check(&["inheritance"], &missing).expect_code(127).expect_text("parent.exe");
    check(&["inheritance"], &[String::new()]).expect_code(2).expect_text("is empty");
    check(&["inheritance"], &[]).expect_code(2);
    check(&["shouting"], &missing).expect_code(2).expect_text("duplication");
    check(&["naming", "--timeout", "-1"], &missing).expect_code(2);
}
