//! Tests of taking objects out of another process, and of processes opened by id.

use std::io::{BufRead, BufReader, Write};
use std::process::ExitCode;
use std::time::Duration;

use handover::{
    Child, Command, Error, Event, HandleValue, ObjectKind, OwnedHandle, Process, ProcessIdentity,
    SharedMemory, Stdio,
};
use handover_tests::{expect, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            duplicate_from_copies_object_and_leaves_original_open,
            duplicate_from_checks_kind,
            duplicate_from_fails_if_value_is_not_open,
            duplicate_from_fails_after_process_exited,
            open_by_id_returns_that_process,
            open_exact_detects_reused_id,
        ],
        tests![prints_values, sleeps],
    )
}

fn in_role(name: &str) -> Child {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

/// Prints the handle values of an event and a semaphore, waits for the event, and exits when its input is closed.
fn prints_values(_: &[String]) {
    let event = Event::manual_reset().unwrap();
    let semaphore = raw::semaphore();
    println!("{} {}", HandleValue::of(&event).unwrap(), table::value(&semaphore));
    event.wait_timeout(SOON).expect("the parent sets its copy of the event");
    println!("set");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    event.reset().expect("the event is still open");
    assert!(table::same_object(&semaphore, &semaphore));
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn shown(child: &mut Child) -> (HandleValue, HandleValue) {
    let line = line(child);
    let (event, semaphore) = line.split_once(' ').unwrap();
    (event.parse().unwrap(), semaphore.parse().unwrap())
}

fn duplicate_from_copies_object_and_leaves_original_open() {
    let mut child = in_role("prints_values");
    let (event, _) = shown(&mut child);
    let before = table::count();
    let copy: Event = child.process().duplicate_from(event).unwrap();
    assert_eq!(table::values_of(&copy, child.id()), [event.get()]);
    assert!(!table::is_inheritable(&copy));
    copy.set().unwrap();
    assert_eq!(line(&mut child), "set");
    assert_eq!(table::count(), before + 1);
    drop(copy);
    assert_eq!(table::count(), before);
    writeln!(child.stdin.as_mut().unwrap()).unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn duplicate_from_checks_kind() {
    let mut child = in_role("prints_values");
    let (event, semaphore) = shown(&mut child);
    let before = table::count();
    match child.process().duplicate_from::<SharedMemory>(semaphore) {
        Err(Error::WrongKind { expected: ObjectKind::SharedMemory, found, object: what, .. }) => {
            assert_eq!(found, expect::kind_of_semaphore());
            assert_eq!(
                what,
                format!("handle {} of process {}", expect::value_in_errors(semaphore), child.id())
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        child.process().duplicate_from::<std::fs::File>(event),
        Err(Error::WrongKind { expected: ObjectKind::File, found: ObjectKind::Event, .. })
    ));
    assert_eq!(table::count(), before, "a refused copy is closed");
    drop(child.process().duplicate_from::<OwnedHandle>(semaphore).unwrap());
    assert_eq!(table::count(), before);
}

fn duplicate_from_fails_if_value_is_not_open() {
    let mut child = in_role("prints_values");
    shown(&mut child);
    let before = table::count();
    let value: HandleValue = "0x7fff0".parse().unwrap();
    match child.process().duplicate_from::<Event>(value) {
        Err(Error::InvalidHandle { object: what, .. }) => {
            assert_eq!(what, format!("handle {} of process {}", expect::value_in_errors(value), child.id()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before);
}

fn duplicate_from_fails_after_process_exited() {
    let mut child = in_role("prints_values");
    let (event, _) = shown(&mut child);
    child.kill().unwrap();
    // A process that is exiting may still have the handle.
    let early = child.process().duplicate_from::<Event>(event).map(drop);
    assert!(matches!(early, Ok(()) | Err(Error::ProcessExited { .. })), "{early:?}");
    child.wait_timeout(SOON).unwrap();
    let before = table::count();
    match child.process().duplicate_from::<Event>(event) {
        Err(Error::ProcessExited { pid: process, .. }) => assert_eq!(process, child.id()),
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before);
}

fn open_by_id_returns_that_process() {
    let mut child = in_role("sleeps");
    // Waiting for the child would close its input, and change the count of handles.
    drop(child.stdin.take());
    let before = table::count();
    let process = Process::open(child.id()).unwrap();
    assert!(!process.has_exited().unwrap());
    assert_eq!(process.identity().unwrap(), child.process().identity().unwrap());
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
    assert!(process.has_exited().unwrap());
    drop(process);
    match Process::open(0x7fff_fff0) {
        Err(Error::ProcessExited { pid: 0x7fff_fff0, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before);
}

fn open_exact_detects_reused_id() {
    let child = in_role("sleeps");
    let identity = child.process().identity().unwrap();
    // Through text, as one process sends it to another.
    let parsed: ProcessIdentity = identity.to_string().parse().unwrap();
    assert_eq!(Process::open_exact(parsed).unwrap().id(), child.id());
    // A process that reuses an id was created later than the process that had it before.
    let before = table::count();
    let reused: ProcessIdentity = format!("{}@{:x}", identity.id, identity.created - 1).parse().unwrap();
    match Process::open_exact(reused) {
        Err(Error::ProcessExited { pid: process, .. }) => assert_eq!(process, child.id()),
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before);
    let own = Process::current_identity().unwrap();
    assert_eq!(own.id, std::process::id());
    assert_eq!(Process::open_exact(own).unwrap().identity().unwrap(), own);
}
