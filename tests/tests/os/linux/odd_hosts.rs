//! Tests on unusual systems: closed standard streams, refused system calls, deleted folders, no free descriptor.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use handover::{
    Channel, Child, Command, Error, Event, Listener, Message, Process, ResetMode, SharedMemory,
    SingleInstance, Stdio, User,
};
use handover_tests::{Suite, left_out, role, table, tests, this_program, until};
use rustix::fs::{FlockOperation, fcntl_lock};

use super::calls;
use super::unprivileged::{NOBODY, PublicCopy};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "odd_hosts",
    tests: tests![
        spawns_with_closed_streams_never_mix_them,
        swapped_streams_reach_the_child,
        deleted_directory_never_leads_to_another_program,
        blocked_exec_stops_no_other_spawn,
        refused_calls_have_a_slower_way,
        status_needs_no_descriptor,
        stream_keeps_record_lock_on_its_file,
        forked_copy_gives_up_nothing,
        dropped_children_are_reaped_later_without_descriptors,
        processes_are_known_without_proc,
        processes_are_known_in_another_pid_namespace,
        exec_works_in_a_group_of_another_pid_namespace,
        endpoints_travel_where_the_user_has_no_id,
        processes_are_known_where_proc_hides_them,
        forked_copy_with_the_same_id_is_another_process,
        refused_calls_of_objects_have_a_slower_way,
        relative_program_is_not_looked_up_under_a_mount,
        shortage_of_descriptors_is_no_error_without_a_client,
        name_of_a_dead_creator_with_a_copy_has_no_object,
    ],
    roles: tests![
        spawns_with_closed_streams,
        has_swapped_streams,
        prints_to_both,
        runs_from_deleted_directory,
        spawns_beside_a_blocked_one,
        spawns_under_a_filter,
        takes_only_the_file,
        has_no_free_descriptor,
        locks,
        lends_a_locked_file,
        is_copied_by_fork,
        asks_for_names,
        waits_for_input,
        drops_children_without_descriptors,
        knows_its_child,
        executes_from_an_unknown_group,
        sends_an_endpoint_without_an_id,
        knows_a_hidden_process,
        is_first_and_copied,
        uses_objects_under_a_filter,
        runs_below_a_mount,
        accepts_without_descriptors,
        dies_and_leaves_a_copy
    ],
};

fn in_role(name: &str, arguments: &[&str]) -> Command<'static> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn run_successfully(command: &mut Command<'_>) {
    let before = table::count();
    let mut child = command.spawn().unwrap();
    assert_eq!(child.wait_timeout(Duration::from_secs(60)).unwrap().code(), Some(0));
    drop(child);
    assert_eq!(table::count(), before);
}

/// A folder that is removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(what: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("handover-odd-{what}-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How often each thread spawns. On one descriptor table, a mix-up was seen about once in 1,500 spawns.
const SPAWNS: usize = 400;

fn spawns_with_closed_streams(_: &[String]) {
    table::close_value(0);
    table::close_value(1);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..SPAWNS {
                    let mut command = Command::new("sh");
                    let output = command.args(["-c", "echo out; echo err >&2"]).output().unwrap();
                    assert_eq!(
                        (output.stdout.as_slice(), output.stderr.as_slice()),
                        (&b"out\n"[..], &b"err\n"[..])
                    );
                }
            });
        }
    });
}

fn spawns_with_closed_streams_never_mix_them() {
    run_successfully(&mut in_role("spawns_with_closed_streams", &[]));
}

fn prints_to_both(_: &[String]) {
    print!("to the output");
    eprint!("to the error output");
}

fn has_swapped_streams(_: &[String]) {
    let mut child = in_role("prints_to_both", &[]);
    child.stdout(Stdio::from(std::io::stderr())).stderr(Stdio::from(std::io::stdout()));
    run_successfully(&mut child);
}

fn swapped_streams_reach_the_child() {
    let mut command = in_role("has_swapped_streams", &[]);
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.stdout, b"to the error output", "{output:?}");
    assert_eq!(output.stderr, b"to the output", "{output:?}");
}

fn runs_from_deleted_directory(arguments: &[String]) {
    let [deleted, other] = [&arguments[0], &arguments[1]];
    std::env::set_current_dir(deleted).unwrap();
    std::fs::remove_dir_all(deleted).unwrap();
    let outcome = Command::new("./program").current_dir(other).status();
    match outcome {
        Err(error @ Error::System { call: "getcwd", .. }) => {
            assert_eq!(error.raw_os_error(), Some(2), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert!(!Path::new(other).join("it-ran").exists());
}

fn deleted_directory_never_leads_to_another_program() {
    let (deleted, other) = (Folder::new("deleted"), Folder::new("other"));
    other.script("program", "#!/bin/sh\ntouch it-ran\n");
    run_successfully(&mut in_role("runs_from_deleted_directory", &[deleted.text(), other.text()]));
}

fn spawns_beside_a_blocked_one(arguments: &[String]) {
    let program = &arguments[0];
    // As long as the lease is held, no process can open the file, so `execve` waits.
    let lease = calls::Lease::take(Path::new(program));
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| Command::new(program).kill_with_parent(true).status());
        until("the kernel waits for the lease", || lease.is_asked_for());
        let started = Instant::now();
        let status = Command::new("true").kill_with_parent(true).status().unwrap();
        assert!(status.success() && started.elapsed() < SOON, "{:?}", started.elapsed());
        assert!(!blocked.is_finished());
        drop(lease);
        assert_eq!(blocked.join().unwrap().unwrap().code(), Some(7));
    });
}

fn blocked_exec_stops_no_other_spawn() {
    let folder = Folder::new("lease");
    let program = folder.script("program", "#!/bin/sh\nexit 7\n");
    run_successfully(&mut in_role("spawns_beside_a_blocked_one", &[program.to_str().unwrap()]));
}

fn takes_only_the_file(arguments: &[String]) {
    let _file: File = handover::inherited().unwrap().take("file").unwrap();
    let leaked = table::borrowed(arguments[0].parse().unwrap());
    assert!(rustix::io::fcntl_getfd(leaked).is_err(), "the descriptor {leaked:?} was inherited");
}

fn spawns_under_a_filter(arguments: &[String]) {
    let [file, leaks] = [(); 2].map(|()| File::open("/dev/null").unwrap());
    table::make_inheritable(&leaks);
    calls::refuse(&[libc::SYS_close_range, libc::SYS_faccessat2], arguments[0].parse().unwrap());
    assert!(Command::new("true").status().unwrap().success());
    let mut command = in_role("takes_only_the_file", &[&table::value(&leaks).to_string()]);
    assert!(command.inherit("file", &file).status().unwrap().success());
}

fn refused_calls_have_a_slower_way() {
    for code in [libc::ENOSYS, libc::EPERM] {
        run_successfully(&mut in_role("spawns_under_a_filter", &[&code.to_string()]));
    }
    let (program, code) = (this_program(), libc::EPERM.to_string());
    let program = program.to_str().unwrap();
    in_namespaces(&["--mount"], WITHOUT_PROC, &[program], "spawns_under_a_filter", &[&code]);
}

fn has_no_free_descriptor(_: &[String]) {
    let mut command = Command::new("sh");
    command.args(["-c", "exit 9"]);
    // The child needs free numbers below the limit, to load its program.
    let _open = [(); 20].map(|()| File::open("/dev/null").unwrap());
    table::leave_room_for(0);
    for _ in 0..3 {
        assert_eq!(command.status().unwrap().code(), Some(9));
        assert!(!calls::has_children());
    }
    let missing = Command::new("/no/such/program").status();
    assert!(matches!(missing, Err(Error::ProgramNotFound { .. })), "{missing:?}");
    let refused = command.spawn();
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EMFILE));
}

fn status_needs_no_descriptor() {
    run_successfully(&mut in_role("has_no_free_descriptor", &[]));
}

const IS_LOCKED: i32 = 3;

fn locks(arguments: &[String]) {
    let file = File::options().read(true).write(true).open(&arguments[0]).unwrap();
    if fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        std::process::exit(IS_LOCKED);
    }
}

fn lends_a_locked_file(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    let is_locked = || {
        let mut command = std::process::Command::new(this_program());
        command.args(role("locks", &[path.to_str().unwrap()])).stdout(std::process::Stdio::null());
        command.status().unwrap().code() == Some(IS_LOCKED)
    };
    let open = || File::options().read(true).append(true).create(true).open(path).unwrap();
    // The second time, the file has the number of another stream.
    for has_number_of_stream in [false, true] {
        if has_number_of_stream {
            table::close_value(1);
        }
        let file = open();
        assert_eq!(table::value(&file) == 1, has_number_of_stream);
        assert!(!is_locked());
        fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(is_locked(), "the control");
        let mut command = Command::new("sh");
        command.args(["-c", "echo written >&2"]).stdout(Stdio::null()).stderr(file);
        for _ in 0..2 {
            assert!(command.status().unwrap().success());
            assert!(is_locked(), "the spawn has taken the lock off");
        }
    }
}

fn stream_keeps_record_lock_on_its_file() {
    let folder = Folder::new("locked");
    let path = folder.0.join("file");
    run_successfully(&mut in_role("lends_a_locked_file", &[path.to_str().unwrap()]));
    let mut text = String::new();
    File::open(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "written\n".repeat(4));
}

fn waits_for_input(_: &[String]) {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Asserts that the names are in use, from another process than the one that has them.
fn asks_for_names(arguments: &[String]) {
    let name = &arguments[0];
    let only = SingleInstance::acquire(&format!("{name}.only"));
    assert!(matches!(only, Err(Error::AlreadyRunning { .. })), "{only:?}");
    let listener = Listener::bind(&format!("{name}.listener"));
    assert!(matches!(listener, Err(Error::NameInUse { .. })), "{listener:?}");
    let connected = Channel::connect_timeout(&format!("{name}.listener"), Duration::from_millis(100));
    assert!(matches!(connected, Err(Error::TimedOut { .. })), "{connected:?}");
    Event::open_named(&format!("{name}.event")).unwrap().set().unwrap();
}

fn is_copied_by_fork(_: &[String]) {
    let name = format!("handover.fork.{}", std::process::id());
    let mut child = in_role("waits_for_input", &[]);
    let child = child.stdin(Stdio::piped()).spawn().unwrap();
    let child_id = child.id();
    let mut child = Some(child);
    let mut only = Some(SingleInstance::acquire(&format!("{name}.only")).unwrap());
    let mut listener = Some(Listener::bind(&format!("{name}.listener")).unwrap());
    let named = Event::create_named(&format!("{name}.event"), ResetMode::Auto).unwrap();
    let mut event = Some(named);
    let before = table::count();
    assert!(calls::in_fork(SOON, || {
        drop((child.take(), only.take(), listener.take(), event.take()));
        true
    }));
    assert_eq!(table::count(), before);
    // The server of the event opens a descriptor for a moment, so none are counted here.
    assert!(in_role("asks_for_names", &[&name]).status().unwrap().success());
    event.as_ref().unwrap().wait_timeout(SOON).unwrap();
    assert!(!table::ends_within(child_id, 50), "the child was killed");
    let mut child = child.take().unwrap();
    drop(child.stdin.take());
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    // The control: the creator gives the names up.
    drop((only, listener, event));
    drop(SingleInstance::acquire(&format!("{name}.only")).unwrap());
    drop(Listener::bind(&format!("{name}.listener")).unwrap());
    assert!(Event::open_named(&format!("{name}.event")).is_err());
}

fn forked_copy_gives_up_nothing() {
    run_successfully(&mut in_role("is_copied_by_fork", &[]));
}

fn drops_children_without_descriptors(_: &[String]) {
    let children: Vec<Child> = (0..20)
        .map(|_| in_role("waits_for_input", &[]).kill_on_drop(false).stdin(Stdio::piped()).spawn().unwrap())
        .collect();
    let _open = [(); 20].map(|()| File::open("/dev/null").unwrap());
    let limit = table::limit_to(0);
    // Each child ends when it loses its input, so it still runs when it is dropped.
    let descriptors: Vec<_> = children.into_iter().map(|mut child| child.stdin.take().unwrap()).collect();
    assert!(calls::has_children());
    drop(descriptors);
    drop(limit);
    until("the children are reaped", || {
        assert!(Command::new("true").status().unwrap().success());
        !calls::has_children()
    });
}

fn dropped_children_are_reaped_later_without_descriptors() {
    run_successfully(&mut in_role("drops_children_without_descriptors", &[]));
}

/// Asserts what is known of a child, and what `/proc` can't say: a part of the text of the error.
fn knows_its_child(arguments: &[String]) {
    let mut child = in_role("waits_for_input", &[]).stdin(Stdio::piped()).spawn().unwrap();
    let process = Process::open(child.id()).unwrap();
    assert!(!process.has_exited().unwrap());
    match process.user() {
        Ok(user) => assert_eq!(user, User::current().unwrap()),
        // Before Linux 6.13.
        Err(error) => assert!(error.to_string().contains(&arguments[0]), "{error}"),
    }
    match process.creation_time() {
        Err(error @ Error::System { .. }) => assert!(error.to_string().contains(&arguments[0]), "{error}"),
        other => panic!("{other:?}"),
    }
    match process.identity() {
        Ok(identity) => {
            assert_eq!(child.process().identity().unwrap(), identity);
            assert_eq!(Process::open_exact(identity).unwrap().id(), child.id());
            assert_ne!(Process::current_identity().unwrap(), identity);
        }
        // Before Linux 6.9.
        Err(error) => assert!(error.to_string().contains(&arguments[0]), "{error}"),
    }
    drop(child.stdin.take());
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    assert!(process.has_exited().unwrap());
    for _ in 0..3 {
        drop(in_role("waits_for_input", &[]).kill_on_drop(false).stdin(Stdio::piped()).spawn().unwrap());
    }
    until("the dropped children are reaped", || {
        assert!(Command::new("true").status().unwrap().success());
        !calls::has_children()
    });
}

/// Runs a role of a program in new namespaces, after a shell command that sets them up. The test is left out if this user
/// can't create them.
fn in_namespaces(kinds: &[&str], setup: &str, program: &[&str], name: &str, arguments: &[&str]) {
    let unshare = |last: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(kinds).args(["sh", "-ec", &format!("{setup} && {last}"), "sh"]);
        command.stdin(std::process::Stdio::null());
        command
    };
    if !unshare("true").output().is_ok_and(|output| output.status.success()) {
        return left_out("unshare is missing, or this user can't create the namespaces");
    }
    let mut command = unshare("exec \"$@\"");
    let output = command.args(program).args(role(name, arguments)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// In a container, a mount of the namespace outside can be under that of the one inside.
const WITHOUT_PROC: &str = "{ while umount -l /proc 2> /dev/null; do :; done; test ! -e /proc/self; }";

fn processes_are_known_without_proc() {
    let program = this_program();
    let program = program.to_str().unwrap();
    let text = "/proc is not mounted";
    in_namespaces(&["--mount"], WITHOUT_PROC, &[program], "knows_its_child", &[text]);
}

fn processes_are_known_in_another_pid_namespace() {
    let program = this_program();
    let program = program.to_str().unwrap();
    in_namespaces(&["--pid", "--fork"], "true", &[program], "knows_its_child", &["another PID namespace"]);
}

/// The process's group has no id in its PID namespace, and its exit code tells that it was replaced.
fn executes_from_an_unknown_group(_: &[String]) {
    let line = std::fs::read_to_string("/proc/self/status").unwrap();
    let group = line.lines().find_map(|line| line.strip_prefix("NSpgid:")).unwrap();
    assert_eq!(group.split_whitespace().last(), Some("0"), "the control");
    for command in [Command::new("/etc/passwd").process_group(0), &mut Command::new("/etc/passwd")] {
        let error = command.exec();
        assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{error:?}");
    }
    let error = Command::new("sh").args(["-c", "exit 7"]).exec();
    panic!("{error:?}");
}

fn exec_works_in_a_group_of_another_pid_namespace() {
    let program = this_program();
    let program = program.to_str().unwrap();
    // A shell in between turns the expected exit code into success.
    let program = ["sh", "-c", "\"$@\"; test $? = 7", "sh", program];
    let kinds = ["--pid", "--fork", "--mount-proc"];
    in_namespaces(&kinds, "true", &program, "executes_from_an_unknown_group", &[]);
}

/// The user of this process has no id in its user namespace, so the process can't name it in credentials.
fn sends_an_endpoint_without_an_id(_: &[String]) {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    assert_eq!(map, "", "the control");
    let before = table::count();
    let ((ours, theirs), (one, other)) = (Channel::pair().unwrap(), Channel::pair().unwrap());
    one.send(Message::new(b"").with_channel("link", theirs)).unwrap();
    let link = other.recv_timeout(SOON).unwrap().take_channel("link").unwrap();
    link.send(b"arrived").unwrap();
    assert_eq!(ours.recv_timeout(SOON).unwrap().bytes(), b"arrived");
    assert_eq!(ours.peer().unwrap().id(), std::process::id());
    drop((ours, link, one, other));
    assert_eq!(table::count(), before);
}

fn endpoints_travel_where_the_user_has_no_id() {
    let program = this_program();
    let program = program.to_str().unwrap();
    in_namespaces(&["--user"], "true", &[program], "sends_an_endpoint_without_an_id", &[]);
}

fn knows_a_hidden_process(arguments: &[String]) {
    let process = Process::open(arguments[0].parse().unwrap()).unwrap();
    assert!(!process.has_exited().unwrap());
    match process.creation_time() {
        Err(error @ Error::System { .. }) => assert!(error.to_string().contains("hidepid"), "{error}"),
        other => panic!("{other:?}"),
    }
    // Since Linux 6.13 and 6.9.
    assert!(!matches!(process.user(), Err(Error::ProcessExited { .. })));
    assert!(!matches!(process.identity(), Err(Error::ProcessExited { .. })));
    let own = Process::open(std::process::id()).unwrap();
    assert!(own.creation_time().is_ok());
}

fn processes_are_known_where_proc_hides_them() {
    let public_copy = PublicCopy::new("hidden");
    let program = public_copy.program();
    let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    let as_nobody = ["setpriv", &user, &group, "--clear-groups", program.to_str().unwrap()];
    let this = std::process::id().to_string();
    std::env::set_current_dir(public_copy.folder()).unwrap();
    // BusyBox's `setpriv` can't change the user.
    let setup =
        format!("setpriv {user} {group} --clear-groups true && mount -t proc -o hidepid=2 proc /proc");
    in_namespaces(&["--mount"], &setup, &as_nobody, "knows_a_hidden_process", &[&this]);
    std::env::set_current_dir("/").unwrap();
}

/// Runs as the first process of a PID namespace, whose copy in a nested one has the same id.
fn is_first_and_copied(_: &[String]) {
    assert_eq!(std::process::id(), 1);
    let name = "handover.first.only";
    let mut only = Some(SingleInstance::acquire(name).unwrap());
    let own = Process::current_identity().unwrap();
    assert!(Command::new("true").kill_with_parent(true).status().unwrap().success());
    calls::enter_pid_namespace();
    assert!(calls::in_fork(SOON, || {
        assert_eq!(std::process::id(), 1, "the control");
        drop(only.take());
        // Before Linux 6.9, the identity comes from /proc, which shows the outer namespace.
        let is_another = Process::current_identity().map_or(true, |identity| identity != own);
        // The copy doesn't have the threads that start such children.
        is_another && Command::new("true").kill_with_parent(true).status().unwrap().success()
    }));
    let again = SingleInstance::acquire(name);
    assert!(matches!(again, Err(Error::AlreadyRunning { .. })), "{again:?}");
    drop(only);
    drop(SingleInstance::acquire(name).unwrap());
}

fn forked_copy_with_the_same_id_is_another_process() {
    let program = this_program();
    let program = program.to_str().unwrap();
    let kinds = ["--pid", "--fork", "--mount-proc"];
    in_namespaces(&kinds, "true", &[program], "is_first_and_copied", &[]);
}

fn uses_objects_under_a_filter(arguments: &[String]) {
    let refused = [libc::SYS_preadv2, libc::SYS_prlimit64, libc::SYS_sysinfo, libc::SYS_fstatfs];
    calls::refuse(&refused, arguments[0].parse().unwrap());
    let event = Event::auto_reset().unwrap();
    event.set().unwrap();
    assert!(event.try_wait().unwrap() && !event.try_wait().unwrap());
    assert_eq!(SharedMemory::new(4096).unwrap().size().unwrap(), 4096);
    let own = Process::open(std::process::id()).unwrap();
    assert_eq!(own.identity().unwrap(), Process::current_identity().unwrap());
    assert!(Command::new("true").status().unwrap().success());
}

fn refused_calls_of_objects_have_a_slower_way() {
    for code in [libc::ENOSYS, libc::EPERM] {
        run_successfully(&mut in_role("uses_objects_under_a_filter", &[&code.to_string()]));
    }
}

fn runs_below_a_mount(arguments: &[String]) {
    // The shell has entered the folder before it was covered.
    let outcome = Command::new("./program").current_dir(&arguments[0]).status();
    assert!(matches!(outcome, Err(Error::System { call: "stat", .. })), "{outcome:?}");
    assert_eq!(Command::new("./program").status().unwrap().code(), Some(3), "the control");
}

fn relative_program_is_not_looked_up_under_a_mount() {
    let (folder, other) = (Folder::new("covered"), Folder::new("covering"));
    folder.script("program", "#!/bin/sh\nexit 3\n");
    other.script("program", "#!/bin/sh\nexit 4\n");
    let setup = format!("cd {0} && mount --bind {1} {0}", folder.text(), other.text());
    let program = this_program();
    let program = program.to_str().unwrap();
    in_namespaces(&["--mount"], &setup, &[program], "runs_below_a_mount", &["/"]);
}

fn accepts_without_descriptors(_: &[String]) {
    let mut listener = Listener::bind(&format!("odd.room.{}", std::process::id())).unwrap();
    let limit = table::limit_to(0);
    let (started, timeout) = (Instant::now(), Duration::from_millis(1500));
    let outcome = listener.accept_timeout(timeout).map(drop);
    assert!(matches!(outcome, Err(Error::TimedOut { .. })), "no client waits: {outcome:?}");
    assert!(started.elapsed() >= timeout);
    drop(limit);
}

fn shortage_of_descriptors_is_no_error_without_a_client() {
    run_successfully(&mut in_role("accepts_without_descriptors", &[]));
}

/// Creates a named event, and dies. A forked copy has its descriptors and no thread.
fn dies_and_leaves_a_copy(arguments: &[String]) {
    let event = Event::create_named(arguments[0].as_str(), ResetMode::Auto).unwrap();
    println!("{}", calls::fork_that_sleeps(Duration::from_secs(30)));
    // As a crash, this leaves out all drops.
    std::mem::forget(event);
    std::process::exit(0);
}

fn name_of_a_dead_creator_with_a_copy_has_no_object() {
    let name = format!("odd.copy.{}", std::process::id());
    let mut creator = in_role("dies_and_leaves_a_copy", &[&name]);
    let mut creator = creator.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(creator.stdout.take().unwrap()), &mut line)
        .unwrap();
    let copy: u32 = line.trim().parse().unwrap();
    assert_eq!(creator.wait_timeout(SOON).unwrap().code(), Some(0));
    let started = Instant::now();
    let opened = Event::open_named(name.as_str());
    let took = started.elapsed();
    table::kill(copy);
    assert!(matches!(opened, Err(Error::ObjectNotFound { .. })), "{opened:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}
