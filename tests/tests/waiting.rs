//! Waiting for several things at once.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use handover::{Access, Command, Error, Event, MOST_WAITED_FOR, Stdio, Told, Waitable, wait_any};
use handover_tests::{role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            it_says_which_came_and_takes_that_one_alone,
            a_deadline_ends_it,
            a_process_ends_it,
            a_signal_from_another_thread_ends_it,
            sixty_four_work_and_sixty_five_are_an_error,
            what_can_not_be_waited_for_is_refused,
        ],
        tests![sleeps, waits_without_the_right],
    )
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn it_says_which_came_and_takes_that_one_alone() {
    let events: Vec<Event> = (0..3).map(|_| Event::auto_reset().unwrap()).collect();
    let all: Vec<&dyn Waitable> = events.iter().map(|event| event as &dyn Waitable).collect();
    for (place, event) in events.iter().enumerate() {
        event.set().unwrap();
        assert_eq!(wait_any(&all, SOON).unwrap(), place);
        assert!(!event.try_wait().unwrap(), "the wait has taken it");
    }
    events[2].set().unwrap();
    events[1].set().unwrap();
    assert_eq!(wait_any(&all, Duration::ZERO).unwrap(), 1, "the first of those that came");
    assert!(events[2].try_wait().unwrap(), "the other is left as it was");
}

fn a_deadline_ends_it() {
    let event = Event::manual_reset().unwrap();
    let started = Instant::now();
    let time = Duration::from_millis(120);
    match wait_any(&[&event], time) {
        Err(Error::TimedOut { after, .. }) => assert_eq!(after, time),
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() >= time);
}

fn a_process_ends_it() {
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

fn a_signal_from_another_thread_ends_it() {
    let (first, second) = (Event::auto_reset().unwrap(), Event::auto_reset().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            second.set().unwrap();
        });
        assert_eq!(wait_any(&[&first, &second], Duration::MAX).unwrap(), 1);
    });
}

fn sixty_four_work_and_sixty_five_are_an_error() {
    assert_eq!(MOST_WAITED_FOR, 64);
    let events: Vec<Event> = (0..65).map(|_| Event::auto_reset().unwrap()).collect();
    let all: Vec<&dyn Waitable> = events.iter().map(|event| event as &dyn Waitable).collect();
    events[63].set().unwrap();
    assert_eq!(wait_any(&all[..64], SOON).unwrap(), 63);
    let error = wait_any(&all, SOON).unwrap_err();
    assert!(matches!(error, Error::InvalidInput { .. }));
    assert!(error.to_string().contains("at most 64"), "{error}");
}

fn what_can_not_be_waited_for_is_refused() {
    let event = Event::manual_reset().unwrap();
    assert!(matches!(wait_any(&[], SOON), Err(Error::InvalidInput { .. })));
    let error = wait_any(&[&event, &event], SOON).unwrap_err().to_string();
    assert!(error.contains("twice"), "{error}");

    let before = table::count();
    let mut command = Command::new(this_program());
    command.args(role("waits_without_the_right", &[]));
    command.inherit("event", event.only(Access::EVENT_MODIFY_STATE)).arg_handle("{event}");
    assert!(command.status().unwrap().success());
    assert_eq!(table::count(), before);
}

fn waits_without_the_right(_: &[String]) {
    let own = Event::manual_reset().unwrap();
    let event: Event = Told::argument(3).unwrap().adopt().unwrap();
    match wait_any(&[&own, &event], SOON) {
        Err(error @ Error::MissingRight { right: "SYNCHRONIZE", .. }) => {
            assert!(error.to_string().contains("object 1"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}
