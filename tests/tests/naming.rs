//! Tests of named objects, and of `SingleInstance`.

use std::io::{BufRead, BufReader};
use std::process::ExitCode;
use std::time::Duration;

use handover::{
    Channel, Child, Command, CreateOutcome, Error, Event, ObjectKind, ResetMode, Semaphore, SharedMemory,
    SingleInstance, Stdio, Timer,
};
use handover_tests::{expect, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            create_fails_if_name_is_in_use,
            create_fails_if_name_is_squatted,
            create_or_open_reports_outcome,
            clone_keeps_the_name_in_use,
            open_reports_missing_name_and_wrong_kind,
            named_functions_reject_invalid_names,
            second_instance_fails_at_once,
            crashed_instance_does_not_block_the_next,
            one_of_two_concurrent_instances_wins,
        ],
        tests![squats, is_the_only_one, acquires_and_stays, races],
    )
}

fn name(test: &str) -> String {
    format!("naming.{test}.{}", std::process::id())
}

/// Returns the number of this process's handles, after the first named object has opened the folder of names, which
/// stays open.
fn handles() -> usize {
    drop(Event::create_named(&name("first"), ResetMode::Auto).unwrap());
    table::count()
}

fn in_role(name: &str, arguments: &[&str]) -> Command<'static> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn assert_name_in_use<T: std::fmt::Debug>(outcome: Result<T, Error>, name: &str) {
    match outcome {
        Err(Error::NameInUse { name: taken, .. }) => assert_eq!(taken, name),
        other => panic!("{other:?}"),
    }
}

/// Asserts that creating an object of each kind fails, because the name is in use.
fn all_are_refused(name: &str) {
    assert_name_in_use(Event::create_named(name, ResetMode::Auto), name);
    assert_name_in_use(Semaphore::create_named(name, 0), name);
    assert_name_in_use(SharedMemory::create_named(name, 1), name);
    assert_name_in_use(Timer::create_named(name, ResetMode::Auto), name);
}

fn create_fails_if_name_is_in_use() {
    let name = name("taken");
    let before = handles();
    for kind in 0..4 {
        let object: Box<dyn std::any::Any> = match kind {
            0 => Box::new(Event::create_named(&name, ResetMode::Manual).unwrap()),
            1 => Box::new(Semaphore::create_named(&name, 0).unwrap()),
            2 => Box::new(SharedMemory::create_named(&name, 1).unwrap()),
            _ => Box::new(Timer::create_named(&name, ResetMode::Manual).unwrap()),
        };
        all_are_refused(&name);
        drop(object);
        assert_eq!(table::count(), before);
    }
}

/// Creates an object with the name before the test does.
fn squats(arguments: &[String]) {
    let _event = Event::create_named(&arguments[0], ResetMode::Manual).unwrap();
    println!("squats");
    std::thread::sleep(Duration::from_secs(30));
}

fn create_fails_if_name_is_squatted() {
    let name = name("squatter");
    let mut squatter = in_role("squats", &[&name]).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(line(&mut squatter), "squats");
    let before = handles();
    all_are_refused(&name);
    assert!(matches!(SingleInstance::acquire(&name), Err(Error::NameInUse { .. })));
    assert_eq!(table::count(), before);
    squatter.kill().unwrap();
    squatter.wait_timeout(SOON).unwrap();
    drop(Event::create_named(&name, ResetMode::Manual).unwrap());
}

fn create_or_open_reports_outcome() {
    let name = name("which");
    let before = handles();
    let (first, found) = Event::create_or_open_named(&name, ResetMode::Manual).unwrap();
    assert_eq!(found, CreateOutcome::Created);
    let (second, found) = Event::create_or_open_named(&name, ResetMode::Auto).unwrap();
    assert_eq!(found, CreateOutcome::Opened);
    first.set().unwrap();
    assert!(
        second.try_wait().unwrap() && second.try_wait().unwrap(),
        "the event keeps its reset mode: manual"
    );
    if expect::kind_of_semaphore() == ObjectKind::Semaphore {
        let refused = Semaphore::create_or_open_named(&name, 0);
        assert!(matches!(refused, Err(Error::NameKindMismatch { .. })), "{refused:?}");
    }
    drop((first, second));
    let (section, found) = SharedMemory::create_or_open_named(&name, 10_000).unwrap();
    assert_eq!((found, section.size().unwrap()), (CreateOutcome::Created, 12_288));
    let (same, found) = SharedMemory::create_or_open_named(&name, 1).unwrap();
    assert_eq!((found, same.size().unwrap()), (CreateOutcome::Opened, 12_288));
    drop((section, same));
    assert_eq!(Semaphore::create_or_open_named(&name, 0).unwrap().1, CreateOutcome::Created);
    assert_eq!(Timer::create_or_open_named(&name, ResetMode::Auto).unwrap().1, CreateOutcome::Created);
    assert_eq!(table::count(), before);
}

fn clone_keeps_the_name_in_use() {
    let name = name("clone");
    let before = handles();
    let event = Event::create_named(&name, ResetMode::Manual).unwrap();
    let clone = event.try_clone().unwrap();
    drop(event);
    clone.set().unwrap();
    assert!(Event::open_named(&name).unwrap().try_wait().unwrap());
    drop(clone);
    assert!(matches!(Event::open_named(&name), Err(Error::ObjectNotFound { .. })));
    assert_eq!(table::count(), before);
}

fn open_reports_missing_name_and_wrong_kind() {
    let name = name("missing");
    let before = handles();
    match Event::open_named(&name) {
        Err(error @ Error::ObjectNotFound { .. }) => {
            assert!(error.to_string().contains(&format!("no event has the name {name:?}")), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let semaphore = Semaphore::create_named(&name, 0).unwrap();
    match SharedMemory::open_named(&name) {
        Err(ref error @ Error::NameKindMismatch { ref found, .. }) => {
            let (kind, owner) = expect::kind_of_named_semaphore();
            assert_eq!(*found, kind);
            let text = format!("the name {name:?} belongs to {owner}; expected shared memory");
            assert!(error.to_string().contains(&text), "{error}");
        }
        other => panic!("{other:?}"),
    }
    if expect::kind_of_semaphore() == ObjectKind::Semaphore {
        assert!(matches!(Event::open_named(&name), Err(Error::NameKindMismatch { .. })));
    }
    drop(semaphore);
    assert_eq!(table::count(), before);
}

fn named_functions_reject_invalid_names() {
    let before = handles();
    for wrong in ["", "a\\b", "a\0", &"n".repeat(300)] {
        let errors = [
            Event::create_named(wrong, ResetMode::Auto).map(drop).unwrap_err(),
            Event::create_or_open_named(wrong, ResetMode::Auto).map(drop).unwrap_err(),
            Event::open_named(wrong).map(drop).unwrap_err(),
            SingleInstance::acquire(wrong).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, Error::InvalidInput { .. }), "{wrong:?}: {error:?}");
        }
    }
    let name = format!("{} ä🦀 x", name("spaces"));
    let event = Event::create_named(&name, ResetMode::Manual).unwrap();
    Event::open_named(&name).unwrap().set().unwrap();
    assert!(event.try_wait().unwrap());
    drop(event);
    assert_eq!(table::count(), before);
}

fn is_the_only_one(arguments: &[String]) {
    match SingleInstance::acquire(&arguments[0]) {
        Ok(_) => {}
        Err(error @ Error::AlreadyRunning { .. }) => {
            eprintln!("{error}");
            std::process::exit(SingleInstance::EXIT_CODE);
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn second_instance_fails_at_once() {
    let name = name("single");
    let before = handles();
    let only = SingleInstance::acquire(&name).unwrap();
    assert!(!only.previous_owner_crashed());
    match SingleInstance::acquire(&name) {
        Err(Error::AlreadyRunning { name: running, .. }) => assert_eq!(running, name),
        other => panic!("{other:?}"),
    }
    let output = in_role("is_the_only_one", &[&name]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(SingleInstance::EXIT_CODE));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is already running"));
    let other = self::name("another");
    assert_eq!(in_role("is_the_only_one", &[&other]).status().unwrap().code(), Some(0));
    drop(only);
    assert_eq!(in_role("is_the_only_one", &[&name]).status().unwrap().code(), Some(0));
    let again = SingleInstance::acquire(&name).unwrap();
    assert!(!again.previous_owner_crashed());
    drop(again);
    assert_eq!(table::count(), before);
}

fn acquires_and_stays(arguments: &[String]) {
    let _only = SingleInstance::acquire(&arguments[0]).unwrap();
    println!("claimed");
    std::thread::sleep(Duration::from_secs(30));
}

fn crashed_instance_does_not_block_the_next() {
    let name = name("crash");
    for _ in 0..3 {
        let mut first = in_role("acquires_and_stays", &[&name]).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(line(&mut first), "claimed");
        assert!(matches!(SingleInstance::acquire(&name), Err(Error::AlreadyRunning { .. })));
        first.kill().unwrap();
        first.wait_timeout(SOON).unwrap();
        drop(SingleInstance::acquire(&name).unwrap());
    }
}

/// Acquires the name of each round on request, reports whether it won, and keeps the name until the next round.
fn races(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let mut _only = None;
    loop {
        let message = match channel.recv_timeout(SOON) {
            Ok(message) => message,
            Err(Error::Disconnected { .. }) => return,
            Err(other) => panic!("{other:?}"),
        };
        let name = std::str::from_utf8(message.bytes()).unwrap();
        _only = SingleInstance::acquire(name).ok();
        channel.send(if _only.is_some() { b"won!" } else { b"lost" }).unwrap();
    }
}

fn one_of_two_concurrent_instances_wins() {
    let racers = [(); 2].map(|()| {
        let mut child = in_role("races", &[]).channel().spawn().unwrap();
        let channel = child.take_channel().unwrap();
        (child, channel)
    });
    let mut wins = [0; 2];
    for round in 0..200 {
        let name = format!("{}.{round}", name("race"));
        // Each racer is notified first equally often.
        for place in [round % 2, 1 - round % 2] {
            racers[place].1.send(name.as_str()).unwrap();
        }
        let won = [0, 1].map(|place| racers[place].1.recv_timeout(SOON).unwrap().bytes() == b"won!");
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}");
        wins[usize::from(won[1])] += 1;
    }
    println!("{wins:?}");
}
