//! Tests of children that are killed with their parent, and of concurrent spawns.

use std::io::{BufRead, BufReader, Read};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use handover::{Child, Command, Event, Stdio};
use handover_tests::{bare, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            kill_with_parent_kills_child,
            child_outlives_killed_parent_by_default,
            two_threads_pass_one_handle_500_times_each,
            concurrent_spawns_do_not_leak_pipes,
            callers_handle_is_never_inheritable,
        ],
        tests![sleeps, spawns_and_sleeps, echoes_to_end_of_file],
    )
}

fn in_role<'a>(name: &str, arguments: &[&str]) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).kill_on_drop(true);
    command
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(60));
}

/// Spawns a child as the argument says, prints its id, and sleeps until it is killed.
fn spawns_and_sleeps(arguments: &[String]) {
    let mut command = Command::new(this_program());
    command.args(role("sleeps", &[])).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let id = match arguments[0].as_str() {
        "plain" => command.spawn().unwrap().id(),
        "with parent" => command.kill_with_parent(true).spawn().unwrap().id(),
        "with parent, race-free" => command.kill_with_parent(true).race_free().spawn().unwrap().id(),
        "race-free" => command.race_free().spawn().unwrap().id(),
        other => panic!("{other}"),
    };
    println!("{id}");
    std::thread::sleep(Duration::from_secs(60));
}

/// Starts a parent that spawns a child in this way, kills the parent, and returns the child's id.
fn orphaned(way: &str) -> u32 {
    let mut parent = in_role("spawns_and_sleeps", &[way]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let child = line.trim().parse().unwrap_or_else(|_| panic!("{way}: {line:?}"));
    assert!(!table::ends_within(child, 200), "{way}: the child exited before its parent");
    parent.kill().unwrap();
    parent.wait_timeout(SOON).unwrap();
    child
}

fn kill_with_parent_kills_child() {
    for way in ["with parent", "with parent, race-free"] {
        assert!(table::ends_within(orphaned(way), 5000), "{way}");
    }
}

fn child_outlives_killed_parent_by_default() {
    for way in ["plain", "race-free"] {
        let child = orphaned(way);
        assert!(!table::ends_within(child, 500), "{way}");
        table::kill(child);
    }
}

fn two_threads_pass_one_handle_500_times_each() {
    let event = Event::manual_reset().unwrap();
    let (program, arguments) = bare("ends_at_once");
    let spawn = || {
        let mut command = Command::new(&program);
        command.args(&arguments);
        command.inherit("event", &event).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        for number in 0..500 {
            let mut child = command.spawn().unwrap_or_else(|error| panic!("spawn {number}: {error}"));
            assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(9));
            assert!(!table::is_inheritable(&event));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(spawn);
        scope.spawn(spawn);
    });
}

fn echoes_to_end_of_file(_: &[String]) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
}

fn concurrent_spawns_do_not_leak_pipes() {
    // All children run at the same time, and each thread closes its pipe at a different time. If a pipe had leaked into
    // another child, its reader would not see end of file before that child exits.
    let started = Instant::now();
    let children: Vec<(Child, usize)> = std::thread::scope(|scope| {
        let spawn = |thread: usize| {
            move || {
                let mut child = in_role("echoes_to_end_of_file", &[])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                std::io::Write::write_all(child.stdin.as_mut().unwrap(), thread.to_string().as_bytes())
                    .unwrap();
                (child, thread)
            }
        };
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(spawn(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // No child has the parent's side of any pipe.
    for (child, _) in &children {
        for (other, _) in &children {
            assert_eq!(table::values_of(other.stdin.as_ref().unwrap(), child.id()), []);
            assert_eq!(table::values_of(other.stdout.as_ref().unwrap(), child.id()), []);
        }
    }
    for (mut child, thread) in children {
        let closed = Instant::now();
        drop(child.stdin.take());
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, thread.to_string());
        assert!(closed.elapsed() < Duration::from_secs(3), "end of file came after {:?}", closed.elapsed());
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    }
    assert!(started.elapsed() < SOON);
}

fn callers_handle_is_never_inheritable() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let event = Event::manual_reset().unwrap();
    let done = AtomicBool::new(false);
    let looks = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut looks = 0_u64;
            while !done.load(Ordering::Relaxed) {
                assert!(!table::is_inheritable(&event), "after {looks} looks");
                looks += 1;
            }
            looks
        });
        let (program, arguments) = bare("ends_at_once");
        let mut command = Command::new(program);
        command.args(arguments);
        command.inherit("event", &event).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        for race_free in [false, true] {
            for _ in 0..100 {
                command.spawn().unwrap().wait_timeout(SOON).unwrap();
            }
            if !race_free {
                command.race_free();
            }
        }
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    assert!(looks > 1000, "{looks}");
}
