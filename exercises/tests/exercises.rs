//! The six programs, run as a person runs them.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use handover::Event;
use handover_tests::{Ended, foreign, role, run, run_with_input, table, tests, this_program};

/// A machine under load may need this long for two processes to start and end.
const SOON: Duration = Duration::from_secs(5);
/// After which a program that should have ended is killed, and the test fails.
const DEADLINE: Duration = Duration::from_secs(30);

const INHERITANCE_PARENT: &str = env!("CARGO_BIN_EXE_inheritance-parent");
const INHERITANCE_CHILD: &str = env!("CARGO_BIN_EXE_inheritance-child");
const DUPLICATION_PARENT: &str = env!("CARGO_BIN_EXE_duplication-parent");
const DUPLICATION_CHILD: &str = env!("CARGO_BIN_EXE_duplication-child");
const NAMING_PARENT: &str = env!("CARGO_BIN_EXE_naming-parent");
const NAMING_CHILD: &str = env!("CARGO_BIN_EXE_naming-child");
const PARENTS: [&str; 3] = [INHERITANCE_PARENT, DUPLICATION_PARENT, NAMING_PARENT];

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            an_event_is_shared,
            each_step_is_a_line_that_says_whose,
            without_the_signal_both_sides_end_at_their_deadline,
            a_child_that_takes_no_notice_is_killed_at_the_parents_deadline,
            a_child_that_dies_early_is_noticed_at_once,
            a_child_that_is_killed_is_noticed_at_once,
            a_child_that_ends_with_3_of_its_own_has_failed,
            the_longest_times_fit_together,
            a_missing_child_is_said_at_once,
            the_child_has_the_parents_event_with_the_access_given_and_no_canary,
            a_foreign_child_works,
            a_foreign_parent_works,
            a_child_whose_parent_is_killed_ends,
            a_child_whose_parent_is_killed_before_it_says_the_number_ends,
            a_number_that_cannot_be_a_handle_is_wrong_usage,
            a_number_that_is_no_event_is_a_failure,
            a_line_that_is_no_handle_is_refused,
            a_name_that_is_no_events_is_refused,
            wrong_usage_is_explained,
            help_says_what_the_exit_codes_mean,
        ],
        tests![starts_a_child_and_says_nothing],
    )
}

fn start(program: &str, arguments: &[&str]) -> Ended {
    run(Path::new(program), arguments, DEADLINE)
}

fn as_argument(path: &Path) -> &str {
    path.to_str().expect("the build folder's path is text")
}

fn an_event_is_shared() {
    for parent in PARENTS {
        let ended = start(parent, &[]).expect_code(0);
        assert_eq!(ended.err, "");
        for part in ["CreateEventW", "CreateProcessW", "SetEvent", "= signaled", "ended, exit code: 0"] {
            assert!(ended.out.contains(part), "{part} is not in {}", ended.out);
        }
        start(parent, &["--delay", "0"]).expect_code(0);
        start(parent, &["--delay", "700", "--timeout", "0.5"]).expect_code(0);
    }
}

fn each_step_is_a_line_that_says_whose() {
    for parent in PARENTS {
        let ended = start(parent, &["--delay", "50"]).expect_code(0);
        let mut speakers: Vec<(&str, u32)> = Vec::new();
        for line in ended.out.lines() {
            let mut words = line.split(' ');
            let role = words.next().unwrap();
            assert!(["parent", "child"].contains(&role), "{line}");
            speakers.push((role, words.next().unwrap().parse().expect("a process's id")));
            assert!(line.contains(" = "), "{line} has no result");
        }
        speakers.sort_unstable();
        speakers.dedup();
        assert_eq!(speakers.len(), 2, "{speakers:?}");
    }
}

fn without_the_signal_both_sides_end_at_their_deadline() {
    for parent in PARENTS {
        start(parent, &["--no-signal", "--timeout", "1"])
            .expect_code(3)
            .expect_text("= not signaled")
            .expect_text("ended, exit code: 3")
            .expect_text("the signal of the event did not come within 1.")
            .expect_within(SOON);
    }
}

fn a_child_that_takes_no_notice_is_killed_at_the_parents_deadline() {
    let never_ends = foreign("never_ends");
    for parent in PARENTS {
        let ended = start(parent, &["--child", as_argument(&never_ends), "--timeout", "0", "--delay", "0"])
            .expect_code(3)
            .expect_text("was killed")
            .expect_within(SOON);
        assert!(table::ends_within(child_of(&ended.out), 0));
    }
}

/// The child's id, as a parent has printed it.
fn child_of(out: &str) -> u32 {
    let (_, rest) = out.split_once("= process ").expect("the parent says which process it made");
    rest.lines().next().and_then(|id| id.parse().ok()).expect("an id")
}

fn a_child_that_dies_early_is_noticed_at_once() {
    let ends_at_once = foreign("ends_at_once");
    for parent in PARENTS {
        start(parent, &["--child", as_argument(&ends_at_once), "--delay", "20000", "--timeout", "20"])
            .expect_code(1)
            .expect_within(Duration::from_secs(2));
    }
}

fn a_child_that_is_killed_is_noticed_at_once() {
    for parent in PARENTS {
        let (mut program, mut lines) = started(parent, &["--delay", "20000", "--timeout", "20"]);
        let child = id_of_waiting_child(&mut lines);
        let killed = Instant::now();
        table::kill(child);
        let status = program.wait().expect("one's own child can be waited for");
        assert_eq!(status.code(), Some(1));
        assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    }
}

/// Starts a parent and reads along.
fn started(parent: &str, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut program = Command::new(parent).args(arguments).stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(program.stdout.take().expect("standard output is piped")).lines();
    (program, lines)
}

/// Reads until the child has its event, and returns the child's id.
fn id_of_waiting_child(lines: &mut Lines<BufReader<ChildStdout>>) -> u32 {
    let line = lines
        .map(|line| line.expect("the parent's output"))
        .find(|line| line.contains("= an event"))
        .expect("the child says that it has an event");
    line.split(' ').nth(1).and_then(|id| id.parse().ok()).expect("an id")
}

fn a_child_that_ends_with_3_of_its_own_has_failed() {
    let ends_with_3 = foreign("ends_with_3");
    for parent in PARENTS {
        start(parent, &["--child", as_argument(&ends_with_3)]).expect_code(1).expect_within(SOON);
    }
}

fn the_longest_times_fit_together() {
    for parent in PARENTS {
        start(parent, &["--timeout", "86400"]).expect_code(0);
        start(parent, &["--timeout", "86401"]).expect_code(2).expect_text("from 0 to 86400");
        start(parent, &["--delay", "86400001"]).expect_code(2).expect_text("from 0 to 86400");
    }
    start(INHERITANCE_CHILD, &["--timeout", "172800", "0x7ffc"]).expect_code(1);
}

fn a_missing_child_is_said_at_once() {
    for parent in PARENTS {
        start(parent, &["--child", r"C:\no\such\program.exe"])
            .expect_code(1)
            .expect_text("there is no program")
            .expect_text(r"C:\no\such\program.exe")
            .expect_within(SOON);
        let folder = this_program().parent().expect("a program is in a folder").to_path_buf();
        start(parent, &["--child", as_argument(&folder)]).expect_code(1).expect_within(SOON);
    }
}

fn the_child_has_the_parents_event_with_the_access_given_and_no_canary() {
    // The canary is inheritable, and std's builder gives it to the parent, under the same number.
    let canary = Event::manual_reset().expect("an event");
    table::make_inheritable(&canary);
    for (parent, access) in
        [(INHERITANCE_PARENT, 0x0010_0002), (DUPLICATION_PARENT, 0x0010_0000), (NAMING_PARENT, 0x0010_0000)]
    {
        let (mut program, mut output) = started(parent, &["--delay", "5000"]);
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|line| line.contains("= an event")) {
            lines.push(output.next().expect("the child says that it has an event").expect("a line"));
        }
        let text = lines.join("\n");
        let number = |line: &str, after: &str| {
            let (_, rest) = line.rsplit_once(after).expect("the line has a handle");
            let digits = rest.split(|digit: char| !digit.is_ascii_hexdigit()).next().expect("a first part");
            u32::from_str_radix(digits, 16).expect("a handle in hex")
        };
        let made = lines.iter().find(|line| line.contains("CreateEventW")).expect("the event is made");
        let given =
            lines.iter().rfind(|line| line.contains("inherit event 0x") || line.contains("SYNCHRONIZE"));
        let (own, given) = (number(made, "handle 0x"), number(given.expect("the event is given"), " 0x"));
        let child = child_of(&text);

        assert_eq!(table::values_of(&canary, program.id()), [table::value(&canary)], "the control");
        assert_eq!(table::values_of(&canary, child), []);
        let parents = table::entry(program.id(), own).expect("the parent has its event");
        assert!(!parents.inheritable);
        assert_eq!(table::entry(child, given).expect("the child has the event").access, access);
        let same = table::is_same_elsewhere(program.id(), own, child, given);
        assert!(same, "{own:#x} there and {given:#x} here are not one object:\n{text}");
        program.kill().expect("it runs");
        table::kill(child);
    }
}

fn a_foreign_child_works() {
    for (parent, child) in [
        (INHERITANCE_PARENT, "inheritance_child"),
        (DUPLICATION_PARENT, "duplication_child"),
        (NAMING_PARENT, "naming_child"),
    ] {
        let child = foreign(child);
        start(parent, &["--child", as_argument(&child)]).expect_code(0);
        // It waits for this event and for no other: without the signal it is still there at the deadline.
        start(parent, &["--child", as_argument(&child), "--no-signal", "--timeout", "0"]).expect_code(3);
    }
}

fn a_foreign_parent_works() {
    for (parent, child) in [("inheritance_parent", INHERITANCE_CHILD), ("naming_parent", NAMING_CHILD)] {
        run(&foreign(parent), [child], DEADLINE).expect_code(0).expect_text("= signaled");
    }
}

fn a_child_whose_parent_is_killed_ends() {
    for parent in PARENTS {
        let (mut program, mut lines) = started(parent, &["--delay", "0", "--timeout", "1", "--no-signal"]);
        let child = id_of_waiting_child(&mut lines);
        program.kill().expect("it runs");
        assert!(table::ends_within(child, 5000), "{child} outlives its deadline");
    }
}

/// A parent that never gets as far as to say the number.
fn starts_a_child_and_says_nothing(_: &[String]) {
    let mut child = Command::new(DUPLICATION_CHILD).stdin(Stdio::piped()).spawn().expect("the child starts");
    let _pipe = child.stdin.take();
    println!("{}", child.id());
    // Not for ever: the child has a deadline.
    child.wait().expect("one's own child can be waited for");
}

fn a_child_whose_parent_is_killed_before_it_says_the_number_ends() {
    let program = this_program();
    let mut parent = Command::new(program)
        .args(role("starts_a_child_and_says_nothing", &[]))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(parent.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
    let child: u32 = line.trim().parse().expect("the child's id");
    assert!(!table::ends_within(child, 300), "the pipe is open still");
    let killed = Instant::now();
    parent.kill().expect("it runs");
    parent.wait().expect("one's own child can be waited for");
    assert!(table::ends_within(child, 5000));
    assert!(
        killed.elapsed() < Duration::from_secs(2),
        "{:?}: by the deadline, not by the pipe",
        killed.elapsed()
    );
}

/// What can't be a handle in any process, and a part of the message about it.
const NO_HANDLES: [(&str, &str); 16] = [
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

fn a_number_that_cannot_be_a_handle_is_wrong_usage() {
    for (number, part) in NO_HANDLES {
        start(INHERITANCE_CHILD, &[number])
            .expect_code(2)
            .expect_text(part)
            .expect_text("expected the number of a handle")
            .expect_within(SOON);
    }
    start(INHERITANCE_CHILD, &[]).expect_code(2).expect_text("<HANDLE>").expect_within(SOON);
    start(INHERITANCE_CHILD, &["68", "72"]).expect_code(2).expect_within(SOON);
}

fn a_number_that_is_no_event_is_a_failure() {
    start(INHERITANCE_CHILD, &["0x7ffc"]).expect_code(1).expect_text("no open handle").expect_within(SOON);
    start(INHERITANCE_CHILD, &["0x7ffffffc"])
        .expect_code(1)
        .expect_text("no open handle")
        .expect_within(SOON);

    let (mutex, semaphore) = (table::mutex(), table::semaphore());
    let file = std::fs::File::open(this_program()).expect("a program can be read");
    table::make_inheritable(&mutex);
    table::make_inheritable(&semaphore);
    table::make_inheritable(&file);
    for (value, kind) in [
        (table::value(&mutex), "a mutex"),
        (table::value(&semaphore), "a semaphore"),
        (table::value(&file), "a file"),
    ] {
        // std's builder lets the child inherit all three.
        start(INHERITANCE_CHILD, &[&value.to_string()])
            .expect_code(1)
            .expect_text("expected an event")
            .expect_text(kind)
            .expect_within(SOON);
    }
}

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
    told(b"32764\n").expect_code(1).expect_text("no open handle");
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

fn a_name_that_is_no_events_is_refused() {
    start(NAMING_CHILD, &["nobody-has-this"])
        .expect_code(1)
        .expect_text("there is no object of the name")
        .expect_within(SOON);
    start(NAMING_CHILD, &[]).expect_code(2).expect_text("<NAME>").expect_within(SOON);
    for wrong in ["", r"a\b", r"Global\a", &"n".repeat(254)] {
        start(NAMING_CHILD, &[wrong]).expect_code(2).expect_within(SOON);
        start(NAMING_PARENT, &["--name", wrong]).expect_code(2).expect_within(SOON);
    }
    let name = format!("exercise.{}", std::process::id());
    let mutex = handover::Mutex::create_named(&name).expect("the name is free");
    start(NAMING_CHILD, &[&name]).expect_code(1).expect_text("another kind").expect_within(SOON);
    // Taken by whatever kind: the parent doesn't take it for its own.
    start(NAMING_PARENT, &["--name", &name]).expect_code(1).expect_text("in use").expect_within(SOON);
    drop(mutex);
    let event = Event::create_named(&name, handover::Reset::Manual).expect("the name is free");
    start(NAMING_PARENT, &["--name", &name]).expect_code(1).expect_text("in use").expect_within(SOON);
    drop(event);
    start(NAMING_PARENT, &["--name", &name]).expect_code(0).expect_text(&name);
}

fn wrong_usage_is_explained() {
    for parent in PARENTS {
        for arguments in [
            &["--delay", "soon"][..],
            &["--delay", "-1"],
            &["--timeout", "NaN"],
            &["--timeout", "-1"],
            &["--timeout", "1e300"],
            &["--timeout"],
            &["--child"],
            &["--unknown"],
            &["68"],
        ] {
            start(parent, arguments).expect_code(2).expect_text("error:").expect_within(SOON);
        }
    }
    start(DUPLICATION_CHILD, &["68"]).expect_code(2).expect_text("error:").expect_within(SOON);
}

fn help_says_what_the_exit_codes_mean() {
    let children = [INHERITANCE_CHILD, DUPLICATION_CHILD, NAMING_CHILD];
    for program in PARENTS.into_iter().chain(children) {
        let help =
            start(program, &["--help"]).expect_code(0).expect_text("Exit codes: 0").expect_text("--timeout");
        assert!(help.out.contains("an event that") || help.out.contains("an unnamed event"), "{}", help.out);
    }
}
