//! A system that refuses: calls fail as they do where another user's processes, other names and other rights are. Under
//! Wine one user has them all, so the refusals are made up at the seam; what is done then is real.

use std::time::Duration;

use handover::faults::{self, Turn};
use handover::inspect::{HandleTable, shared_objects};
use handover::{
    Channel, Child, Command, Error, Event, Message, ObjectKind, ObjectName, Process, ResetMode, SharedMemory,
    Stdio,
};
use handover_tests::{Suite, begun, role, table, tests, this_program, waits};

pub(super) const SUITE: Suite = Suite {
    name: "access_denied",
    tests: tests![
        who_lets_nobody_out_is_looked_at_all_the_same,
        a_handle_that_was_closed_meanwhile_is_in_no_table,
        what_is_refused_is_told_by_the_call,
        a_name_that_lets_nobody_in_is_taken,
        a_name_that_nobody_has_and_nobody_may_have_is_refused,
        a_parent_that_may_not_be_asked_is_believed_by_its_number,
        a_pipes_name_that_somebody_has_is_another_one_then,
        a_channel_to_a_parent_that_may_not_be_opened_works,
        a_stream_that_was_closed_meanwhile_is_none,
        an_error_names_the_call,
        who_has_ended_can_be_killed,
    ],
    roles: tests![waits, adopts_from_strangers, answers_a_stranger, ends],
};

const SOON: Duration = Duration::from_secs(10);

const ACCESS_DENIED: i32 = 5;
const INVALID_HANDLE: i32 = 6;
const INVALID_PARAMETER: i32 = 87;
const PIPE_BUSY: i32 = 231;

/// Does the work while the first calls of this name, so many, fail with this code.
fn failing_often<T>(call: &'static str, code: i32, times: u32, work: impl FnOnce() -> T) -> T {
    let (outcome, is_called) = faults::taking([Turn::fails(call, 0..times, code)], work);
    assert!(is_called, "{call} is none of the calls");
    outcome
}

/// The same with the first one alone.
fn failing<T>(call: &'static str, code: i32, work: impl FnOnce() -> T) -> T {
    failing_often(call, code, 1, work)
}

fn waiting() -> Child {
    let event = Event::manual_reset().unwrap();
    let mut command = Command::new(this_program());
    begun(command.args(role("waits", &[])).inherit("event", &event))
}

fn who_lets_nobody_out_is_looked_at_all_the_same() {
    let child = waiting();
    let before = table::count();
    let process = failing("OpenProcess", ACCESS_DENIED, || Process::open_for_query(child.id())).unwrap();
    let looked = HandleTable::of(&process).unwrap();
    assert!(looked.entries().iter().all(|entry| entry.name().is_err()));
    drop(process);
    let gone = failing("OpenProcess", INVALID_PARAMETER, || Process::open_for_query(child.id()));
    assert!(matches!(gone, Err(Error::ProcessExited { .. })), "{gone:?}");
    let other = failing("OpenProcess", faults::CODE, || Process::open_for_query(child.id())).unwrap_err();
    assert_eq!(other.raw_os_error(), Some(faults::CODE), "{other:?}");
    assert_eq!(table::count(), before);
}

fn a_handle_that_was_closed_meanwhile_is_in_no_table() {
    let child = waiting();
    let process = Process::open_for_query(child.id()).unwrap();
    let all = HandleTable::of(&process).unwrap().entries().len();
    let before = table::count();
    let rest = failing("DuplicateHandle", INVALID_HANDLE, || HandleTable::of(&process)).unwrap();
    assert_eq!(rest.entries().len(), all - 1);
    let this = Process::open_for_query(std::process::id()).unwrap();
    let sharing = failing("DuplicateHandle", INVALID_HANDLE, || shared_objects(&this, &process)).unwrap();
    assert_eq!(sharing.incomplete.len(), 0, "{:?}", sharing.incomplete);
    drop(this);
    assert_eq!(table::count(), before);
}

fn what_is_refused_is_told_by_the_call() {
    let child = waiting();
    // Without the right that is looked for when access is refused.
    let process = Process::open(child.id()).unwrap();
    let looked = failing("DuplicateHandle", faults::CODE, || HandleTable::of(&process)).unwrap();
    let said = |looked: &HandleTable, what: &str| {
        looked
            .entries()
            .iter()
            .filter(|entry| entry.name().is_err_and(|why| why.to_string().contains(what)))
            .count()
    };
    assert_eq!(said(&looked, "DuplicateHandle: "), 1);
    assert_eq!(said(&looked, "PROCESS_DUP_HANDLE"), looked.entries().len() - 1);
    // With it, a refusal is the system's own.
    let process = Process::open_for_query(child.id()).unwrap();
    let looked = failing("DuplicateHandle", ACCESS_DENIED, || HandleTable::of(&process)).unwrap();
    assert_eq!((said(&looked, "DuplicateHandle: "), said(&looked, "PROCESS_DUP_HANDLE")), (1, 0));
    // Its kind is known from another handle.
    let refused = looked.entries().iter().find(|entry| entry.name().is_err()).unwrap();
    assert!(refused.kind().is_ok_and(|kind| *kind != ObjectKind::Other("".into())), "{refused:?}");
}

fn a_name_that_lets_nobody_in_is_taken() {
    let name = format!("refusals.taken.{}", std::process::id());
    let _event = Event::create_named(&name, ResetMode::Auto).unwrap();
    let before = table::count();
    let again =
        failing("CreateEventW", ACCESS_DENIED, || Event::create_or_open_named(&name, ResetMode::Auto));
    match again {
        Err(Error::NameInUse { name: taken, .. }) => assert_eq!(taken, name),
        other => panic!("{other:?}"),
    }
    // Another error is itself, also if the name is there.
    let other = failing("CreateEventW", faults::CODE, || Event::create_or_open_named(&name, ResetMode::Auto));
    assert_eq!(other.unwrap_err().raw_os_error(), Some(faults::CODE));
    assert_eq!(table::count(), before);
}

fn a_name_that_nobody_has_and_nobody_may_have_is_refused() {
    let name = ObjectName::global(&format!("refusals.free.{}", std::process::id())).unwrap();
    // As for sections that all sessions see, which only some users may create.
    let refused = failing("CreateFileMappingW", ACCESS_DENIED, || SharedMemory::create_named(&name, 1));
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(ACCESS_DENIED));
}

fn adopts_from_strangers(_: &[String]) {
    let adopted = |code| failing("OpenProcess", code, handover::inherited);
    let error = adopted(faults::CODE).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(faults::CODE), "{error:?}");
    // The parent is another user's, or has ended.
    let inherited = adopted(ACCESS_DENIED).unwrap();
    let event: Event = inherited.take("event").unwrap();
    event.set().unwrap();
}

fn a_parent_that_may_not_be_asked_is_believed_by_its_number() {
    let event = Event::manual_reset().unwrap();
    let mut command = Command::new(this_program());
    command.args(role("adopts_from_strangers", &[])).inherit("event", &event);
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    assert!(child.wait_timeout(SOON * 3).unwrap().success());
    assert!(event.try_wait().unwrap());
}

fn a_pipes_name_that_somebody_has_is_another_one_then() {
    let spawn = || Command::new(this_program()).args(role("waits", &[])).channel().spawn();
    drop(spawn().unwrap());
    let before = table::count();
    // Ten tries are made, and no more: then somebody does it on purpose.
    for (code, refused, is_enough) in
        [(ACCESS_DENIED, 9, false), (PIPE_BUSY, 1, false), (ACCESS_DENIED, 10, true), (faults::CODE, 1, true)]
    {
        match failing_often("CreateNamedPipeW", code, refused, spawn).map(drop) {
            Ok(()) => assert!(!is_enough, "{code} {refused}"),
            Err(error) => assert!(is_enough && error.raw_os_error() == Some(code), "{error:?}"),
        }
        assert_eq!(table::count(), before);
    }
}

fn answers_a_stranger(_: &[String]) {
    // Whatever it is opened for.
    let channel = failing_often("OpenProcess", ACCESS_DENIED, u32::MAX, Channel::parent).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"ping");
    channel.send(Message::new(b"pong")).unwrap();
    // It can't be seen to end; its end of the pipe can.
    assert!(matches!(
        channel.recv_timeout(SOON),
        Err(Error::Disconnected { .. } | Error::ProcessExited { .. })
    ));
}

fn a_channel_to_a_parent_that_may_not_be_opened_works() {
    let mut command = Command::new(this_program());
    command.args(role("answers_a_stranger", &[])).kill_on_drop(true);
    let mut child = command.channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    channel.send(Message::new(b"ping")).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"pong");
    drop(channel);
    assert!(child.wait_timeout(SOON * 2).unwrap().success());
}

fn ends(_: &[String]) {}

fn a_stream_that_was_closed_meanwhile_is_none() {
    let spawn = || {
        let mut command = Command::new(this_program());
        command.args(role("ends", &[])).stdin(Stdio::inherit()).stdout(Stdio::null()).stderr(Stdio::null());
        command.kill_on_drop(true).spawn()
    };
    let mut child = failing("DuplicateHandle", INVALID_HANDLE, spawn).unwrap();
    assert!(child.wait_timeout(SOON).unwrap().success());
    assert_eq!(
        failing("DuplicateHandle", faults::CODE, spawn).unwrap_err().raw_os_error(),
        Some(faults::CODE)
    );
}

fn an_error_names_the_call() {
    let name = format!("refusals.opened.{}", std::process::id());
    let _event = Event::create_named(&name, ResetMode::Auto).unwrap();
    match failing("OpenEventW", faults::CODE, || Event::open_named(&name)) {
        Err(Error::System { call: "OpenEventW", context: what, .. }) => {
            assert!(what.contains(&name), "{what}");
        }
        other => panic!("{other:?}"),
    }
}

fn who_has_ended_can_be_killed() {
    let mut running = waiting();
    let refused = failing("TerminateProcess", ACCESS_DENIED, || running.kill()).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(ACCESS_DENIED));
    // It ends by itself, which is no failure of whoever wants it to: the system refuses access then.
    drop(running.stdin.take());
    let _ = handover::wait_any(&[running.process()], SOON).unwrap();
    failing("TerminateProcess", ACCESS_DENIED, || running.kill()).unwrap();
    let other = failing("TerminateProcess", faults::CODE, || running.kill()).unwrap_err();
    assert_eq!(other.raw_os_error(), Some(faults::CODE));
}
