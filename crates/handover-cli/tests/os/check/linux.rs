//! Right and wrong pairs of programs in C, Python and Rust, and the verdicts on them.

use std::process::{Command as StdCommand, Stdio};

use handover_tests::{Role, Test, foreign, is_foreign_there, left_out, script, tests, until};

use super::common::{
    NO_SUCCESS, Wrong, acquires, assert_fails, assert_holds, assert_page_shows, check, for_each, in_c,
    judged, right_pairs_of_the_library_hold, shares, the_exercises_hold,
};

pub(crate) const TESTS: &[Test] = tests![
    right_pairs_in_c_hold,
    right_pairs_in_python_hold,
    right_pairs_of_the_library_hold,
    the_exercises_hold,
    wrong_inheritance_pairs_fail_for_their_reason,
    wrong_duplication_pairs_fail_for_their_reason,
    wrong_naming_pairs_fail_for_their_reason,
    wrong_pairs_in_python_fail_for_their_reason,
    the_page_shows_these_verdicts,
    remarks_say_what_good_programs_do,
    the_checklist_shows_evidence_and_advice,
    each_run_has_a_picture,
    picture_that_cannot_be_written_is_an_error,
    pair_that_prints_much_is_judged,
    hostile_pair_leaves_no_process,
    killed_checker_leaves_no_process,
    each_wrong_usage_has_its_exit_code,
];
pub(crate) const ROLES: &[Role] = tests![shares, acquires];

/// Returns the command of a pair in Python, unless this Python lacks eventfds.
fn in_python(pair: &str) -> Option<Vec<String>> {
    let find = "import os, sys; os.eventfd; assert sys.version_info >= (3, 10); print(sys.executable)";
    let found = StdCommand::new("python3").args(["-c", find]).stderr(Stdio::null()).output().ok();
    let Some(found) = found.filter(|found| found.status.success()) else {
        left_out("the pairs in Python, because Python 3.10 was not found");
        return None;
    };
    let python = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    Some(vec![python, script("pair.py").into_os_string().into_string().unwrap(), pair.to_owned()])
}

fn right_pairs_in_c_hold() {
    if !is_foreign_there("pair") {
        return;
    }
    let pairs = [
        ("inheritance", "argument"),
        ("inheritance", "environment"),
        ("inheritance", "posix-spawn"),
        ("inheritance", "stdin"),
        ("inheritance", "no-time-limit"),
        ("inheritance", "polls"),
        ("inheritance", "pipe"),
        ("duplication", "scm-rights"),
        ("duplication", "pidfd-getfd"),
        ("naming", "fifo"),
        ("naming", "semaphore"),
    ];
    for_each(pairs, |(strategy, pair)| assert_holds(strategy, &in_c(pair)));
}

fn right_pairs_in_python_hold() {
    let pairs = [
        ("inheritance", "pass-fds"),
        ("inheritance", "popen-pipe"),
        ("duplication", "send-fds"),
        ("naming", "fifo"),
    ];
    for_each(pairs, |(strategy, pair)| {
        if let Some(command) = in_python(pair) {
            assert_holds(strategy, &command);
        }
    });
}

const WRONG_INHERITANCE: &[Wrong] = &[
    ("inheritance", "no-event", &["creates-event", "exit-codes"], "created no event"),
    ("inheritance", "fifo-for-unnamed", &["creates-event"], "has the name"),
    ("inheritance", "no-child", &["starts-child", "signals"], "started no process"),
    ("inheritance", "child-not-found", &["starts-child", "exit-codes"], "begins no program"),
    ("inheritance", "not-inheritable", &["same-object", "exit-codes"], "not inheritable"),
    (
        "inheritance",
        "closes-too-early",
        &["same-object", "signals", "exit-codes"],
        "before the child was started",
    ),
    ("inheritance", "scm-rights", &["acquired"], "a later call brought it"),
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
    ("inheritance", "signals-first", &["signals"], "before there is a child"),
    ("inheritance", "signals-and-resets", &["signals", "exit-codes"], "before there is a child"),
    ("inheritance", "never-signals", &["signals", "exit-codes"], "no process signals"),
    ("inheritance", "waits-first", &["signals", "exit-codes"], "no process signals"),
    (
        "inheritance",
        "set-from-the-start",
        &["exits-after-signal", "parent-killed"],
        "before the parent's signal",
    ),
    ("inheritance", "parent-leaves", &["waits-for-child"], "no call that waits"),
    ("inheritance", "parent-never-closes", &["closes"], "the parent exits with handle"),
    ("inheritance", "child-never-closes", &["closes"], "the child exits with handle"),
    ("inheritance", "leaves-a-process", &["ends"], "still ran"),
    ("inheritance", "pipe-never-closed", &["ends"], "still ran"),
    ("inheritance", "child-fails", &["exit-codes"], "the child exited with code 7"),
    ("inheritance", "careless", &["handle-closed", "handle-replaced"], NO_SUCCESS),
    ("inheritance", "timeout-is-success", &["parent-killed"], NO_SUCCESS),
    ("inheritance", "pipe-end-of-file", &["parent-killed"], NO_SUCCESS),
];

const WRONG_DUPLICATION: &[Wrong] = &[
    ("duplication", "fifo", &["creates-event"], "has the name"),
    ("duplication", "argument", &["acquired"], "has inherited"),
    ("duplication", "scm-rights-inherited", &["acquired", "closes"], "has inherited"),
    ("duplication", "duplicated-into-itself", &["same-object", "exit-codes"], "its own table"),
    ("duplication", "getfd-of-wrong-number", &["same-object", "exit-codes"], "no handle of the child"),
];

const WRONG_NAMING: &[Wrong] = &[
    ("naming", "argument", &["creates-event"], "has no name"),
    ("naming", "scm-rights", &["creates-event"], "has no name"),
    ("naming", "other-name", &["same-object", "signals", "exit-codes"], "acquires the event"),
];

const WRONG_IN_PYTHON: &[Wrong] = &[
    ("inheritance", "no-pass-fds", &["same-object", "exit-codes"], "not inheritable"),
    ("inheritance", "swallows-errors", &["handle-closed", "handle-replaced"], NO_SUCCESS),
];

fn assert_all_fail(pairs: &[Wrong]) {
    if is_foreign_there("pair") {
        for_each(pairs.iter().copied(), |wrong| assert_fails(&in_c(wrong.1), wrong));
    }
}

fn wrong_inheritance_pairs_fail_for_their_reason() {
    assert_all_fail(WRONG_INHERITANCE);
}

fn wrong_duplication_pairs_fail_for_their_reason() {
    assert_all_fail(WRONG_DUPLICATION);
}

fn wrong_naming_pairs_fail_for_their_reason() {
    assert_all_fail(WRONG_NAMING);
}

fn wrong_pairs_in_python_fail_for_their_reason() {
    for_each(WRONG_IN_PYTHON.iter().copied(), |wrong| {
        if let Some(command) = in_python(wrong.1) {
            assert_fails(&command, wrong);
        }
    });
}

fn the_page_shows_these_verdicts() {
    let all = [WRONG_INHERITANCE, WRONG_DUPLICATION, WRONG_NAMING, WRONG_IN_PYTHON].concat();
    assert_page_shows("Wrong pairs, and the verdicts on them", &all);
    assert_page_shows("The levels", super::levels::WRONG);
}

fn remarks_say_what_good_programs_do() {
    if !is_foreign_there("pair") {
        return;
    }
    let pairs = [
        ("inheritance", "constant", &["inheritable", "constant"][..]),
        ("inheritance", "leaks", &["leak", "inheritable"]),
        ("inheritance", "argument", &["inheritable"]),
        ("inheritance", "no-time-limit", &["inheritable", "no-timeout"]),
        ("inheritance", "pipe-both-ends", &["stand-in", "inheritable", "no-timeout", "access"]),
        ("inheritance", "pipe-end-of-file", &["stand-in", "signal-by-close", "inheritable", "no-timeout"]),
        ("inheritance", "status-ignored", &["inheritable", "status-ignored"]),
        ("duplication", "scm-rights", &[]),
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
    let ended = check(&["inheritance", "--color", "always"], &in_c("argument")).expect_code(0);
    assert!(ended.out.contains("\u{1b}["), "{}", ended.out);
    let ended = check(&["inheritance"], &in_c("argument")).expect_code(0);
    assert!(!ended.out.contains('\u{1b}'), "{}", ended.out);
    for part in [
        "✓ The parent creates an unnamed event\n",
        "eventfd2(inheritable) = ",
        "✓ The child has a handle to that very object\n",
        "handle 20 (event, read, write) in the table of the child before its first instruction",
        "and the child was still in poll(handle 20, for 3000 ms)",
        "handle 20 of process ",
        "result: 14 requirements hold\n",
    ] {
        assert!(ended.out.contains(part), "no {part:?}: {}", ended.out);
    }
    let ended = check(&["inheritance"], &in_c("sleeps")).expect_code(1);
    for part in ["✗ The child waits for the event\n", "nanosleep(700 ms)", "try: wait with a blocking read"]
    {
        assert!(ended.out.contains(part), "no {part:?}: {}", ended.out);
    }
}

/// Checks a pair, and returns the texts of its picture, in the order of drawing.
pub(super) fn drawn(exercise: &str, pair: &str, command: &[String]) -> (Option<i32>, String) {
    let file = std::env::temp_dir().join(format!("handover-check-{}-{pair}.svg", std::process::id()));
    let path = file.to_str().unwrap();
    let ended = check(&[exercise, "--timeout", "20", "--svg", path], command);
    let picture = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{error}: {ended:#?}"));
    std::fs::remove_file(&file).unwrap();
    let document = roxmltree::Document::parse(&picture).unwrap();
    let texts = document.descendants().filter(|node| node.has_tag_name("text"));
    let text = |node: roxmltree::Node<'_, '_>| {
        node.descendants().filter_map(|node| node.text().filter(|_| node.is_text())).collect::<String>()
    };
    (ended.code, texts.map(text).collect::<Vec<_>>().join("\n"))
}

/// A pair, the exit code of its check, and parts of its picture in this order.
type Drawn = (&'static str, &'static str, i32, &'static [&'static str]);

const PICTURES: &[Drawn] = &[
    (
        "inheritance",
        "argument",
        0,
        &["14 requirements hold", "inherited", "20 = 0x14", "eventfd2", "clone+execve", "write", "close"],
    ),
    ("duplication", "scm-rights", 0, &["in a message", "socketpair", "sendmsg", "recvmsg", "= 0xb"]),
    ("naming", "fifo", 0, &["named pipe", "mknodat", "openat", "read"]),
    (
        "inheritance",
        "number-in-octal",
        1,
        &[
            "3 fail",
            "inherited",
            "poll(handle 0xe",
            "close(handle 0xe) = Bad file",
            "exits with code 4",
            "✗ The child waits",
        ],
    ),
    (
        "inheritance",
        "own-event",
        1,
        &["the kernel", "poll(event", "timed out", "exits with code 3", "created itself"],
    ),
    (
        "duplication",
        "getfd-of-wrong-number",
        1,
        &["pidfd_getfd(handle", "exits with code 3", "✗ The child has"],
    ),
    ("inheritance", "no-child", 1, &["eventfd2", "✗ The parent starts a child"]),
    ("inheritance", "no-event", 1, &["clone+execve", "✗ The parent creates"]),
];

fn each_run_has_a_picture() {
    if !is_foreign_there("pair") {
        return;
    }
    for_each(PICTURES, |(exercise, pair, code, parts)| {
        let (ended, text) = drawn(exercise, pair, &in_c(pair));
        assert_eq!(ended, Some(*code), "{pair}: {text}");
        let mut rest = text.as_str();
        for part in *parts {
            let at = rest.find(part).unwrap_or_else(|| panic!("{pair}: no {part:?} in this order: {text}"));
            rest = &rest[at + part.len()..];
        }
    });
}

fn picture_that_cannot_be_written_is_an_error() {
    if !is_foreign_there("pair") {
        return;
    }
    let ended = check(&["inheritance", "--svg", "/no/such/folder/run.svg"], &in_c("argument")).expect_code(1);
    assert!(ended.err.contains("cannot write \"/no/such/folder/run.svg\""), "{ended:#?}");
    // The checks took some seconds, so their result is printed all the same.
    assert!(ended.out.contains("result: 14 requirements hold"), "{ended:#?}");
}

fn pair_that_prints_much_is_judged() {
    if !is_foreign_there("pair") {
        return;
    }
    assert_holds("inheritance", &in_c("prints-much"));
    let ended = check(&["inheritance", "--verbose"], &in_c("prints-much")).expect_code(0);
    assert_eq!(ended.err.matches("that nobody reads").count(), 20_000);
    assert!(!ended.out.contains("that nobody reads"));
}

/// Returns the processes of a pair in C that are left, without those that have exited.
fn left(pair: &str) -> Vec<String> {
    let program = foreign("pair").canonicalize().unwrap();
    let mut left = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let is_pair = std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program);
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if is_pair && line.split('\0').any(|word| word == pair) {
            left.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    left
}

fn hostile_pair_leaves_no_process() {
    if !is_foreign_there("pair") {
        return;
    }
    let judged = judged("inheritance", "3", &in_c("hostile"));
    assert_eq!((judged.code, left("hostile")), (Some(3), Vec::new()), "{judged:#?}");
    assert!(judged.fails.contains(&"ends".to_owned()), "{judged:#?}");
}

fn killed_checker_leaves_no_process() {
    if !is_foreign_there("pair") {
        return;
    }
    let ended = check(&["inheritance", "--timeout", "20"], &in_c("kills-its-tracer"));
    assert_eq!(ended.code, None, "{ended:#?}");
    until("all processes have exited", || left("kills-its-tracer").is_empty());
}

fn each_wrong_usage_has_its_exit_code() {
    let missing = ["/nonexistent/parent".to_owned()];
    check(&["inheritance"], &missing).expect_code(127).expect_text("/nonexistent/parent");
    check(&["inheritance"], &["/etc/passwd".to_owned()]).expect_code(126);
    check(&["inheritance"], &[String::new()]).expect_code(2).expect_text("is empty");
    check(&["inheritance"], &[]).expect_code(2);
    check(&["shouting"], &missing).expect_code(2).expect_text("duplication");
    check(&["naming", "--timeout", "-1"], &missing).expect_code(2);
}
