//! Tests of calls that Windows refuses: for processes of other users, names of other users, and missing rights. Under
//! Wine the single user has all rights, so the refusals are injected; the library's reaction is real.

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
        process_without_dup_handle_right_can_be_queried,
        handle_closed_while_table_is_read_is_skipped,
        unavailable_names_name_the_failed_call,
        name_with_denied_access_is_in_use,
        denied_creation_of_unused_name_is_system_error,
        manifest_of_unqueryable_parent_is_accepted_by_id,
        pipe_name_in_use_is_retried,
        channel_works_if_parent_cannot_be_opened,
        stream_closed_during_spawn_is_skipped,
        open_error_names_call_and_name,
        kill_of_exited_process_succeeds,
    ],
    roles: tests![waits, adopts_from_unqueryable_parent, answers_unopenable_parent, exits],
};

const SOON: Duration = Duration::from_secs(10);

const ACCESS_DENIED: i32 = 5;
const INVALID_HANDLE: i32 = 6;
const INVALID_PARAMETER: i32 = 87;
const PIPE_BUSY: i32 = 231;

/// Does the work while the first `times` calls of this name fail with this code.
fn failing_often<T>(call: &'static str, code: i32, times: u32, work: impl FnOnce() -> T) -> T {
    let (outcome, is_called) = faults::taking([Turn::fails(call, 0..times, code)], work);
    assert!(is_called, "{call} was not called");
    outcome
}

/// Does the work while the first call of this name fails with this code.
fn failing<T>(call: &'static str, code: i32, work: impl FnOnce() -> T) -> T {
    failing_often(call, code, 1, work)
}

fn waiting() -> Child {
    let event = Event::manual_reset().unwrap();
    let mut command = Command::new(this_program());
    begun(command.args(role("waits", &[])).inherit("event", &event))
}

fn process_without_dup_handle_right_can_be_queried() {
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

fn handle_closed_while_table_is_read_is_skipped() {
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

fn unavailable_names_name_the_failed_call() {
    let child = waiting();
    // A process handle without PROCESS_DUP_HANDLE, which the library looks for when access is denied.
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
    // With that right, a refusal is reported as the system's error.
    let process = Process::open_for_query(child.id()).unwrap();
    let looked = failing("DuplicateHandle", ACCESS_DENIED, || HandleTable::of(&process)).unwrap();
    assert_eq!((said(&looked, "DuplicateHandle: "), said(&looked, "PROCESS_DUP_HANDLE")), (1, 0));
    // The kind is known from another handle of the same kind.
    let refused = looked.entries().iter().find(|entry| entry.name().is_err()).unwrap();
    assert!(refused.kind().is_ok_and(|kind| *kind != ObjectKind::Other("".into())), "{refused:?}");
}

fn name_with_denied_access_is_in_use() {
    let name = format!("refusals.taken.{}", std::process::id());
    let _event = Event::create_named(&name, ResetMode::Auto).unwrap();
    let before = table::count();
    let again =
        failing("CreateEventW", ACCESS_DENIED, || Event::create_or_open_named(&name, ResetMode::Auto));
    match again {
        Err(Error::NameInUse { name: taken, .. }) => assert_eq!(taken, name),
        other => panic!("{other:?}"),
    }
    // Another error is reported as it is, even if the name exists.
    let other = failing("CreateEventW", faults::CODE, || Event::create_or_open_named(&name, ResetMode::Auto));
    assert_eq!(other.unwrap_err().raw_os_error(), Some(faults::CODE));
    assert_eq!(table::count(), before);
}

fn denied_creation_of_unused_name_is_system_error() {
    let name = ObjectName::global(&format!("refusals.free.{}", std::process::id())).unwrap();
    // Creating global shared memory requires a privilege, for example.
    let refused = failing("CreateFileMappingW", ACCESS_DENIED, || SharedMemory::create_named(&name, 1));
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(ACCESS_DENIED));
}

fn adopts_from_unqueryable_parent(_: &[String]) {
    let adopted = |code| failing("OpenProcess", code, handover::inherited);
    let error = adopted(faults::CODE).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(faults::CODE), "{error:?}");
    // The parent belongs to another user, or has exited.
    let inherited = adopted(ACCESS_DENIED).unwrap();
    let event: Event = inherited.take("event").unwrap();
    event.set().unwrap();
}

fn manifest_of_unqueryable_parent_is_accepted_by_id() {
    let event = Event::manual_reset().unwrap();
    let mut command = Command::new(this_program());
    command.args(role("adopts_from_unqueryable_parent", &[])).inherit("event", &event);
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    assert_eq!(child.wait_timeout(SOON * 3).unwrap().code(), Some(0));
    assert!(event.try_wait().unwrap());
}

fn pipe_name_in_use_is_retried() {
    let spawn = || Command::new(this_program()).args(role("waits", &[])).channel().spawn();
    drop(spawn().unwrap());
    let before = table::count();
    // The library tries ten names and then gives up: more collisions are not accidental.
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

fn answers_unopenable_parent(_: &[String]) {
    // Fails with each access.
    let channel = failing_often("OpenProcess", ACCESS_DENIED, u32::MAX, Channel::parent).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"ping");
    channel.send(Message::new(b"pong")).unwrap();
    // The child can't see the exit of the process, but can see the end of its pipe.
    assert!(matches!(
        channel.recv_timeout(SOON),
        Err(Error::Disconnected { .. } | Error::ProcessExited { .. })
    ));
}

fn channel_works_if_parent_cannot_be_opened() {
    let mut command = Command::new(this_program());
    command.args(role("answers_unopenable_parent", &[])).kill_on_drop(true);
    let mut child = command.channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    channel.send(Message::new(b"ping")).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"pong");
    drop(channel);
    assert_eq!(child.wait_timeout(SOON * 2).unwrap().code(), Some(0));
}

fn exits(_: &[String]) {}

fn stream_closed_during_spawn_is_skipped() {
    let spawn = || {
        let mut command = Command::new(this_program());
        command.args(role("exits", &[])).stdin(Stdio::inherit()).stdout(Stdio::null()).stderr(Stdio::null());
        command.kill_on_drop(true).spawn()
    };
    let mut child = failing("DuplicateHandle", INVALID_HANDLE, spawn).unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    assert_eq!(
        failing("DuplicateHandle", faults::CODE, spawn).unwrap_err().raw_os_error(),
        Some(faults::CODE)
    );
}

fn open_error_names_call_and_name() {
    let name = format!("refusals.opened.{}", std::process::id());
    let _event = Event::create_named(&name, ResetMode::Auto).unwrap();
    match failing("OpenEventW", faults::CODE, || Event::open_named(&name)) {
        Err(Error::System { call: "OpenEventW", context: what, .. }) => {
            assert!(what.contains(&name), "{what}");
        }
        other => panic!("{other:?}"),
    }
}

fn kill_of_exited_process_succeeds() {
    let mut running = waiting();
    let refused = failing("TerminateProcess", ACCESS_DENIED, || running.kill()).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(ACCESS_DENIED));
    // The process exits by itself. Windows then denies access to TerminateProcess, which is not an error for the
    // caller.
    drop(running.stdin.take());
    let _ = handover::wait_any(&[running.process()], SOON).unwrap();
    failing("TerminateProcess", ACCESS_DENIED, || running.kill()).unwrap();
    let other = failing("TerminateProcess", faults::CODE, || running.kill()).unwrap_err();
    assert_eq!(other.raw_os_error(), Some(faults::CODE));
}
