//! Tests of duplication into another process: a copy arrives with the access that was given, and is closed there if it
//! isn't delivered.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Write};
use std::sync::Mutex;
use std::time::Duration;

use handover::os::windows::Access;
use handover::{
    AsHandle, BorrowedHandle, Child, ChildStdin, Command, Error, Event, HandleValue, Process, Stdio,
};
use handover_tests::{Suite, adopt, listen, role, table, tests, this_program};
use tracing::field::Field;
use tracing::level_filters::LevelFilter;

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "duplication",
    tests: tests![
        duplicate_into_copies_the_object,
        copy_has_exactly_given_access,
        missing_right_is_named,
        narrowed_access_is_passed_on_without_widening,
        dropped_remote_handle_is_closed_in_target,
        duplicate_into_rejects_invalid_handles,
        delivered_copy_stays_open,
        write_to_delivers_the_copy,
        write_to_is_one_event,
        effects_in_another_process_are_events,
        channel_pipes_are_local_and_cannot_be_impersonated,
        failed_write_to_closes_copy_in_target,
        duplicating_many_times_leaks_no_handles,
        duplicate_into_reports_exited_process,
        reused_stream_value_is_not_a_stream,
    ],
    roles: tests![
        has_other_streams,
        waits_for_the_event_on_its_input,
        sleeps,
        prints_allowed_operations,
        passes_its_event_on,
    ],
};

/// Starts this program in a role, with piped streams.
fn in_role(name: &str) -> Child {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

fn value_from_stdin() -> HandleValue {
    HandleValue::from_stdin().expect("a handle's number")
}

fn send_value(child: &mut Child, value: HandleValue) {
    writeln!(child.stdin.as_mut().unwrap(), "{value}").unwrap();
}

fn answer(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn waits_for_the_event_on_its_input(_: &[String]) {
    let event: Event = adopt(value_from_stdin()).expect("an event");
    event.wait_timeout(SOON).expect("the signal");
}

fn duplicate_into_copies_the_object() {
    let (event, decoy) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let mut child = in_role("waits_for_the_event_on_its_input");
    child.process().duplicate_into(&decoy).unwrap().into_value();
    let copy = child.process().duplicate_into(&event).unwrap();
    assert_eq!(table::values_of(&event, child.id()), [copy.value().get()]);
    let value = copy.into_value();
    send_value(&mut child, value);
    decoy.set().unwrap();
    let early = child.process().clone();
    std::thread::sleep(Duration::from_millis(500));
    assert!(!early.has_exited().unwrap(), "the decoy woke the child");
    event.set().unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn copy_has_exactly_given_access() {
    let event = Event::auto_reset().unwrap();
    let child = in_role("sleeps");
    let mask = |copy: handover::os::windows::RemoteHandle| {
        let entry = table::entry(child.id(), copy.value().get()).expect("the handle has arrived");
        assert!(!entry.inheritable);
        entry.access
    };
    assert_eq!(mask(child.process().duplicate_into(&event).unwrap()), 0x0010_0002);
    assert_eq!(
        mask(child.process().duplicate_into(event.with_access(Access::SYNCHRONIZE)).unwrap()),
        0x0010_0000
    );
    // An untyped handle keeps its full access.
    let untyped = std::os::windows::io::OwnedHandle::from(event);
    assert_eq!(mask(child.process().duplicate_into(&untyped).unwrap()), 0x001f_0003);
}

fn prints_allowed_operations(_: &[String]) {
    let event: Event = adopt(value_from_stdin()).expect("an event");
    let say = |what: handover::Result<()>| match what {
        Ok(()) => "yes".to_owned(),
        Err(Error::AccessDenied { right, .. }) => right.to_owned(),
        Err(other) => format!("{other:?}"),
    };
    println!("{} {} {}", say(event.set()), say(event.reset()), say(event.try_wait().map(drop)));
}

fn missing_right_is_named() {
    for (access, expected) in [
        (Access::EVENT_USE, "yes yes yes"),
        (Access::SYNCHRONIZE, "EVENT_MODIFY_STATE EVENT_MODIFY_STATE yes"),
        (Access::EVENT_MODIFY_STATE, "yes yes SYNCHRONIZE"),
    ] {
        let event = Event::manual_reset().unwrap();
        let mut child = in_role("prints_allowed_operations");
        let value = child.process().duplicate_into(event.with_access(access)).unwrap().into_value();
        send_value(&mut child, value);
        assert_eq!(answer(&mut child), expected);
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    }
}

fn passes_its_event_on(_: &[String]) {
    let event: Event = adopt(value_from_stdin()).expect("an event");
    let mut child = in_role("sleeps");
    let copy = child.process().duplicate_into(&event).unwrap();
    println!("{:#x}", table::entry(child.id(), copy.value().get()).unwrap().access);
    drop(copy);
    child.kill().unwrap();
}

fn narrowed_access_is_passed_on_without_widening() {
    let event = Event::manual_reset().unwrap();
    let mut child = in_role("passes_its_event_on");
    let value = child.process().duplicate_into(event.with_access(Access::SYNCHRONIZE)).unwrap().into_value();
    send_value(&mut child, value);
    assert_eq!(answer(&mut child), "0x100000");
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn dropped_remote_handle_is_closed_in_target() {
    let event = Event::manual_reset().unwrap();
    let child = in_role("sleeps");
    let copy = child.process().duplicate_into(&event).unwrap();
    assert_eq!(table::values_of(&event, child.id()).len(), 1);
    drop(copy);
    assert_eq!(table::values_of(&event, child.id()), []);
}

fn duplicate_into_rejects_invalid_handles() {
    let child = in_role("sleeps");
    let before = table::count();
    for (handle, expected) in [
        (table::current_process(), "InvalidHandleValue"),
        (table::borrowed(0), "InvalidHandleValue"),
        (table::closed_handle(), "InvalidHandle"),
    ] {
        let error = child.process().duplicate_into(handle).unwrap_err();
        assert!(format!("{error:#?}").starts_with(expected), "{error:?}");
    }
    // An owner of INVALID_HANDLE_VALUE can't be a stream.
    let refused = Command::new(this_program()).stdin(table::invalid_owned()).spawn();
    assert!(matches!(refused, Err(Error::InvalidHandleValue { .. })), "{refused:?}");
    assert_eq!(table::count(), before);
}

fn delivered_copy_stays_open() {
    let event = Event::manual_reset().unwrap();
    let child = in_role("sleeps");
    let value = child.process().duplicate_into(&event).unwrap().into_value();
    assert_eq!(table::values_of(&event, child.id()), [value.get()]);
}

fn write_to_delivers_the_copy() {
    let event = Event::manual_reset().unwrap();
    let mut child = in_role("waits_for_the_event_on_its_input");
    let copy = child.process().duplicate_into(&event).unwrap();
    let value = copy.value();
    copy.write_to(child.stdin.as_mut().unwrap()).unwrap();
    assert_eq!(table::values_of(&event, child.id()), [value.get()]);
    event.set().unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

/// All events, each as a line with its fields.
static EVENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn listen_to_all() {
    listen(LevelFilter::TRACE, |event| {
        let mut line = String::new();
        event.record(&mut |field: &Field, value: &dyn Debug| {
            // The duration differs each time.
            if field.name() != "nanoseconds" {
                line += &format!("{}: {value:?}; ", field.name());
            }
        });
        EVENTS.lock().unwrap().push(line);
    });
}

fn write_to_is_one_event() {
    listen_to_all();
    let event = Event::manual_reset().unwrap();
    let mut child = in_role("sleeps");
    let copy = child.process().duplicate_into(&event).unwrap();
    let line = format!("{}\n", copy.value());
    let mut pipe = child.stdin.take().unwrap();
    let before = EVENTS.lock().unwrap().len();
    copy.write_to(&mut pipe).unwrap();
    let events = EVENTS.lock().unwrap().split_off(before);
    let expected = format!(
        "call: \"WriteFile\"; arguments: handle {:#x}, {} bytes {line:?}; result: ok; failed: false; effects: ; ",
        table::value(&pipe),
        line.len()
    );
    assert_eq!(events, [expected]);
}

fn effects_in_another_process_are_events() {
    listen_to_all();
    let event = Event::manual_reset().unwrap();
    let mut child = in_role("sleeps");
    let value = child.process().duplicate_into(&event).unwrap().value();
    let id = child.id();
    let events = std::mem::take(&mut *EVENTS.lock().unwrap());
    let closed =
        events.iter().find(|line| line.contains("closed there")).expect("the copy was closed in the target");
    // The call moves the handle into this process, where it is closed afterwards.
    let here = closed.split_once("result: ").and_then(|(_, rest)| rest.split_once(';')).expect("a handle").0;
    assert!(closed.contains(&format!("effects: +{here}={value:#x}@{id} -{value:#x}@{id}; ")), "{closed}");
    let close = format!(
        "call: \"CloseHandle\"; arguments: handle {here}; result: ok; failed: false; effects: -{here}; "
    );
    assert!(events.contains(&close), "{close} in {events:#?}");
    // When access is denied, the library queries the granted access, and the query is an event.
    let process = Process::open(id).unwrap();
    assert!(process.duplicate_into(&event).is_err());
    let events = std::mem::take(&mut *EVENTS.lock().unwrap());
    let granted = table::entry(std::process::id(), table::value(&process)).unwrap().access;
    let asked = events.iter().find(|line| line.contains("NtQueryObject") && line.contains("access"));
    assert!(asked.is_some_and(|line| line.contains(&format!("result: {granted:#010x}; "))), "{events:#?}");
    // A spawn with a list of handles needs an attribute list, which must be deleted.
    let count = |call: &str| events_of(call).len();
    drop(Command::new(this_program()).args(role("sleeps", &[])).inherit("event", &event).spawn().unwrap());
    assert_eq!(count("DeleteProcThreadAttributeList"), 1);
    child.kill().unwrap();
}

fn events_of(call: &str) -> Vec<String> {
    let events = EVENTS.lock().unwrap();
    events.iter().filter(|line| line.contains(&format!("call: {call:?};"))).cloned().collect()
}

fn channel_pipes_are_local_and_cannot_be_impersonated() {
    listen_to_all();
    drop(
        Command::new(this_program()).args(role("sleeps", &[])).kill_on_drop(true).channel().spawn().unwrap(),
    );
    let opened = events_of("CreateFileW");
    assert!(!opened.is_empty());
    for line in opened.iter().filter(|line| line.contains("pipe")) {
        let flags = line.split_once("flags 0x").expect("flags").1;
        let flags = u32::from_str_radix(&flags[..8], 16).unwrap();
        // SECURITY_SQOS_PRESENT, with SECURITY_ANONYMOUS, which is 0.
        assert_eq!(flags & 0x001f_0000, 0x0010_0000, "{line}");
    }
    // PIPE_REJECT_REMOTE_CLIENTS. The byte mode and the blocking mode are 0.
    let created = events_of("CreateNamedPipeW");
    assert!(
        !created.is_empty() && created.iter().all(|line| line.contains("kind 0x00000008")),
        "{created:#?}"
    );
}

/// A writer that records each write, and forwards it or fails.
struct Writer {
    inner: ChildStdin,
    writes: Vec<Vec<u8>>,
    fails: bool,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writes.push(bytes.to_vec());
        if self.fails { Err(std::io::ErrorKind::BrokenPipe.into()) } else { self.inner.write(bytes) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl AsHandle for Writer {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.inner.as_handle()
    }
}

fn failed_write_to_closes_copy_in_target() {
    let event = Event::manual_reset().unwrap();
    let mut child = in_role("sleeps");
    let inner = child.stdin.take().unwrap();
    let mut to = Writer { inner, writes: Vec::new(), fails: false };
    let copy = child.process().duplicate_into(&event).unwrap();
    let value = copy.value();
    copy.write_to(&mut to).unwrap();
    assert_eq!(to.writes, [format!("{value}\n").into_bytes()], "in one piece");
    to.fails = true;
    let copy = child.process().duplicate_into(&event).unwrap();
    match copy.write_to(&mut to) {
        Err(Error::System { call: "WriteFile", source, .. }) => {
            assert_eq!(source.kind(), std::io::ErrorKind::BrokenPipe);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(table::values_of(&event, child.id()), [value.get()], "only the delivered copy is open");
}

fn duplicating_many_times_leaks_no_handles() {
    let event = Event::manual_reset().unwrap();
    let child = in_role("sleeps");
    // The child is still starting and opens handles of its own, so only copies of the event are counted in its table.
    let before = table::count();
    let copies: Vec<_> = (0..500).map(|_| child.process().duplicate_into(&event).unwrap()).collect();
    assert_eq!(table::values_of(&event, child.id()).len(), 500);
    drop(copies);
    assert_eq!(table::values_of(&event, child.id()), []);
    assert_eq!(table::count(), before);
}

fn duplicate_into_reports_exited_process() {
    let event = Event::manual_reset().unwrap();
    let mut child = in_role("sleeps");
    let remote = child.process().duplicate_into(&event).unwrap();
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
    let before = table::count();
    match child.process().duplicate_into(&event) {
        Err(Error::ProcessExited { pid: process, .. }) => assert_eq!(process, child.id()),
        other => panic!("{other:?}"),
    }
    drop(remote);
    assert_eq!(table::count(), before);
}

fn has_other_streams(_: &[String]) {
    let event: Event = adopt(value_from_stdin()).unwrap();
    let second: HandleValue = std::env::args().nth(3).expect("a number").parse().unwrap();
    let unlisted =
        || handover::leaked_handles().unwrap().into_iter().map(|handle| handle.value).collect::<Vec<_>>();
    let before = unlisted();
    // Acts as a program that closes its standard input: the value stays in the process's parameters, and another handle
    // may get it.
    table::be_standard_input(0x7_fff0);
    assert!(before.iter().all(|value| unlisted().contains(value)));
    table::be_standard_input(second.get());
    assert!(unlisted().contains(&second));
    HandleValue::from_arg(3).and_then(adopt::<Event>).unwrap().set().unwrap();
    event.set().unwrap();
}

fn reused_stream_value_is_not_a_stream() {
    let (event, second) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let mut command = Command::new(this_program());
    command.args(role("has_other_streams", &[])).kill_on_drop(true).stdin(Stdio::piped());
    command.inherit("second", &second).arg_handle("{second}");
    let mut child = command.spawn().unwrap();
    let copy = child.process().duplicate_into(&event).unwrap();
    send_value(&mut child, copy.into_value());
    assert_eq!(child.wait_timeout(SOON * 3).unwrap().code(), Some(0));
    assert!(event.try_wait().unwrap() && second.try_wait().unwrap());
}
