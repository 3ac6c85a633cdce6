//! Each system call fails in turn in what only Windows can do.

use handover::os::windows::CommandExt as _;
use handover::os::windows::{Access, Mutex};
use handover::{Command, Event, Process, Stdio};
use handover_tests::{Suite, Sweep, end, events, flags_are_as_before, foreign, settled, sweep, table, tests};

pub(super) const SUITE: Suite = Suite {
    name: "faults",
    tests: tests![
        a_suspended_spawn_fails_at_each_call,
        a_duplication_fails_at_each_call,
        a_spawn_in_the_parents_job_fails_at_each_call,
        creating_and_opening_fail_at_each_call,
    ],
    roles: &[],
};

fn forever<'a>(event: &'a Event, inheritable: &'a Event) -> Command<'a> {
    let mut command = Command::new(foreign("never_ends"));
    command.inherit("event", event).inherit("inheritable", inheritable).arg_handle("{event}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn a_suspended_spawn_fails_at_each_call() {
    let (event, inheritable) = events();
    sweep("suspended spawn", || forever(&event, &inheritable).spawn_suspended()?.resume(), end);
    flags_are_as_before(&event, &inheritable);
}

fn a_duplication_fails_at_each_call() {
    let event = Event::manual_reset().unwrap();
    let child = Command::new(foreign("never_ends")).kill_on_drop(true).stdin(Stdio::piped()).spawn().unwrap();
    let _ = settled(child.id());
    let into = || Sweep::of("push, and take back").beside(&[child.id()]);
    into().run(|| child.process().duplicate_into(&event), drop);
    assert_eq!(table::values_of(&event, child.id()), []);
}

fn a_spawn_in_the_parents_job_fails_at_each_call() {
    let (event, inheritable) = events();
    let command = || {
        let mut command = forever(&event, &inheritable);
        command.kill_with_parent(true);
        command
    };
    sweep("spawn, in a job", || command().spawn(), end);
    sweep("suspended spawn, in a job", || command().spawn_suspended()?.resume(), end);
}

fn creating_and_opening_fail_at_each_call() {
    let name = format!("windows.faults.{}", std::process::id());
    sweep("create by name, a mutex", || Mutex::create_named(&name), drop);
    sweep("create, a mutex", Mutex::new, drop);
    let _mutex = Mutex::create_named(&name).unwrap();
    sweep("open, a mutex", || Mutex::open_named(&name), drop);
    let this = Process::current_identity().unwrap();
    let open = || Process::open_exact_with(this, Access::PROCESS_DUP_HANDLE);
    sweep("open a process with a right", open, drop);
}
