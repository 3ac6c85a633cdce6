//! What a spawn leaves alone in this process, and what it needs of it.

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
use super::unprivileged::{Everybodys, NOBODY};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "spawning",
    tests: tests![
        a_record_lock_outlives_a_spawn_that_lists_the_file,
        a_child_has_an_object_under_the_number_that_it_has_here,
        a_process_that_ignores_its_children_is_told_so,
        a_process_without_streams_can_spawn,
        a_program_is_looked_for_where_the_child_would,
        what_this_user_may_not_start_is_passed_over,
        memory_of_huge_pages_is_no_section,
        a_child_that_is_looked_at_is_waited_for,
        a_copy_of_this_process_has_children_of_its_own,
    ],
    roles: tests![
        reads_to_the_end,
        looks,
        has_kept_children,
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

fn ends_well(command: &mut Command<'_>) {
    let before = table::count();
    let mut child = command.spawn().unwrap();
    assert!(child.wait_timeout(SOON).unwrap().success());
    drop(child);
    assert_eq!(table::count(), before);
}

/// A path for a file, gone with the test.
struct Gone(PathBuf);

impl Gone {
    fn new(what: &str) -> Self {
        Self(std::env::temp_dir().join(format!("handover-spawning-{what}-{}", std::process::id())))
    }
}

impl Drop for Gone {
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

/// Whether another process can lock the file. Asked with std's builder, which doesn't know of the file.
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

fn a_record_lock_outlives_a_spawn_that_lists_the_file() {
    let path = Gone::new("lock");
    std::fs::write(&path.0, "text").unwrap();
    let file = File::options().read(true).write(true).open(&path.0).unwrap();
    assert!(another_can_lock(&path.0), "the control");
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(!another_can_lock(&path.0));
    ends_well(in_role("takes_the_file", &[]).inherit("f", &file));
    assert!(!another_can_lock(&path.0), "the spawn has taken the lock off");
    // An error leaves it on too.
    let missing = Command::new("/no/such/program").inherit("f", &file).spawn();
    assert!(matches!(missing, Err(Error::ProgramNotFound { .. })), "{missing:?}");
    let refused = Command::new(&path.0).inherit("f", &file).spawn();
    assert!(matches!(refused, Err(Error::System { .. })), "{refused:?}");
    assert!(!another_can_lock(&path.0), "the error has taken the lock off");
    // The control: any descriptor of the file that is closed here takes it off.
    drop(file.try_clone().unwrap());
    assert!(another_can_lock(&path.0));
}

fn a_child_has_an_object_under_the_number_that_it_has_here() {
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
    until("the child has it once", || table::values_of(&once, child.id()) == given[..1]);
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

fn a_process_that_ignores_its_children_is_told_so() {
    ends_well(&mut in_role("ignores_its_children", &[]));
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
    assert!(child.wait_timeout(SOON).unwrap().success());
    drop(child);
    assert_eq!(table::count(), before);
    // An input alone, and the program's output goes nowhere.
    let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    // It may have found out already that it has no output, and gone.
    let _ = child.stdin.take().unwrap().write_all(b"to nobody");
    assert!(child.wait_timeout(SOON).is_ok());
    drop(child);
    assert_eq!(table::count(), before);
    // What can't be started, because nobody may.
    let file = File::create(&arguments[0]).unwrap();
    let with_file = table::count();
    let refused = Command::new(&arguments[0]).stdout(Stdio::from(file.try_clone().unwrap())).spawn();
    assert!(matches!(refused, Err(Error::System { .. })), "{refused:?}");
    assert_eq!(file.metadata().unwrap().len(), 0, "why it failed was written into the file");
    assert_eq!(table::count(), with_file);
    assert_eq!(table::children_of(std::process::id()), []);
}

fn a_process_without_streams_can_spawn() {
    let path = Gone::new("streams");
    ends_well(in_role("has_no_streams", &[path.0.to_str().unwrap()]).stdout(Stdio::null()));
}

fn a_program_is_looked_for_where_the_child_would() {
    let (mut cleared, mut removed) = (Command::new("no-such-program"), Command::new("no-such-program"));
    for command in [cleared.env_clear(), removed.env_remove("PATH")] {
        match command.spawn() {
            Err(Error::ProgramNotFound { searched: looked_at, .. }) => {
                let expected = ["/bin/no-such-program", "/usr/bin/no-such-program"];
                assert_eq!(looked_at, expected.map(PathBuf::from));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// There is a program in the first folder that this user may not start, and one in the second.
fn finds_true(arguments: &[String]) {
    let status = Command::new("true").env("PATH", &arguments[0]).status().unwrap();
    assert!(status.success());
}

fn what_this_user_may_not_start_is_passed_over() {
    use std::os::unix::fs::PermissionsExt;
    if handover::User::current().unwrap().uid() != 0 {
        left_out("only root can start a child as another user");
        return;
    }
    let everybodys = Everybodys::new("passed-over");
    let forbidden = everybodys.folder().join("true");
    std::fs::write(&forbidden, "#!/bin/false\n").unwrap();
    std::fs::set_permissions(&forbidden, std::fs::Permissions::from_mode(0o700)).unwrap();
    let path = format!("{}:/usr/bin:/bin", everybodys.folder().display());
    let mut command = Command::new(everybodys.program());
    command.args(role("finds_true", &[&path])).stdin(Stdio::null()).uid(NOBODY).gid(NOBODY);
    ends_well(&mut command);
    // The control: this user may.
    assert!(!Command::new("true").env("PATH", &path).status().unwrap().success());
}

fn has_huge_pages(_: &[String]) {
    let taken = handover::inherited().unwrap().take::<SharedMemory>("memory");
    assert!(matches!(taken, Err(Error::WrongKind { .. })), "{taken:?}");
}

fn memory_of_huge_pages_is_no_section() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
    let memory = memfd_create("huge", flags).and_then(|memory| {
        ftruncate(&memory, 2 << 20)?;
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW)?;
        Ok(memory)
    });
    match memory {
        Ok(memory) => ends_well(in_role("has_huge_pages", &[]).inherit("memory", &memory)),
        Err(error) => left_out(&format!("the kernel makes no memory of huge pages: {error}")),
    }
}

fn reads_to_the_end(_: &[String]) {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// How late a debugger hears of the end.
const LATE: Duration = Duration::from_millis(500);

fn looks(arguments: &[String]) {
    let process = arguments[0].parse().unwrap();
    if !calls::look_at(process) {
        print!("refused");
        return;
    }
    print!("looks");
    std::io::stdout().flush().unwrap();
    calls::hear_late(process, LATE);
}

fn a_child_that_is_looked_at_is_waited_for() {
    let before = table::count();
    let mut child = in_role("reads_to_the_end", &[]).stdin(Stdio::piped()).spawn().unwrap();
    let mut debugger = in_role("looks", &[&child.id().to_string()]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 5];
    debugger.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    if &said != b"looks" {
        return left_out("this user may not look at another process as a debugger does");
    }
    drop(child.stdin.take());
    // It has ended, and how isn't known yet.
    std::thread::sleep(LATE / 3);
    assert_eq!(child.try_wait().unwrap(), None);
    let early = child.wait_timeout(Duration::from_millis(20));
    assert!(matches!(early, Err(Error::TimedOut { .. })), "{early:?}");
    assert!(child.wait_timeout(SOON).unwrap().success());
    assert!(child.try_wait().unwrap().unwrap().success());
    assert!(debugger.wait_timeout(SOON).unwrap().success());
    drop((child, debugger));
    assert_eq!(table::count(), before);
}

fn has_kept_children(_: &[String]) {
    let has_one = || {
        let mut command = in_role("reads_to_the_end", &[]);
        let child = command.kill_with_parent(true).spawn();
        child.and_then(|mut child| child.wait_timeout(SOON)).is_ok_and(|status| status.success())
    };
    assert!(has_one());
    let own = Process::current_identity().unwrap();
    let is_another = || {
        let copy = Process::current_identity().unwrap();
        copy != own && copy.id == std::process::id()
    };
    assert!(calls::in_a_copy(SOON, || has_one() && is_another()), "as a copy");
}

fn a_copy_of_this_process_has_children_of_its_own() {
    ends_well(&mut in_role("has_kept_children", &[]));
}
