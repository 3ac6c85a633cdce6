//! The six programs, run as a person runs them.

mod os;

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use exercises::call;
use handover::{Event, ResetMode, Timer};
use handover_tests::{Ended, Test, foreign, is_foreign_there, role, run, table, tests, this_program};

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
    let everywhere: &[Test] = tests![
        an_event_is_shared,
        the_story_has_the_steps_of_the_exercise_in_their_order,
        each_step_is_a_line_that_says_whose,
        without_the_signal_both_sides_end_at_their_deadline,
        a_child_that_takes_no_notice_is_killed_at_the_parents_deadline,
        a_child_that_dies_early_is_noticed_at_once,
        a_child_that_is_killed_is_noticed_at_once,
        a_child_that_ends_with_3_of_its_own_has_failed,
        the_longest_times_fit_together,
        a_missing_child_is_said_at_once,
        the_child_has_the_parents_event_and_no_canary,
        a_foreign_child_works,
        a_foreign_parent_works,
        a_child_whose_parent_is_killed_ends,
        a_child_whose_parent_is_killed_before_it_gives_the_event_ends,
        a_number_that_cannot_be_a_handle_is_wrong_usage,
        a_number_that_is_no_event_is_a_failure,
        a_name_that_is_no_events_is_refused,
        wrong_usage_is_explained,
        help_says_what_the_exit_codes_mean,
    ];
    handover_tests::main(
        [everywhere, os::TESTS].concat().leak(),
        [tests![starts_a_child_and_gives_it_nothing], os::ROLES].concat().leak(),
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
        let ended = start(parent, &[]).expect_code(0).expect_text("= signaled").expect_text(&ended_with(0));
        assert_eq!(ended.err, "");
        start(parent, &["--delay", "0"]).expect_code(0);
        start(parent, &["--delay", "700", "--timeout", "0.5"]).expect_code(0);
    }
}

/// How a parent says that its child has ended by itself.
fn ended_with(code: i32) -> String {
    format!("ended, {}: {code}", os::EXIT)
}

/// What the exercise asks of the parents and of the children, each as the system's calls.
fn the_story_has_the_steps_of_the_exercise_in_their_order() {
    let share: &[&str] = &[call::CREATE_EVENT, call::CREATE_PROCESS];
    let end: &[&str] = &[call::SET_EVENT, call::WAIT, call::CLOSE];
    let wait: &[&str] = &[call::WAIT, call::CLOSE];
    for (parent, parents, childs) in [
        (INHERITANCE_PARENT, [share, end].concat(), [&[call::ASK_FOR_KIND], wait].concat()),
        (DUPLICATION_PARENT, [share, &call::HAND_OVER, end].concat(), [&call::TAKE_OVER, wait].concat()),
        (NAMING_PARENT, [share, end].concat(), [&[call::OPEN_EVENT], wait].concat()),
    ] {
        let ended = start(parent, &[]).expect_code(0);
        for (role, expected) in [("parent ", parents), ("child ", childs)] {
            let steps: Vec<&str> =
                ended.out.lines().filter(|line| line.starts_with(role)).map(call_of).collect();
            assert_eq!(steps, expected, "{}", ended.out);
        }
    }
}

/// The call of a step: "parent 32 SetEvent(0x30) = ok".
fn call_of(line: &str) -> &str {
    let step = line.splitn(3, ' ').nth(2).expect("a role, an id and a step");
    step.split('(').next().expect("a first part")
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
            .expect_text(&ended_with(3))
            .expect_text("timed out after 12")
            .expect_within(SOON);
    }
}

fn a_child_that_takes_no_notice_is_killed_at_the_parents_deadline() {
    let Some(never_ends) = foreign_program("never_ends") else { return };
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
    let Some(ends_at_once) = foreign_program("ends_at_once") else { return };
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
    let Some(ends_with_3) = foreign_program("ends_with_3") else { return };
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
    start(INHERITANCE_CHILD, &["--timeout", "172800", NOT_OPEN]).expect_code(1);
}

fn a_missing_child_is_said_at_once() {
    for parent in PARENTS {
        start(parent, &["--child", os::NO_PROGRAM])
            .expect_code(1)
            .expect_text("not found")
            .expect_text(os::NO_PROGRAM)
            .expect_within(SOON);
        let folder = this_program().parent().expect("a program is in a folder").to_path_buf();
        start(parent, &["--child", as_argument(&folder)]).expect_code(1).expect_within(SOON);
    }
}

fn the_child_has_the_parents_event_and_no_canary() {
    // The canary is inheritable, and std's builder gives it to the parent, under the same number.
    let canary = Event::manual_reset().expect("an event");
    table::make_inheritable(&canary);
    for parent in PARENTS {
        let (mut program, mut output) = started(parent, &["--delay", "5000"]);
        // Both write to the same output: the child may have said that it has its event before the parent says who it is.
        let mut lines: Vec<String> = Vec::new();
        while ["= process", "= an event"].iter().any(|part| !lines.iter().any(|line| line.contains(part))) {
            lines.push(output.next().expect("both say what they have done").expect("a line"));
        }
        let child = child_of(&lines.join("\n"));
        let got = lines.iter().find(|line| line.contains("= an event")).expect("the child's line");
        let (made, got) = (handle_in(&lines[0]), handle_in(got));

        assert_eq!(table::values_of(&canary, program.id()), [table::value(&canary)], "the control");
        assert_eq!(table::values_of(&canary, child), []);
        assert!(!table::entry(program.id(), made).expect("the parent has its event").inheritable);
        os::check_the_access(parent, child, got);
        let same = table::is_same_elsewhere(program.id(), made, child, got);
        assert!(same, "{made:#x} there and {got:#x} here are not one object: {lines:#?}");
        program.kill().expect("it runs");
        program.wait().expect("one's own child can be waited for");
        table::kill(child);
    }
}

/// The one handle of which a line tells.
fn handle_in(line: &str) -> u32 {
    let (_, rest) = line.rsplit_once("0x").expect("the line has a handle");
    let digits = rest.split(|digit: char| !digit.is_ascii_hexdigit()).next().expect("a first part");
    u32::from_str_radix(digits, 16).expect("a handle in hex")
}

/// A foreign program, if this machine could compile it.
fn foreign_program(name: &str) -> Option<PathBuf> {
    is_foreign_there(name).then(|| foreign(name))
}

fn a_foreign_child_works() {
    for (parent, child) in os::FOREIGN_CHILDREN {
        let Some(child) = foreign_program(child) else { continue };
        start(parent, &["--child", as_argument(&child)]).expect_code(0);
        // It waits for this event and for no other: without the signal it is still there at the deadline.
        start(parent, &["--child", as_argument(&child), "--no-signal", "--timeout", "0"]).expect_code(3);
    }
}

fn a_foreign_parent_works() {
    for (parent, child) in os::FOREIGN_PARENTS {
        let Some(parent) = foreign_program(parent) else { continue };
        run(&parent, [child], DEADLINE).expect_code(0).expect_text("= signaled");
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

/// A parent that never gets as far as to give the event.
fn starts_a_child_and_gives_it_nothing(_: &[String]) {
    let mut command = handover::Command::new(DUPLICATION_CHILD);
    let mut child = exercises::duplication::prepare(&mut command).spawn().expect("the child starts");
    println!("{}", child.id());
    let _open = (child.stdin.take(), child.take_channel());
    // Not for ever: the child has a deadline.
    child.wait_timeout(DEADLINE).expect("the child ends at its own deadline");
}

fn a_child_whose_parent_is_killed_before_it_gives_the_event_ends() {
    let program = this_program();
    let mut parent = Command::new(program)
        .args(role("starts_a_child_and_gives_it_nothing", &[]))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(parent.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
    let child: u32 = line.trim().parse().expect("the child's id");
    assert!(!table::ends_within(child, 300), "the way to it is open still");
    let killed = Instant::now();
    parent.kill().expect("it runs");
    parent.wait().expect("one's own child can be waited for");
    assert!(table::ends_within(child, 5000));
    assert!(
        killed.elapsed() < Duration::from_secs(2),
        "{:?}: by the deadline, not by the end of its parent",
        killed.elapsed()
    );
}

fn a_number_that_cannot_be_a_handle_is_wrong_usage() {
    for (number, part) in os::NO_HANDLES {
        start(INHERITANCE_CHILD, &[number])
            .expect_code(2)
            .expect_text(part)
            .expect_text("is not a handle value")
            .expect_within(SOON);
    }
    start(INHERITANCE_CHILD, &[]).expect_code(2).expect_text("<HANDLE>").expect_within(SOON);
    start(INHERITANCE_CHILD, &["68", "72"]).expect_code(2).expect_within(SOON);
}

/// The number of a handle that no process has so many others beside.
const NOT_OPEN: &str = "0x7ffc";

fn a_number_that_is_no_event_is_a_failure() {
    for number in [NOT_OPEN, "0x7ffffffc"] {
        start(INHERITANCE_CHILD, &[number]).expect_code(1).expect_text("is not open").expect_within(SOON);
    }
    let semaphore = table::semaphore();
    let file = std::fs::File::open(this_program()).expect("a program can be read");
    table::make_inheritable(&semaphore);
    table::make_inheritable(&file);
    for (value, kind) in [(table::value(&semaphore), "a semaphore"), (table::value(&file), "a file")] {
        // std's builder lets the child inherit both.
        start(INHERITANCE_CHILD, &[&value.to_string()])
            .expect_code(1)
            .expect_text("expected an event")
            .expect_text(kind)
            .expect_within(SOON);
    }
}

fn a_name_that_is_no_events_is_refused() {
    start(NAMING_CHILD, &["nobody-has-this"])
        .expect_code(1)
        .expect_text("no object is named")
        .expect_within(SOON);
    start(NAMING_CHILD, &[]).expect_code(2).expect_text("<NAME>").expect_within(SOON);
    for wrong in ["", r"a\b", r"Global\a", &"n".repeat(254)] {
        start(NAMING_CHILD, &[wrong]).expect_code(2).expect_within(SOON);
        start(NAMING_PARENT, &["--name", wrong]).expect_code(2).expect_within(SOON);
    }
    let name = format!("exercise.{}", std::process::id());
    let timer = Timer::create_named(&name, ResetMode::Manual).expect("the name is free");
    start(NAMING_CHILD, &[&name]).expect_code(1).expect_text("another kind").expect_within(SOON);
    // Taken by whatever kind: the parent doesn't take it for its own.
    start(NAMING_PARENT, &["--name", &name]).expect_code(1).expect_text("in use").expect_within(SOON);
    drop(timer);
    let event = Event::create_named(&name, ResetMode::Manual).expect("the name is free");
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
