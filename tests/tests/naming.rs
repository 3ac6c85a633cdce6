//! Strategy 3: objects by name, and one process at a time.

use std::io::{BufRead, BufReader};
use std::os::windows::io::AsHandle;
use std::process::ExitCode;
use std::time::Duration;

use handover::{
    Access, Channel, Child, Command, Error, Event, Found, Mutex, Name, Reset, Section, SecurityDescriptor,
    Semaphore, SingleInstance, Stdio, Timer,
};
use handover_tests::{raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            a_name_that_is_taken_is_an_error,
            a_squatter_with_open_doors_is_an_error,
            it_says_whether_it_created_or_opened,
            opening_asks_for_the_access_and_gets_it,
            what_is_not_there_or_of_another_kind_is_said,
            a_name_lives_as_long_as_a_handle,
            names_have_spaces_and_cases,
            what_can_not_be_a_name_is_refused,
            the_user_alone_is_let_in_unless_it_is_said_otherwise,
            a_descriptor_can_be_given,
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
    drop(Event::create_named(&name("first"), Reset::Auto).unwrap());
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
        Err(Error::NameTaken { name: taken }) => assert_eq!(taken, name),
        other => panic!("{other:?}"),
    }
}

/// Tries to create one of each kind under a name that is in use.
fn all_are_refused(name: &str) {
    is_taken(Event::create_named(name, Reset::Auto), name);
    is_taken(Mutex::create_named(name), name);
    is_taken(Semaphore::create_named(name, 0, 1), name);
    is_taken(Section::create_named(name, 1), name);
    is_taken(Timer::create_named(name, Reset::Auto), name);
}

fn a_name_that_is_taken_is_an_error() {
    let name = name("taken");
    let before = handles();
    for kind in 0..5 {
        let object: Box<dyn std::any::Any> = match kind {
            0 => Box::new(Event::create_named(&name, Reset::Manual).unwrap()),
            1 => Box::new(Mutex::create_named(&name).unwrap()),
            2 => Box::new(Semaphore::create_named(&name, 0, 1).unwrap()),
            3 => Box::new(Section::create_named(&name, 1).unwrap()),
            _ => Box::new(Timer::create_named(&name, Reset::Manual).unwrap()),
        };
        all_are_refused(&name);
        drop(object);
        assert_eq!(table::count(), before);
    }
}

/// Takes the name first, and lets everybody in.
fn squats(arguments: &[String]) {
    let everybody = SecurityDescriptor::from_sddl("D:(A;;GA;;;WD)").unwrap();
    let name = Name::local(&arguments[0]).unwrap().protected_by(everybody);
    let _event = Event::create_named(&name, Reset::Manual).unwrap();
    println!("squats");
    std::thread::sleep(Duration::from_secs(30));
}

fn a_squatter_with_open_doors_is_an_error() {
    let name = name("squatter");
    let mut squatter = in_role("squats", &[&name]).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(line(&mut squatter), "squats");
    let before = handles();
    all_are_refused(&name);
    assert!(matches!(SingleInstance::claim(&name), Err(Error::NameTaken { .. })));
    assert_eq!(table::count(), before);
    squatter.kill().unwrap();
    squatter.wait_timeout(SOON).unwrap();
    drop(Event::create_named(&name, Reset::Manual).unwrap());
}

fn it_says_whether_it_created_or_opened() {
    let name = name("which");
    let before = handles();
    let (first, found) = Event::create_or_open_named(&name, Reset::Manual).unwrap();
    assert_eq!(found, Found::Created);
    let (second, found) = Event::create_or_open_named(&name, Reset::Auto).unwrap();
    assert_eq!(found, Found::Opened);
    first.set().unwrap();
    assert!(second.try_wait().unwrap() && second.try_wait().unwrap(), "as it was created: reset by hand");
    is_taken(Mutex::create_or_open_named(&name), &name);
    drop((first, second));
    let (section, found) = Section::create_or_open_named(&name, 10_000).unwrap();
    assert_eq!((found, section.size().unwrap()), (Found::Created, 12_288));
    let (same, found) = Section::create_or_open_named(&name, 1).unwrap();
    assert_eq!((found, same.size().unwrap()), (Found::Opened, 12_288));
    drop((section, same));
    assert_eq!(Semaphore::create_or_open_named(&name, 0, 1).unwrap().1, Found::Created);
    assert_eq!(Timer::create_or_open_named(&name, Reset::Auto).unwrap().1, Found::Created);
    assert_eq!(table::count(), before);
}

fn opening_asks_for_the_access_and_gets_it() {
    let name = name("access");
    let event = Event::create_named(&name, Reset::Manual).unwrap();
    for access in [Access::EVENT_USE, Access::SYNCHRONIZE, Access::EVENT_MODIFY_STATE] {
        let opened = Event::open_named(&name, access).unwrap();
        let entry = table::entry(std::process::id(), table::value(&opened)).unwrap();
        assert_eq!((entry.access, entry.inheritable), (access.bits(), false));
    }
    let waiting = Event::open_named(&name, Access::SYNCHRONIZE).unwrap();
    assert!(matches!(waiting.set(), Err(Error::MissingRight { right: "EVENT_MODIFY_STATE", .. })));
    event.set().unwrap();
    assert!(waiting.try_wait().unwrap());
}

fn what_is_not_there_or_of_another_kind_is_said() {
    let name = name("missing");
    let before = handles();
    match Event::open_named(&name, Access::EVENT_USE) {
        Err(error @ Error::NoSuchObject { .. }) => assert!(error.to_string().contains("an event"), "{error}"),
        other => panic!("{other:?}"),
    }
    let mutex = Mutex::create_named(&name).unwrap();
    match Event::open_named(&name, Access::EVENT_USE) {
        Err(error @ Error::NameOfAnotherKind { .. }) => assert!(error.to_string().contains(&name), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(Section::open_named(&name, Access::SECTION_READ), Err(Error::NameOfAnotherKind { .. })));
    drop(mutex);
    assert_eq!(table::count(), before);
}

fn a_name_lives_as_long_as_a_handle() {
    let name = name("lives");
    let first = Event::create_named(&name, Reset::Manual).unwrap();
    let second = Event::open_named(&name, Access::EVENT_USE).unwrap();
    drop(first);
    is_taken(Event::create_named(&name, Reset::Manual), &name);
    drop(second);
    drop(Event::create_named(&name, Reset::Manual).unwrap());
}

fn names_have_spaces_and_cases() {
    let text = name("spaces");
    let (local, global) = (Name::local(&text).unwrap(), Name::global(&text).unwrap());
    let one = Event::create_named(&local, Reset::Manual).unwrap();
    let other = Event::create_named(&global, Reset::Manual).unwrap();
    one.set().unwrap();
    assert!(!other.try_wait().unwrap(), "they are two");
    is_taken(Event::create_named(&global, Reset::Manual), &text);
    let same = Event::open_named(text.as_str(), Access::EVENT_USE).unwrap();
    assert!(same.try_wait().unwrap(), "a text is a local name");
    drop(Event::create_named(&text.to_uppercase(), Reset::Manual).unwrap());
    drop(Event::create_named(&format!("{text} ä🦀/x"), Reset::Manual).unwrap());
}

fn what_can_not_be_a_name_is_refused() {
    let before = handles();
    for wrong in ["", "a\\b", "Global\\a", "a\0", &"n".repeat(254)] {
        let errors = [
            Event::create_named(wrong, Reset::Auto).map(drop).unwrap_err(),
            Event::create_or_open_named(wrong, Reset::Auto).map(drop).unwrap_err(),
            Event::open_named(wrong, Access::EVENT_USE).map(drop).unwrap_err(),
            SingleInstance::claim(wrong).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, Error::InvalidInput { .. }), "{wrong:?}: {error:?}");
        }
    }
    let longest = "n".repeat(253);
    let event = Event::create_named(&longest, Reset::Manual).unwrap();
    Event::open_named(&longest, Access::EVENT_USE).unwrap().set().unwrap();
    assert!(event.try_wait().unwrap());
    drop(event);
    assert_eq!(table::count(), before);
}

/// The one entry of a list that lets in one user and nobody else.
fn is_for_this_user_alone(list: &str) -> bool {
    let user = handover::User::current().unwrap();
    list.matches('(').count() == 1 && list.contains("(A;;") && list.ends_with(&format!(";;;{user})"))
}

fn the_user_alone_is_let_in_unless_it_is_said_otherwise() {
    let name = name("user");
    let event = Event::create_named(&name, Reset::Auto).unwrap();
    let list = raw::who_is_let_in(event.as_handle());
    assert!(is_for_this_user_alone(&list), "{list}");
    let section = Section::create_named(&format!("{name}.section"), 1).unwrap();
    assert!(is_for_this_user_alone(&raw::who_is_let_in(section.as_handle())));
    let everybody = SecurityDescriptor::from_sddl("D:(A;;GA;;;WD)").unwrap();
    let other = Name::local(&format!("{name}.other")).unwrap().protected_by(everybody);
    let list = raw::who_is_let_in(Event::create_named(&other, Reset::Auto).unwrap().as_handle());
    assert!(list.contains(";;;WD)"), "{list}");
    // The door of a listener, as a client has it.
    let _listener = handover::Listener::bind(&name).unwrap();
    let path = format!(r"\\.\pipe\handover.{}.{name}", handover::User::current().unwrap());
    let list = raw::who_is_let_in(raw::knock(&path).unwrap().as_handle());
    assert!(is_for_this_user_alone(&list), "{list}");
}

fn a_descriptor_can_be_given() {
    let name = name("descriptor");
    for wrong in ["", "nonsense", "D:(A;;GA;;;XYZ)", "D:\0"] {
        // An empty text is a descriptor without lists, to the system.
        if wrong.is_empty() {
            continue;
        }
        assert!(SecurityDescriptor::from_sddl(wrong).is_err(), "{wrong}");
    }
    let own = Name::local(&name).unwrap().protected_by(SecurityDescriptor::current_user().unwrap());
    let event = Event::create_named(&own, Reset::Manual).unwrap();
    Event::open_named(&own, Access::EVENT_USE).unwrap().set().unwrap();
    assert!(event.try_wait().unwrap());
}

fn is_the_only_one(arguments: &[String]) {
    match SingleInstance::claim(&arguments[0]) {
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
    let only = SingleInstance::claim(&name).unwrap();
    assert!(!only.comes_after_a_crash());
    match SingleInstance::claim(&name) {
        Err(Error::AlreadyRunning { name: running }) => assert_eq!(running, name),
        other => panic!("{other:?}"),
    }
    let output = in_role("is_the_only_one", &[&name]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(SingleInstance::EXIT_CODE));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is running already"));
    // The same text in another space is another name, here and elsewhere.
    let global = SingleInstance::claim(&Name::global(&name).unwrap()).unwrap();
    assert!(matches!(
        SingleInstance::claim(&Name::global(&name).unwrap()),
        Err(Error::AlreadyRunning { .. })
    ));
    drop(global);
    let other = self::name("another");
    assert!(in_role("is_the_only_one", &[&other]).status().unwrap().success());
    drop(only);
    assert!(in_role("is_the_only_one", &[&name]).status().unwrap().success());
    let again = SingleInstance::claim(&name).unwrap();
    assert!(!again.comes_after_a_crash());
    drop(again);
    assert_eq!(table::count(), before);
}

fn claims_and_stays(arguments: &[String]) {
    let _only = SingleInstance::claim(&arguments[0]).unwrap();
    println!("claimed");
    std::thread::sleep(Duration::from_secs(30));
}

fn a_crashed_instance_does_not_block_the_next() {
    let name = name("crash");
    for _ in 0..3 {
        let mut first = in_role("claims_and_stays", &[&name]).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(line(&mut first), "claimed");
        assert!(matches!(SingleInstance::claim(&name), Err(Error::AlreadyRunning { .. })));
        first.kill().unwrap();
        first.wait_timeout(SOON).unwrap();
        drop(SingleInstance::claim(&name).unwrap());
    }
    // Somebody else who has the mutex open sees that it was a crash.
    let watcher = Mutex::create_named(&name).unwrap();
    let mut first = in_role("claims_and_stays", &[&name]).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(line(&mut first), "claimed");
    first.kill().unwrap();
    first.wait_timeout(SOON).unwrap();
    let only = SingleInstance::claim(&name).unwrap();
    assert!(only.comes_after_a_crash());
    drop((only, watcher));
}

/// Claims the name of each round when it is told, and says whether it won; keeps it until the next round.
fn races(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let mut _only = None;
    loop {
        let message = match channel.recv_timeout(SOON) {
            Ok(message) => message,
            Err(Error::Closed { .. }) => return,
            Err(other) => panic!("{other:?}"),
        };
        let name = std::str::from_utf8(message.bytes()).unwrap();
        _only = SingleInstance::claim(name).ok();
        channel.send(if _only.is_some() { b"won!" } else { b"lost" }).unwrap();
    }
}

fn of_two_that_start_together_one_wins() {
    let racers = [(); 2].map(|()| {
        let mut child = in_role("races", &[]).channel().spawn().unwrap();
        let channel = child.channel.take().unwrap();
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
