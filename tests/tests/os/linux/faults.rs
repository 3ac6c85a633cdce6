//! Fault sweeps of features that only Linux has, and of each way to create a process: with shared memory, with copied
//! memory, and without a pidfd from `clone`. They include the calls of the new process.

use std::time::Duration;

use handover::{Channel, Command, Error, Event, Message, Stdio, faults};
use handover_tests::{
    Suite, Sweep, assert_flags_unchanged, bare, end, events, expect, role, sweep, tests, this_program,
};

pub(super) const SUITE: Suite = Suite {
    name: "faults",
    tests: tests![
        spawn_as_user_reports_each_failing_call,
        spawn_with_silently_copied_memory_reports_each_failing_call,
        spawn_without_clone3_reports_each_failing_call,
        spawn_with_copied_memory_reports_each_failing_call,
        spawn_without_clone_pidfd_reports_each_failing_call,
        flush_reports_each_failing_call,
    ],
    roles: tests![closes_unread],
};

const SOON: Duration = Duration::from_secs(10);
const CLONE_VM: u64 = 0x0000_0100;
const CLONE_PIDFD: u64 = 0x0000_1000;
const CLONE_VFORK: u64 = 0x0000_4000;
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;

fn forever<'a>(event: &'a Event, inheritable: &'a Event) -> Command<'a> {
    let (program, arguments) = bare("never_ends");
    let mut command = Command::new(program);
    command.args(arguments).inherit("event", event).inherit("inheritable", inheritable);
    command.inherit("again", event).stdin(Stdio::piped()).stdout(Stdio::null());
    command
}

fn swept(name: &str) {
    let (event, inheritable) = events();
    sweep(name, || forever(&event, &inheritable).spawn(), end);
    assert_flags_unchanged(&event, &inheritable);
}

fn spawn_as_user_reports_each_failing_call() {
    let (event, inheritable) = events();
    // The current user and group, to which each process may switch.
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let spawn = || {
        let mut command = forever(&event, &inheritable);
        command.uid(user).gid(group).process_group(0).current_dir("/").spawn()
    };
    sweep("spawn, as a user, of a group, in a process group", spawn, end);
    assert_flags_unchanged(&event, &inheritable);
}

fn spawn_with_silently_copied_memory_reports_each_failing_call() {
    faults::let_memory_be_copied(true);
    swept("spawn, with silently copied memory");
}

fn spawn_without_clone3_reports_each_failing_call() {
    faults::let_flags_be_refused(CLONE_CLEAR_SIGHAND);
    swept("spawn, without clone3");
    assert_eq!(faults::used_flags(), CLONE_PIDFD | CLONE_VM | CLONE_VFORK);
}

fn spawn_with_copied_memory_reports_each_failing_call() {
    faults::let_flags_be_refused(CLONE_VM);
    swept("spawn, with copied memory");
    assert_eq!(faults::used_flags(), CLONE_PIDFD);
}

fn spawn_without_clone_pidfd_reports_each_failing_call() {
    faults::let_flags_be_refused(CLONE_PIDFD);
    swept("spawn, without a descriptor for the process");
    assert_eq!(faults::used_flags(), 0);
}

/// Closes its channel when a message has been sent, without receiving it.
fn closes_unread(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let inherited = handover::inherited().unwrap();
    inherited.take::<Event>("sent").unwrap().wait_timeout(SOON).unwrap();
    channel.close();
    inherited.take::<Event>("closed").unwrap().set().unwrap();
    std::thread::sleep(SOON);
}

fn flush_reports_each_failing_call() {
    let [sent, closed, carried] = [(); 3].map(|()| Event::auto_reset().unwrap());
    let flush = || {
        sent.reset()?;
        let mut command = Command::new(this_program());
        command.args(role("closes_unread", &[]));
        command.inherit("sent", &sent).inherit("closed", &closed).stdin(Stdio::null()).kill_on_drop(true);
        let mut child = command.channel().spawn()?;
        let channel = child.take_channel().unwrap();
        channel.send(Message::new(b"unread").with("event", &carried))?;
        sent.set()?;
        closed.wait_timeout(SOON)?;
        match channel.flush(SOON) {
            Err(Error::Disconnected { .. }) => Ok((child, channel)),
            Err(other) => Err(other),
            Ok(()) => panic!("the message wasn't received"),
        }
    };
    Sweep::of("spawn, send, flush after the peer has closed")
        .harmless(expect::HARMLESS_FLUSH)
        .run(flush, drop);
}
