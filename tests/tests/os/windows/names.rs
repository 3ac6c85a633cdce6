//! Tests of names in the kernel: access control, access rights and namespaces.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use handover::os::windows::{Access, Mutex, SecurityDescriptor};
use handover::{Child, Command, Error, Event, ObjectName, ResetMode, SharedMemory, SingleInstance, Stdio};
use handover_tests::{Suite, door, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "names",
    tests: tests![
        mutex_names_share_the_namespace,
        create_fails_if_squatter_grants_access,
        single_instance_of_another_user_is_running,
        open_with_grants_exactly_requested_access,
        name_lives_as_long_as_any_handle,
        names_have_namespaces_and_are_case_sensitive,
        name_has_at_most_253_characters,
        default_access_is_for_current_user_only,
        security_descriptor_can_be_set,
        single_instance_can_be_global,
        acquire_after_drop_reports_no_crash,
        crash_of_instance_is_reported_if_mutex_is_kept_open,
    ],
    roles: tests![squats, acquires_and_stays, protects_a_mutex],
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

/// Returns the number of this process's handles, after the first named object has opened the folder of names, which
/// stays open.
fn handles() -> usize {
    drop(Event::create_named(&name("first"), ResetMode::Auto).unwrap());
    table::count()
}

fn assert_name_in_use<T: std::fmt::Debug>(outcome: Result<T, Error>, name: &str) {
    match outcome {
        Err(Error::NameInUse { name: taken, .. }) => assert_eq!(taken, name),
        other => panic!("{other:?}"),
    }
}

fn mutex_names_share_the_namespace() {
    let name = name("mutex");
    let before = handles();
    let event = Event::create_named(&name, ResetMode::Auto).unwrap();
    assert_name_in_use(Mutex::create_named(&name), &name);
    assert!(matches!(Mutex::create_or_open_named(&name), Err(Error::NameKindMismatch { .. })));
    assert!(matches!(Mutex::open_named(&name), Err(Error::NameKindMismatch { .. })));
    drop(event);
    let mutex = Mutex::create_named(&name).unwrap();
    assert_name_in_use(Event::create_named(&name, ResetMode::Auto), &name);
    assert!(matches!(Event::open_named(&name), Err(Error::NameKindMismatch { .. })));
    assert!(Mutex::open_named(&name).unwrap().try_lock().unwrap().is_some());
    drop(mutex);
    assert_eq!(table::count(), before);
}

/// Creates an object with the name before the test does, with access for everyone.
fn squats(arguments: &[String]) {
    let everybody = SecurityDescriptor::from_sddl("D:(A;;GA;;;WD)").unwrap();
    let name = ObjectName::local(&arguments[0]).unwrap().protected_by(everybody);
    let _event = Event::create_named(&name, ResetMode::Manual).unwrap();
    println!("squats");
    std::thread::sleep(Duration::from_secs(30));
}

fn create_fails_if_squatter_grants_access() {
    let name = name("squatter");
    let mut squatter = in_role("squats", &[&name]);
    assert_eq!(line(&mut squatter), "squats");
    let before = handles();
    assert_name_in_use(Event::create_named(&name, ResetMode::Auto), &name);
    assert_name_in_use(SharedMemory::create_named(&name, 1), &name);
    assert!(matches!(SingleInstance::acquire(&name), Err(Error::NameInUse { .. })));
    assert_eq!(table::count(), before);
    squatter.kill().unwrap();
    squatter.wait_timeout(SOON).unwrap();
    drop(Event::create_named(&name, ResetMode::Manual).unwrap());
}

fn open_with_grants_exactly_requested_access() {
    let name = name("access");
    let event = Event::create_named(&name, ResetMode::Manual).unwrap();
    for access in [Access::EVENT_USE, Access::SYNCHRONIZE, Access::EVENT_MODIFY_STATE] {
        let opened = Event::open_named_with(&name, access).unwrap();
        let entry = table::entry(std::process::id(), table::value(&opened)).unwrap();
        assert_eq!((entry.access, entry.inheritable), (access.bits(), false));
    }
    let none = Event::open_named_with(&name, Access::empty());
    assert!(matches!(none, Err(Error::InvalidInput { .. })), "{none:?}");
    let waiting = Event::open_named_with(&name, Access::SYNCHRONIZE).unwrap();
    assert!(matches!(waiting.set(), Err(Error::AccessDenied { right: "EVENT_MODIFY_STATE", .. })));
    event.set().unwrap();
    assert!(waiting.try_wait().unwrap());
}

fn name_lives_as_long_as_any_handle() {
    let name = name("lives");
    let first = Event::create_named(&name, ResetMode::Manual).unwrap();
    let second = Event::open_named(&name).unwrap();
    drop(first);
    assert_name_in_use(Event::create_named(&name, ResetMode::Manual), &name);
    drop(second);
    drop(Event::create_named(&name, ResetMode::Manual).unwrap());
}

fn names_have_namespaces_and_are_case_sensitive() {
    let text = name("spaces");
    let (local, global) = (ObjectName::local(&text).unwrap(), ObjectName::global(&text).unwrap());
    let one = Event::create_named(&local, ResetMode::Manual).unwrap();
    let other = Event::create_named(&global, ResetMode::Manual).unwrap();
    one.set().unwrap();
    assert!(!other.try_wait().unwrap(), "they are two");
    assert_name_in_use(Event::create_named(&global, ResetMode::Manual), &text);
    let same = Event::open_named(text.as_str()).unwrap();
    assert!(same.try_wait().unwrap(), "a text is a local name");
    drop(Event::create_named(&text.to_uppercase(), ResetMode::Manual).unwrap());
    drop(Event::create_named(&format!("{text} ä🦀/x"), ResetMode::Manual).unwrap());
}

fn name_has_at_most_253_characters() {
    for wrong in ["Global\\a", &"n".repeat(254)] {
        let error = Event::create_named(wrong, ResetMode::Auto).map(drop).unwrap_err();
        assert!(matches!(error, Error::InvalidInput { .. }), "{wrong:?}: {error:?}");
    }
    let longest = "n".repeat(253);
    let event = Event::create_named(&longest, ResetMode::Manual).unwrap();
    Event::open_named(&longest).unwrap().set().unwrap();
    assert!(event.try_wait().unwrap());
}

/// Returns whether an access control list has a single entry, which allows this user.
fn is_for_this_user_alone(list: &str) -> bool {
    let user = handover::User::current().unwrap();
    list.matches('(').count() == 1 && list.contains("(A;;") && list.ends_with(&format!(";;;{user})"))
}

fn default_access_is_for_current_user_only() {
    let name = name("user");
    let event = Event::create_named(&name, ResetMode::Auto).unwrap();
    let list = raw::access_list(&event);
    assert!(is_for_this_user_alone(&list), "{list}");
    let section = SharedMemory::create_named(&format!("{name}.section"), 1).unwrap();
    assert!(is_for_this_user_alone(&raw::access_list(&section)));
    let everybody = SecurityDescriptor::from_sddl("D:(A;;GA;;;WD)").unwrap();
    let other = ObjectName::local(&format!("{name}.other")).unwrap().protected_by(everybody);
    let list = raw::access_list(&Event::create_named(&other, ResetMode::Auto).unwrap());
    assert!(list.contains(";;;WD)"), "{list}");
    // The listener's pipe, opened by a client.
    let _listener = handover::Listener::bind(&name).unwrap();
    let list = raw::access_list(&door::connect(&name).unwrap());
    assert!(is_for_this_user_alone(&list), "{list}");
}

fn security_descriptor_can_be_set() {
    let name = name("descriptor");
    for wrong in ["", "nonsense", "D:(A;;GA;;;XYZ)", "D:\0"] {
        // Windows accepts an empty text as a descriptor without lists.
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

fn single_instance_can_be_global() {
    let name = name("single");
    let before = handles();
    let local = SingleInstance::acquire(&name).unwrap();
    // The same text in another namespace is another name.
    let global = SingleInstance::acquire(&ObjectName::global(&name).unwrap()).unwrap();
    assert!(matches!(
        SingleInstance::acquire(&ObjectName::global(&name).unwrap()),
        Err(Error::AlreadyRunning { .. })
    ));
    drop((local, global));
    assert_eq!(table::count(), before);
}

fn acquire_after_drop_reports_no_crash() {
    let name = name("next");
    let before = handles();
    // The mutex stays, because this second handle keeps it open.
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

fn acquires_and_stays(arguments: &[String]) {
    let _only = SingleInstance::acquire(&arguments[0]).unwrap();
    println!("claimed");
    std::thread::sleep(Duration::from_secs(30));
}

fn crash_of_instance_is_reported_if_mutex_is_kept_open() {
    let name = name("watched");
    let watcher = Mutex::create_named(&name).unwrap();
    let mut first = in_role("acquires_and_stays", &[&name]);
    assert_eq!(line(&mut first), "claimed");
    first.kill().unwrap();
    first.wait_timeout(SOON).unwrap();
    let only = SingleInstance::acquire(&name).unwrap();
    assert!(only.previous_owner_crashed());
    drop((only, watcher));
}

/// Creates a mutex that no process may open, as another user's mutex is for this one.
fn protects_a_mutex(arguments: &[String]) {
    let denied = SecurityDescriptor::from_sddl("D:P(D;;GA;;;WD)").unwrap();
    let name = ObjectName::local(&arguments[0]).unwrap().protected_by(denied);
    let _mutex = Mutex::create_named(&name).unwrap();
    println!("protected");
    std::thread::sleep(Duration::from_secs(30));
}

fn single_instance_of_another_user_is_running() {
    let name = name("another user");
    let mut other = in_role("protects_a_mutex", &[&name]);
    assert_eq!(line(&mut other), "protected");
    let before = handles();
    let refused = SingleInstance::acquire(&name);
    assert!(matches!(refused, Err(Error::AlreadyRunning { .. })), "{refused:?}");
    assert_eq!(table::count(), before);
    other.kill().unwrap();
    other.wait_timeout(SOON).unwrap();
    drop(SingleInstance::acquire(&name).unwrap());
}
