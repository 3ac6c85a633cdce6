//! Tests of the debugger that follows each call on handles: reports, holds, changes, and that no process or handle is left.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use handover::inspect::HandleTable;
use handover::inspect::observe::{Action, Change, Next, Outcome, Session, Step, Target};
use handover::{Error, Event, HandleValue, ObjectKind, Process};
use handover_tests::{Suite, in_role_of_std, table, tests, until};

use crate::observe::{FAILED, LONG, all_until, changed, created, exit_code, next, soon, start};

pub(super) const SUITE: Suite = Suite {
    name: "observe",
    tests: tests![
        session_reports_each_call_on_a_handle,
        session_follows_children_and_compares_objects,
        replaced_handle_is_a_semaphore_in_the_process,
        handle_of_a_process_that_has_not_run_is_changed,
        threads_that_call_at_once_are_all_seen,
        exceptions_of_the_program_stay_its_own,
        thread_that_is_killed_in_a_call_is_no_error,
        process_with_another_debugger_ends_with_the_session,
        child_of_a_killed_process_goes_on,
        dropped_session_leaves_no_process,
        killed_process_is_reported,
        command_that_cannot_start_is_an_error,
    ],
    roles: tests![signals_in_threads, breaks, kills_threads, debugs_a_child],
};

/// Returns whether a process is still running.
fn is_running(process: u32) -> bool {
    table::open(process).is_ok() && !table::ends_within(process, 0)
}

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
    static CALLS: AtomicU64 = AtomicU64::new(0);
    EVENT.get_or_init(|| Event::manual_reset().unwrap());
    for _ in 0..KILLED {
        let before = CALLS.load(SeqCst);
        let thread = std::thread::spawn(|| {
            loop {
                EVENT.get().unwrap().set().unwrap();
                CALLS.fetch_add(1, SeqCst);
            }
        });
        // At its start, a thread holds locks of the process.
        until("the thread makes calls", || CALLS.load(SeqCst) > before);
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
