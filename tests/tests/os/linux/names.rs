//! Names as files in a folder of the user's alone, which a killed process leaves behind.

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
use super::unprivileged::{Everybodys, NOBODY};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "names",
    tests: tests![
        what_a_killed_process_leaves_blocks_no_name,
        a_name_goes_with_the_object_that_was_created,
        the_folder_is_this_users_alone,
        a_folder_that_others_can_enter_is_refused,
        another_users_folders_are_not_used,
        another_user_is_its_own_user,
        a_file_that_squats_on_a_name_is_no_object,
        a_name_that_is_too_long_says_by_how_much,
        a_hundred_open_it_at_once,
        of_many_that_create_one_name_at_once_one_does,
        who_claims_after_a_drop_does_not_come_after_a_crash,
        a_name_that_is_claimed_is_refused_at_once,
        what_serves_a_name_takes_no_signal_of_the_program,
    ],
    roles: tests![has_names, listens_and_stays, opens, creates, claims, waits_for_a_signal, talks_to_itself],
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

/// An object, a listener and an instance of this name, until it is killed.
fn has_names(arguments: &[String]) {
    let _event = Event::create_named(&arguments[0], ResetMode::Manual).unwrap();
    let _listener = Listener::bind(&arguments[0]).unwrap();
    let _only = SingleInstance::acquire(&format!("{}.only", arguments[0])).unwrap();
    println!("has them");
    std::thread::sleep(Duration::from_secs(30));
}

fn what_a_killed_process_leaves_blocks_no_name() {
    let name = name("killed");
    let only = format!("{name}.only");
    // A process that serves a name once keeps nothing of it.
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

fn a_name_goes_with_the_object_that_was_created() {
    let name = name("goes");
    let first = Event::create_named(&name, ResetMode::Manual).unwrap();
    let second = Event::open_named(&name).unwrap();
    drop(first);
    // Who has it open keeps it, and nobody finds it any more.
    assert!(matches!(Event::open_named(&name), Err(Error::ObjectNotFound { .. })));
    second.set().unwrap();
    let other = Event::create_named(&name, ResetMode::Manual).unwrap();
    assert!(second.try_wait().unwrap() && !other.try_wait().unwrap());
    drop(second);
    Event::open_named(&name).unwrap().set().unwrap();
    assert!(other.try_wait().unwrap());
}

/// A runtime directory of this test's own, gone with it.
struct Runtime(PathBuf);

impl Runtime {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("handover-{}", name(test)));
        std::fs::DirBuilder::new().mode(0o755).create(&path).unwrap();
        Self(path)
    }

    /// A child for which it is the runtime directory.
    fn listener(&self, name: &str) -> Child {
        in_role("listens_and_stays", &[name]).env("XDG_RUNTIME_DIR", &self.0).spawn().unwrap()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// At a listener of its own.
fn talks_to_itself(_: &[String]) {
    let mut listener = Listener::bind("itself").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| Channel::connect_timeout("itself", SOON).unwrap().send(b"here").unwrap());
        let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"here");
    });
}

fn another_user_is_its_own_user() {
    let (everybodys, runtime) = (Everybodys::new("own-user"), Runtime::new("own-user"));
    if std::os::unix::fs::chown(&runtime.0, Some(NOBODY), Some(NOBODY)).is_err() {
        left_out("only root can start a program as another user");
        return;
    }
    let mut command = Command::new(everybodys.program());
    command.args(role("talks_to_itself", &[])).current_dir(everybodys.folder()).uid(NOBODY).gid(NOBODY);
    assert!(command.env("XDG_RUNTIME_DIR", &runtime.0).stdin(Stdio::null()).status().unwrap().success());
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

fn the_folder_is_this_users_alone() {
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
    // It is found there, and nowhere else.
    let missing = Channel::connect_timeout(&name, SOON);
    assert!(matches!(missing, Err(Error::NoListener { .. })), "{missing:?}");
}

fn a_folder_that_others_can_enter_is_refused() {
    let runtime = Runtime::new("open");
    let folder = runtime.0.join("handover");
    for (what, shown) in [("too open", "alone"), ("a link", "alone"), ("a file", "alone")] {
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
        assert_eq!(said.matches(shown).count(), 2, "{what}: {said}");
        let _ = std::fs::remove_dir_all(&folder);
        let _ = std::fs::remove_file(&folder);
    }
}

fn another_users_folders_are_not_used() {
    if handover::User::current().unwrap().uid() != 0 {
        left_out("only root can give a folder to another user");
        return;
    }
    // What stands in a folder of this user's.
    let runtime = Runtime::new("another");
    let folder = runtime.0.join("handover");
    std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(NOBODY), None).unwrap();
    let said = line(&mut runtime.listener("refused"));
    assert_eq!(said.matches("alone").count(), 2, "{said}");
    // That folder itself: there is another.
    std::fs::remove_dir(&folder).unwrap();
    std::os::unix::fs::chown(&runtime.0, Some(NOBODY), None).unwrap();
    let mut listener = runtime.listener(&name("another"));
    assert_eq!(line(&mut listener), "listens");
    assert!(!folder.exists());
}

fn a_file_that_squats_on_a_name_is_no_object() {
    let name = name("squats");
    // The folder is made with the first name.
    drop(Listener::bind(&name).unwrap());
    std::fs::write(door::path(&name), "no socket").unwrap();
    let error = Channel::connect_timeout(&name, SOON).unwrap_err();
    assert!(matches!(error, Error::NoListener { .. }), "{error:?}");
    drop(Listener::bind(&name).unwrap());
    assert!(!door::path(&name).exists());
}

fn a_name_that_is_too_long_says_by_how_much() {
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

fn a_hundred_open_it_at_once() {
    let name = name("hundred");
    let event = Event::create_named(&name, ResetMode::Manual).unwrap();
    let before = table::count();
    let children: Vec<Child> =
        (0..100).map(|_| in_role("opens", &[&name]).stdout(Stdio::null()).spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait_timeout(Duration::from_secs(60)).unwrap().success());
    }
    assert!(event.try_wait().unwrap());
    until("nothing is kept for those who asked", || table::count() == before);
}

/// Creates or opens the name in many rounds, and says how often it created.
fn creates(arguments: &[String]) {
    let mut created = 0;
    for round in 0..100 {
        match Event::create_named(&format!("{}.{round}", arguments[0]), ResetMode::Manual) {
            Ok(event) => {
                created += 1;
                // Until the end, so that nobody else does.
                std::mem::forget(event);
            }
            Err(Error::NameInUse { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    println!("{created}");
    std::thread::sleep(Duration::from_secs(30));
}

fn of_many_that_create_one_name_at_once_one_does() {
    let name = name("race");
    let mut racers: Vec<Child> = (0..4).map(|_| in_role("creates", &[&name]).spawn().unwrap()).collect();
    let created: Vec<u32> = racers.iter_mut().map(|racer| line(racer).parse().unwrap()).collect();
    assert_eq!(created.iter().sum::<u32>(), 100, "{created:?}");
    for mut racer in racers {
        racer.kill().unwrap();
        racer.wait_timeout(SOON).unwrap();
    }
    // What they left is taken away with the names.
    for round in 0..100 {
        drop(Event::create_named(&format!("{name}.{round}"), ResetMode::Manual).unwrap());
    }
}

/// Claims the name and drops it again for a second, and says how often.
fn claims_again_and_again(name: &str) -> u32 {
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

fn claims(arguments: &[String]) {
    claims_again_and_again(&arguments[0]);
}

fn who_claims_after_a_drop_does_not_come_after_a_crash() {
    let name = name("in-turn");
    drop(SingleInstance::acquire(&name).unwrap());
    let before = table::count();
    let mut other = in_role("claims", &[&name]).stdout(Stdio::null()).spawn().unwrap();
    let times: Vec<u32> = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| claims_again_and_again(&name)));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(times.iter().all(|times| *times > 0), "the control: each has it now and then: {times:?}");
    assert!(other.wait_timeout(SOON).unwrap().success());
    drop(other);
    assert!(!SingleInstance::acquire(&name).unwrap().previous_owner_crashed());
    assert_eq!(table::count(), before);
}

fn a_name_that_is_claimed_is_refused_at_once() {
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
    calls::let_term_in();
    let event = Event::create_named(&arguments[0], ResetMode::Manual).unwrap();
    // The thread that serves it was begun when the signal was still let in, and runs: it answers.
    drop(Event::open_named(&arguments[0]).unwrap());
    calls::block_term();
    let this = rustix::process::getpid();
    rustix::process::kill_process(this, rustix::process::Signal::TERM).unwrap();
    assert!(calls::term_comes());
    Event::open_named(&arguments[0]).unwrap().set().unwrap();
    assert!(event.try_wait().unwrap());
    println!("lives");
}

fn what_serves_a_name_takes_no_signal_of_the_program() {
    let before = table::count();
    let mut child = in_role("waits_for_a_signal", &[&name("signal")]).spawn().unwrap();
    assert_eq!(line(&mut child), "lives");
    assert!(child.wait_timeout(SOON).unwrap().success());
    drop(child);
    assert_eq!(table::count(), before);
}
