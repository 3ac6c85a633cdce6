//! Tests of suspended children, which are killed unless they are resumed.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use handover::os::windows::CommandExt as _;
use handover::{Command, Error, Event, HandleValue, Message, Stdio};
use handover_tests::{Suite, adopt, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(20);

pub(super) const SUITE: Suite = Suite {
    name: "suspended_child",
    tests: tests![
        suspended_child_runs_only_after_resume,
        child_that_others_suspend_or_resume_is_killed,
        dropped_suspended_child_is_killed,
        suspended_child_of_killed_parent_is_killed,
        resumed_child_outlives_killed_parent_by_default,
        objects_can_be_duplicated_into_suspended_child,
        suspended_child_has_channel,
        inheritable_objects_do_not_leak,
        suspended_children_can_share_a_job,
        job_of_the_caller_is_set_at_creation,
    ],
    roles: tests![sleeps, spawns_and_sleeps, sets_ready, waits_for_its_event, echoes],
};

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
    let mut kept = None;
    let id = match arguments[0].as_str() {
        "suspended" => {
            let suspended = command.spawn_suspended().unwrap();
            let id = suspended.id();
            kept = Some(suspended);
            id
        }
        "resumed" => command.spawn_suspended().unwrap().resume().unwrap().id(),
        "resumed with parent" => {
            command.kill_with_parent(true).spawn_suspended().unwrap().resume().unwrap().id()
        }
        other => panic!("{other}"),
    };
    println!("{id}");
    std::thread::sleep(Duration::from_secs(60));
    drop(kept);
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

fn sets_ready(_: &[String]) {
    handover::inherited().unwrap().take::<Event>("ready").unwrap().set().unwrap();
}

fn suspended_child_runs_only_after_resume() {
    let ready = Event::manual_reset().unwrap();
    let before = table::count();
    let suspended = in_role("sets_ready", &[]).inherit("ready", &ready).spawn_suspended().unwrap();
    let early = ready.wait_timeout(Duration::from_millis(500));
    assert!(matches!(early, Err(Error::TimedOut { .. })), "{early:?}");
    assert!(!suspended.process().has_exited().unwrap());
    let mut child = suspended.resume().unwrap();
    ready.wait_timeout(SOON).unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    drop(child);
    assert_eq!(table::count(), before);
}

fn child_that_others_suspend_or_resume_is_killed() {
    let before = table::count();
    for (change, part) in [
        (table::suspend as fn(u32), "other code has suspended the child too"),
        (table::resume, "other code has resumed the child already"),
    ] {
        let suspended = in_role("sleeps", &[]).spawn_suspended().unwrap();
        let id = suspended.id();
        change(id);
        let refused = suspended.resume().unwrap_err();
        assert!(matches!(refused, Error::System { .. }), "{refused:?}");
        assert!(refused.to_string().contains(part), "{refused}");
        assert!(table::ends_within(id, 5000));
    }
    assert_eq!(table::count(), before);
}

fn dropped_suspended_child_is_killed() {
    let ready = Event::manual_reset().unwrap();
    let before = table::count();
    for with_parent in [false, true] {
        let mut command = in_role("sets_ready", &[]);
        command
            .inherit("ready", &ready)
            .kill_on_drop(false)
            .kill_with_parent(with_parent)
            .stdin(Stdio::piped());
        let suspended = command.spawn_suspended().unwrap();
        let id = suspended.id();
        drop(suspended);
        assert!(table::ends_within(id, 5000));
    }
    assert!(!ready.try_wait().unwrap());
    // The job of children that are killed with this process stays open.
    assert_eq!(table::count(), before + 1);
}

fn suspended_child_of_killed_parent_is_killed() {
    assert!(table::ends_within(orphaned("suspended"), 5000));
}

fn resumed_child_outlives_killed_parent_by_default() {
    let child = orphaned("resumed");
    assert!(!table::ends_within(child, 500));
    table::kill(child);
    assert!(table::ends_within(orphaned("resumed with parent"), 5000));
}

fn waits_for_its_event(arguments: &[String]) {
    assert_eq!(arguments.len(), 1);
    let event: Event = HandleValue::from_arg(3).and_then(adopt).unwrap();
    event.wait_timeout(SOON).unwrap();
}

fn objects_can_be_duplicated_into_suspended_child() {
    let event = Event::manual_reset().unwrap();
    let suspended = in_role("sleeps", &[]).spawn_suspended().unwrap();
    let copy = suspended.process().duplicate_into(&event).unwrap();
    assert_eq!(table::values_of(&event, suspended.id()), [copy.value().get()]);
    drop(copy);
    assert_eq!(table::values_of(&event, suspended.id()), []);
    // The child reads its manifest first, when the copy is already in its table.
    let child =
        in_role("waits_for_its_event", &[]).arg_handle("{e}").inherit("e", &event).spawn_suspended().unwrap();
    let delivered = child.process().duplicate_into(&event).unwrap().into_value();
    assert_eq!(table::values_of(&event, child.id()).len(), 2);
    assert!(child.inherited_handles().all(|(_, value)| value != delivered));
    event.set().unwrap();
    let mut child = child.resume().unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn echoes(_: &[String]) {
    let channel = handover::Channel::parent().unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    let event: Event = message.take("event").unwrap();
    channel.send(Message::new(message.bytes()).with("event", &event)).unwrap();
}

fn suspended_child_has_channel() {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role("echoes", &[]);
    let mut child = command.channel().stdin(Stdio::null()).spawn_suspended().unwrap().resume().unwrap();
    let channel = child.take_channel().unwrap();
    channel.send(Message::new(b"go").with("event", &event)).unwrap();
    channel.recv_timeout(SOON).unwrap().take::<Event>("event").unwrap().set().unwrap();
    assert!(event.try_wait().unwrap());
    drop(channel);
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn inheritable_objects_do_not_leak() {
    let canaries: Vec<_> = raw::objects().into_iter().map(|(_, object, _)| object).collect();
    canaries.iter().for_each(table::make_inheritable);
    let child = in_role("sleeps", &[]).spawn_suspended().unwrap();
    for canary in &canaries {
        assert_eq!(table::values_of(canary, child.id()), []);
    }
}

fn suspended_children_can_share_a_job() {
    let before = table::count();
    let job = raw::job();
    let mut children: Vec<_> = (0..3)
        .map(|_| in_role("sleeps", &[]).stdin(Stdio::null()).job(&job).spawn_suspended().unwrap())
        .collect();
    assert_eq!(raw::processes_in(&job), 3);
    let mut resumed = children.pop().unwrap().resume().unwrap();
    let ready = Event::manual_reset().unwrap();
    let mut sets = in_role("sets_ready", &[]);
    sets.inherit("ready", &ready).job(&job);
    assert!(sets.spawn_suspended().unwrap().resume().unwrap().wait_timeout(SOON).unwrap().success());
    assert!(ready.try_wait().unwrap());
    drop(children);
    assert!(resumed.try_wait().unwrap().is_none(), "the end of the others ended it too");
    raw::terminate(&job);
    resumed.wait_timeout(SOON).unwrap();
    drop((sets, resumed));
    drop((ready, job));
    assert_eq!(table::count(), before);
}

fn job_of_the_caller_is_set_at_creation() {
    let (outer, inner) = (raw::job(), raw::job());
    let child = in_role("sleeps", &[]).stdin(Stdio::null()).job(&outer).job(&inner).spawn().unwrap();
    assert_eq!((raw::processes_in(&outer), raw::processes_in(&inner)), (1, 1));
    let other = in_role("sleeps", &[]).stdin(Stdio::null()).job(&outer).spawn().unwrap();
    assert_eq!((raw::processes_in(&outer), raw::processes_in(&inner)), (2, 1), "{child:?}, {other:?}");
    let refused = in_role("sleeps", &[]).job(&outer).kill_with_parent(true).spawn();
    match refused {
        Err(error @ Error::InvalidInput { .. }) => {
            assert!(error.to_string().contains("JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}
