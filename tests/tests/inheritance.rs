//! Strategy 1: what is listed arrives, what isn't doesn't, and nothing here changes.

use std::process::ExitCode;
use std::time::Duration;

use handover::{Child, Command, Error, Event, HandleValue, Stdio};
use handover_tests::{adopt, expect, raw, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            the_child_gets_the_very_object_under_the_number_it_is_told,
            the_access_that_arrives_is_what_the_handle_has,
            the_parents_handle_keeps_its_value_and_flags,
            an_inheritable_handle_that_is_not_listed_does_not_arrive,
            a_grandchild_created_with_inheritance_of_all_does_not_get_it,
            a_missing_program_costs_no_handle,
            a_refused_list_starts_nothing_and_costs_no_handle,
            spawning_and_waiting_costs_no_handle,
            a_handle_that_is_none_is_refused,
            a_child_that_is_killed_has_ended,
            a_child_to_be_killed_on_drop_is,
            piped_streams_carry_bytes_both_ways,
            waiting_for_a_child_lets_it_read_the_end,
            a_process_has_a_creation_time,
            a_sealed_child_gets_what_is_listed,
            streams_and_output_work_sealed,
        ],
        tests![
            waits_for_its_event,
            sleeps,
            adopts_and_has_a_child,
            upper_cases_a_line,
            reads_to_the_end,
            sets_ready,
            upper_cases
        ],
    )
}

/// This program in a role, with nothing to inherit yet.
fn in_role<'a>(name: &str, arguments: &[&str]) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).kill_on_drop(true);
    command
}

/// The number that stands behind the role.
fn told(arguments: &[String]) -> HandleValue {
    let told = HandleValue::from_arg(3).expect("a handle's number");
    assert_eq!(told.to_string(), arguments[0]);
    told
}

fn waits_for_its_event(arguments: &[String]) {
    let event: Event = adopt(told(arguments)).expect("an event");
    event.wait_timeout(SOON).expect("the signal");
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn the_child_gets_the_very_object_under_the_number_it_is_told() {
    let (event, decoy) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let mut child = in_role("waits_for_its_event", &[])
        .inherit("event", &event)
        .inherit("decoy", &decoy)
        .arg_handle("{event}")
        .spawn()
        .unwrap();
    let told: Vec<_> = child.inherited_handles().map(|(_, value)| value.get()).collect();
    assert_eq!(table::values_of(&event, child.id()), told[..1]);
    assert_eq!(table::values_of(&decoy, child.id()), told[1..]);
    decoy.set().unwrap();
    let early = child.wait_timeout(Duration::from_millis(500));
    assert!(matches!(early, Err(Error::TimedOut { .. })), "the decoy woke it: {early:?}");
    event.set().unwrap();
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn the_access_that_arrives_is_what_the_handle_has() {
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
    assert_ne!(here[0], here[1], "the two ends differ");
}

fn the_parents_handle_keeps_its_value_and_flags() {
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

fn an_inheritable_handle_that_is_not_listed_does_not_arrive() {
    let (canary, listed) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    table::make_inheritable(&canary);

    // The control: std's builder lets it through.
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
    let event: Event = adopt(told(arguments)).expect("an event");
    // std's builder: whatever is inheritable goes along.
    let mut grandchild =
        std::process::Command::new(this_program()).args(role("sleeps", &[])).spawn().unwrap();
    println!("{}", grandchild.id());
    event.wait_timeout(SOON).expect("the signal");
    grandchild.kill().unwrap();
    grandchild.wait().unwrap();
}

fn a_grandchild_created_with_inheritance_of_all_does_not_get_it() {
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
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn a_missing_program_costs_no_handle() {
    let event = Event::manual_reset().unwrap();
    let attempt = || {
        let outcome = Command::new("no-such-program").stdin(Stdio::piped()).inherit("event", &event).spawn();
        match outcome {
            Err(Error::ProgramNotFound { program, searched: looked_at, .. }) => {
                assert_eq!(program, "no-such-program");
                let file = format!("no-such-program{}", std::env::consts::EXE_SUFFIX);
                assert!(looked_at.iter().any(|looked_at| looked_at.ends_with(&file)), "{looked_at:?}");
            }
            other => panic!("{other:?}"),
        }
    };
    attempt();
    let before = table::count();
    (0..200).for_each(|_| attempt());
    assert_eq!(table::count(), before);
}

fn a_refused_list_starts_nothing_and_costs_no_handle() {
    let event = Event::manual_reset().unwrap();
    // What is listed, an argument, a template, and what the error has to say.
    let wrong: [(&[&str], &str, &str, &str); 5] = [
        (&["a", "b", "a"], "", "", "listed twice"),
        (&[""], "", "", "isn't empty"),
        (&["{a}"], "", "", "braces"),
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

fn spawning_and_waiting_costs_no_handle() {
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
        assert!(child.wait_timeout(SOON).unwrap().success());
    };
    once();
    let before = table::count();
    (0..10).for_each(|_| once());
    assert_eq!(table::count(), before);
}

fn a_handle_that_is_none_is_refused() {
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

fn a_child_that_is_killed_has_ended() {
    let mut child = in_role("sleeps", &[]).spawn().unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    assert!(expect::was_killed(child.wait_timeout(SOON).unwrap()));
    // Again is no error, and changes nothing.
    child.kill().unwrap();
    assert!(expect::was_killed(child.try_wait().unwrap().unwrap()));
    assert!(expect::was_killed(child.wait().unwrap()));
}

fn a_child_to_be_killed_on_drop_is() {
    let kept = in_role("sleeps", &[]).kill_on_drop(false).spawn().unwrap().id();
    let dropped = in_role("sleeps", &[]).spawn().unwrap().id();
    assert!(table::ends_within(dropped, 5000));
    assert!(!table::ends_within(kept, 0));
    table::kill(kept);
    until("the other is gone too", || table::ends_within(kept, 0));
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
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn reads_to_the_end(_: &[String]) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

fn reader() -> Child {
    in_role("reads_to_the_end", &[]).stdin(Stdio::piped()).spawn().unwrap()
}

fn waiting_for_a_child_lets_it_read_the_end() {
    assert!(reader().wait_timeout(SOON).unwrap().success());
    assert!(reader().wait().unwrap().success());
    // To look is not to wait: the input stays open.
    let mut child = reader();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(child.try_wait().unwrap(), None);
}

fn a_process_has_a_creation_time() {
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

fn a_sealed_child_gets_what_is_listed() {
    let ready = Event::manual_reset().unwrap();
    let mut command = in_role("sets_ready", &[]);
    command.inherit("ready", &ready).race_free();
    for _ in 0..3 {
        ready.reset().unwrap();
        let mut child = command.spawn().unwrap();
        assert!(child.wait_timeout(SOON).unwrap().success());
        assert!(ready.try_wait().unwrap());
        assert!(!table::is_inheritable(&ready));
    }
}

fn upper_cases(_: &[String]) {
    print!("{}", std::io::read_to_string(std::io::stdin()).unwrap().to_uppercase());
}

fn sealed<'a>() -> Command<'a> {
    let mut command = in_role("upper_cases", &[]);
    command.race_free();
    command
}

fn streams_and_output_work_sealed() {
    use std::io::Write;
    let mut child = sealed().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"sealed").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"SEALED");
    assert_eq!(sealed().output().unwrap().stdout, b"");
    assert!(sealed().stdin(Stdio::null()).status().unwrap().success());
}
