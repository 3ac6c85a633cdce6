//! Children that are killed with their parent, and many at once.

use std::io::{BufRead, BufReader, Read};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use handover::{Child, Command, Event, Stdio};
use handover_tests::{bare, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            a_child_to_be_killed_with_its_parent_is,
            a_child_that_is_not_to_be_killed_with_its_parent_lives_on,
            two_threads_hand_down_one_handle_500_times_each,
            eight_threads_have_private_pipes,
            the_callers_handle_is_not_inheritable_for_a_moment,
        ],
        tests![sleeps, spawns_and_sleeps, echoes_to_the_end],
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

/// Spawns a child in the way that the argument says, says its id, and lives on until it is killed.
fn spawns_and_sleeps(arguments: &[String]) {
    let mut command = Command::new(this_program());
    command.args(role("sleeps", &[])).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let id = match arguments[0].as_str() {
        "plain" => command.spawn().unwrap().id(),
        "with parent" => command.kill_with_parent(true).spawn().unwrap().id(),
        "with parent, sealed" => command.kill_with_parent(true).race_free().spawn().unwrap().id(),
        "sealed" => command.race_free().spawn().unwrap().id(),
        other => panic!("{other}"),
    };
    println!("{id}");
    std::thread::sleep(Duration::from_secs(60));
}

/// Lets a parent spawn in this way, kills it, and returns the child's id.
fn orphaned(way: &str) -> u32 {
    let mut parent = in_role("spawns_and_sleeps", &[way]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let child = line.trim().parse().unwrap_or_else(|_| panic!("{way}: {line:?}"));
    assert!(!table::ends_within(child, 200), "{way}: it ended before its parent");
    parent.kill().unwrap();
    parent.wait_timeout(SOON).unwrap();
    child
}

fn a_child_to_be_killed_with_its_parent_is() {
    for way in ["with parent", "with parent, sealed"] {
        assert!(table::ends_within(orphaned(way), 5000), "{way}");
    }
}

fn a_child_that_is_not_to_be_killed_with_its_parent_lives_on() {
    for way in ["plain", "sealed"] {
        let child = orphaned(way);
        assert!(!table::ends_within(child, 500), "{way}");
        table::kill(child);
    }
}

fn two_threads_hand_down_one_handle_500_times_each() {
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

fn echoes_to_the_end(_: &[String]) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
}

fn eight_threads_have_private_pipes() {
    // All children run at once, and each thread closes its pipe at a time of its own: if a pipe had come to a
    // stranger's child too, its reader would not see the end before that child ends.
    let started = Instant::now();
    let children: Vec<(Child, usize)> = std::thread::scope(|scope| {
        let spawn = |thread: usize| {
            move || {
                let mut child = in_role("echoes_to_the_end", &[])
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
    // Of the parent's ends, no child has any.
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
        assert!(closed.elapsed() < Duration::from_secs(3), "the end came after {:?}", closed.elapsed());
        assert!(child.wait_timeout(SOON).unwrap().success());
    }
    assert!(started.elapsed() < SOON);
}

fn the_callers_handle_is_not_inheritable_for_a_moment() {
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
        for sealed in [false, true] {
            for _ in 0..100 {
                command.spawn().unwrap().wait_timeout(SOON).unwrap();
            }
            if !sealed {
                command.race_free();
            }
        }
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    assert!(looks > 1000, "{looks}");
}
