//! What a process is between its making and its program, by each way to make one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use handover::inspect::{Audit, AuditedProcess};
use handover::{Command, Error, Event, Stdio, faults};
use handover_tests::{Suite, bare, left_out, role, table, tests, this_program};
use libc::{CLONE_PIDFD, CLONE_VFORK, CLONE_VM};

use super::calls;
use super::unprivileged::NOBODY;

const SOON: Duration = Duration::from_secs(20);

pub(super) const SUITE: Suite = Suite {
    name: "child_exec",
    tests: tests![
        each_way_to_make_a_process_does_the_same,
        a_filter_that_comes_later_is_seen,
        no_handler_runs_in_a_new_process,
        a_program_begins_with_the_signals_of_who_asks,
        other_threads_change_nothing_of_it,
        long_lists_of_arguments_arrive,
        another_user_is_never_lent_memory,
        who_spawns_can_be_traced,
    ],
    roles: tests![
        spawns_this_way,
        spawns_behind_a_filter,
        spawns_under_fire,
        has_signals,
        spawns_in_threads,
        spawns_as_nobody,
        spawns_for_a_tracer
    ],
};

const LENT: i32 = CLONE_PIDFD | CLONE_VM | CLONE_VFORK;

/// The ways, by what the system refuses, whether it copies memory without a word, and the flags that come of it.
const WAYS: [(i32, bool, i32); 5] = [
    (0, false, LENT),
    (0, true, CLONE_PIDFD),
    (CLONE_VM, false, CLONE_PIDFD),
    (CLONE_VFORK, false, CLONE_PIDFD),
    (CLONE_PIDFD, false, 0),
];

/// This program in a role, which ends well.
fn ends_well(name: &str, arguments: &[&str]) {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).kill_on_drop(true).process_group(0);
    let mut child = command.spawn().unwrap();
    let status = child.wait_timeout(SOON).unwrap();
    assert!(status.success(), "{name} {arguments:?}: {status}");
}

fn ends_at_once<'a>() -> Command<'a> {
    let (program, arguments) = bare("ends_at_once");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Makes this process one in which processes are made this way.
fn take_way(way: &str) -> i32 {
    let (refused, is_copied, flags) = WAYS[way.parse::<usize>().unwrap()];
    faults::let_flags_be_refused(refused);
    faults::let_memory_be_copied(is_copied);
    flags
}

fn in_each_way(name: &str) {
    for way in 0..WAYS.len() {
        ends_well(name, &[&way.to_string()]);
    }
}

fn spawns_this_way(arguments: &[String]) {
    let flags = take_way(&arguments[0]);
    let event = Event::manual_reset().unwrap();
    let mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let (before, mapped_before) = (table::count(), mapped());
    // The first can find out that it doesn't go on like this, and says what fails all the same.
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
    // Each spawn has a stack and its guard; the thread of `kill_with_parent` has some of its own.
    assert!(mapped() < mapped_before + 12, "{mapped_before} and {}", mapped());
}

/// The error is this one, and nothing is left.
fn fails(command: &mut Command<'_>, expected: &str, code: i32) {
    let before = table::count();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    match command.spawn() {
        Err(Error::System { call, source, .. }) => {
            assert_eq!((call, source.raw_os_error()), (expected, Some(code)));
        }
        other => panic!("{expected}: {other:?}"),
    }
    assert_eq!(table::count(), before);
    assert_eq!(table::children_of(std::process::id()), [], "{expected}");
}

fn each_way_to_make_a_process_does_the_same() {
    in_each_way("spawns_this_way");
}

fn spawns_behind_a_filter(_: &[String]) {
    for (refused, flags) in [(0, LENT), (CLONE_VM, CLONE_PIDFD), (CLONE_PIDFD, 0)] {
        faults::let_flags_be_refused(refused);
        assert!(ends_at_once().spawn().unwrap().wait_timeout(SOON).is_ok());
        assert_eq!(faults::used_flags(), flags);
        fails(&mut Command::new("/etc/passwd"), "execve", libc::EACCES);
    }
}

fn a_filter_that_comes_later_is_seen() {
    ends_well("spawns_behind_a_filter", &[]);
}

fn spawns_under_fire(_: &[String]) {
    calls::handle_usr1();
    let is_done = AtomicBool::new(false);
    let mut killed = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Relaxed) {
                calls::send_usr1_to_the_group();
                // On a busy machine, nothing else would be done.
                std::thread::sleep(Duration::from_micros(10));
            }
        });
        for _ in 0..2000 {
            // It is of this group, and does what it does by default: end.
            let mut child = ends_at_once().spawn().unwrap();
            killed += usize::from(child.wait_timeout(SOON).unwrap().code().is_none());
        }
        is_done.store(true, Relaxed);
    });
    let [here, elsewhere] = calls::handled();
    assert_eq!(elsewhere, 0, "beside {here} here");
    assert!(here > 1000 && killed > 100, "the control: {here} handled here, {killed} killed");
    assert_eq!(faults::used_flags(), LENT);
}

fn no_handler_runs_in_a_new_process() {
    ends_well("spawns_under_fire", &[]);
}

fn has_signals(arguments: &[String]) {
    take_way(&arguments[0]);
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
            // This program ignores SIGPIPE, as Rust's do.
            assert_eq!(
                set("SigIgn:") & (bit(libc::SIGHUP) | bit(libc::SIGPIPE)),
                bit(libc::SIGHUP),
                "{said}"
            );
            assert_eq!(set("SigCgt:"), 0, "{said}");
        }
    }
}

fn a_program_begins_with_the_signals_of_who_asks() {
    in_each_way("has_signals");
}

/// Several threads spawn, while others change what a careless new process would look at.
fn spawns_in_threads(arguments: &[String]) {
    const EACH: usize = 60;
    take_way(&arguments[0]);
    assert!(ends_at_once().status().is_ok());
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

fn other_threads_change_nothing_of_it() {
    in_each_way("spawns_in_threads");
}

fn long_lists_of_arguments_arrive() {
    // In all less than 2 MiB, which is what usually fits.
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
    take_way(&arguments[0]);
    for change in [Command::uid, Command::gid] {
        assert!(Command::new("true").status().unwrap().success());
        assert!(change(&mut Command::new("true"), NOBODY).status().unwrap().success());
        assert_eq!(faults::used_flags() & CLONE_VM, 0);
        // The kernel would note it of the memory, which is this process's too.
        assert!(calls::can_be_looked_at());
    }
    fails(Command::new("/etc/shadow").uid(NOBODY), "execve", libc::EACCES);
    assert!(calls::can_be_looked_at());
}

fn another_user_is_never_lent_memory() {
    if handover::User::current().unwrap().uid() != 0 {
        return left_out("only root can start a child as another user");
    }
    in_each_way("spawns_as_nobody");
}

fn spawns_for_a_tracer(arguments: &[String]) {
    take_way(&arguments[0]);
    for with_parent in [false, true] {
        for _ in 0..5 {
            let mut command = Command::new("true");
            assert!(command.kill_with_parent(with_parent).status().unwrap().success());
        }
        fails(Command::new("/etc/passwd").kill_with_parent(with_parent), "execve", libc::EACCES);
    }
}

fn who_spawns_can_be_traced() {
    for way in 0..WAYS.len() {
        let mut command = std::process::Command::new(this_program());
        command.args(role("spawns_for_a_tracer", &[&way.to_string()]));
        let audit = match Audit::new(command).run(SOON) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                return left_out(&format!("nobody may trace here: {error}"));
            }
            other => other.unwrap(),
        };
        assert!(audit.status.success());
        let is_true =
            |program: &AuditedProcess| program.program.as_ref().is_ok_and(|file| file.ends_with("true"));
        assert_eq!(audit.processes.iter().filter(|started| is_true(started)).count(), 10);
        assert!(audit.is_clean(), "{audit}");
    }
}
