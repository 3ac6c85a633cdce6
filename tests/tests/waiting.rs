//! Tests of waiting for several objects.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use handover::{Command, Error, Event, MAX_WAIT_OBJECTS, Process, Stdio, Waitable, wait_any};
use handover_tests::{expect, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            wait_any_returns_and_takes_one_object,
            wait_any_times_out,
            wait_any_returns_when_process_exits,
            wait_any_returns_when_another_thread_signals,
            wait_any_accepts_many_objects,
            wait_any_rejects_empty_and_duplicate_lists,
        ],
        tests![sleeps],
    )
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn wait_any_returns_and_takes_one_object() {
    let events: Vec<Event> = (0..3).map(|_| Event::auto_reset().unwrap()).collect();
    let all: Vec<&dyn Waitable> = events.iter().map(|event| event as &dyn Waitable).collect();
    for (place, event) in events.iter().enumerate() {
        event.set().unwrap();
        assert_eq!(wait_any(&all, SOON).unwrap(), place);
        assert!(!event.try_wait().unwrap(), "the wait has reset the object");
    }
    events[2].set().unwrap();
    events[1].set().unwrap();
    assert_eq!(wait_any(&all, Duration::ZERO).unwrap(), 1, "the first signaled object");
    assert!(events[2].try_wait().unwrap(), "the other object is unchanged");
}

fn wait_any_times_out() {
    let event = Event::manual_reset().unwrap();
    let started = Instant::now();
    let time = Duration::from_millis(120);
    match wait_any(&[&event], time) {
        Err(Error::TimedOut { timeout: after, .. }) => assert_eq!(after, time),
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() >= time);
}

fn wait_any_returns_when_process_exits() {
    let never = Event::manual_reset().unwrap();
    let mut command = Command::new(this_program());
    let mut child = command.args(role("sleeps", &[])).stdin(Stdio::null()).spawn().unwrap();
    let process = child.process().clone();
    assert!(matches!(wait_any(&[&never, &process], Duration::ZERO), Err(Error::TimedOut { .. })));
    let killed = Instant::now();
    child.kill().unwrap();
    assert_eq!(wait_any(&[&never, &process], SOON).unwrap(), 1);
    assert_eq!(wait_any(&[&never, &child], SOON).unwrap(), 1);
    assert!(killed.elapsed() < Duration::from_secs(5));
}

fn wait_any_returns_when_another_thread_signals() {
    let (first, second) = (Event::auto_reset().unwrap(), Event::auto_reset().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            second.set().unwrap();
        });
        assert_eq!(wait_any(&[&first, &second], Duration::MAX).unwrap(), 1);
    });
}

fn wait_any_accepts_many_objects() {
    table::make_room(MAX_WAIT_OBJECTS + 200);
    let events: Vec<Event> = (0..=MAX_WAIT_OBJECTS).map(|_| Event::auto_reset().unwrap()).collect();
    let all: Vec<&dyn Waitable> = events.iter().map(|event| event as &dyn Waitable).collect();
    let last = MAX_WAIT_OBJECTS - 1;
    events[last].set().unwrap();
    assert_eq!(wait_any(&all[..=last], SOON).unwrap(), last);
    // Beyond that, Windows can't take one of them.
    events[last + 1].set().unwrap();
    if expect::WAITS_ARE_LIMITED {
        let error = wait_any(&all, SOON).unwrap_err();
        assert!(matches!(error, Error::InvalidInput { .. }));
        assert!(error.to_string().contains(&format!("at most {MAX_WAIT_OBJECTS}")), "{error}");
    } else {
        assert_eq!(wait_any(&all, SOON).unwrap(), last + 1);
    }
    // It can wait for objects that a wait doesn't change.
    let processes: Vec<Process> = (0..100).map(|_| Process::open(std::process::id()).unwrap()).collect();
    let mut child = Command::new(this_program());
    let child = child.args(role("sleeps", &[])).stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let mut mixed: Vec<&dyn Waitable> = all[..last].to_vec();
    mixed.extend(processes.iter().map(|process| process as &dyn Waitable));
    let of_child = child.process().clone();
    mixed.push(&of_child);
    assert!(matches!(wait_any(&mixed, Duration::from_millis(20)), Err(Error::TimedOut { .. })));
    events[3].set().unwrap();
    assert_eq!(wait_any(&mixed, SOON).unwrap(), 3);
    assert!(!events[3].try_wait().unwrap());
    drop(child);
    assert_eq!(wait_any(&mixed, SOON).unwrap(), mixed.len() - 1);
    events[5].set().unwrap();
    assert_eq!(wait_any(&mixed, SOON).unwrap(), 5, "the first signaled object");
}

fn wait_any_rejects_empty_and_duplicate_lists() {
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    assert!(matches!(wait_any(&[], SOON), Err(Error::InvalidInput { .. })));
    let error = wait_any(&[&event, &event], SOON).unwrap_err().to_string();
    assert!(error.contains("twice"), "{error}");
    assert_eq!(table::count(), before);
}
