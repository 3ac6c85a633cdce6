//! Runs the programs as a user does.

mod os;

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use handover::{Event, ResetMode, Timer};
use handover_tests::{Ended, Test, foreign, is_foreign_there, role, run, table, tests, this_program};

/// The time that two processes may need to start and exit on a machine under load.
const SOON: Duration = Duration::from_secs(5);
/// The time after which a program that should have exited is killed, and the test fails.
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
        each_program_makes_the_calls_of_its_exercise_in_order,
        each_line_has_the_role_and_process_id_in_front,
        without_the_signal_both_processes_exit_at_their_deadlines,
        a_child_that_never_exits_is_killed_at_the_parents_deadline,
        the_parent_exits_at_once_when_its_child_exits_early,
        the_parent_exits_at_once_when_its_child_is_killed,
        a_child_that_exits_with_3_despite_the_signal_has_failed,
        the_longest_delay_and_timeout_can_be_added,
        the_parent_fails_at_once_when_the_childs_program_is_missing,
        the_child_gets_the_parents_event_and_no_other_inheritable_handle,
        a_child_in_c_shares_the_event_with_our_parent,
        a_parent_in_c_shares_the_event_with_our_child,
        a_child_whose_parent_is_killed_exits_at_its_deadline,
        a_child_whose_parent_is_killed_before_sharing_exits_at_once,
        an_argument_that_cannot_be_a_handle_value_is_wrong_usage,
        a_handle_value_that_is_no_event_is_a_failure,
        a_name_that_is_not_an_events_is_refused,
        wrong_usage_is_explained,
        help_explains_the_exit_codes,
        each_program_fits_on_one_page,
        pipes_and_mutexes_are_closed_with_their_owners,
        each_level_is_solved,
        each_level_fails_without_its_signal,
        each_level_has_a_page_of_the_same_form,
    ];
    handover_tests::main(
        [everywhere, os::TESTS].concat().leak(),
        [tests![starts_a_child_and_never_shares], os::ROLES].concat().leak(),
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
        let ended =
            start(parent, &[]).expect_code(0).expect_text("= signaled").expect_text(os::EXITED_WITH_0);
        assert_eq!(ended.err, "");
        start(parent, &["--delay", "0"]).expect_code(0);
        start(parent, &["--delay", "700", "--timeout", "0.5"]).expect_code(0);
    }
}

fn each_program_makes_the_calls_of_its_exercise_in_order() {
    for (parent, calls_of_parent, calls_of_child) in os::STEPS {
        let ended = start(parent, &[]).expect_code(0);
        for (role, expected) in [("parent ", calls_of_parent), ("child ", calls_of_child)] {
            let lines = ended.out.lines().filter(|line| line.starts_with(role));
            let mut calls: Vec<&str> = lines.map(call_of).collect();
            // A child that is ready before its parent has sent the message waits for it first.
            if let Some(receive) = calls.iter().position(|call| *call == "recvmsg") {
                if receive > 0 && calls[receive - 1] == "ppoll" {
                    calls.remove(receive - 1);
                }
            }
            assert_eq!(calls, expected, "{}", ended.out);
        }
    }
}

/// Returns the call of a line such as "parent 32 SetEvent(event 0x30) = ok".
fn call_of(line: &str) -> &str {
    let call = line.splitn(3, ' ').nth(2).expect("the line has a role, a process id and a call");
    call.split('(').next().expect("a split has a first part")
}

fn each_line_has_the_role_and_process_id_in_front() {
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

fn without_the_signal_both_processes_exit_at_their_deadlines() {
    for parent in PARENTS {
        start(parent, &["--no-signal", "--timeout", "1"])
            .expect_code(3)
            .expect_text("= timed out")
            .expect_text(os::EXITED_WITH_3)
            .expect_text("timed out after 1")
            .expect_within(SOON);
    }
}

fn a_child_that_never_exits_is_killed_at_the_parents_deadline() {
    let Some(never_ends) = foreign_program("never_ends") else { return };
    for parent in PARENTS {
        let ended = start(parent, &["--child", as_argument(&never_ends), "--timeout", "0", "--delay", "0"])
            .expect_code(3)
            .expect_text("was killed")
            .expect_within(SOON);
        assert!(table::ends_within(child_of(&ended.out), 0));
    }
}

/// Returns the child's process id from a parent's output.
fn child_of(out: &str) -> u32 {
    let (_, rest) = out.split_once("= process ").expect("the parent says which process it made");
    rest.lines().next().and_then(|id| id.parse().ok()).expect("an id")
}

fn the_parent_exits_at_once_when_its_child_exits_early() {
    let Some(ends_at_once) = foreign_program("ends_at_once") else { return };
    for parent in PARENTS {
        start(parent, &["--child", as_argument(&ends_at_once), "--delay", "20000", "--timeout", "20"])
            .expect_code(1)
            .expect_within(Duration::from_secs(2));
    }
}

fn the_parent_exits_at_once_when_its_child_is_killed() {
    for parent in PARENTS {
        let (mut program, mut lines) = started(parent, &["--delay", "20000", "--timeout", "20"]);
        let child = id_of_waiting_child(parent, &mut lines);
        let killed = Instant::now();
        table::kill(child);
        let status = program.wait().expect("one's own child can be waited for");
        assert_eq!(status.code(), Some(1));
        assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    }
}

/// Starts a parent, and returns it with its lines.
fn started(parent: &str, arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut program = Command::new(parent).args(arguments).stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(program.stdout.take().expect("standard output is piped")).lines();
    (program, lines)
}

/// Reads a parent's output until the child has its event, and returns the child's process id.
fn id_of_waiting_child(parent: &str, lines: &mut Lines<BufReader<ChildStdout>>) -> u32 {
    let line = lines
        .map(|line| line.expect("the parent's output"))
        .find(|line| has_event(parent, line))
        .expect("the child prints the call that gives it the event");
    line.split(' ').nth(1).and_then(|id| id.parse().ok()).expect("an id")
}

/// Returns whether the line is the call by which this parent's child gets its event. Its last handle is the event's.
fn has_event(parent: &str, line: &str) -> bool {
    let (_, call) = os::GETS_EVENT.iter().find(|(other, _)| *other == parent).expect("each parent is listed");
    line.starts_with("child ") && call_of(line) == *call
}

fn a_child_that_exits_with_3_despite_the_signal_has_failed() {
    let Some(ends_with_3) = foreign_program("ends_with_3") else { return };
    for parent in PARENTS {
        start(parent, &["--child", as_argument(&ends_with_3)]).expect_code(1).expect_within(SOON);
    }
}

fn the_longest_delay_and_timeout_can_be_added() {
    for parent in PARENTS {
        start(parent, &["--timeout", "86400"]).expect_code(0);
        start(parent, &["--timeout", "86401"]).expect_code(2).expect_text("from 0 to 86400");
        start(parent, &["--delay", "86400001"]).expect_code(2).expect_text("from 0 to 86400");
    }
    start(INHERITANCE_CHILD, &["--timeout", "172800", NOT_OPEN]).expect_code(1);
}

fn the_parent_fails_at_once_when_the_childs_program_is_missing() {
    for parent in PARENTS {
        start(parent, &["--child", os::NO_PROGRAM])
            .expect_code(1)
            .expect_text("not found")
            .expect_text(&format!("{:?}", os::NO_PROGRAM))
            .expect_within(SOON);
        let folder = this_program().parent().expect("a program is in a folder").to_path_buf();
        start(parent, &["--child", as_argument(&folder)]).expect_code(1).expect_within(SOON);
    }
}

fn the_child_gets_the_parents_event_and_no_other_inheritable_handle() {
    // The canary is inheritable, and std's `Command` lets the parent inherit it, with the same value.
    let canary = Event::manual_reset().expect("an event");
    table::make_inheritable(&canary);
    for parent in PARENTS {
        let (mut program, mut output) = started(parent, &["--delay", "5000"]);
        // Both write to the same output, and the child may get its event before the parent prints the child's id.
        let mut lines: Vec<String> = Vec::new();
        let is_child_known = |lines: &[String]| lines.iter().any(|line| line.contains("= process "));
        while !is_child_known(&lines) || !lines.iter().any(|line| has_event(parent, line)) {
            lines.push(output.next().expect("both processes print their calls").expect("a line"));
        }
        let child = child_of(&lines.join("\n"));
        let received = lines.iter().find(|line| has_event(parent, line)).expect("the loop has found it");
        let (created, received) = (handle_in(&lines[0]), handle_in(received));

        assert_eq!(table::values_of(&canary, program.id()), [table::value(&canary)], "the control");
        assert_eq!(table::values_of(&canary, child), []);
        assert!(!table::entry(program.id(), created).expect("the parent has its event").inheritable);
        os::check_access(child, received);
        let is_same = table::is_same_elsewhere(program.id(), created, child, received);
        assert!(
            is_same,
            "{created:#x} in the parent and {received:#x} in the child are two objects: {lines:#?}"
        );
        program.kill().expect("it runs");
        program.wait().expect("one's own child can be waited for");
        table::kill(child);
    }
}

/// Returns the last handle in a line.
fn handle_in(line: &str) -> u32 {
    let (_, rest) = line.rsplit_once("0x").expect("the line has a handle");
    let digits = rest.split(|digit: char| !digit.is_ascii_hexdigit()).next().expect("a first part");
    u32::from_str_radix(digits, 16).expect("a handle in hex")
}

/// Returns the path of a program in C, if this machine could compile it.
fn foreign_program(name: &str) -> Option<PathBuf> {
    is_foreign_there(name).then(|| foreign(name))
}

fn a_child_in_c_shares_the_event_with_our_parent() {
    for (parent, child) in os::FOREIGN_CHILDREN {
        let Some(child) = foreign_program(child) else { continue };
        start(parent, &["--child", as_argument(&child)]).expect_code(0);
        // The child waits for this event: without the signal, it is still running at the deadline.
        start(parent, &["--child", as_argument(&child), "--no-signal", "--timeout", "0"]).expect_code(3);
    }
}

fn a_parent_in_c_shares_the_event_with_our_child() {
    for (parent, child) in os::FOREIGN_PARENTS {
        let Some(parent) = foreign_program(parent) else { continue };
        run(&parent, [child], DEADLINE).expect_code(0).expect_text("= signaled");
    }
}

fn a_child_whose_parent_is_killed_exits_at_its_deadline() {
    for parent in PARENTS {
        let (mut program, mut lines) = started(parent, &["--delay", "0", "--timeout", "1", "--no-signal"]);
        let child = id_of_waiting_child(parent, &mut lines);
        program.kill().expect("it runs");
        assert!(table::ends_within(child, 5000), "{child} outlives its deadline");
    }
}

/// A parent that starts the child and never shares the event.
fn starts_a_child_and_never_shares(_: &[String]) {
    let mut command = handover::Command::new(DUPLICATION_CHILD);
    let mut child = os::connect(&mut command).spawn().expect("the child starts");
    println!("{}", child.id());
    let _open = (child.stdin.take(), child.take_channel());
    child.wait_timeout(DEADLINE).expect("the child exits at its own deadline");
}

fn a_child_whose_parent_is_killed_before_sharing_exits_at_once() {
    let program = this_program();
    let mut parent = Command::new(program)
        .args(role("starts_a_child_and_never_shares", &[]))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    // The child shares the output, and may print a call before its parent prints the id.
    let mut lines = BufReader::new(parent.stdout.take().expect("it is piped")).lines();
    let child: u32 = lines.find_map(|line| line.expect("a line").parse().ok()).expect("the child's id");
    assert!(!table::ends_within(child, 300), "its pipe or channel is still open");
    let killed = Instant::now();
    parent.kill().expect("it runs");
    parent.wait().expect("one's own child can be waited for");
    assert!(table::ends_within(child, 5000));
    assert!(
        killed.elapsed() < Duration::from_secs(2),
        "{:?}: the child exited at its deadline, and not when its parent was killed",
        killed.elapsed()
    );
}

fn an_argument_that_cannot_be_a_handle_value_is_wrong_usage() {
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

/// A handle value that is not open in a process with few handles.
const NOT_OPEN: &str = "0x7ffc";

fn a_handle_value_that_is_no_event_is_a_failure() {
    for number in [NOT_OPEN, "0x7ffffffc"] {
        start(INHERITANCE_CHILD, &[number]).expect_code(1).expect_text("is not open").expect_within(SOON);
    }
    let semaphore = table::semaphore();
    let file = std::fs::File::open(this_program()).expect("a program can be read");
    table::make_inheritable(&semaphore);
    table::make_inheritable(&file);
    for (value, kind) in [(table::value(&semaphore), "a semaphore"), (table::value(&file), "a file")] {
        // std's `Command` lets the child inherit both.
        start(INHERITANCE_CHILD, &[&value.to_string()])
            .expect_code(1)
            .expect_text("expected an event")
            .expect_text(kind)
            .expect_within(SOON);
    }
}

fn a_name_that_is_not_an_events_is_refused() {
    start(NAMING_CHILD, &["nobody-has-this"])
        .expect_code(1)
        .expect_text("no event has the name \"nobody-has-this\"")
        .expect_within(SOON);
    start(NAMING_CHILD, &[]).expect_code(2).expect_text("<NAME>").expect_within(SOON);
    for wrong in ["", r"a\b", r"Global\a", &"n".repeat(254)] {
        start(NAMING_CHILD, &[wrong]).expect_code(2).expect_within(SOON);
        start(NAMING_PARENT, &["--name", wrong]).expect_code(2).expect_within(SOON);
    }
    let name = format!("exercise.{}", std::process::id());
    let timer = Timer::create_named(&name, ResetMode::Manual).expect("the name is free");
    start(NAMING_CHILD, &[&name])
        .expect_code(1)
        .expect_text("; expected an event: open it as")
        .expect_within(SOON);
    // The parent fails if an object of any kind has the name.
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

fn help_explains_the_exit_codes() {
    let children = [INHERITANCE_CHILD, DUPLICATION_CHILD, NAMING_CHILD];
    for program in PARENTS.into_iter().chain(children) {
        let help =
            start(program, &["--help"]).expect_code(0).expect_text("Exit codes: 0").expect_text("--timeout");
        assert!(help.out.contains("an event that") || help.out.contains("an unnamed event"), "{}", help.out);
    }
}

fn each_program_fits_on_one_page() {
    for source in [
        include_str!("../src/bin/inheritance-parent.rs"),
        include_str!("../src/bin/inheritance-child.rs"),
        include_str!("../src/bin/duplication-parent.rs"),
        include_str!("../src/bin/duplication-child.rs"),
        include_str!("../src/bin/naming-parent.rs"),
        include_str!("../src/bin/naming-child.rs"),
        include_str!("../src/bin/two-children-parent.rs"),
        include_str!("../src/bin/grandchild-parent.rs"),
        include_str!("../src/bin/grandchild-child.rs"),
        include_str!("../src/bin/unrelated-launcher.rs"),
        include_str!("../src/bin/unrelated-sharer.rs"),
        include_str!("../src/bin/unrelated-receiver.rs"),
        include_str!("../src/bin/pipe-parent.rs"),
        include_str!("../src/bin/pipe-child.rs"),
        include_str!("../src/bin/least-access-parent.rs"),
        include_str!("../src/bin/least-access-child.rs"),
        include_str!("../src/bin/race-parent.rs"),
        include_str!("../src/bin/abandonment-parent.rs"),
        include_str!("../src/bin/abandonment-child.rs"),
    ] {
        let lines = source.lines().count();
        assert!((14..=35).contains(&lines), "{lines} lines: {source}");
    }
}

/// The program that starts each level, and its page.
const LEVELS: [(&str, &str, &str); 7] = [
    ("two-children", env!("CARGO_BIN_EXE_two-children-parent"), include_str!("../levels/two-children.md")),
    ("grandchild", env!("CARGO_BIN_EXE_grandchild-parent"), include_str!("../levels/grandchild.md")),
    ("unrelated", env!("CARGO_BIN_EXE_unrelated-launcher"), include_str!("../levels/unrelated.md")),
    ("pipe", env!("CARGO_BIN_EXE_pipe-parent"), include_str!("../levels/pipe.md")),
    ("least-access", env!("CARGO_BIN_EXE_least-access-parent"), include_str!("../levels/least-access.md")),
    ("race", env!("CARGO_BIN_EXE_race-parent"), include_str!("../levels/race.md")),
    ("abandonment", env!("CARGO_BIN_EXE_abandonment-parent"), include_str!("../levels/abandonment.md")),
];

fn pipes_and_mutexes_are_closed_with_their_owners() {
    // The first use may open handles that stay.
    drop((exercises::pipe().expect("a pipe"), exercises::SharedMutex::new().expect("a mutex")));
    let before = table::count();
    let (reader, writer) = exercises::pipe().expect("a pipe");
    assert_eq!(table::count(), before + 2);
    assert!(!table::is_inheritable(&reader) && !table::is_inheritable(&writer));
    let mutex = exercises::SharedMutex::new().expect("a mutex");
    assert_eq!(table::count(), before + 3);
    let is_abandoned = mutex.hold(SOON, Ok).expect("no thread owns it");
    assert!(!is_abandoned);
    drop((reader, writer, mutex));
    assert_eq!(table::count(), before);
}

fn each_level_is_solved() {
    for (level, program, _) in LEVELS {
        let ended = start(program, &["--delay", "20"]).expect_code(0);
        assert_eq!(ended.err, "", "{level}");
    }
}

fn each_level_fails_without_its_signal() {
    for program in [LEVELS[0].1, LEVELS[1].1] {
        let ended = start(program, &["--no-signal", "--timeout", "0.5", "--delay", "20"]);
        assert!(ended.code.is_some_and(|code| code != 0), "{program}: {ended:#?}");
    }
}

fn each_level_has_a_page_of_the_same_form() {
    for (level, _, page) in LEVELS {
        let heads: Vec<&str> = page.lines().filter(|line| line.starts_with('#')).skip(1).collect();
        assert_eq!(heads, ["## Task", "## Questions", "## Hints", "## Check", "## Reference"], "{level}");
        assert!(page.contains(&format!("\n$ handover check {level} -- ./")), "{level}");
        assert!(page.contains(&format!("(../../docs/pictures/linux-{level}.svg)")), "{level}");
        assert_eq!(page.matches("<details>").count(), page.matches("</details>").count(), "{level}");
        let questions = page.split("## ").find_map(|part| part.strip_prefix("Questions\n"));
        let count =
            questions.expect("there is such a part").lines().filter(|line| line.starts_with("- ")).count();
        assert!((2..=4).contains(&count), "{level} has {count} questions");
    }
}
