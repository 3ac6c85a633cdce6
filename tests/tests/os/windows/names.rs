//! Names in the kernel: who is let in, with which access, and in which space.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use handover::os::windows::{Access, Mutex, SecurityDescriptor};
use handover::{Child, Command, Error, Event, ObjectName, ResetMode, SharedMemory, SingleInstance, Stdio};
use handover_tests::{Suite, door, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "names",
    tests: tests![
        a_mutex_has_a_name_as_others_have,
        a_squatter_with_open_doors_is_an_error,
        opening_asks_for_the_access_and_gets_it,
        a_name_lives_as_long_as_a_handle,
        names_have_spaces_and_cases,
        a_name_can_be_so_long,
        the_user_alone_is_let_in_unless_it_is_said_otherwise,
        a_descriptor_can_be_given,
        a_single_instance_can_be_the_machines,
        a_claim_that_ends_well_is_the_next_ones,
        a_crash_of_an_instance_is_seen_by_who_watches,
    ],
    roles: tests![squats, claims_and_stays],
};

fn name(test: &str) -> String {
    format!("names.{test}.{}", std::process::id())
}

fn in_role(name: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// How many handles this process has. The first named object of a process opens the folder of names, for good.
fn handles() -> usize {
    drop(Event::create_named(&name("first"), ResetMode::Auto).unwrap());
    table::count()
}

fn is_taken<T: std::fmt::Debug>(outcome: Result<T, Error>, name: &str) {
    match outcome {
        Err(Error::NameInUse { name: taken, .. }) => assert_eq!(taken, name),
        other => panic!("{other:?}"),
    }
}

fn a_mutex_has_a_name_as_others_have() {
    let name = name("mutex");
    let before = handles();
    let event = Event::create_named(&name, ResetMode::Auto).unwrap();
    is_taken(Mutex::create_named(&name), &name);
    is_taken(Mutex::create_or_open_named(&name), &name);
    assert!(matches!(Mutex::open_named(&name), Err(Error::NameKindMismatch { .. })));
    drop(event);
    let mutex = Mutex::create_named(&name).unwrap();
    is_taken(Event::create_named(&name, ResetMode::Auto), &name);
    assert!(matches!(Event::open_named(&name), Err(Error::NameKindMismatch { .. })));
    assert!(Mutex::open_named(&name).unwrap().try_lock().unwrap().is_some());
    drop(mutex);
    assert_eq!(table::count(), before);
}

/// Takes the name first, and lets everybody in.
fn squats(arguments: &[String]) {
    let everybody = SecurityDescriptor::from_sddl("D:(A;;GA;;;WD)").unwrap();
    let name = ObjectName::local(&arguments[0]).unwrap().protected_by(everybody);
    let _event = Event::create_named(&name, ResetMode::Manual).unwrap();
    println!("squats");
    std::thread::sleep(Duration::from_secs(30));
}

fn a_squatter_with_open_doors_is_an_error() {
    let name = name("squatter");
    let mut squatter = in_role("squats", &[&name]);
    assert_eq!(line(&mut squatter), "squats");
    let before = handles();
    is_taken(Event::create_named(&name, ResetMode::Auto), &name);
    is_taken(SharedMemory::create_named(&name, 1), &name);
    assert!(matches!(SingleInstance::acquire(&name), Err(Error::NameInUse { .. })));
    assert_eq!(table::count(), before);
    squatter.kill().unwrap();
    squatter.wait_timeout(SOON).unwrap();
    drop(Event::create_named(&name, ResetMode::Manual).unwrap());
}

fn opening_asks_for_the_access_and_gets_it() {
    let name = name("access");
    let event = Event::create_named(&name, ResetMode::Manual).unwrap();
    for access in [Access::EVENT_USE, Access::SYNCHRONIZE, Access::EVENT_MODIFY_STATE] {
        let opened = Event::open_named_with(&name, access).unwrap();
        let entry = table::entry(std::process::id(), table::value(&opened)).unwrap();
        assert_eq!((entry.access, entry.inheritable), (access.bits(), false));
    }
    let waiting = Event::open_named_with(&name, Access::SYNCHRONIZE).unwrap();
    assert!(matches!(waiting.set(), Err(Error::AccessDenied { right: "EVENT_MODIFY_STATE", .. })));
    event.set().unwrap();
    assert!(waiting.try_wait().unwrap());
}

fn a_name_lives_as_long_as_a_handle() {
    let name = name("lives");
    let first = Event::create_named(&name, ResetMode::Manual).unwrap();
    let second = Event::open_named(&name).unwrap();
    drop(first);
    is_taken(Event::create_named(&name, ResetMode::Manual), &name);
    drop(second);
    drop(Event::create_named(&name, ResetMode::Manual).unwrap());
}

fn names_have_spaces_and_cases() {
    let text = name("spaces");
    let (local, global) = (ObjectName::local(&text).unwrap(), ObjectName::global(&text).unwrap());
    let one = Event::create_named(&local, ResetMode::Manual).unwrap();
    let other = Event::create_named(&global, ResetMode::Manual).unwrap();
    one.set().unwrap();
    assert!(!other.try_wait().unwrap(), "they are two");
    is_taken(Event::create_named(&global, ResetMode::Manual), &text);
    let same = Event::open_named(text.as_str()).unwrap();
    assert!(same.try_wait().unwrap(), "a text is a local name");
    drop(Event::create_named(&text.to_uppercase(), ResetMode::Manual).unwrap());
    drop(Event::create_named(&format!("{text} ä🦀/x"), ResetMode::Manual).unwrap());
}

fn a_name_can_be_so_long() {
    for wrong in ["Global\\a", &"n".repeat(254)] {
        let error = Event::create_named(wrong, ResetMode::Auto).map(drop).unwrap_err();
        assert!(matches!(error, Error::InvalidInput { .. }), "{wrong:?}: {error:?}");
    }
    let longest = "n".repeat(253);
    let event = Event::create_named(&longest, ResetMode::Manual).unwrap();
    Event::open_named(&longest).unwrap().set().unwrap();
    assert!(event.try_wait().unwrap());
}

/// The one entry of a list that lets in one user and nobody else.
fn is_for_this_user_alone(list: &str) -> bool {
    let user = handover::User::current().unwrap();
    list.matches('(').count() == 1 && list.contains("(A;;") && list.ends_with(&format!(";;;{user})"))
}

fn the_user_alone_is_let_in_unless_it_is_said_otherwise() {
    let name = name("user");
    let event = Event::create_named(&name, ResetMode::Auto).unwrap();
    let list = raw::who_is_let_in(&event);
    assert!(is_for_this_user_alone(&list), "{list}");
    let section = SharedMemory::create_named(&format!("{name}.section"), 1).unwrap();
    assert!(is_for_this_user_alone(&raw::who_is_let_in(&section)));
    let everybody = SecurityDescriptor::from_sddl("D:(A;;GA;;;WD)").unwrap();
    let other = ObjectName::local(&format!("{name}.other")).unwrap().protected_by(everybody);
    let list = raw::who_is_let_in(&Event::create_named(&other, ResetMode::Auto).unwrap());
    assert!(list.contains(";;;WD)"), "{list}");
    // The door of a listener, as a client has it.
    let _listener = handover::Listener::bind(&name).unwrap();
    let list = raw::who_is_let_in(&door::knock(&name).unwrap());
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
    let own = ObjectName::local(&name).unwrap().protected_by(SecurityDescriptor::current_user().unwrap());
    let event = Event::create_named(&own, ResetMode::Manual).unwrap();
    Event::open_named(&own).unwrap().set().unwrap();
    assert!(event.try_wait().unwrap());
}

fn a_single_instance_can_be_the_machines() {
    let name = name("single");
    let before = handles();
    let local = SingleInstance::acquire(&name).unwrap();
    // The same text in another space is another name.
    let global = SingleInstance::acquire(&ObjectName::global(&name).unwrap()).unwrap();
    assert!(matches!(
        SingleInstance::acquire(&ObjectName::global(&name).unwrap()),
        Err(Error::AlreadyRunning { .. })
    ));
    drop((local, global));
    assert_eq!(table::count(), before);
}

fn a_claim_that_ends_well_is_the_next_ones() {
    let name = name("next");
    let before = handles();
    // The mutex stays, because somebody else has it open.
    let (watcher, _) = Mutex::create_or_open_named(&name).unwrap();
    let first = SingleInstance::acquire(&name).unwrap();
    drop(first);
    let next = std::thread::scope(|scope| {
        let claim = || SingleInstance::acquire(&name).map(|claim| claim.previous_owner_crashed());
        scope.spawn(claim).join().unwrap()
    });
    assert!(!next.unwrap());
    drop(watcher);
    assert_eq!(table::count(), before);
}

fn claims_and_stays(arguments: &[String]) {
    let _only = SingleInstance::acquire(&arguments[0]).unwrap();
    println!("claimed");
    std::thread::sleep(Duration::from_secs(30));
}

fn a_crash_of_an_instance_is_seen_by_who_watches() {
    let name = name("watched");
    let watcher = Mutex::create_named(&name).unwrap();
    let mut first = in_role("claims_and_stays", &[&name]);
    assert_eq!(line(&mut first), "claimed");
    first.kill().unwrap();
    first.wait_timeout(SOON).unwrap();
    let only = SingleInstance::acquire(&name).unwrap();
    assert!(only.previous_owner_crashed());
    drop((only, watcher));
}
