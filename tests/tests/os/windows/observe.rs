//! Tests of the debugger that follows each call on handles: reports, holds, changes, and that no process or handle is left.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use handover::inspect::HandleTable;
use handover::inspect::observe::{
    Action, Change, Event as Report, Kind, Next, Outcome, Session, Step, Target,
};
use handover::{Error, Event, HandleValue, ObjectKind, Process};
use handover_tests::{Harmless, Suite, Sweep, in_role_of_std, table, tests};

pub(super) const SUITE: Suite = Suite {
    name: "observe",
    tests: tests![
        session_reports_each_call_on_a_handle,
        session_follows_children_and_compares_objects,
        held_thread_waits_until_it_is_released,
        closed_handle_is_missing_in_the_process,
        replaced_handle_is_a_semaphore_in_the_process,
        handle_of_a_process_that_has_not_run_is_changed,
        threads_that_call_at_once_are_all_seen,
        exceptions_of_the_program_stay_its_own,
        thread_that_is_killed_in_a_call_is_no_error,
        process_with_another_debugger_ends_with_the_session,
        child_of_a_killed_process_goes_on,
        next_gives_up_at_the_deadline,
        dropped_session_leaves_no_process,
        killed_process_is_reported,
        command_that_cannot_start_is_an_error,
        thread_has_one_session_at_a_time,
        start_reports_each_failing_call,
    ],
    roles: tests![
        signals_itself,
        leaks_to_a_child,
        sleeps,
        exits,
        signals_in_threads,
        breaks,
        kills_threads,
        debugs_a_child
    ],
};

const LONG: Duration = Duration::from_secs(60);
/// The exit code of a role whose call failed.
const FAILED: i32 = 5;

fn soon() -> Instant {
    Instant::now() + LONG
}

fn start(role: &str) -> Session {
    Session::start(in_role_of_std(role, &[]), soon()).unwrap()
}

/// Returns the next event.
fn next(session: &mut Session) -> Report {
    match session.next(soon()).unwrap() {
        Next::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

/// Returns the events until a condition holds, with that event.
fn all_until(session: &mut Session, is_last: impl Fn(&Step) -> bool) -> Vec<Report> {
    let mut events = Vec::new();
    loop {
        events.push(next(session));
        if is_last(&events[events.len() - 1].step) {
            return events;
        }
    }
}

/// Returns the handle of the first event that the process creates, which is stopped after that call.
fn created(session: &mut Session) -> (u32, HandleValue) {
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
fn exit_code(session: &mut Session, process: u32) -> Option<i32> {
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

/// Returns whether a process is still running.
fn is_running(process: u32) -> bool {
    table::open(process).is_ok() && !table::ends_within(process, 0)
}

fn sleeps(_: &[String]) {
    std::thread::sleep(LONG);
}

fn exits(_: &[String]) {}

fn session_reports_each_call_on_a_handle() {
    let (handles, threads) = (table::count(), table::threads());
    let mut session = start("signals_itself");
    let first = next(&mut session);
    let Step::Started { parent, arguments, .. } = &first.step else { panic!("{first:?}") };
    assert_eq!(*parent, std::process::id());
    assert!(arguments.iter().any(|word| word.to_string_lossy().contains("signals_itself")), "{arguments:?}");
    // It has run no instruction, so its table has the streams alone.
    let table = HandleTable::of(&Process::open_for_query(first.process).unwrap()).unwrap();
    assert_eq!(table.entries().iter().filter(|entry| entry.kind() == Ok(&ObjectKind::Event)).count(), 0);

    let (process, value) = created(&mut session);
    assert_eq!(process, first.process);
    let events = all_until(&mut session, |step| matches!(step, Step::Exited { .. }));
    let position = |is: &dyn Fn(&Step) -> bool| {
        events.iter().position(|event| is(&event.step)).unwrap_or_else(|| panic!("{events:#?}"))
    };
    let target = Target::Handle(value);
    let signal = position(
        &|step| matches!(step, Step::Returned(call, Outcome::Done(0)) if call.action == Action::Signal { target }),
    );
    let wait = position(
        &|step| matches!(step, Step::Calls(call) if matches!(&call.action, Action::Wait { targets, .. } if *targets == [target])),
    );
    assert!(signal < wait, "{events:#?}");
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at), "{events:#?}");
    assert!(matches!(events[events.len() - 1].step, Step::Exited { status } if status.success()));
    assert_eq!(session.next(soon()).unwrap(), Next::AllExited);
    drop(session);
    assert_eq!((table::count(), table::threads()), (handles, threads));
}

fn session_follows_children_and_compares_objects() {
    let mut session = start("leaks_to_a_child");
    let (parent, value) = created(&mut session);
    let events = all_until(
        &mut session,
        |step| matches!(step, Step::Started { parent: other, .. } if *other == parent),
    );
    let child = events[events.len() - 1].process;
    assert_eq!(session.is_same((parent, value), (child, value)).unwrap(), Some(true));
    let others = HandleTable::of(&Process::open_for_query(child).unwrap()).unwrap();
    let other = others.entries().iter().find(|entry| entry.value() != value).unwrap().value();
    assert_eq!(session.is_same((parent, value), (child, other)).unwrap(), Some(false));
    let closed = HandleValue::try_from(0x4_0000_u64).unwrap();
    assert_eq!(session.is_same((parent, value), (child, closed)).unwrap(), None);
    assert_eq!(exit_code(&mut session, parent), Some(0));
}

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

fn changed(change: Change) -> (Session, u32, Option<Result<ObjectKind, String>>) {
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

fn replaced_handle_is_a_semaphore_in_the_process() {
    let (mut session, process, kind) = changed(Change::Replace);
    assert_eq!(kind, Some(Ok(ObjectKind::Semaphore)));
    let handles = table::of(process).len();
    assert_eq!(exit_code(&mut session, process), Some(FAILED));
    drop(session);
    // No other handle is left in the process: it has as many as one that goes on undisturbed.
    let mut undisturbed = start("signals_itself");
    let (process, _) = created(&mut undisturbed);
    assert_eq!(handles, table::of(process).len());
    assert_eq!(exit_code(&mut undisturbed, process), Some(0));
}

fn handle_of_a_process_that_has_not_run_is_changed() {
    for change in [Change::Close, Change::Replace] {
        let mut session = start("leaks_to_a_child");
        let (parent, value) = created(&mut session);
        let is_child = |step: &Step| matches!(step, Step::Started { parent: other, .. } if *other == parent);
        let events = all_until(&mut session, is_child);
        let child = events[events.len() - 1].process;
        assert_eq!(session.change(child, value, change, soon()).unwrap(), Some(true));
        let same = session.is_same((parent, value), (child, value)).unwrap();
        assert_eq!(same, if change == Change::Close { None } else { Some(false) });
        // The parent's own handle is as it was, and a handle that is closed can't be closed again.
        assert_eq!(session.is_same((parent, value), (parent, value)).unwrap(), Some(true));
        let again = session.change(child, value, Change::Close, soon()).unwrap();
        assert_eq!(again, Some(change == Change::Replace));
        assert_eq!(exit_code(&mut session, parent), Some(0));
    }
}

const THREADS: usize = 4;
const ROUNDS: usize = 50;

fn signals_in_threads(_: &[String]) {
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let event = Event::manual_reset().unwrap();
                    event.set().unwrap();
                    event.wait_timeout(LONG).unwrap();
                }
            });
        }
    });
}

fn threads_that_call_at_once_are_all_seen() {
    let mut session = start("signals_in_threads");
    let first = next(&mut session);
    let events = all_until(&mut session, |step| matches!(step, Step::Exited { .. }));
    assert!(
        matches!(events[events.len() - 1].step, Step::Exited { status } if status.success()),
        "{first:?}"
    );
    let count = |is: &dyn Fn(&Step) -> bool| events.iter().filter(|event| is(&event.step)).count();
    let is_signal = |action: &Action| matches!(action, Action::Signal { .. });
    let expected = THREADS * ROUNDS;
    // The runtime can signal other events of its own.
    assert!(count(&|step| matches!(step, Step::Calls(call) if is_signal(&call.action))) >= expected);
    assert!(count(&|step| matches!(step, Step::Returned(call, _) if is_signal(&call.action))) >= expected);
    let is_wait = |action: &Action| matches!(action, Action::Wait { targets, .. } if targets.len() == 1);
    assert!(
        count(&|step| matches!(step, Step::Returned(call, Outcome::Signaled) if is_wait(&call.action)))
            >= expected
    );
}

fn breaks(_: &[String]) {
    handover_tests::raw::break_into_a_debugger();
}

fn exceptions_of_the_program_stay_its_own() {
    let expected = in_role_of_std("breaks", &[]).stderr(Stdio::null()).status().unwrap();
    assert!(!expected.success(), "{expected}");
    let mut session = start("breaks");
    let process = next(&mut session).process;
    assert_eq!(exit_code(&mut session, process), expected.code());
}

fn child_of_a_killed_process_goes_on() {
    let mut session = start("leaks_to_a_child");
    let (parent, _) = created(&mut session);
    let is_child = |step: &Step| matches!(step, Step::Started { parent: other, .. } if *other == parent);
    let events = all_until(&mut session, is_child);
    let child = events[events.len() - 1].process;
    // Under Wine the child is reported before its parent has resumed it.
    let is_wait = |step: &Step| matches!(step, Step::Calls(call) if matches!(&call.action, Action::Wait { processes, .. } if *processes == [child]));
    let mut events = all_until(&mut session, is_wait);
    session.kill(parent);
    while let Next::Event(event) = session.next(soon()).unwrap() {
        events.push(event);
    }
    let exits = |process: u32| {
        let exit = events.iter().find_map(|event| match event.step {
            Step::Exited { status } if event.process == process => status.code(),
            _ => None,
        });
        exit.unwrap_or_else(|| panic!("process {process} doesn't exit: {events:#?}"))
    };
    assert_eq!((exits(parent), exits(child)), (1, 0));
}

/// Kills threads of its own, each probably in the middle of a call.
fn kills_threads(_: &[String]) {
    static EVENT: std::sync::OnceLock<Event> = std::sync::OnceLock::new();
    EVENT.get_or_init(|| Event::manual_reset().unwrap());
    for _ in 0..KILLED {
        let thread = std::thread::spawn(|| {
            loop {
                EVENT.get().unwrap().set().unwrap();
            }
        });
        std::thread::sleep(Duration::from_millis(2));
        handover_tests::raw::terminate_thread(&thread);
    }
    // The exit of this role would wait for locks of the killed threads.
    std::process::exit(0);
}

const KILLED: usize = 20;

fn thread_that_is_killed_in_a_call_is_no_error() {
    let mut session = start("kills_threads");
    let first = next(&mut session);
    assert_eq!(exit_code(&mut session, first.process), Some(0));
}

/// Starts a child whose debugger it is itself.
fn debugs_a_child(_: &[String]) {
    use std::os::windows::process::CommandExt as _;
    const DEBUG_PROCESS: u32 = 1;
    let mut command = in_role_of_std("sleeps", &[]);
    // The child is stopped at its first debug event, which this program doesn't take.
    let _ = command.creation_flags(DEBUG_PROCESS).spawn().unwrap().wait();
}

fn process_with_another_debugger_ends_with_the_session() {
    let mut session = start("debugs_a_child");
    let process = next(&mut session).process;
    let is_spawned = |step: &Step| matches!(step, Step::Returned(call, Outcome::Opened(_)) if matches!(call.action, Action::Spawn { .. }));
    all_until(&mut session, is_spawned);
    let children = table::children_of(process);
    assert!(!children.is_empty());
    drop(session);
    for child in children {
        assert!(!is_running(child), "process {child} is left");
    }
}

fn next_gives_up_at_the_deadline() {
    let mut session = start("sleeps");
    let began = Instant::now();
    while session.next(began + Duration::from_millis(500)).unwrap() != Next::TimedOut {}
    assert!(began.elapsed() >= Duration::from_millis(500) && began.elapsed() < LONG / 2);
}

fn dropped_session_leaves_no_process() {
    let handles = table::count();
    let mut session = start("sleeps");
    let process = next(&mut session).process;
    assert!(is_running(process));
    drop(session);
    assert!(!is_running(process));
    assert_eq!(table::count(), handles);
}

fn killed_process_is_reported() {
    let mut session = start("sleeps");
    let process = next(&mut session).process;
    session.kill(process);
    let events = all_until(&mut session, |step| matches!(step, Step::Exited { .. }));
    assert!(matches!(events[events.len() - 1].step, Step::Exited { status } if status.code() == Some(1)));
}

fn command_that_cannot_start_is_an_error() {
    let handles = table::count();
    let start = |command: Command| Session::start(command, soon()).map(drop).unwrap_err();
    let missing = start(Command::new("C:\\nonexistent\\program.exe"));
    assert!(matches!(missing, Error::ProgramNotFound { .. }), "{missing}");
    let empty = start(Command::new(""));
    assert!(matches!(empty, Error::InvalidInput { .. }), "{empty}");
    let mut command = in_role_of_std("sleeps", &[]);
    command.stdout(Stdio::piped());
    let piped = start(command);
    assert!(piped.to_string().contains("has a pipe to this process"), "{piped}");
    assert_eq!(table::count(), handles);
    // The thread is free for another session.
    let mut session = self::start("exits");
    let process = next(&mut session).process;
    assert_eq!(exit_code(&mut session, process), Some(0));
}

/// Calls whose failure only leaves something out of a report, or is followed by another attempt.
const HARMLESS: &[Harmless] = &[
    ("AssignProcessToJobObject", "the debugger ends the process without the job"),
    ("NtQueryInformationProcess", "the report has no parent or no arguments"),
    ("ReadProcessMemory", "the report has no arguments"),
    ("QueryFullProcessImageNameW", "the report has no program"),
    ("DbgUiContinue", "while a session ends, the process exits when its debugger stops"),
    ("DbgUiWaitStateChange", "while a session ends, its processes exit when their debugger stops"),
    ("TerminateProcess", "the process exits when its debugger stops"),
];

fn start_reports_each_failing_call() {
    let run = || {
        let mut session = Session::start(in_role_of_std("sleeps", &[]), soon())?;
        session.next(soon())
    };
    Sweep::of("observe").harmless(HARMLESS).run(run, drop);
}

fn thread_has_one_session_at_a_time() {
    let session = start("sleeps");
    let second = Session::start(in_role_of_std("sleeps", &[]), soon()).map(drop).unwrap_err();
    assert!(second.to_string().contains("already has a session"), "{second}");
    drop(session);
    drop(start("sleeps"));
}
