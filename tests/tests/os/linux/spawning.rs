//! Tests of the effects of a spawn on this process, and of its requirements.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use handover::{Command, Error, Event, Process, SharedMemory, Stdio};
use handover_tests::{Suite, bare, left_out, role, table, tests, this_program, until};
use rustix::fs::{
    FlockOperation, MemfdFlags, SealFlags, fcntl_add_seals, fcntl_lock, ftruncate, memfd_create,
};

use super::calls;
use super::unprivileged::{NOBODY, PublicCopy};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "spawning",
    tests: tests![
        spawn_keeps_record_lock_on_listed_file,
        child_gets_descriptor_under_same_number,
        spawn_fails_if_sigchld_is_ignored,
        process_without_streams_can_spawn,
        program_is_searched_in_default_path_without_path,
        program_search_skips_forbidden_files,
        huge_page_memory_is_not_shared_memory,
        traced_child_is_waited_for,
        forked_copy_can_spawn_children,
    ],
    roles: tests![
        reads_to_end_of_file,
        traces,
        has_children_to_kill,
        locks,
        takes_the_file,
        ignores_its_children,
        has_no_streams,
        finds_true,
        has_huge_pages
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
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    drop(child);
    assert_eq!(table::count(), before);
}

/// A path of a file that is removed on drop.
struct TempPath(PathBuf);

impl TempPath {
    fn new(what: &str) -> Self {
        Self(std::env::temp_dir().join(format!("handover-spawning-{what}-{}", std::process::id())))
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const IS_LOCKED: i32 = 3;

fn locks(arguments: &[String]) {
    let file = File::options().read(true).write(true).open(&arguments[0]).unwrap();
    if fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        std::process::exit(IS_LOCKED);
    }
}

/// Returns whether another process can lock the file. It uses std's `Command`, which doesn't touch the file.
fn another_can_lock(path: &Path) -> bool {
    let mut command = std::process::Command::new(this_program());
    let status = command.args(role("locks", &[path.to_str().unwrap()])).status().unwrap();
    match status.code() {
        Some(0) => true,
        Some(IS_LOCKED) => false,
        other => panic!("{other:?}"),
    }
}

fn takes_the_file(_: &[String]) {
    let mut file: File = handover::inherited().unwrap().take("f").unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "text");
}

fn spawn_keeps_record_lock_on_listed_file() {
    let path = TempPath::new("lock");
    std::fs::write(&path.0, "text").unwrap();
    let file = File::options().read(true).write(true).open(&path.0).unwrap();
    assert!(another_can_lock(&path.0), "the control");
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(!another_can_lock(&path.0));
    run_successfully(in_role("takes_the_file", &[]).inherit("f", &file));
    assert!(!another_can_lock(&path.0), "the spawn has taken the lock off");
    // A failed spawn keeps the lock, too.
    let missing = Command::new("/no/such/program").inherit("f", &file).spawn();
    assert!(matches!(missing, Err(Error::ProgramNotFound { .. })), "{missing:?}");
    let refused = Command::new(&path.0).inherit("f", &file).spawn();
    assert!(matches!(refused, Err(Error::CannotExecute { .. })), "{refused:?}");
    assert!(!another_can_lock(&path.0), "the error has taken the lock off");
    // The control: closing any descriptor of the file in this process releases the lock.
    drop(file.try_clone().unwrap());
    assert!(another_can_lock(&path.0));
}

fn child_gets_descriptor_under_same_number() {
    let (once, twice) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let before = table::count();
    let (program, arguments) = bare("never_ends");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.inherit("once", &once).inherit("twice", &twice).inherit("again", &twice);
    let mut child = command.spawn().unwrap();
    let given: Vec<u32> = child.inherited_handles().map(|(_, value)| value.get()).collect();
    assert_eq!(given[..2], [table::value(&once), table::value(&twice)]);
    assert!(!given[..2].contains(&given[2]), "{given:?}");
    until("the child has one descriptor", || table::values_of(&once, child.id()) == given[..1]);
    let mut both = given[1..].to_vec();
    both.sort_unstable();
    assert_eq!(table::values_of(&twice, child.id()), both);
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
    drop((child, command));
    assert_eq!(table::count(), before);
}

fn ignores_its_children(_: &[String]) {
    calls::ignore_children();
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let mut command = Command::new("true");
    match command.inherit("event", &event).stdin(Stdio::piped()).channel().spawn() {
        Err(error @ Error::InvalidInput { .. }) => assert!(error.to_string().contains("SIGCHLD"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before);
    assert_eq!(table::children_of(std::process::id()), []);
}

fn spawn_fails_if_sigchld_is_ignored() {
    run_successfully(&mut in_role("ignores_its_children", &[]));
}

fn has_no_streams(arguments: &[String]) {
    table::close_value(0);
    table::close_value(1);
    let before = table::count();
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"through").unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    drop(child);
    assert_eq!(table::count(), before);
    // The input is piped; the program has no standard output.
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    // The program may already have failed for lack of an output and exited.
    let _ = child.stdin.take().unwrap().write_all(b"to nobody");
    assert!(child.wait_timeout(SOON).is_ok());
    drop(child);
    assert_eq!(table::count(), before);
    // A file that can't be executed by any user.
    let file = File::create(&arguments[0]).unwrap();
    let with_file = table::count();
    let refused = Command::new(&arguments[0]).stdout(Stdio::from(file.try_clone().unwrap())).spawn();
    assert!(matches!(refused, Err(Error::CannotExecute { .. })), "{refused:?}");
    assert_eq!(file.metadata().unwrap().len(), 0, "an error message was written into the file");
    assert_eq!(table::count(), with_file);
    assert_eq!(table::children_of(std::process::id()), []);
}

fn process_without_streams_can_spawn() {
    let path = TempPath::new("streams");
    run_successfully(in_role("has_no_streams", &[path.0.to_str().unwrap()]).stdout(Stdio::null()));
}

fn program_is_searched_in_default_path_without_path() {
    let (mut cleared, mut removed) = (Command::new("no-such-program"), Command::new("no-such-program"));
    for command in [cleared.env_clear(), removed.env_remove("PATH")] {
        match command.spawn() {
            Err(Error::ProgramNotFound { searched, .. }) => {
                let expected = ["/bin/no-such-program", "/usr/bin/no-such-program"];
                assert_eq!(searched, expected.map(PathBuf::from));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The first folder of PATH contains a `true` that this user may not execute; the second one contains the real one.
fn finds_true(arguments: &[String]) {
    let status = Command::new("true").env("PATH", &arguments[0]).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

fn program_search_skips_forbidden_files() {
    use std::os::unix::fs::PermissionsExt;
    if handover::User::current().unwrap().uid() != 0 {
        left_out("only root can start a child as another user");
        return;
    }
    let public_copy = PublicCopy::new("passed-over");
    let forbidden = public_copy.folder().join("true");
    std::fs::write(&forbidden, "#!/bin/false\n").unwrap();
    std::fs::set_permissions(&forbidden, std::fs::Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:/usr/bin:/bin", public_copy.folder().display());
    let mut command = Command::new(public_copy.program());
    command.args(role("finds_true", &[&path])).stdin(Stdio::null()).uid(NOBODY).gid(NOBODY);
    run_successfully(&mut command);
    // The control: this user may execute it, and it fails.
    assert!(!Command::new("true").env("PATH", &path).status().unwrap().success());
}

fn has_huge_pages(_: &[String]) {
    let taken = handover::inherited().unwrap().take::<SharedMemory>("memory");
    assert!(matches!(taken, Err(Error::WrongKind { .. })), "{taken:?}");
}

fn huge_page_memory_is_not_shared_memory() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
    let memory = memfd_create("huge", flags).and_then(|memory| {
        ftruncate(&memory, 2 << 20)?;
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW)?;
        Ok(memory)
    });
    match memory {
        Ok(memory) => run_successfully(in_role("has_huge_pages", &[]).inherit("memory", &memory)),
        Err(error) => left_out(&format!("the kernel makes no memory of huge pages: {error}")),
    }
}

fn reads_to_end_of_file(_: &[String]) {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// The delay with which the debugger reaps the child.
const LATE: Duration = Duration::from_millis(500);

fn traces(arguments: &[String]) {
    let process = arguments[0].parse().unwrap();
    if !calls::attach_debugger(process) {
        print!("refused");
        return;
    }
    print!("looks");
    std::io::stdout().flush().unwrap();
    calls::reap_late(process, LATE);
}

fn traced_child_is_waited_for() {
    let before = table::count();
    let mut child = in_role("reads_to_end_of_file", &[]).stdin(Stdio::piped()).spawn().unwrap();
    let mut debugger = in_role("traces", &[&child.id().to_string()]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 5];
    debugger.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    if &said != b"looks" {
        return left_out("this user may not look at another process as a debugger does");
    }
    drop(child.stdin.take());
    // The child has exited, and its status isn't available yet.
    std::thread::sleep(LATE / 3);
    assert_eq!(child.try_wait().unwrap(), None);
    let early = child.wait_timeout(Duration::from_millis(20));
    assert!(matches!(early, Err(Error::TimedOut { .. })), "{early:?}");
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(0));
    assert_eq!(debugger.wait_timeout(SOON).unwrap().code(), Some(0));
    drop((child, debugger));
    assert_eq!(table::count(), before);
}

fn has_children_to_kill(_: &[String]) {
    let has_one = || {
        let mut command = in_role("reads_to_end_of_file", &[]);
        let child = command.kill_with_parent(true).spawn();
        child.and_then(|mut child| child.wait_timeout(SOON)).is_ok_and(|status| status.success())
    };
    assert!(has_one());
    let own = Process::current_identity().unwrap();
    let is_another = || {
        let copy = Process::current_identity().unwrap();
        copy != own && copy.id == std::process::id()
    };
    assert!(calls::in_fork(SOON, || has_one() && is_another()), "as a copy");
}

fn forked_copy_can_spawn_children() {
    run_successfully(&mut in_role("has_children_to_kill", &[]));
}
