//! Strategy 2: a copy arrives, with the access given, and doesn't stay if it isn't delivered.

use std::io::{BufRead, BufReader, Write};
use std::process::ExitCode;
use std::time::Duration;

use handover::{Access, Child, Command, Error, Event, HandleValue, Stdio, Told};
use handover_tests::{role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            the_child_gets_the_very_object,
            the_access_that_arrives_is_exactly_what_was_given,
            a_right_that_did_not_come_is_named,
            what_came_with_less_is_passed_on_with_no_more,
            a_copy_that_is_not_delivered_is_closed_over_there,
            a_copy_that_is_delivered_stays,
            an_object_can_be_put_into_a_process_many_times_and_costs_nothing_here,
            a_process_that_has_ended_is_gone_not_forbidden,
            adopting_checks_what_the_number_is,
            an_event_is_reset_by_hand_or_by_one_waiter,
            a_process_has_a_creation_time,
            waiting_for_a_child_lets_it_read_the_end,
        ],
        tests![
            waits_for_the_event_on_its_input,
            sleeps,
            says_what_it_may_do,
            refuses_wrong_numbers,
            passes_its_event_on,
            reads_to_the_end
        ],
    )
}

/// This program in a role, with a pipe as its input.
fn in_role(name: &str) -> Child {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

fn told() -> Told {
    Told::line().expect("a handle's number")
}

fn tell(child: &mut Child, value: HandleValue) {
    writeln!(child.stdin.as_mut().unwrap(), "{value}").unwrap();
}

fn answer(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn waits_for_the_event_on_its_input(_: &[String]) {
    let event: Event = told().adopt().expect("an event");
    event.wait_timeout(SOON).expect("the signal");
}

fn the_child_gets_the_very_object() {
    let (event, decoy) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let mut child = in_role("waits_for_the_event_on_its_input");
    child.process().duplicate_into(&decoy).unwrap().delivered();
    let copy = child.process().duplicate_into(&event).unwrap();
    assert_eq!(table::values_of(&event, child.id()), [copy.value().get()]);
    let value = copy.delivered();
    tell(&mut child, value);
    decoy.set().unwrap();
    let early = child.process().clone();
    std::thread::sleep(Duration::from_millis(500));
    assert!(!early.has_ended().unwrap(), "the decoy woke it");
    event.set().unwrap();
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn the_access_that_arrives_is_exactly_what_was_given() {
    let event = Event::auto_reset().unwrap();
    let child = in_role("sleeps");
    let mask = |copy: handover::Undelivered| {
        let entry = table::entry(child.id(), copy.value().get()).expect("it has arrived");
        assert!(!entry.inheritable);
        entry.access
    };
    assert_eq!(mask(child.process().duplicate_into(&event).unwrap()), 0x0010_0002);
    assert_eq!(mask(child.process().duplicate_into(event.only(Access::SYNCHRONIZE)).unwrap()), 0x0010_0000);
    // A handle of no type of ours keeps what it has.
    let untyped = std::os::windows::io::OwnedHandle::from(event);
    assert_eq!(mask(child.process().duplicate_into(&untyped).unwrap()), 0x001f_0003);
}

fn says_what_it_may_do(_: &[String]) {
    let event: Event = told().adopt().expect("an event");
    let say = |what: handover::Result<()>| match what {
        Ok(()) => "yes".to_owned(),
        Err(Error::MissingRight { right, .. }) => right.to_owned(),
        Err(other) => format!("{other:?}"),
    };
    println!("{} {} {}", say(event.set()), say(event.reset()), say(event.try_wait().map(drop)));
}

fn a_right_that_did_not_come_is_named() {
    for (access, expected) in [
        (Access::EVENT_USE, "yes yes yes"),
        (Access::SYNCHRONIZE, "EVENT_MODIFY_STATE EVENT_MODIFY_STATE yes"),
        (Access::EVENT_MODIFY_STATE, "yes yes SYNCHRONIZE"),
    ] {
        let event = Event::manual_reset().unwrap();
        let mut child = in_role("says_what_it_may_do");
        let value = child.process().duplicate_into(event.only(access)).unwrap().delivered();
        tell(&mut child, value);
        assert_eq!(answer(&mut child), expected);
        assert!(child.wait_timeout(SOON).unwrap().success());
    }
}

fn passes_its_event_on(_: &[String]) {
    let event: Event = told().adopt().expect("an event");
    let mut child = in_role("sleeps");
    let copy = child.process().duplicate_into(&event).unwrap();
    println!("{:#x}", table::entry(child.id(), copy.value().get()).unwrap().access);
    drop(copy);
    child.kill().unwrap();
}

fn what_came_with_less_is_passed_on_with_no_more() {
    let event = Event::manual_reset().unwrap();
    let mut child = in_role("passes_its_event_on");
    let value = child.process().duplicate_into(event.only(Access::SYNCHRONIZE)).unwrap().delivered();
    tell(&mut child, value);
    assert_eq!(answer(&mut child), "0x100000");
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn a_copy_that_is_not_delivered_is_closed_over_there() {
    let event = Event::manual_reset().unwrap();
    let child = in_role("sleeps");
    let copy = child.process().duplicate_into(&event).unwrap();
    assert_eq!(table::values_of(&event, child.id()).len(), 1);
    drop(copy);
    assert_eq!(table::values_of(&event, child.id()), []);
}

fn a_copy_that_is_delivered_stays() {
    let event = Event::manual_reset().unwrap();
    let child = in_role("sleeps");
    let value = child.process().duplicate_into(&event).unwrap().delivered();
    assert_eq!(table::values_of(&event, child.id()), [value.get()]);
}

fn an_object_can_be_put_into_a_process_many_times_and_costs_nothing_here() {
    let event = Event::manual_reset().unwrap();
    let child = in_role("sleeps");
    // The child is still starting, and its own count with it: only what is ours is counted over there.
    let before = table::count();
    let copies: Vec<_> = (0..500).map(|_| child.process().duplicate_into(&event).unwrap()).collect();
    assert_eq!(table::values_of(&event, child.id()).len(), 500);
    drop(copies);
    assert_eq!(table::values_of(&event, child.id()), []);
    assert_eq!(table::count(), before);
}

fn a_process_that_has_ended_is_gone_not_forbidden() {
    let event = Event::manual_reset().unwrap();
    let mut child = in_role("sleeps");
    let undelivered = child.process().duplicate_into(&event).unwrap();
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
    let before = table::count();
    match child.process().duplicate_into(&event) {
        Err(Error::PeerGone { process, .. }) => assert_eq!(process, child.id()),
        other => panic!("{other:?}"),
    }
    drop(undelivered);
    assert_eq!(table::count(), before);
}

fn refuses_wrong_numbers(arguments: &[String]) {
    // It comes inheritable: std's builder has let it through.
    let mutex: u32 = arguments[0].parse().unwrap();
    let refused = Told::argument(3).unwrap().adopt::<Event>();
    assert!(matches!(refused, Err(Error::WrongKind { .. })), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("a mutex"));
    // The refusal has not closed it, and no second owner can be made of it.
    assert!(table::entry(std::process::id(), mutex).is_some());
    assert!(matches!(Told::argument(3), Err(Error::AlreadyTaken { .. })));

    let refused = Told::argument(4).unwrap().adopt::<Event>();
    assert!(matches!(refused, Err(Error::NotOpen { .. })), "{refused:?}");
    assert!(matches!(Told::argument(5), Err(Error::NotAHandle { .. })));
    assert!(matches!(Told::argument(0), Err(Error::NotAHandle { .. })));
    assert!(matches!(Told::variable("NOT_SET"), Err(Error::NotAHandle { .. })));

    let file: std::fs::File = Told::variable("A_FILE").unwrap().adopt().unwrap();
    file.metadata().expect("it is a file, and open");
    assert!(!table::is_inheritable(&file));
    assert!(matches!(Told::variable("A_FILE"), Err(Error::AlreadyTaken { .. })));

    println!("{}", HandleValue::of(&std::io::stdin()).unwrap());
    let refused = Told::line().unwrap().adopt::<std::fs::File>();
    assert!(matches!(refused, Err(Error::NotYours { .. })), "{refused:?}");
    println!("still here");
}

fn adopting_checks_what_the_number_is() {
    let (mutex, file) = (table::mutex(), std::fs::File::open(this_program()).unwrap());
    table::make_inheritable(&mutex);
    table::make_inheritable(&file);
    let mutex = table::value(&mutex).to_string();
    let mut child = std::process::Command::new(this_program())
        .args(role("refuses_wrong_numbers", &[&mutex, "0x7fff0"]))
        .env("A_FILE", table::value(&file).to_string())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let stream = lines.next().unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{stream}").unwrap();
    assert_eq!(lines.next().as_deref(), Some("still here"));
    assert!(child.wait().unwrap().success());
}

fn an_event_is_reset_by_hand_or_by_one_waiter() {
    let (manual, auto) = (Event::manual_reset().unwrap(), Event::auto_reset().unwrap());
    for event in [&manual, &auto] {
        assert!(!event.try_wait().unwrap(), "it begins unset");
        event.set().unwrap();
        event.reset().unwrap();
        assert!(!event.try_wait().unwrap(), "it was reset");
        event.set().unwrap();
        assert!(event.try_wait().unwrap());
    }
    assert!(manual.try_wait().unwrap(), "a manual-reset event stays set");
    assert!(!auto.try_wait().unwrap(), "an auto-reset event lets one go");
    let started = std::time::Instant::now();
    let late = auto.wait_timeout(Duration::from_millis(120));
    assert!(
        matches!(late, Err(Error::TimedOut { after, .. }) if after == Duration::from_millis(120)),
        "{late:?}"
    );
    assert!(started.elapsed() >= Duration::from_millis(120), "{:?}", started.elapsed());
}

fn a_process_has_a_creation_time() {
    let mut first = in_role("sleeps");
    let second = in_role("sleeps");
    let time = first.process().creation_time().unwrap();
    assert!(time > 0 && time <= second.process().creation_time().unwrap());
    first.kill().unwrap();
    first.wait_timeout(SOON).unwrap();
    assert!(first.process().has_ended().unwrap());
    assert_eq!(first.process().creation_time().unwrap(), time);
}

fn reads_to_the_end(_: &[String]) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

fn waiting_for_a_child_lets_it_read_the_end() {
    assert!(in_role("reads_to_the_end").wait_timeout(SOON).unwrap().success());
    assert!(in_role("reads_to_the_end").wait().unwrap().success());
    // To look is not to wait: the input stays open.
    let mut child = in_role("reads_to_the_end");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(child.try_wait().unwrap(), None);
}
