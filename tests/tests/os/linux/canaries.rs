//! Descriptors that somebody has left open for every program that is started: none reaches a child.

use std::time::Duration;

use handover::{Child, Command, Event, Stdio};
use handover_tests::{Suite, bare, raw, table, tests, until};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "canaries",
    tests: tests![
        a_child_has_its_streams_and_what_is_listed_and_nothing_else,
        another_threads_child_catches_nothing,
        a_closed_stream_is_not_filled_by_another_object,
        a_child_that_is_killed_by_its_owners_end_is_not_left_in_the_system,
        a_child_that_is_left_is_asked_about_with_the_next,
    ],
    roles: &[],
};

fn never_ends<'a>() -> Command<'a> {
    let (program, arguments) = bare("never_ends");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true);
    command
}

fn numbers(process: u32) -> Vec<u32> {
    table::of(process).iter().map(|entry| entry.value).collect()
}

/// A program that has just been started opens its libraries, and closes them.
fn comes_to_have(child: &Child, expected: &[u32]) {
    until(&format!("{expected:?} and nothing else"), || numbers(child.id()) == expected);
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
}

fn a_child_has_its_streams_and_what_is_listed_and_nothing_else() {
    table::make_room(3000);
    let event = Event::manual_reset().unwrap();
    let canaries = [raw::opened_by_c(), raw::copy_from(&event, 1001), raw::copy_from(&event, 2500)];
    assert!(canaries.iter().all(table::is_inheritable));
    let before = table::count();

    // The control: std's builder lets all through.
    let (program, arguments) = bare("never_ends");
    let mut control = std::process::Command::new(program).args(arguments).spawn().unwrap();
    let leaked = numbers(control.id());
    control.kill().unwrap();
    control.wait().unwrap();
    assert!(canaries.iter().all(|canary| leaked.contains(&table::value(canary))), "{leaked:?}");

    for sealed in [false, true] {
        for with_parent in [false, true] {
            let mut command = never_ends();
            if sealed {
                command.race_free();
            }
            command.kill_with_parent(with_parent);
            let child = command.spawn().unwrap();
            comes_to_have(&child, &[0, 1, 2]);
            end(child);
            let listed = raw::copy_from(&event, 1700);
            let child = command.inherit("event", &event).inherit("high", &listed).spawn().unwrap();
            let mut expected = vec![0, 1, 2];
            expected.extend(child.inherited_handles().map(|(_, value)| value.get()));
            expected.sort_unstable();
            comes_to_have(&child, &expected);
            end(child);
            let child = command.channel().spawn().unwrap();
            // And one socket, which is the channel's.
            until("six descriptors", || numbers(child.id()).len() == 6);
            end(child);
        }
    }
    assert_eq!(table::count(), before);
}

fn another_threads_child_catches_nothing() {
    use std::sync::atomic::{AtomicBool, Ordering};
    // Many objects make the moment long in which there are duplicates for a child.
    let event = Event::manual_reset().unwrap();
    let done = AtomicBool::new(false);
    let (program, arguments) = bare("never_ends");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut command = never_ends();
            for number in 0..200 {
                command.inherit(number.to_string(), &event);
            }
            while !done.load(Ordering::Relaxed) {
                end(command.channel().spawn().unwrap());
            }
        });
        let caught: usize = (0..100)
            .map(|_| {
                let mut other = std::process::Command::new(&program).args(&arguments).spawn().unwrap();
                let caught = table::values_of(&event, other.id()).len();
                other.kill().unwrap();
                other.wait().unwrap();
                caught
            })
            .sum();
        done.store(true, Ordering::Relaxed);
        assert_eq!(caught, 0);
    });
}

fn a_closed_stream_is_not_filled_by_another_object() {
    // In a process without a standard input, the next descriptor would become it.
    let event = Event::manual_reset().unwrap();
    table::close_value(0);
    let low = Event::manual_reset().unwrap();
    assert_eq!(table::value(&low), 0, "the control: it is the input now");
    let (program, arguments) = bare("never_ends");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.inherit("event", &event).inherit("low", &low);
    let child = command.spawn().unwrap();
    let told: Vec<_> = child.inherited_handles().map(|(_, value)| value.get()).collect();
    assert!(told.iter().all(|value| *value > 2), "{told:?}");
    assert_eq!(table::values_of(&low, child.id()), told[1..]);
    end(child);
}

fn a_child_that_is_killed_by_its_owners_end_is_not_left_in_the_system() {
    let this = std::process::id();
    let before = table::count();
    for _ in 0..20 {
        drop(never_ends().spawn().unwrap());
        assert_eq!(table::children_of(this), []);
    }
    assert_eq!(table::count(), before);
}

fn a_child_that_is_left_is_asked_about_with_the_next() {
    let this = std::process::id();
    let (program, arguments) = bare("ends_at_once");
    let mut command = Command::new(program);
    command.args(arguments);
    let before = table::count();
    for _ in 0..5 {
        let child = command.spawn().unwrap();
        let id = child.id();
        drop(child);
        assert!(table::ends_within(id, 5000));
        // If it hadn't ended before it was dropped, the system keeps it for us; never more than one.
        assert!(table::children_of(this).len() <= 1);
    }
    // Or with the next that is dropped.
    let (left, other) = (never_ends().kill_on_drop(false).spawn().unwrap(), command.spawn().unwrap());
    let (left_id, other_id) = (left.id(), other.id());
    drop(left);
    table::kill(left_id);
    assert!(table::ends_within(left_id, 5000) && table::ends_within(other_id, 5000));
    assert!(table::children_of(this).contains(&left_id));
    drop(other);
    assert_eq!(table::children_of(this), []);
    let mut last = command.spawn().unwrap();
    assert_eq!(last.wait_timeout(SOON).unwrap().code(), Some(9));
    assert_eq!(table::children_of(this), []);
    drop(last);
    assert_eq!(table::count(), before);
}
