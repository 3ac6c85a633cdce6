//! Tests of a new process between its creation and `execve`, for each way to create it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use handover::inspect::{Audit, AuditedProcess};
use handover::{Command, Error, Event, Stdio, faults};
use handover_tests::{Suite, bare, left_out, role, table, tests, this_program};

use super::calls;
use super::unprivileged::NOBODY;

const SOON: Duration = Duration::from_secs(20);

pub(super) const SUITE: Suite = Suite {
    name: "child_exec",
    tests: tests![
        each_way_to_create_a_process_behaves_the_same,
        spawn_adapts_to_later_seccomp_filter,
        no_signal_handler_runs_in_new_process,
        program_starts_with_callers_signal_mask,
        concurrent_threads_do_not_affect_spawns,
        long_argument_lists_arrive,
        memory_is_not_shared_with_child_of_another_user,
        spawning_process_can_be_traced,
    ],
    roles: tests![
        spawns_this_way,
        spawns_behind_a_filter,
        spawns_under_signals,
        has_signals,
        spawns_in_threads,
        spawns_as_nobody,
        spawns_for_a_tracer
    ],
};

const CLONE_VM: u64 = libc::CLONE_VM as u64;
const CLONE_VFORK: u64 = libc::CLONE_VFORK as u64;
const CLONE_PIDFD: u64 = libc::CLONE_PIDFD as u64;
/// The flag that only `clone3` knows.
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;

const LENT: u64 = CLONE_PIDFD | CLONE_VM | CLONE_VFORK;
/// The flags where the system refuses none of them. Only on x86-64 the library calls `clone3`.
const BEST: u64 = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    LENT | CLONE_CLEAR_SIGHAND
} else {
    LENT
};

/// The ways to create a process: the `clone` flags that the system refuses, whether it silently copies memory, and the
/// flags that are then used.
const WAYS: [(u64, bool, u64); 6] = [
    (0, false, BEST),
    (CLONE_CLEAR_SIGHAND, false, LENT),
    (0, true, CLONE_PIDFD),
    (CLONE_VM, false, CLONE_PIDFD),
    (CLONE_VFORK, false, CLONE_PIDFD),
    (CLONE_PIDFD, false, 0),
];

/// Runs this program in a role, and asserts that it succeeds.
fn run_role(name: &str, arguments: &[&str]) {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).kill_on_drop(true).process_group(0);
    let mut child = command.spawn().unwrap();
    let status = child.wait_timeout(SOON).unwrap();
    assert_eq!(status.code(), Some(0), "{name} {arguments:?}: {status}");
}

fn exits_at_once<'a>() -> Command<'a> {
    let (program, arguments) = bare("ends_at_once");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Makes this process create processes in the given way, and returns the expected flags.
fn use_way(way: &str) -> u64 {
    let (refused, is_copied, flags) = WAYS[way.parse::<usize>().unwrap()];
    faults::let_flags_be_refused(refused);
    faults::let_memory_be_copied(is_copied);
    flags
}

fn in_each_way(name: &str) {
    for way in 0..WAYS.len() {
        run_role(name, &[&way.to_string()]);
    }
}

fn spawns_this_way(arguments: &[String]) {
    let flags = use_way(&arguments[0]);
    let event = Event::manual_reset().unwrap();
    let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let (before, mapped_before) = (table::count(), mapped());
    // The first spawn may detect that memory is copied, and still reports what failed.
    fails(&mut Command::new("/etc/passwd"), "execve", libc::EACCES);
    for _ in 0..3 {
        for with_parent in [false, true] {
            let mut command = Command::new("sh");
            command.args(["-c", "read line; echo \"$0 $line in $PWD as $HANDOVER_INHERITED\"; exit 7", "it"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir("/").inherit("event", &event);
            let mut child = command.kill_with_parent(with_parent).spawn().unwrap();
            assert_eq!(faults::used_flags(), flags);
            std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"reads\n").unwrap();
            let (id, output) = (child.id(), child.wait_with_output().unwrap());
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.starts_with("it reads in / as"), "{said}");
            assert!(said.contains(&format!(" {id:010} ")), "{said} isn't for {id}");
            assert_eq!(output.status.code(), Some(7));
        }
        fails(&mut Command::new("/etc/passwd"), "execve", libc::EACCES);
        fails(Command::new("true").current_dir("/no/such/folder"), "chdir", libc::ENOENT);
        fails(Command::new("true").current_dir("/etc/passwd"), "chdir", libc::ENOTDIR);
        fails(Command::new("true").process_group(i32::MAX), "setpgid", libc::EPERM);
        fails(Command::new("true").uid(u32::MAX), "setuid", libc::EINVAL);
        fails(Command::new("true").gid(u32::MAX), "setgid", libc::EINVAL);
        fails(Command::new("/etc/passwd").kill_with_parent(true), "execve", libc::EACCES);
    }
    assert_eq!(table::count(), before);
    // Each spawn maps a stack and its guard page; the thread of `kill_with_parent` has its own.
    assert!(mapped() < mapped_before + 12, "{mapped_before} and {}", mapped());
}

/// Asserts that a spawn fails with this call and error code, and leaves nothing behind.
fn fails(command: &mut Command<'_>, expected: &str, code: i32) {
    let before = table::count();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    match command.spawn() {
        Err(Error::System { call, source, .. }) => {
            assert_eq!((call, source.raw_os_error()), (expected, Some(code)));
        }
        // The answer of `execve` about the program's file.
        Err(Error::CannotExecute { source, .. }) => {
            assert_eq!(("execve", source.raw_os_error()), (expected, Some(code)));
        }
        other => panic!("{expected}: {other:?}"),
    }
    assert_eq!(table::count(), before);
    assert_eq!(table::children_of(std::process::id()), [], "{expected}");
}

fn each_way_to_create_a_process_behaves_the_same() {
    in_each_way("spawns_this_way");
}

fn spawns_behind_a_filter(_: &[String]) {
    for (refused, flags) in
        [(0, BEST), (CLONE_CLEAR_SIGHAND, LENT), (CLONE_VM, CLONE_PIDFD), (CLONE_PIDFD, 0)]
    {
        faults::let_flags_be_refused(refused);
        assert!(exits_at_once().spawn().unwrap().wait_timeout(SOON).is_ok());
        assert_eq!(faults::used_flags(), flags);
        fails(&mut Command::new("/etc/passwd"), "execve", libc::EACCES);
    }
}

fn spawn_adapts_to_later_seccomp_filter() {
    run_role("spawns_behind_a_filter", &[]);
}

fn spawns_under_signals(arguments: &[String]) {
    let flags = use_way(&arguments[0]);
    calls::handle_usr1();
    let is_done = AtomicBool::new(false);
    let mut killed = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Relaxed) {
                calls::send_usr1_to_the_group();
                // Without a pause, nothing else would run on a busy machine.
                std::thread::sleep(Duration::from_micros(10));
            }
        });
        for _ in 0..2000 {
            // The child is in this process group; SIGUSR1 has its default action in it, and kills it.
            let mut child = exits_at_once().spawn().unwrap();
            killed += usize::from(child.wait_timeout(SOON).unwrap().code().is_none());
        }
        is_done.store(true, Relaxed);
    });
    let [here, elsewhere] = calls::handled();
    assert_eq!(elsewhere, 0, "and {here} in this process");
    assert!(here > 1000 && killed > 100, "the control: {here} handled here, {killed} killed");
    assert_eq!(faults::used_flags(), flags);
}

fn no_signal_handler_runs_in_new_process() {
    // Both ways with shared memory, in which a handler of a new process would be seen.
    for way in ["0", "1"] {
        run_role("spawns_under_signals", &[way]);
    }
}

fn has_signals(arguments: &[String]) {
    use_way(&arguments[0]);
    calls::handle_usr1();
    calls::ignore_hup();
    for blocks in [false, true] {
        if blocks {
            calls::block_term();
        }
        for with_parent in [false, true] {
            let mut command = Command::new("cat");
            command.arg("/proc/self/status").kill_with_parent(with_parent);
            let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
            let set = |name: &str| {
                let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                u64::from_str_radix(line.trim(), 16).unwrap()
            };
            let bit = |signal: i32| 1_u64 << (signal - 1);
            assert_eq!(set("SigBlk:") & bit(libc::SIGTERM) != 0, blocks, "{said}");
            assert_eq!(set("SigBlk:") & !bit(libc::SIGTERM), 0, "{said}");
            // This program ignores SIGPIPE, as all Rust programs do.
            assert_eq!(
                set("SigIgn:") & (bit(libc::SIGHUP) | bit(libc::SIGPIPE)),
                bit(libc::SIGHUP),
                "{said}"
            );
            assert_eq!(set("SigCgt:"), 0, "{said}");
        }
    }
}

fn program_starts_with_callers_signal_mask() {
    in_each_way("has_signals");
}

/// Spawns on several threads, while another thread changes the environment and the heap, which a careless child could
/// see.
fn spawns_in_threads(arguments: &[String]) {
    const EACH: usize = 60;
    use_way(&arguments[0]);
    assert!(exits_at_once().status().is_ok());
    let before = table::count();
    let left = AtomicUsize::new(3 * EACH);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let left = &left;
            scope.spawn(move || {
                for number in 0..EACH {
                    let said = format!("{thread} says {number}");
                    let mut command = Command::new("sh");
                    command.args(["-c", "echo \"$0; $OWN\"", &said]).env("OWN", &said);
                    let output = command.kill_with_parent(number % 4 == 0).output().unwrap();
                    left.fetch_sub(1, Relaxed);
                    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{said}; {said}\n"));
                }
            });
        }
        scope.spawn(|| {
            for number in 0_usize.. {
                if left.load(Relaxed) == 0 {
                    break;
                }
                calls::set_variable(&format!("CHANGES{}", number % 10), &"x".repeat(number % 3000));
                drop(vec![number; number % 30_000]);
            }
        });
    });
    assert_eq!(table::count(), before);
    assert_eq!(table::children_of(std::process::id()), []);
}

fn concurrent_threads_do_not_affect_spawns() {
    in_each_way("spawns_in_threads");
}

fn long_argument_lists_arrive() {
    // The total is below the usual limit of 2 MiB.
    let long = "x".repeat(100_000);
    let mut command = Command::new("printf");
    command.arg("%s").args([long.as_str(); 12]).env("LONG", &long);
    assert_eq!(command.output().unwrap().stdout.len(), 12 * long.len());
    let mut command = Command::new("sh");
    command.args(["-c", "echo $#"]).args((0..50_000).map(|number| number.to_string()));
    assert_eq!(command.output().unwrap().stdout, b"49999\n");
    let mut command = Command::new("true");
    command.args([long.as_str(); 100]);
    fails(&mut command, "execve", libc::E2BIG);
}

fn spawns_as_nobody(arguments: &[String]) {
    use_way(&arguments[0]);
    for change in [Command::uid, Command::gid] {
        assert_eq!(Command::new("true").status().unwrap().code(), Some(0));
        assert_eq!(change(&mut Command::new("true"), NOBODY).status().unwrap().code(), Some(0));
        assert_eq!(faults::used_flags() & CLONE_VM, 0);
        // The kernel would make the memory undumpable, which this process would share.
        assert!(calls::is_dumpable());
    }
    fails(Command::new("/etc/shadow").uid(NOBODY), "execve", libc::EACCES);
    assert!(calls::is_dumpable());
}

fn memory_is_not_shared_with_child_of_another_user() {
    if handover::User::current().unwrap().uid() != 0 {
        return left_out("only root can start a child as another user");
    }
    in_each_way("spawns_as_nobody");
}

fn spawns_for_a_tracer(arguments: &[String]) {
    use_way(&arguments[0]);
    for with_parent in [false, true] {
        for _ in 0..5 {
            let mut command = Command::new("true");
            assert_eq!(command.kill_with_parent(with_parent).status().unwrap().code(), Some(0));
        }
        fails(Command::new("/etc/passwd").kill_with_parent(with_parent), "execve", libc::EACCES);
    }
}

fn spawning_process_can_be_traced() {
    for way in 0..WAYS.len() {
        let mut command = std::process::Command::new(this_program());
        command.args(role("spawns_for_a_tracer", &[&way.to_string()]));
        let audit = match Audit::new(command).run(SOON) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                return left_out(&format!("tracing is not permitted: {error}"));
            }
            other => other.unwrap(),
        };
        assert_eq!(audit.status.code(), Some(0));
        let is_true =
            |program: &AuditedProcess| program.program.as_ref().is_ok_and(|file| file.ends_with("true"));
        assert_eq!(audit.processes.iter().filter(|started| is_true(started)).count(), 10);
        assert!(audit.is_clean(), "{audit}");
    }
}
