//! Tests of race-free spawns, in which this process never has an inheritable handle.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use handover::{Command, Event, Stdio};
use handover_tests::{Suite, foreign, role, run, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(20);

pub(super) const SUITE: Suite = Suite {
    name: "race_free",
    tests: tests![
        race_free_spawns_leak_nothing_into_other_children,
        helper_is_reused_and_replaced_if_killed,
        helper_exits_with_its_process,
        spawns_leave_no_handles_in_helper,
        helper_starts_after_the_program_was_renamed,
    ],
    roles: tests![sets_ready, sleeps, spawns_race_free_and_sleeps, renames_itself],
};

fn in_role<'a>(name: &str) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).kill_on_drop(true).race_free();
    command
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(60));
}

fn sets_ready(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    assert_eq!(handover::leaked_handles().unwrap(), []);
    inherited.take::<Event>("ready").unwrap().set().unwrap();
}

/// Returns the number of events that leak into a process that inherits all inheritable handles.
fn caught() -> usize {
    let no_arguments: [&str; 0] = [];
    run(&foreign("inherits_all"), no_arguments, SOON).expect_code(0).out.trim().parse().unwrap()
}

fn race_free_spawns_leak_nothing_into_other_children() {
    // Many objects make the time long in which an ordinary spawn has inheritable handles in this process.
    let events: Vec<Event> = (0..60).map(|_| Event::manual_reset().unwrap()).collect();
    let program = foreign("ends_at_once");
    let caught_beside = |race_free: bool, spawns: usize| {
        let (stop, total, looks) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    total.fetch_add(caught(), Ordering::Relaxed);
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
            let mut command = Command::new(&program);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if race_free {
                command.race_free();
            }
            for (number, event) in events.iter().enumerate() {
                command.inherit(number.to_string(), event);
            }
            for _ in 0..spawns {
                command.spawn().unwrap().wait_timeout(SOON).unwrap();
                if !race_free && total.load(Ordering::Relaxed) > 0 {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        println!("race-free: {race_free}, caught: {total:?}, looks: {looks:?}");
        (total.into_inner(), looks.into_inner())
    };
    let (total, _) = caught_beside(false, 2000);
    assert!(total > 0, "the control: nothing of an unsealed spawn was caught in 2000");
    let (total, looks) = caught_beside(true, 60);
    assert_eq!(total, 0);
    assert!(looks > 10, "the foreign spawner has looked {looks} times");
}

fn helper() -> u32 {
    let this = std::process::id();
    // The children of race-free spawns are the helper's children, so the helper is this process's only child.
    let children = table::children_of(this);
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

fn helper_is_reused_and_replaced_if_killed() {
    let ready = Event::manual_reset().unwrap();
    let mut command = in_role("sets_ready");
    command.inherit("ready", &ready);
    assert_eq!(table::children_of(std::process::id()), []);
    let spawn = |command: &mut Command<'_>| {
        assert_eq!(command.spawn().unwrap().wait_timeout(SOON).unwrap().code(), Some(0));
    };
    spawn(&mut command);
    let first = helper();
    let handles = table::of(first).len();
    assert!(handles < 8, "the helper has {handles} handles");
    spawn(&mut command);
    assert_eq!(helper(), first);
    let before = table::count();
    table::kill(first);
    // The killed helper may still be exiting.
    spawn(&mut command);
    assert_ne!(helper(), first);
    until("the helper has exited", || table::ends_within(first, 0));
    assert_eq!(table::count(), before, "the old helper's handles are closed");
}

fn spawns_race_free_and_sleeps(_: &[String]) {
    let mut child = in_role("sleeps");
    let _child = child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    println!("{}", helper());
    std::thread::sleep(Duration::from_secs(60));
}

fn helper_exits_with_its_process() {
    use std::io::{BufRead, BufReader};
    let mut parent = std::process::Command::new(this_program())
        .args(role("spawns_race_free_and_sleeps", &[]))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let helper: u32 = line.trim().parse().unwrap();
    assert!(!table::ends_within(helper, 200));
    let children = table::children_of(helper);
    assert_eq!(children.len(), 1, "the child's parent is the helper");
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(table::ends_within(helper, 5000));
    table::kill(children[0]);
}

fn spawns_leave_no_handles_in_helper() {
    let events: Vec<Event> = (0..20).map(|_| Event::manual_reset().unwrap()).collect();
    let mut command = in_role("sleeps");
    for (number, event) in events.iter().enumerate() {
        command.inherit(number.to_string(), event);
    }
    drop(command.spawn().unwrap());
    let helper = helper();
    let (here, there) = (table::count(), table::of(helper).len());
    for _ in 0..10 {
        drop(command.stdin(Stdio::piped()).spawn().unwrap());
        assert!(command.arg_handle("{missing}").spawn().is_err());
        command = in_role("sleeps");
        for (number, event) in events.iter().enumerate() {
            command.inherit(number.to_string(), event);
        }
    }
    assert_eq!((table::count(), table::of(helper).len()), (here, there));
    assert!(events.iter().all(|event| table::values_of(event, helper).is_empty()));
}

/// Does what an updater does: moves its own file away while it runs.
fn renames_itself(arguments: &[String]) {
    let file = std::env::current_exe().unwrap();
    std::fs::rename(&file, file.with_extension("old")).unwrap();
    let ready = Event::manual_reset().unwrap();
    let mut command = Command::new(&arguments[0]);
    command.args(role("sets_ready", &[])).race_free().inherit("ready", &ready);
    assert!(command.spawn().unwrap().wait_timeout(SOON).unwrap().success());
    assert!(ready.try_wait().unwrap());
}

fn helper_starts_after_the_program_was_renamed() {
    let folder = std::env::temp_dir().join(format!("handover renamed {}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let program = folder.join("program.exe");
    std::fs::copy(this_program(), &program).unwrap();
    let mut command = Command::new(&program);
    command.args(role("renames_itself", &[this_program().to_str().unwrap()])).kill_on_drop(true);
    let status = command.spawn().unwrap().wait_timeout(SOON).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(status.success(), "{status}");
}
