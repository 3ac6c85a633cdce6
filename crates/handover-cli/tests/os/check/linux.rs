//! Right and wrong pairs of programs in C, Python and Rust, and the verdicts on them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use handover::{Channel, Command, Event, HandleValue, Message, ResetMode};
use handover_tests::{
    Ended, Role, Test, adopt, foreign, is_foreign_there, left_out, role, run, script, tests, this_program,
    until,
};
use serde_json::Value;

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

pub(super) const SOON: Duration = Duration::from_secs(120);
/// How many pairs are checked at the same time. They mostly wait.
const AT_ONCE: usize = 3;

pub(super) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_handover"))
}

pub(super) fn check(options: &[&str], command: &[String]) -> Ended {
    let words = options.iter().map(|word| (*word).to_owned()).chain(["--".to_owned()]);
    run(&program(), ["check".to_owned()].into_iter().chain(words).chain(command.iter().cloned()), SOON)
}

/// The result of a check: the exit code, and the names of the requirements and remarks.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) code: Option<i32>,
    pub(super) fails: Vec<String>,
    pub(super) open: Vec<String>,
    pub(super) remarks: Vec<String>,
    pub(super) why: String,
    pub(super) whole: Value,
}

pub(super) fn judged(strategy: &str, timeout: &str, command: &[String]) -> Judged {
    let ended = check(&[strategy, "--json", "--timeout", timeout], command);
    let whole: Value =
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {command:?}: {ended:#?}"));
    let list = |name: &str| whole[name].as_array().cloned().unwrap_or_else(|| panic!("no {name}: {whole:#}"));
    let with = |verdict: &str| {
        let requirements = list("requirements");
        let of = requirements.iter().filter(|requirement| requirement["verdict"] == verdict);
        of.map(|requirement| text(&requirement["id"])).collect::<Vec<_>>()
    };
    let first = list("requirements").into_iter().find(|requirement| requirement["verdict"] == "fails");
    Judged {
        code: ended.code,
        fails: with("fails"),
        open: with("not judged"),
        remarks: list("remarks").iter().map(|remark| text(&remark["id"])).collect(),
        why: first.map(|requirement| text(&requirement["why"])).unwrap_or_default(),
        whole,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn in_c(pair: &str) -> Vec<String> {
    vec![foreign("pair").into_os_string().into_string().unwrap(), pair.to_owned()]
}

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

/// Runs a function for each item, several at a time.
pub(super) fn for_each<T: Send>(items: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    let items = Mutex::new(items.into_iter().collect::<VecDeque<T>>());
    let next = || items.lock().unwrap().pop_front();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(item) = next() {
                    work(item);
                }
            });
        }
    });
}

#[track_caller]
pub(super) fn assert_holds(strategy: &str, command: &[String]) {
    let judged = judged(strategy, "30", command);
    let is_right = judged.code == Some(0) && judged.fails.is_empty();
    assert!(is_right, "{strategy}: {command:?}: {judged:#?}");
    assert!(judged.open.is_empty(), "{strategy}: {command:?}: {judged:#?}");
    assert_eq!(judged.whole["holds"], true);
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

fn right_pairs_of_the_library_hold() {
    let this = this_program().into_os_string().into_string().unwrap();
    for_each(["inheritance", "duplication", "naming"], |strategy| {
        let words = role("shares", &[strategy]).into_iter().map(|word| word.into_string().unwrap());
        let command: Vec<String> = std::iter::once(this.clone()).chain(words).collect();
        assert_holds(strategy, &command);
    });
}

const NAME: &str = "handover-check-pair";
const WAIT: Duration = Duration::from_secs(20);

/// The parent of a pair in Rust.
fn shares(arguments: &[String]) {
    let strategy = arguments[0].as_str();
    let name = format!("{NAME}.{}", std::process::id());
    let event = match strategy {
        "naming" => Event::create_named(&name, ResetMode::Manual).unwrap(),
        _ => Event::manual_reset().unwrap(),
    };
    let mut command = Command::new(this_program());
    command.args(role("acquires", &[strategy]));
    let mut child = match strategy {
        "inheritance" => command.inherit("event", &event).arg_handle("{event}").spawn(),
        "duplication" => command.channel().spawn(),
        _ => command.arg(&name).spawn(),
    }
    .unwrap();
    if let Some(channel) = child.take_channel() {
        channel.send(Message::default().with("event", &event)).unwrap();
    }
    event.set().unwrap();
    assert!(child.wait_timeout(WAIT).unwrap().success());
    drop(event);
}

/// The child of a pair in Rust.
fn acquires(arguments: &[String]) {
    let event: Event = match arguments[0].as_str() {
        "inheritance" => adopt(arguments[1].parse::<HandleValue>().unwrap()).unwrap(),
        "duplication" => Channel::parent().unwrap().recv_timeout(WAIT).unwrap().take("event").unwrap(),
        _ => Event::open_named(arguments[1].as_str()).unwrap(),
    };
    event.wait_timeout(WAIT).unwrap();
    drop(event);
}

fn the_exercises_hold() {
    let folder = program().parent().unwrap().to_owned();
    for_each(["inheritance", "duplication", "naming"], |strategy| {
        let parent = folder.join(format!("{strategy}-parent"));
        if !parent.exists() {
            left_out(&format!("{strategy}-parent, which was not built; cargo build -p exercises builds it"));
            return;
        }
        assert_holds(strategy, &[parent.into_os_string().into_string().unwrap()]);
    });
}

/// A wrong pair: the strategy, its name, the requirements that fail, and a part of the reason for the first one.
pub(super) type Wrong = (&'static str, &'static str, &'static [&'static str], &'static str);

pub(super) const NO_SUCCESS: &str = "reports success";

const WRONG_INHERITANCE: &[Wrong] = &[
    ("inheritance", "no-event", &["creates-event", "exit-codes"], "created no event"),
    ("inheritance", "fifo-for-unnamed", &["creates-event"], "has the name"),
    ("inheritance", "no-child", &["starts-child", "signals"], "started no process"),
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
    ("inheritance", "never-signals", &["signals", "exit-codes"], "no process but the child"),
    ("inheritance", "waits-first", &["signals", "exit-codes"], "no process but the child"),
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

fn assert_fails(command: &[String], (strategy, pair, fails, why): Wrong) {
    // A process that never exits makes its check as long as this limit.
    let is_endless = ["leaves-a-process", "pipe-never-closed"].contains(&pair);
    let timeout = if is_endless { "4" } else { "20" };
    let judged = judged(strategy, timeout, command);
    assert_eq!(judged.fails, fails, "{strategy}, {pair}: {judged:#?}");
    assert!(judged.why.contains(why), "{strategy}, {pair}: {:?} lacks {why:?}", judged.why);
    let code = if is_endless { 3 } else { 1 };
    assert_eq!(judged.code, Some(code), "{strategy}, {pair}: {judged:#?}");
    assert_eq!(judged.whole["holds"], false);
}

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
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/checks.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let all =
        [WRONG_INHERITANCE, WRONG_DUPLICATION, WRONG_NAMING, WRONG_IN_PYTHON, super::levels::WRONG].concat();
    for (strategy, pair, fails, _) in &all {
        let name = format!("`{pair}`");
        let verdict = fails.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
        let is_shown = rows.iter().any(|row| row[0] == name && row[1] == *strategy && row[3] == verdict);
        assert!(is_shown, "docs/checks.md has no row: | {name} | {strategy} | … | {verdict} |");
    }
    let wrong = rows.iter().filter(|row| row.len() == 4).count();
    assert_eq!(wrong, all.len(), "docs/checks.md has rows of pairs that no test checks");
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
    ("duplication", "scm-rights", 0, &["in a message", "socketpair", "sendmsg", "recvmsg", "= 0x3"]),
    ("naming", "fifo", 0, &["named pipe", "mknodat", "openat", "read"]),
    (
        "inheritance",
        "number-in-hex",
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
