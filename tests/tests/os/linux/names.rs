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
        names_work_under_any_umask,
        files_are_kept_from_cleaners,
        drop_removes_only_its_own_files,
        root_uses_no_folder_that_others_can_make,
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
        connects_to_itself,
        names_under_umask,
        creates_and_stays,
        tells_its_folder
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
        assert_eq!(said.matches("only the current user").count(), 2, "{what}: {said}");
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
    assert_eq!(said.matches("belongs to user 65534, but only the current user").count(), 2, "{said}");
    // The runtime directory itself is the other user's, so another place is used.
    std::fs::remove_dir(&folder).unwrap();
    std::os::unix::fs::chown(&runtime.0, Some(NOBODY), None).unwrap();
    let mut listener = runtime.listener(&name("another"));
    assert_eq!(line(&mut listener), "listens");
    assert!(!folder.exists());
}

/// Uses each sort of name twice, from this process, with an umask that takes rights from the user.
fn names_under_umask(arguments: &[String]) {
    let mask = rustix::fs::Mode::from_raw_mode(u32::from_str_radix(&arguments[0], 8).unwrap());
    rustix::process::umask(mask);
    for _ in 0..2 {
        let event = Event::create_named("umask", ResetMode::Manual).unwrap();
        Event::open_named("umask").unwrap().set().unwrap();
        event.wait_timeout(SOON).unwrap();
        let mut listener = Listener::bind("umask").unwrap();
        std::thread::scope(|scope| {
            let client =
                scope.spawn(|| Channel::connect_timeout("umask", SOON).unwrap().send(b"here").unwrap());
            let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
            assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"here");
            client.join().unwrap();
        });
        drop(SingleInstance::acquire("umask.only").unwrap());
    }
}

fn names_work_under_any_umask() {
    let public_copy = PublicCopy::new("umask");
    for mask in ["0177", "0277", "0777"] {
        let runtime = Runtime::new(&format!("umask-{mask}"));
        if std::os::unix::fs::chown(&runtime.0, Some(NOBODY), Some(NOBODY)).is_err() {
            left_out("only root can start a program as another user");
            return;
        }
        // A process that was killed before it could set the modes has left these.
        let folder = runtime.0.join("handover");
        std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        std::fs::write(folder.join("lock.o.umask"), "").unwrap();
        for path in [&folder.join("lock.o.umask"), &folder] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).unwrap();
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut command = Command::new(public_copy.program());
        command
            .args(role("names_under_umask", &[mask]))
            .current_dir(public_copy.folder())
            .uid(NOBODY)
            .gid(NOBODY);
        let status = command.env("XDG_RUNTIME_DIR", &runtime.0).stdin(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{mask}");
    }
}

fn files_are_kept_from_cleaners() {
    // A cleaner of runtime directories removes what is older than six hours, unless it has the sticky bit.
    let runtime = Runtime::new("cleaner");
    let mut holder =
        in_role("has_names", &[&name("cleaner")]).env("XDG_RUNTIME_DIR", &runtime.0).spawn().unwrap();
    assert_eq!(line(&mut holder), "has them");
    let folder = runtime.0.join("handover");
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let all: Vec<PathBuf> = files.chain([folder.clone()]).collect();
    assert_eq!(all.len(), 6, "two sockets, three locks and the folder: {all:?}");
    for path in all {
        assert_eq!(path.symlink_metadata().unwrap().mode() & 0o1077, 0o1000, "{}", path.display());
    }
}

/// Creates an event and a listener, and exits when its input ends.
fn creates_and_stays(arguments: &[String]) {
    let _event = Event::create_named(&arguments[0], ResetMode::Manual).unwrap();
    let _listener = Listener::bind(&arguments[0]).unwrap();
    println!("has them");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn drop_removes_only_its_own_files() {
    let name = name("cleaned");
    let runtime = Runtime::new("cleaned");
    let folder = runtime.0.join("handover");
    let holder = || {
        let mut command = in_role("creates_and_stays", &[&name]);
        let mut child = command.env("XDG_RUNTIME_DIR", &runtime.0).stdin(Stdio::piped()).spawn().unwrap();
        assert_eq!(line(&mut child), "has them");
        child
    };
    let end = |mut child: Child| {
        drop(child.stdin.take());
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    };
    let files = || std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    let first = holder();
    files().iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let second = holder();
    assert_eq!(files().len(), 4);
    end(first);
    assert_eq!(files().len(), 4, "they belong to the second process");
    end(second);
    assert_eq!(files().len(), 0, "the control");
}

/// Creates an event, and prints the folder that has its files.
fn tells_its_folder(arguments: &[String]) {
    let _event = Event::create_named(&arguments[0], ResetMode::Manual).unwrap();
    let folders = ["/run/user/0/handover", "/run/handover", "/tmp/handover-0"];
    let has_it = |folder: &&&str| {
        let names = std::fs::read_dir(folder).into_iter().flatten();
        names.flatten().any(|file| file.file_name().to_string_lossy().contains(&arguments[0]))
    };
    println!("{:?}", folders.iter().filter(has_it).collect::<Vec<_>>());
}

fn root_uses_no_folder_that_others_can_make() {
    if handover::User::current().unwrap().uid() != 0 {
        left_out("it is about root");
        return;
    }
    let has_runtime = Path::new("/run/user/0").is_dir();
    let expected = if has_runtime { "[\"/run/user/0/handover\"]" } else { "[\"/run/handover\"]" };
    let mut command = in_role("tells_its_folder", &[&name("root")]);
    let mut child = command.env_remove("XDG_RUNTIME_DIR").spawn().unwrap();
    assert_eq!(line(&mut child), expected);
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
