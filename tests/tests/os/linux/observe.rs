//! Tests of the tracer that follows each call on handles: reports, holds, changes, and that no process or handle is left.

use std::process::{Command, Stdio};

use handover::inspect::HandleTable;
use handover::inspect::observe::{Action, Change, Next, Outcome, Session, Step, Target};
use handover::{Error, HandleValue, ObjectKind, Process};
use handover_tests::{Suite, in_role_of_std, table, tests, until};

use crate::observe::{FAILED, all_until, changed, created, exit_code, next, soon, start};

pub(super) const SUITE: Suite = Suite {
    name: "observe",
    tests: tests![
        session_reports_each_call_on_a_handle,
        session_follows_children_and_compares_objects,
        replaced_handle_is_a_socket_in_the_process,
        change_leaves_the_threads_own_call_as_it_was,
        change_without_a_stopped_thread_is_refused,
        dropped_session_leaves_no_process,
        killed_process_is_reported,
        command_that_cannot_start_is_an_error,
    ],
    roles: tests![],
};

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
        &|step| matches!(step, Step::Returned(call, Outcome::Done(8)) if call.action == Action::Signal { target }),
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
    assert!(events.iter().any(|event| event.step == Step::Forked { parent } && event.process == child));
    assert_eq!(session.is_same((parent, value), (child, value)).unwrap(), Some(true));
    let stream = HandleValue::try_from(0_u64).unwrap();
    assert_eq!(session.is_same((parent, value), (child, stream)).unwrap(), Some(false));
    let closed = HandleValue::try_from(1000_u64).unwrap();
    assert_eq!(session.is_same((parent, value), (child, closed)).unwrap(), None);
    assert_eq!(exit_code(&mut session, parent), Some(0));
}

fn replaced_handle_is_a_socket_in_the_process() {
    let (mut session, process, kind) = changed(Change::Replace);
    assert_eq!(kind, Some(Ok(ObjectKind::Socket)));
    let handles = table::of(process).len();
    assert_eq!(exit_code(&mut session, process), Some(FAILED));
    drop(session);
    // No other handle is left in the process: it has as many as one that goes on undisturbed.
    let mut undisturbed = start("signals_itself");
    let (process, _) = created(&mut undisturbed);
    assert_eq!(handles, table::of(process).len());
    assert_eq!(exit_code(&mut undisturbed, process), Some(0));
}

fn change_leaves_the_threads_own_call_as_it_was() {
    let mut session = start("signals_itself");
    let (process, _) = created(&mut session);
    let is_signal =
        |step: &Step| matches!(step, Step::Calls(call) if matches!(call.action, Action::Signal { .. }));
    all_until(&mut session, is_signal);
    let stream = HandleValue::try_from(0_u64).unwrap();
    for change in [Change::Replace, Change::Close] {
        assert_eq!(session.change(process, stream, change, soon()).unwrap(), Some(true));
    }
    // A handle that is closed can't be closed again.
    assert_eq!(session.change(process, stream, Change::Close, soon()).unwrap(), Some(false));
    let returned = next(&mut session);
    let is_signaled = |step: &Step| matches!(step, Step::Returned(call, Outcome::Done(8)) if matches!(call.action, Action::Signal { .. }));
    assert!(is_signaled(&returned.step), "{returned:?}");
    assert_eq!(exit_code(&mut session, process), Some(0));
}

fn change_without_a_stopped_thread_is_refused() {
    let mut session = start("signals_itself");
    let (process, value) = created(&mut session);
    session.hold();
    let error = session.change(process, value, Change::Close, soon()).unwrap_err();
    assert!(matches!(error, Error::InvalidInput { .. }), "{error}");
}

fn dropped_session_leaves_no_process() {
    let handles = table::count();
    let mut session = start("sleeps");
    let process = next(&mut session).process;
    assert!(table::children_of(std::process::id()).contains(&process));
    drop(session);
    until("the process has been waited for", || !table::children_of(std::process::id()).contains(&process));
    assert_eq!(table::count(), handles);
}

fn killed_process_is_reported() {
    let mut session = start("sleeps");
    let process = next(&mut session).process;
    session.kill(process);
    let events = all_until(&mut session, |step| matches!(step, Step::Exited { .. }));
    assert!(matches!(events[events.len() - 1].step, Step::Exited { status } if status.code().is_none()));
}

fn command_that_cannot_start_is_an_error() {
    let handles = table::count();
    let start = |command: Command| Session::start(command, soon()).map(drop).unwrap_err();
    let missing = start(Command::new("/nonexistent/program"));
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
