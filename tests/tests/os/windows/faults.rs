//! Each system call fails in turn in what only Windows can do.

use handover::{Access, Command, Event, Mutex, Process, Stdio};
use handover_tests::{Suite, end, events, flags_are_as_before, foreign, sweep, table, tests};

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
    sweep(|| forever(&event, &inheritable).spawn_suspended()?.resume(), end);
    flags_are_as_before(&event, &inheritable);
}

fn a_duplication_fails_at_each_call() {
    let event = Event::manual_reset().unwrap();
    let child = Command::new(foreign("never_ends")).kill_on_drop(true).stdin(Stdio::piped()).spawn().unwrap();
    sweep(|| child.process().duplicate_into(&event), drop);
    assert_eq!(table::values_of(&event, child.id()), []);
}

fn a_spawn_in_the_parents_job_fails_at_each_call() {
    let (event, inheritable) = events();
    sweep(|| forever(&event, &inheritable).kill_with_parent(true).spawn(), end);
    sweep(|| forever(&event, &inheritable).kill_with_parent(true).spawn_suspended()?.resume(), end);
}

fn creating_and_opening_fail_at_each_call() {
    let name = format!("windows.faults.{}", std::process::id());
    sweep(|| Mutex::create_named(&name), drop);
    sweep(Mutex::new, drop);
    let _mutex = Mutex::create_named(&name).unwrap();
    sweep(|| Mutex::open_named(&name), drop);
    let this = Process::current_identity().unwrap();
    sweep(|| Process::open_identified_with(this, Access::PROCESS_DUP_HANDLE), drop);
}
