//! Strategy 2: a copy arrives, with the access given, and doesn't stay if it isn't delivered.

use std::io::{BufRead, BufReader, Write};
use std::process::ExitCode;
use std::time::Duration;

use handover::{Access, Child, Command, Error, Event, HandleValue, Stdio};
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
        ],
        tests![waits_for_the_event_on_its_input, sleeps, says_what_it_may_do, refuses_wrong_numbers],
    )
}

/// This program in a role, with a pipe as its input.
fn in_role(name: &str) -> Child {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

fn told() -> HandleValue {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a line");
    line.trim().parse().expect("a handle's number")
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
    let event: Event = handover::adopt(told()).expect("an event");
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
    let event: Event = handover::adopt(told()).expect("an event");
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

fn what_came_with_less_is_passed_on_with_no_more() {
    let event = Event::manual_reset().unwrap();
    let wait_only = table::duplicate(&event, 0x0010_0000);
    let event: Event = handover::adopt(HandleValue::try_from(u64::from(wait_only)).unwrap()).unwrap();
    let child = in_role("sleeps");
    let copy = child.process().duplicate_into(&event).unwrap();
    assert_eq!(table::entry(child.id(), copy.value().get()).unwrap().access, 0x0010_0000);
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

fn refuses_wrong_numbers(_: &[String]) {
    let mutex = table::mutex();
    let wrong_kind = HandleValue::of(&mutex).unwrap();
    let refused = handover::adopt::<Event>(wrong_kind);
    assert!(matches!(refused, Err(Error::WrongKind { .. })), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("a mutex"));
    // The refusal has not closed it.
    assert_eq!(table::values_of(&mutex, std::process::id()), [wrong_kind.get()]);

    let not_open = HandleValue::try_from(0x7_fff0_u64).unwrap();
    let refused = handover::adopt::<Event>(not_open);
    assert!(matches!(refused, Err(Error::NotOpen { .. })), "{refused:?}");

    let stream = HandleValue::of(&std::io::stdout()).unwrap();
    let refused = handover::adopt::<std::fs::File>(stream);
    assert!(matches!(refused, Err(Error::NotYours { .. })), "{refused:?}");
    println!("still here");
}

fn adopting_checks_what_the_number_is() {
    let mut child = in_role("refuses_wrong_numbers");
    assert_eq!(answer(&mut child), "still here");
    assert!(child.wait_timeout(SOON).unwrap().success());
}
