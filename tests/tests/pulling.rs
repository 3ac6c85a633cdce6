//! Strategy 2 the other way: taking objects out of a process; and processes by id, with the rights asked for.

use std::io::{BufRead, BufReader, Write};
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::process::ExitCode;
use std::time::Duration;

use handover::{Access, Child, Command, Error, Event, HandleValue, Identity, Kind, Process, Stdio};
use handover_tests::{role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            the_very_object_is_pulled_and_the_other_keeps_its_own,
            what_is_pulled_is_of_the_kind_expected,
            what_is_not_open_over_there_is_refused,
            a_process_that_has_ended_has_nothing_to_pull,
            a_process_by_its_id_has_the_rights_asked_for,
            a_process_that_has_another_identity_is_noticed,
            a_missing_right_is_named,
        ],
        tests![shows_objects, sleeps],
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

/// Says the numbers of an event and a mutex, and waits for the event; the input ends it.
fn shows_objects(_: &[String]) {
    let event = Event::manual_reset().unwrap();
    let mutex = table::mutex();
    println!("{} {}", HandleValue::of(&event).unwrap(), table::value(&mutex));
    event.wait_timeout(SOON).expect("the parent sets what it pulled");
    println!("set");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    event.reset().expect("nobody has closed it");
    assert!(table::same_object(mutex.as_handle(), mutex.as_handle()));
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn shown(child: &mut Child) -> (HandleValue, HandleValue) {
    let line = line(child);
    let (event, mutex) = line.split_once(' ').unwrap();
    (event.parse().unwrap(), mutex.parse().unwrap())
}

fn the_very_object_is_pulled_and_the_other_keeps_its_own() {
    let mut child = in_role("shows_objects");
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
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn what_is_pulled_is_of_the_kind_expected() {
    let mut child = in_role("shows_objects");
    let (event, mutex) = shown(&mut child);
    let before = table::count();
    match child.process().duplicate_from::<Event>(mutex) {
        Err(Error::WrongKind { expected: Kind::Event, found: Kind::Mutex, what }) => {
            assert_eq!(what, format!("handle {mutex:#x} of process {}", child.id()));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        child.process().duplicate_from::<std::fs::File>(event),
        Err(Error::WrongKind { expected: Kind::File, found: Kind::Event, .. })
    ));
    assert_eq!(table::count(), before, "a refused copy is closed");
    drop(child.process().duplicate_from::<OwnedHandle>(mutex).unwrap());
    assert_eq!(table::count(), before);
}

fn what_is_not_open_over_there_is_refused() {
    let mut child = in_role("shows_objects");
    shown(&mut child);
    let before = table::count();
    let value: HandleValue = "0x7fff0".parse().unwrap();
    match child.process().duplicate_from::<Event>(value) {
        Err(Error::NotOpen { what }) => {
            assert_eq!(what, format!("handle 0x7fff0 of process {}", child.id()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before);
}

fn a_process_that_has_ended_has_nothing_to_pull() {
    let mut child = in_role("shows_objects");
    let (event, _) = shown(&mut child);
    child.kill().unwrap();
    // At once, while it is ending, and when it has ended.
    for _ in 0..2 {
        match child.process().duplicate_from::<Event>(event) {
            Err(Error::PeerGone { process, .. }) => assert_eq!(process, child.id()),
            other => panic!("{other:?}"),
        }
        child.wait_timeout(SOON).unwrap();
    }
}

fn a_process_by_its_id_has_the_rights_asked_for() {
    let child = in_role("sleeps");
    let process = Process::open(child.id(), Access::PROCESS_DUP_HANDLE).unwrap();
    let mask = table::entry(std::process::id(), table::value(&process)).unwrap().access;
    assert_eq!(mask & 0x0010_1040, 0x0010_1040);
    assert_eq!(mask & 1, 0, "to end it was not asked for");
    let event = Event::manual_reset().unwrap();
    let copy = process.duplicate_into(&event).unwrap();
    assert_eq!(table::values_of(&event, child.id()), [copy.value().get()]);
    drop(copy);
    assert_eq!(table::values_of(&event, child.id()), []);
    assert!(!process.has_ended().unwrap());
    assert_eq!(process.identity().unwrap(), child.process().identity().unwrap());
    match Process::open(0x7fff_fff0, Access::PROCESS_DUP_HANDLE) {
        Err(Error::PeerGone { process: 0x7fff_fff0, .. }) => {}
        other => panic!("{other:?}"),
    }
}

fn a_process_that_has_another_identity_is_noticed() {
    let child = in_role("sleeps");
    let identity = child.process().identity().unwrap();
    // As it would come from another process, in text.
    let told: Identity = identity.to_string().parse().unwrap();
    assert_eq!(Process::open_identified(told, Access::empty()).unwrap().id(), child.id());
    // Whoever has the id of a process that has ended was created later.
    let before = table::count();
    let reused: Identity = format!("{}@{:x}", identity.id, identity.created - 1).parse().unwrap();
    match Process::open_identified(reused, Access::empty()) {
        Err(Error::PeerGone { process, .. }) => assert_eq!(process, child.id()),
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before);
    let own = Process::current_identity().unwrap();
    assert_eq!(own.id, std::process::id());
    assert_eq!(Process::open_identified(own, Access::empty()).unwrap().identity().unwrap(), own);
}

fn a_missing_right_is_named() {
    let child = in_role("sleeps");
    let process = Process::open(child.id(), Access::empty()).unwrap();
    let event = Event::manual_reset().unwrap();
    let lacks = |outcome: Result<(), Error>| match outcome {
        Err(error @ Error::MissingRight { .. }) => {
            let text = error.to_string();
            assert!(text.contains("PROCESS_DUP_HANDLE") && text.contains(&child.id().to_string()), "{text}");
        }
        other => panic!("{other:?}"),
    };
    lacks(process.duplicate_into(&event).map(drop));
    lacks(process.duplicate_from::<Event>("4".parse().unwrap()).map(drop));
}
