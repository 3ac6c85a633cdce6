//! Tests of the observer that hold on both systems, and the helpers of those that hold on one.

use std::process::Stdio;
use std::time::{Duration, Instant};

use handover::inspect::HandleTable;
use handover::inspect::observe::{Action, Change, Event as Report, Kind, Next, Outcome, Session, Step};
use handover::{Event, HandleValue, ObjectKind, Process};
use handover_tests::{Suite, Sweep, expect, in_role_of_std, table, tests};

pub(crate) const SUITE: Suite = Suite {
    name: "observe",
    tests: tests![
        held_thread_waits_until_it_is_released,
        closed_handle_is_missing_in_the_process,
        next_gives_up_at_the_deadline,
        thread_has_one_session_at_a_time,
        start_reports_each_failing_call,
    ],
    roles: tests![signals_itself, leaks_to_a_child, sleeps, exits],
};

pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The exit code of a role whose call failed.
pub(crate) const FAILED: i32 = 5;

pub(crate) fn soon() -> Instant {
    Instant::now() + LONG
}

pub(crate) fn start(role: &str) -> Session {
    Session::start(in_role_of_std(role, &[]), soon()).unwrap()
}

/// Returns the next event.
pub(crate) fn next(session: &mut Session) -> Report {
    match session.next(soon()).unwrap() {
        Next::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

/// Returns the events until a condition holds, with that event.
pub(crate) fn all_until(session: &mut Session, is_last: impl Fn(&Step) -> bool) -> Vec<Report> {
    let mut events = Vec::new();
    loop {
        events.push(next(session));
        if is_last(&events[events.len() - 1].step) {
            return events;
        }
    }
}

/// Returns the handle of the first event that the process creates, which is stopped after that call.
pub(crate) fn created(session: &mut Session) -> (u32, HandleValue) {
    let is_creation = |step: &Step| match step {
        Step::Returned(call, _) => matches!(call.action, Action::Create { kind: Kind::Event, .. }),
        _ => false,
    };
    let events = all_until(session, is_creation);
    let last = &events[events.len() - 1];
    match &last.step {
        Step::Returned(_, Outcome::Opened(handles)) => (last.process, handles[0]),
        other => panic!("{other:?}"),
    }
}

/// Returns the exit code of the session's first process, when all have exited.
pub(crate) fn exit_code(session: &mut Session, process: u32) -> Option<i32> {
    let mut code = None;
    loop {
        match session.next(soon()).unwrap() {
            Next::Event(Report { process: other, step: Step::Exited { status }, .. }) if other == process => {
                code = status.code();
            }
            Next::Event(_) => {}
            Next::AllExited => return code,
            Next::TimedOut => panic!("not within {LONG:?}"),
        }
    }
}

fn signals_itself(_: &[String]) {
    let outcome = Event::manual_reset().and_then(|event| {
        event.set()?;
        event.wait_timeout(LONG)
    });
    std::process::exit(if outcome.is_ok() { 0 } else { FAILED });
}

fn leaks_to_a_child(_: &[String]) {
    let event = Event::manual_reset().unwrap();
    table::make_inheritable(&event);
    let mut command = in_role_of_std("exits", &[]);
    command.stdout(Stdio::null()).spawn().unwrap().wait().unwrap();
    drop(event);
}

fn sleeps(_: &[String]) {
    std::thread::sleep(LONG);
}

fn exits(_: &[String]) {}

fn held_thread_waits_until_it_is_released() {
    let mut session = start("signals_itself");
    let (process, _) = created(&mut session);
    let is_signal =
        |step: &Step| matches!(step, Step::Calls(call) if matches!(call.action, Action::Signal { .. }));
    let events = all_until(&mut session, is_signal);
    let thread = events[events.len() - 1].thread;
    session.hold();
    let short = Instant::now() + Duration::from_millis(100);
    assert_eq!(session.next(short).unwrap(), Next::TimedOut);
    assert!(Instant::now() >= short);
    session.release(thread).unwrap();
    assert_eq!(exit_code(&mut session, process), Some(0));
}

pub(crate) fn changed(change: Change) -> (Session, u32, Option<Result<ObjectKind, String>>) {
    let mut session = start("signals_itself");
    let (process, value) = created(&mut session);
    assert_eq!(session.change(process, value, change, soon()).unwrap(), Some(true));
    let table = HandleTable::of(&Process::open_for_query(process).unwrap()).unwrap();
    let kind = table.get(value).map(|entry| entry.kind().cloned().map_err(ToString::to_string));
    (session, process, kind)
}

fn closed_handle_is_missing_in_the_process() {
    let (mut session, process, kind) = changed(Change::Close);
    assert_eq!(kind, None);
    assert_eq!(exit_code(&mut session, process), Some(FAILED));
}

fn next_gives_up_at_the_deadline() {
    let mut session = start("sleeps");
    let began = Instant::now();
    while session.next(began + Duration::from_millis(500)).unwrap() != Next::TimedOut {}
    assert!(began.elapsed() >= Duration::from_millis(500) && began.elapsed() < LONG / 2);
}

fn start_reports_each_failing_call() {
    let run = || {
        let mut session = Session::start(in_role_of_std("sleeps", &[]), soon())?;
        session.next(soon())
    };
    Sweep::of("observe").harmless(expect::HARMLESS_OBSERVER).run(run, drop);
}

fn thread_has_one_session_at_a_time() {
    let session = start("sleeps");
    let second = Session::start(in_role_of_std("sleeps", &[]), soon()).map(drop).unwrap_err();
    assert!(second.to_string().contains("already has a session"), "{second}");
    drop(session);
    drop(start("sleeps"));
}
