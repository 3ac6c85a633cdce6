//! Tests of names, which are files in a folder of the user, and which a killed process leaves behind.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use handover::{
    Channel, Child, Command, CreateOutcome, Error, Event, Listener, ResetMode, SharedMemory, SingleInstance,
    Stdio,
};
use handover_tests::{Suite, door, left_out, role, table, tests, this_program, until};

use super::calls;
use super::unprivileged::{NOBODY, PublicCopy};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "names",
    tests: tests![
        files_of_killed_process_do_not_block_names,
        name_is_removed_with_creators_handle,
        folder_is_accessible_to_its_user_only,
        folder_accessible_to_others_is_rejected,
        folders_of_other_users_are_not_used,
        process_of_another_user_can_connect_to_itself,
        file_under_a_name_is_not_a_listener,
        too_long_name_reports_excess,
        hundred_processes_can_open_concurrently,
        one_of_many_concurrent_creators_succeeds,
        acquire_after_drop_reports_no_crash,
        name_of_instance_is_in_use_at_once,
        name_server_thread_blocks_signals,
    ],
    roles: tests![
        has_names,
        listens_and_stays,
        opens,
        creates,
        acquires,
        waits_for_a_signal,
        connects_to_itself
    ],
};

fn name(test: &str) -> String {
    format!("{test}.{}", std::process::id())
}

fn in_role(name: &str, arguments: &[&str]) -> Command<'static> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Holds an object, a listener and an instance of this name until it is killed.
fn has_names(arguments: &[String]) {
    let _event = Event::create_named(&arguments[0], ResetMode::Manual).unwrap();
    let _listener = Listener::bind(&arguments[0]).unwrap();
    let _only = SingleInstance::acquire(&format!("{}.only", arguments[0])).unwrap();
    println!("has them");
    std::thread::sleep(Duration::from_secs(30));
}

fn files_of_killed_process_do_not_block_names() {
    let name = name("killed");
    let only = format!("{name}.only");
    // Serving the first name creates state that stays open.
    drop(Event::create_named(&name, ResetMode::Auto).unwrap());
    let before = table::count();
    for _ in 0..3 {
        let mut killed = in_role("has_names", &[&name]).spawn().unwrap();
        assert_eq!(line(&mut killed), "has them");
        assert!(matches!(Event::create_named(&name, ResetMode::Auto), Err(Error::NameInUse { .. })));
        assert!(matches!(Listener::bind(&name), Err(Error::NameInUse { .. })));
        assert!(matches!(SingleInstance::acquire(&only), Err(Error::AlreadyRunning { .. })));
        Event::open_named(&name).unwrap().set().unwrap();
        killed.kill().unwrap();
        killed.wait_timeout(SOON).unwrap();
        assert!(door::path(&name).exists(), "the control: it leaves its files");

        let gone = Event::open_named(&name);
        assert!(matches!(gone, Err(Error::ObjectNotFound { .. })), "{gone:?}");
        let nobody = Channel::connect_timeout(&name, SOON);
        assert!(matches!(nobody, Err(Error::NoListener { .. })), "{nobody:?}");
        let (event, found) = Event::create_or_open_named(&name, ResetMode::Auto).unwrap();
        assert_eq!(found, CreateOutcome::Created);
        let listener = Listener::bind(&name).unwrap();
        let claimed = SingleInstance::acquire(&only).unwrap();
        assert!(claimed.previous_owner_crashed());
        drop((event, listener, claimed));
        drop(killed);
        assert_eq!(table::count(), before);
        let folder = std::fs::read_dir(door::folder()).unwrap();
        let left = folder.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains(&name));
        assert_eq!(left.count(), 0, "no file is left");
    }
}

fn name_is_removed_with_creators_handle() {
    let name = name("goes");
    let first = Event::create_named(&name, ResetMode::Manual).unwrap();
    let second = Event::open_named(&name).unwrap();
    drop(first);
    // An open handle keeps the object, but the name no longer finds it.
    assert!(matches!(Event::open_named(&name), Err(Error::ObjectNotFound { .. })));
    second.set().unwrap();
    let other = Event::create_named(&name, ResetMode::Manual).unwrap();
    assert!(second.try_wait().unwrap() && !other.try_wait().unwrap());
    drop(second);
    Event::open_named(&name).unwrap().set().unwrap();
    assert!(other.try_wait().unwrap());
}

/// A test's own runtime directory, removed on drop.
struct Runtime(PathBuf);

impl Runtime {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("handover-{}", name(test)));
        std::fs::DirBuilder::new().mode(0o755).create(&path).unwrap();
        Self(path)
    }

    /// Starts a child with this runtime directory.
    fn listener(&self, name: &str) -> Child {
        in_role("listens_and_stays", &[name]).env("XDG_RUNTIME_DIR", &self.0).spawn().unwrap()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Connects to its own listener.
fn connects_to_itself(_: &[String]) {
    let mut listener = Listener::bind("itself").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| Channel::connect_timeout("itself", SOON).unwrap().send(b"here").unwrap());
        let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"here");
    });
}

fn process_of_another_user_can_connect_to_itself() {
    let (public_copy, runtime) = (PublicCopy::new("own-user"), Runtime::new("own-user"));
    if std::os::unix::fs::chown(&runtime.0, Some(NOBODY), Some(NOBODY)).is_err() {
        left_out("only root can start a program as another user");
        return;
    }
    let mut command = Command::new(public_copy.program());
    command.args(role("connects_to_itself", &[])).current_dir(public_copy.folder()).uid(NOBODY).gid(NOBODY);
    assert_eq!(
        command.env("XDG_RUNTIME_DIR", &runtime.0).stdin(Stdio::null()).status().unwrap().code(),
        Some(0)
    );
}

fn listens_and_stays(arguments: &[String]) {
    let listener = Listener::bind(&arguments[0]);
    let event = Event::create_named(&arguments[0], ResetMode::Manual);
    match (&listener, &event) {
        (Ok(_), Ok(_)) => println!("listens"),
        (Err(error), Err(other)) => println!("{error} | {other}"),
        _ => println!("one of the two"),
    }
    std::thread::sleep(Duration::from_secs(30));
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o777
}

fn folder_is_accessible_to_its_user_only() {
    let runtime = Runtime::new("folder");
    let name = name("folder");
    let mut listener = runtime.listener(&name);
    assert_eq!(line(&mut listener), "listens");
    let folder = runtime.0.join("handover");
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(folder.metadata().unwrap().uid(), runtime.0.metadata().unwrap().uid());
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "two sockets and two locks: {files:?}");
    for file in files.iter().filter(|file| file.metadata().unwrap().is_file()) {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    // Processes with another runtime directory don't find the listener.
    let missing = Channel::connect_timeout(&name, SOON);
    assert!(matches!(missing, Err(Error::NoListener { .. })), "{missing:?}");
}

fn folder_accessible_to_others_is_rejected() {
    let runtime = Runtime::new("open");
    let folder = runtime.0.join("handover");
    for what in ["too open", "a link", "a file"] {
        match what {
            "too open" => {
                std::fs::create_dir(&folder).unwrap();
                std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
            }
            "a link" => {
                let elsewhere = runtime.0.join("elsewhere");
                std::fs::DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
                std::os::unix::fs::symlink(elsewhere, &folder).unwrap();
            }
            _ => std::fs::write(&folder, "").unwrap(),
        }
        let mut refused = runtime.listener("refused");
        let said = line(&mut refused);
        assert_eq!(said.matches("only this user").count(), 2, "{what}: {said}");
        let _ = std::fs::remove_dir_all(&folder);
        let _ = std::fs::remove_file(&folder);
    }
}

fn folders_of_other_users_are_not_used() {
    if handover::User::current().unwrap().uid() != 0 {
        left_out("only root can give a folder to another user");
        return;
    }
    // The other user's folder is inside a runtime directory of this user.
    let runtime = Runtime::new("another");
    let folder = runtime.0.join("handover");
    std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(NOBODY), None).unwrap();
    let said = line(&mut runtime.listener("refused"));
    assert_eq!(said.matches("only this user").count(), 2, "{said}");
    // The runtime directory itself is the other user's, so another place is used.
    std::fs::remove_dir(&folder).unwrap();
    std::os::unix::fs::chown(&runtime.0, Some(NOBODY), None).unwrap();
    let mut listener = runtime.listener(&name("another"));
    assert_eq!(line(&mut listener), "listens");
    assert!(!folder.exists());
}

fn file_under_a_name_is_not_a_listener() {
    let name = name("squats");
    // The first name creates the folder.
    drop(Listener::bind(&name).unwrap());
    std::fs::write(door::path(&name), "no socket").unwrap();
    let error = Channel::connect_timeout(&name, SOON).unwrap_err();
    assert!(matches!(error, Error::NoListener { .. }), "{error:?}");
    drop(Listener::bind(&name).unwrap());
    assert!(!door::path(&name).exists());
}

fn too_long_name_reports_excess() {
    let long = "n".repeat(108);
    for error in [
        Event::create_named(&long, ResetMode::Auto).map(drop).unwrap_err(),
        Event::open_named(&long).map(drop).unwrap_err(),
        SharedMemory::create_named(&long, 1).map(drop).unwrap_err(),
        Listener::bind(&long).map(drop).unwrap_err(),
        Channel::connect(&long).map(drop).unwrap_err(),
        SingleInstance::acquire(&long).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
        assert!(error.to_string().contains("too long by"), "{error}");
    }
}

fn opens(arguments: &[String]) {
    for _ in 0..20 {
        Event::open_named(&arguments[0]).unwrap().set().unwrap();
    }
}

fn hundred_processes_can_open_concurrently() {
    let name = name("hundred");
    let event = Event::create_named(&name, ResetMode::Manual).unwrap();
    let before = table::count();
    let children: Vec<Child> =
        (0..100).map(|_| in_role("opens", &[&name]).stdout(Stdio::null()).spawn().unwrap()).collect();
    for mut child in children {
        assert_eq!(child.wait_timeout(Duration::from_secs(60)).unwrap().code(), Some(0));
    }
    assert!(event.try_wait().unwrap());
    until("no handle is kept for the clients", || table::count() == before);
}

/// Creates the object of each round's name, and prints how many it has created.
fn creates(arguments: &[String]) {
    let mut created = 0;
    for round in 0..100 {
        match Event::create_named(&format!("{}.{round}", arguments[0]), ResetMode::Manual) {
            Ok(event) => {
                created += 1;
                // Keeps the event open, so that no other process can create the name.
                std::mem::forget(event);
            }
            Err(Error::NameInUse { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    println!("{created}");
    std::thread::sleep(Duration::from_secs(30));
}

fn one_of_many_concurrent_creators_succeeds() {
    let name = name("race");
    let mut racers: Vec<Child> = (0..4).map(|_| in_role("creates", &[&name]).spawn().unwrap()).collect();
    let created: Vec<u32> = racers.iter_mut().map(|racer| line(racer).parse().unwrap()).collect();
    assert_eq!(created.iter().sum::<u32>(), 100, "{created:?}");
    for mut racer in racers {
        racer.kill().unwrap();
        racer.wait_timeout(SOON).unwrap();
    }
    // Creating the names again removes the files of the killed processes.
    for round in 0..100 {
        drop(Event::create_named(&format!("{name}.{round}"), ResetMode::Manual).unwrap());
    }
}

/// Acquires and drops the name for a second, and returns how often it has succeeded.
fn acquires_repeatedly(name: &str) -> u32 {
    let (started, mut times) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(1) {
        match SingleInstance::acquire(name) {
            Ok(claimed) => {
                assert!(!claimed.previous_owner_crashed(), "after {times} claims");
                times += 1;
            }
            Err(Error::AlreadyRunning { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    times
}

fn acquires(arguments: &[String]) {
    acquires_repeatedly(&arguments[0]);
}

fn acquire_after_drop_reports_no_crash() {
    let name = name("in-turn");
    drop(SingleInstance::acquire(&name).unwrap());
    let before = table::count();
    let mut other = in_role("acquires", &[&name]).stdout(Stdio::null()).spawn().unwrap();
    let times: Vec<u32> = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| acquires_repeatedly(&name)));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(
        times.iter().all(|times| *times > 0),
        "the control: each thread acquires it sometimes: {times:?}"
    );
    assert_eq!(other.wait_timeout(SOON).unwrap().code(), Some(0));
    drop(other);
    assert!(!SingleInstance::acquire(&name).unwrap().previous_owner_crashed());
    assert_eq!(table::count(), before);
}

fn name_of_instance_is_in_use_at_once() {
    let name = name("claimed");
    let only = SingleInstance::acquire(&name).unwrap();
    let before = table::count();
    let started = Instant::now();
    let refused = Event::create_or_open_named(&name, ResetMode::Auto);
    assert!(matches!(refused, Err(Error::NameInUse { .. })), "{refused:?}");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    drop(refused);
    assert_eq!(table::count(), before);
    drop(only);
    assert_eq!(Event::create_or_open_named(&name, ResetMode::Auto).unwrap().1, CreateOutcome::Created);
}

fn waits_for_a_signal(arguments: &[String]) {
    calls::reset_term();
    let event = Event::create_named(&arguments[0], ResetMode::Manual).unwrap();
    // The thread that serves the name was started while the signal was unblocked, and it runs: it has answered.
    drop(Event::open_named(&arguments[0]).unwrap());
    calls::block_term();
    let this = rustix::process::getpid();
    rustix::process::kill_process(this, rustix::process::Signal::TERM).unwrap();
    assert!(calls::term_arrives());
    Event::open_named(&arguments[0]).unwrap().set().unwrap();
    assert!(event.try_wait().unwrap());
    println!("lives");
}

fn name_server_thread_blocks_signals() {
    let before = table::count();
    let mut child = in_role("waits_for_a_signal", &[&name("signal")]).spawn().unwrap();
    assert_eq!(line(&mut child), "lives");
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    drop(child);
    assert_eq!(table::count(), before);
}
