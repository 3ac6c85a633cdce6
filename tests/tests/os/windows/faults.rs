//! Fault sweeps of features that only Windows has.

use handover::os::windows::CommandExt as _;
use handover::os::windows::{Access, Mutex};
use handover::{Command, Event, Process, Stdio};
use handover_tests::{
    Suite, Sweep, assert_flags_unchanged, end, events, foreign, settled, sweep, table, tests,
};

pub(super) const SUITE: Suite = Suite {
    name: "faults",
    tests: tests![
        suspended_spawn_reports_each_failing_call,
        duplicate_into_reports_each_failing_call,
        spawn_in_job_reports_each_failing_call,
        creating_and_opening_report_each_failing_call,
    ],
    roles: &[],
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
