//! Fault sweeps of features that only Windows has.

use handover::os::windows::CommandExt as _;
use handover::os::windows::{Access, Mutex};
use handover::{Channel, Command, Error, Event, Message, Process, Result, Stdio};
use handover_tests::{
    Harmless, Suite, Sweep, assert_flags_unchanged, end, events, expect, foreign, role, settled, sweep,
    table, tests, this_program,
};

pub(super) const SUITE: Suite = Suite {
    name: "faults",
    tests: tests![
        suspended_spawn_reports_each_failing_call,
        duplicate_into_reports_each_failing_call,
        spawn_in_job_reports_each_failing_call,
        creating_and_opening_report_each_failing_call,
        giving_an_endpoint_away_reports_each_failing_call,
        taking_an_endpoint_reports_each_failing_call,
    ],
    roles: tests![serves_endpoint, gives_endpoint],
};

fn forever<'a>(event: &'a Event, inheritable: &'a Event) -> Command<'a> {
    let mut command = Command::new(foreign("never_ends"));
    command.inherit("event", event).inherit("inheritable", inheritable).arg_handle("{event}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn suspended_spawn_reports_each_failing_call() {
    let (event, inheritable) = events();
    sweep("suspended spawn", || forever(&event, &inheritable).spawn_suspended()?.resume(), end);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let with_socket =
        || forever(&event, &inheritable).inherit("listener", &listener).spawn_suspended()?.resume();
    sweep("suspended spawn, with a socket", with_socket, end);
    assert_flags_unchanged(&event, &inheritable);
}

fn duplicate_into_reports_each_failing_call() {
    let event = Event::manual_reset().unwrap();
    let child = Command::new(foreign("never_ends")).kill_on_drop(true).stdin(Stdio::piped()).spawn().unwrap();
    let _ = settled(child.id());
    let into = || Sweep::of("push, and take back").beside(&[child.id()]);
    into().run(|| child.process().duplicate_into(&event), drop);
    assert_eq!(table::values_of(&event, child.id()), []);
}

fn spawn_in_job_reports_each_failing_call() {
    let (event, inheritable) = events();
    let command = || {
        let mut command = forever(&event, &inheritable);
        command.kill_with_parent(true);
        command
    };
    sweep("spawn, in a job", || command().spawn(), end);
    sweep("suspended spawn, in a job", || command().spawn_suspended()?.resume(), end);
}

fn creating_and_opening_report_each_failing_call() {
    let name = format!("windows.faults.{}", std::process::id());
    sweep("create by name, a mutex", || Mutex::create_named(&name), drop);
    sweep("create, a mutex", Mutex::new, drop);
    let _mutex = Mutex::create_named(&name).unwrap();
    sweep("open, a mutex", || Mutex::open_named(&name), drop);
    let this = Process::current_identity().unwrap();
    let open = || Process::open_exact_with(this, Access::PROCESS_DUP_HANDLE);
    sweep("open a process with a right", open, drop);
}

/// Takes an endpoint and answers the first message over it.
fn serves_endpoint(_: &[String]) {
    let Ok(parent) = Channel::parent() else { return };
    let Ok(message) = parent.recv() else { return };
    let link = message.take_channel("link").unwrap();
    if link.recv().is_ok() {
        let _ = link.send("done");
    }
    let _ = parent.recv();
}

fn giving_an_endpoint_away_reports_each_failing_call() {
    let event = Event::manual_reset().unwrap();
    let unwrapped = |error| match error {
        Error::NotSent { source, .. } => *source,
        error => error,
    };
    let give = || -> Result<()> {
        let mut command = Command::new(this_program());
        command.args(role("serves_endpoint", &[])).stdin(Stdio::null()).kill_on_drop(true).channel();
        let mut child = command.spawn()?;
        let channel = child.take_channel().expect("it has one");
        let (ours, theirs) = Channel::pair()?;
        channel.send(Message::new("").with_channel("link", theirs)).map_err(unwrapped)?;
        ours.send(Message::new("").with("event", &event))?;
        ours.recv()?;
        drop((ours, channel));
        child.wait().map(drop)
    };
    Sweep::of("give an endpoint away").harmless(expect::HARMLESS_END).run(give, drop);
}

/// Sends the parent an endpoint, and answers the first message over the other one.
fn gives_endpoint(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let (ours, theirs) = Channel::pair().unwrap();
    parent.send(Message::new("").with_channel("link", theirs)).unwrap();
    if ours.recv().is_ok() {
        let _ = ours.send("done");
    }
    let _ = parent.recv();
}

fn taking_an_endpoint_reports_each_failing_call() {
    const HARMLESS: &[Harmless] = &[
        ("NtQueryObject", "without a free handle, the kind of an object is queried when it is taken"),
        expect::HARMLESS_END[0],
    ];
    let take = || -> Result<()> {
        let mut command = Command::new(this_program());
        command.args(role("gives_endpoint", &[])).stdin(Stdio::null()).kill_on_drop(true).channel();
        let mut child = command.spawn()?;
        let channel = child.take_channel().expect("it has one");
        let link = channel.recv()?.take_channel("link")?;
        link.send("a message")?;
        link.recv()?;
        drop((link, channel));
        child.wait().map(drop)
    };
    Sweep::of("take an endpoint").harmless(HARMLESS).run(take, drop);
}
