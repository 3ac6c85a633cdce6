//! Tests of inheritance: a child gets the listed objects and no others, and the parent's handles don't change.

use std::process::ExitCode;
use std::time::Duration;

use handover::{Child, Command, Error, Event, HandleValue, Stdio};
use handover_tests::{adopt, expect, raw, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            child_gets_the_object_under_the_passed_value,
            inherited_handle_has_same_access,
            spawn_keeps_parents_handle_value_and_flags,
            unlisted_inheritable_handle_does_not_leak,
            adopted_handle_does_not_leak_to_grandchild,
            spawning_missing_program_leaks_no_handles,
            rejected_list_starts_no_process_and_leaks_no_handles,
            spawn_and_wait_leak_no_handles,
            spawn_rejects_invalid_handles,
            killed_child_has_exited,
            kill_on_drop_kills_child,
            piped_streams_carry_bytes_both_ways,
            wait_closes_childs_input,
            creation_time_is_kept_after_exit,
            race_free_child_gets_listed_objects,
            streams_and_output_work_race_free,
        ],
        tests![
            waits_for_its_event,
            sleeps,
            adopts_and_has_a_child,
            upper_cases_a_line,
            reads_to_end_of_file,
            sets_ready,
            upper_cases
        ],
    )
}

/// Returns a command for this program in a role, without objects.
fn in_role<'a>(name: &str, arguments: &[&str]) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).kill_on_drop(true);
    command
}

/// Parses the handle value in the first argument after the role.
fn value_from_arg(arguments: &[String]) -> HandleValue {
    let value = HandleValue::from_arg(3).expect("a handle value");
    assert_eq!(value.to_string(), arguments[0]);
    value
}

fn waits_for_its_event(arguments: &[String]) {
    let event: Event = adopt(value_from_arg(arguments)).expect("an event");
    event.wait_timeout(SOON).expect("the signal");
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn child_gets_the_object_under_the_passed_value() {
    let (event, decoy) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let mut child = in_role("waits_for_its_event", &[])
        .inherit("event", &event)
        .inherit("decoy", &decoy)
        .arg_handle("{event}")
        .spawn()
        .unwrap();
    let values: Vec<_> = child.inherited_handles().map(|(_, value)| value.get()).collect();
    assert_eq!(table::values_of(&event, child.id()), values[..1]);
    assert_eq!(table::values_of(&decoy, child.id()), values[1..]);
    decoy.set().unwrap();
    let early = child.wait_timeout(Duration::from_millis(500));
    assert!(matches!(early, Err(Error::TimedOut { .. })), "the decoy woke the child: {early:?}");
    event.set().unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn inherited_handle_has_same_access() {
    let (from, to) = raw::pipe();
    let file = std::fs::File::open(this_program()).unwrap();
    let sent = [table::value(&from), table::value(&to), table::value(&file)];
    let child = in_role("sleeps", &[])
        .inherit("from", &from)
        .inherit("to", &to)
        .inherit("file", &file)
        .spawn()
        .unwrap();
    let access = |process: u32, value: u32| table::entry(process, value).expect("it is open").access;
    let here = sent.map(|value| access(std::process::id(), value));
    let there: Vec<_> = child.inherited_handles().map(|(_, value)| access(child.id(), value.get())).collect();
    assert_eq!(there, here);
    assert_ne!(here[0], here[1], "the two ends of the pipe have different access");
}

fn spawn_keeps_parents_handle_value_and_flags() {
    let event = Event::manual_reset().unwrap();
    let inheritable = Event::manual_reset().unwrap();
    table::make_inheritable(&inheritable);
    let before = (
        HandleValue::of(&event).unwrap(),
        table::is_inheritable(&event),
        table::is_inheritable(&inheritable),
    );
    for _ in 0..20 {
        let mut child = in_role("waits_for_its_event", &[])
            .inherit("event", &event)
            .inherit("inheritable", &inheritable)
            .arg_handle("{event}")
            .spawn()
            .unwrap();
        event.set().unwrap();
        child.wait_timeout(SOON).unwrap();
        let after = (
            HandleValue::of(&event).unwrap(),
            table::is_inheritable(&event),
            table::is_inheritable(&inheritable),
        );
        assert_eq!(before, after);
    }
    assert_eq!((before.1, before.2), (false, true));
}

fn unlisted_inheritable_handle_does_not_leak() {
    let (canary, listed) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    table::make_inheritable(&canary);

    // The control: the canary leaks into a child of std's `Command`.
    let mut control = std::process::Command::new(this_program()).args(role("sleeps", &[])).spawn().unwrap();
    let leaked = table::values_of(&canary, control.id());
    control.kill().unwrap();
    control.wait().unwrap();
    assert_eq!(leaked.len(), 1, "std's builder should let a child inherit all");

    let none_listed = in_role("sleeps", &[]).spawn().unwrap();
    let one_listed = in_role("sleeps", &[]).inherit("listed", &listed).spawn().unwrap();
    let no_streams = in_role("sleeps", &[])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for child in [&none_listed, &one_listed, &no_streams] {
        assert_eq!(table::values_of(&canary, child.id()), []);
    }
    assert_eq!(table::values_of(&listed, one_listed.id()).len(), 1);
}

fn adopts_and_has_a_child(arguments: &[String]) {
    let event: Event = adopt(value_from_arg(arguments)).expect("an event");
    // std's `Command` passes all inheritable handles on.
    let mut grandchild =
        std::process::Command::new(this_program()).args(role("sleeps", &[])).spawn().unwrap();
    println!("{}", grandchild.id());
    event.wait_timeout(SOON).expect("the signal");
    grandchild.kill().unwrap();
    grandchild.wait().unwrap();
}

fn adopted_handle_does_not_leak_to_grandchild() {
    use std::io::{BufRead, BufReader};
    let event = Event::manual_reset().unwrap();
    let mut child = in_role("adopts_and_has_a_child", &[])
        .inherit("event", &event)
        .arg_handle("{event}")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let grandchild: u32 = line.trim().parse().expect("the grandchild's id");
    assert_eq!(table::values_of(&event, child.id()).len(), 1);
    assert_eq!(table::values_of(&event, grandchild), []);
    event.set().unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn spawning_missing_program_leaks_no_handles() {
    let event = Event::manual_reset().unwrap();
    let attempt = || {
        let outcome = Command::new("no-such-program").stdin(Stdio::piped()).inherit("event", &event).spawn();
        match outcome {
            Err(Error::ProgramNotFound { program, searched, .. }) => {
                assert_eq!(program, "no-such-program");
                let file = format!("no-such-program{}", std::env::consts::EXE_SUFFIX);
                assert!(searched.iter().any(|searched| searched.ends_with(&file)), "{searched:?}");
            }
            other => panic!("{other:?}"),
        }
    };
    attempt();
    let before = table::count();
    (0..200).for_each(|_| attempt());
    assert_eq!(table::count(), before);
}

fn rejected_list_starts_no_process_and_leaks_no_handles() {
    let event = Event::manual_reset().unwrap();
    // The names of the listed objects, an argument, a template, and a part of the error's text.
    let wrong: [(&[&str], &str, &str, &str); 5] = [
        (&["a", "b", "a"], "", "", "two objects to inherit have the name \"a\""),
        (&[""], "", "", "is empty"),
        (&["{a}"], "", "", "brace"),
        (&["a"], "", "{other}", "no object of that name"),
        (&["a"], "a\0b", "", "NUL"),
    ];
    let attempt = |(names, argument, template, part): &(&[&str], &str, &str, &str)| {
        let mut command = in_role("sleeps", &[]);
        command.arg(argument).arg_handle(*template).stdin(Stdio::piped());
        for name in *names {
            command.inherit(*name, &event);
        }
        match command.spawn() {
            Err(error @ Error::InvalidInput { .. }) => {
                assert!(error.to_string().contains(part), "{error} does not say {part:?}");
            }
            other => panic!("{part}: {other:?}"),
        }
    };
    wrong.iter().for_each(attempt);
    let before = table::count();
    wrong.iter().for_each(attempt);
    assert_eq!(table::count(), before);
}

fn spawn_and_wait_leak_no_handles() {
    let event = Event::manual_reset().unwrap();
    event.set().unwrap();
    let once = || {
        let mut child = in_role("waits_for_its_event", &[])
            .inherit("event", &event)
            .arg_handle("{event}")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    };
    once();
    let before = table::count();
    (0..10).for_each(|_| once());
    assert_eq!(table::count(), before);
}

fn spawn_rejects_invalid_handles() {
    let before = table::count();
    for pseudo in expect::pseudo_handles() {
        let refused = in_role("sleeps", &[]).inherit("pseudo", pseudo).spawn();
        assert!(matches!(refused, Err(Error::InvalidHandleValue { .. })), "{refused:?}");
    }
    let refused = in_role("sleeps", &[]).inherit("closed", table::closed_handle()).spawn();
    match refused {
        Err(Error::InvalidHandle { object: what, .. }) => assert!(what.contains("closed"), "{what}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before);
}

fn killed_child_has_exited() {
    let mut child = in_role("sleeps", &[]).spawn().unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    assert!(expect::was_killed(child.wait_timeout(SOON).unwrap()));
    // A second kill is not an error and has no effect.
    child.kill().unwrap();
    assert!(expect::was_killed(child.try_wait().unwrap().unwrap()));
    assert!(expect::was_killed(child.wait().unwrap()));
}

fn kill_on_drop_kills_child() {
    let kept = in_role("sleeps", &[]).kill_on_drop(false).spawn().unwrap().id();
    let dropped = in_role("sleeps", &[]).spawn().unwrap().id();
    assert!(table::ends_within(dropped, 5000));
    assert!(!table::ends_within(kept, 0));
    table::kill(kept);
    until("the other child exits", || table::ends_within(kept, 0));
}

fn upper_cases_a_line(_: &[String]) {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    print!("{}", line.to_uppercase());
    eprint!("done");
}

fn piped_streams_carry_bytes_both_ways() {
    use std::io::{Read, Write};
    let mut child = in_role("upper_cases_a_line", &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "pipes").unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((out.trim_end(), err.as_str()), ("PIPES", "done"));
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn reads_to_end_of_file(_: &[String]) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

fn reader() -> Child {
    in_role("reads_to_end_of_file", &[]).stdin(Stdio::piped()).spawn().unwrap()
}

fn wait_closes_childs_input() {
    assert_eq!(reader().wait().unwrap().code(), Some(0));
    // Neither `try_wait` nor a wait with a timeout closes the input.
    let mut child = reader();
    let early = child.wait_timeout(Duration::from_millis(300));
    assert!(matches!(early, Err(Error::TimedOut { .. })), "{early:?}");
    assert_eq!(child.try_wait().unwrap(), None);
    drop(child.stdin.take());
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn creation_time_is_kept_after_exit() {
    let mut first = in_role("sleeps", &[]).spawn().unwrap();
    let second = in_role("sleeps", &[]).spawn().unwrap();
    let time = first.process().creation_time().unwrap();
    assert!(time > 0 && time <= second.process().creation_time().unwrap());
    first.kill().unwrap();
    first.wait_timeout(SOON).unwrap();
    assert!(first.process().has_exited().unwrap());
    assert_eq!(first.process().creation_time().unwrap(), time);
}

fn sets_ready(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    assert_eq!(handover::leaked_handles().unwrap(), []);
    inherited.take::<Event>("ready").unwrap().set().unwrap();
}

fn race_free_child_gets_listed_objects() {
    let ready = Event::manual_reset().unwrap();
    let mut command = in_role("sets_ready", &[]);
    command.inherit("ready", &ready).race_free();
    for _ in 0..3 {
        ready.reset().unwrap();
        let mut child = command.spawn().unwrap();
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
        assert!(ready.try_wait().unwrap());
        assert!(!table::is_inheritable(&ready));
    }
}

fn upper_cases(_: &[String]) {
    print!("{}", std::io::read_to_string(std::io::stdin()).unwrap().to_uppercase());
}

fn race_free<'a>() -> Command<'a> {
    let mut command = in_role("upper_cases", &[]);
    command.race_free();
    command
}

fn streams_and_output_work_race_free() {
    use std::io::Write;
    let mut child = race_free().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"sealed").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"SEALED");
    assert_eq!(race_free().output().unwrap().stdout, b"");
    assert_eq!(race_free().stdin(Stdio::null()).status().unwrap().code(), Some(0));
}
