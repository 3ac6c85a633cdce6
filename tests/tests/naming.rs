//! Strategy 3: objects by name, and one process at a time.

use std::io::{BufRead, BufReader};
use std::process::ExitCode;
use std::time::Duration;

use handover::{
    Channel, Child, Command, CreateOutcome, Error, Event, ResetMode, Semaphore, SharedMemory, SingleInstance,
    Stdio, Timer,
};
use handover_tests::{role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            a_name_that_is_taken_is_an_error,
            a_squatter_is_an_error,
            it_says_whether_it_created_or_opened,
            what_is_not_there_or_of_another_kind_is_said,
            what_can_not_be_a_name_is_refused,
            the_second_instance_learns_it_at_once,
            a_crashed_instance_does_not_block_the_next,
            of_two_that_start_together_one_wins,
        ],
        tests![squats, is_the_only_one, claims_and_stays, races],
    )
}

fn name(test: &str) -> String {
    format!("naming.{test}.{}", std::process::id())
}

/// How many handles this process has. The first named object of a process opens the folder of names, for good.
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

fn is_taken<T: std::fmt::Debug>(outcome: Result<T, Error>, name: &str) {
    match outcome {
        Err(Error::NameInUse { name: taken, .. }) => assert_eq!(taken, name),
        other => panic!("{other:?}"),
    }
}

/// Tries to create one of each kind under a name that is in use.
fn all_are_refused(name: &str) {
    is_taken(Event::create_named(name, ResetMode::Auto), name);
    is_taken(Semaphore::create_named(name, 0), name);
    is_taken(SharedMemory::create_named(name, 1), name);
    is_taken(Timer::create_named(name, ResetMode::Auto), name);
}

fn a_name_that_is_taken_is_an_error() {
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

/// Takes the name first.
fn squats(arguments: &[String]) {
    let _event = Event::create_named(&arguments[0], ResetMode::Manual).unwrap();
    println!("squats");
    std::thread::sleep(Duration::from_secs(30));
}

fn a_squatter_is_an_error() {
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

fn it_says_whether_it_created_or_opened() {
    let name = name("which");
    let before = handles();
    let (first, found) = Event::create_or_open_named(&name, ResetMode::Manual).unwrap();
    assert_eq!(found, CreateOutcome::Created);
    let (second, found) = Event::create_or_open_named(&name, ResetMode::Auto).unwrap();
    assert_eq!(found, CreateOutcome::Opened);
    first.set().unwrap();
    assert!(second.try_wait().unwrap() && second.try_wait().unwrap(), "as it was created: reset by hand");
    is_taken(Semaphore::create_or_open_named(&name, 0), &name);
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

fn what_is_not_there_or_of_another_kind_is_said() {
    let name = name("missing");
    let before = handles();
    match Event::open_named(&name) {
        Err(error @ Error::ObjectNotFound { .. }) => {
            assert!(error.to_string().contains("an event"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let semaphore = Semaphore::create_named(&name, 0).unwrap();
    match Event::open_named(&name) {
        Err(error @ Error::NameKindMismatch { .. }) => assert!(error.to_string().contains(&name), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(SharedMemory::open_named(&name), Err(Error::NameKindMismatch { .. })));
    drop(semaphore);
    assert_eq!(table::count(), before);
}

fn what_can_not_be_a_name_is_refused() {
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

fn the_second_instance_learns_it_at_once() {
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
    assert!(in_role("is_the_only_one", &[&other]).status().unwrap().success());
    drop(only);
    assert!(in_role("is_the_only_one", &[&name]).status().unwrap().success());
    let again = SingleInstance::acquire(&name).unwrap();
    assert!(!again.previous_owner_crashed());
    drop(again);
    assert_eq!(table::count(), before);
}

fn claims_and_stays(arguments: &[String]) {
    let _only = SingleInstance::acquire(&arguments[0]).unwrap();
    println!("claimed");
    std::thread::sleep(Duration::from_secs(30));
}

fn a_crashed_instance_does_not_block_the_next() {
    let name = name("crash");
    for _ in 0..3 {
        let mut first = in_role("claims_and_stays", &[&name]).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(line(&mut first), "claimed");
        assert!(matches!(SingleInstance::acquire(&name), Err(Error::AlreadyRunning { .. })));
        first.kill().unwrap();
        first.wait_timeout(SOON).unwrap();
        drop(SingleInstance::acquire(&name).unwrap());
    }
}

/// Claims the name of each round when it is told, and says whether it won; keeps it until the next round.
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

fn of_two_that_start_together_one_wins() {
    let racers = [(); 2].map(|()| {
        let mut child = in_role("races", &[]).channel().spawn().unwrap();
        let channel = child.take_channel().unwrap();
        (child, channel)
    });
    let mut wins = [0; 2];
    for round in 0..200 {
        let name = format!("{}.{round}", name("race"));
        // Each goes first as often.
        for place in [round % 2, 1 - round % 2] {
            racers[place].1.send(name.as_str()).unwrap();
        }
        let won = [0, 1].map(|place| racers[place].1.recv_timeout(SOON).unwrap().bytes() == b"won!");
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}");
        wins[usize::from(won[1])] += 1;
    }
    println!("{wins:?}");
}
