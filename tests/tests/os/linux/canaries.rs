//! Tests that inheritable descriptors of the parent don't leak into children.

use std::time::Duration;

use handover::{Child, Command, Event, Stdio};
use handover_tests::{Suite, bare, raw, table, tests, until};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "canaries",
    tests: tests![
        child_has_only_streams_and_listed_descriptors,
        concurrent_std_spawn_inherits_no_duplicates,
        listed_object_never_replaces_closed_stream,
        dropped_child_leaves_no_zombie,
        zombies_are_reaped_with_the_next_child,
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

/// Waits until the child has exactly these descriptors. A program that is starting opens and closes its libraries.
fn wait_for_descriptors(child: &Child, expected: &[u32]) {
    until(&format!("{expected:?} and nothing else"), || numbers(child.id()) == expected);
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
}

fn child_has_only_streams_and_listed_descriptors() {
    table::make_room(3000);
    let event = Event::manual_reset().unwrap();
    let canaries = [raw::opened_by_c(), raw::copy_from(&event, 1001), raw::copy_from(&event, 2500)];
    assert!(canaries.iter().all(table::is_inheritable));
    let before = table::count();

    // The control: std's `Command` passes all of them on.
    let (program, arguments) = bare("never_ends");
    let mut control = std::process::Command::new(program).args(arguments).spawn().unwrap();
    let leaked = numbers(control.id());
    control.kill().unwrap();
    control.wait().unwrap();
    assert!(canaries.iter().all(|canary| leaked.contains(&table::value(canary))), "{leaked:?}");

    for race_free in [false, true] {
        for with_parent in [false, true] {
            let mut command = never_ends();
            if race_free {
                command.race_free();
            }
            command.kill_with_parent(with_parent);
            let child = command.spawn().unwrap();
            wait_for_descriptors(&child, &[0, 1, 2]);
            end(child);
            let listed = raw::copy_from(&event, 1700);
            let child = command.inherit("event", &event).inherit("high", &listed).spawn().unwrap();
            let mut expected = vec![0, 1, 2];
            expected.extend(child.inherited_handles().map(|(_, value)| value.get()));
            expected.sort_unstable();
            wait_for_descriptors(&child, &expected);
            end(child);
            let child = command.channel().spawn().unwrap();
            // The sixth descriptor is the channel's socket.
            until("six descriptors", || numbers(child.id()).len() == 6);
            end(child);
        }
    }
    assert_eq!(table::count(), before);
}

fn concurrent_std_spawn_inherits_no_duplicates() {
    use std::sync::atomic::{AtomicBool, Ordering};
    // Many objects make the time long in which duplicates for the child exist.
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

fn listed_object_never_replaces_closed_stream() {
    // In a process without a standard input, the next descriptor that is opened becomes the standard input.
    let event = Event::manual_reset().unwrap();
    table::close_value(0);
    let low = Event::manual_reset().unwrap();
    assert_eq!(table::value(&low), 0, "the control: the event is standard input now");
    let (program, arguments) = bare("never_ends");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.inherit("event", &event).inherit("low", &low);
    let child = command.spawn().unwrap();
    let values: Vec<_> = child.inherited_handles().map(|(_, value)| value.get()).collect();
    assert!(values.iter().all(|value| *value > 2), "{values:?}");
    assert_eq!(table::values_of(&low, child.id()), values[1..]);
    end(child);
}

fn dropped_child_leaves_no_zombie() {
    let this = std::process::id();
    let before = table::count();
    for _ in 0..20 {
        drop(never_ends().spawn().unwrap());
        assert_eq!(table::children_of(this), []);
    }
    assert_eq!(table::count(), before);
}

fn zombies_are_reaped_with_the_next_child() {
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
        // A child that had not exited when it was dropped stays a zombie until the next one; there is never more than
        // one.
        assert!(table::children_of(this).len() <= 1);
    }
    // A drop reaps earlier children as well.
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
