//! Each system call fails in turn in what only Linux can do, and in each way in which a process is made here: by lending it
//! the memory, by a copy, and without a descriptor that comes with it. The new process's own calls are among them.

use handover::{Command, Event, Stdio, faults};
use handover_tests::{Suite, bare, end, events, flags_are_as_before, sweep, tests};

pub(super) const SUITE: Suite = Suite {
    name: "faults",
    tests: tests![
        a_spawn_as_a_user_fails_at_each_call,
        a_spawn_by_a_copy_that_nobody_speaks_of_fails_at_each_call,
        a_spawn_by_a_copy_fails_at_each_call,
        a_spawn_without_a_descriptor_fails_at_each_call,
    ],
    roles: &[],
};

const CLONE_VM: i32 = 0x0000_0100;
const CLONE_PIDFD: i32 = 0x0000_1000;

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
    flags_are_as_before(&event, &inheritable);
}

fn a_spawn_as_a_user_fails_at_each_call() {
    let (event, inheritable) = events();
    // Itself, which anybody may become.
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let spawn = || {
        let mut command = forever(&event, &inheritable);
        command.uid(user).gid(group).process_group(0).current_dir("/").spawn()
    };
    sweep("spawn, as a user, of a group, in a process group", spawn, end);
    flags_are_as_before(&event, &inheritable);
}

fn a_spawn_by_a_copy_that_nobody_speaks_of_fails_at_each_call() {
    faults::let_memory_be_copied(true);
    swept("spawn, by a copy that nobody speaks of");
}

fn a_spawn_by_a_copy_fails_at_each_call() {
    faults::let_flags_be_refused(CLONE_VM);
    swept("spawn, by a copy of the memory");
    assert_eq!(faults::used_flags(), CLONE_PIDFD);
}

fn a_spawn_without_a_descriptor_fails_at_each_call() {
    faults::let_flags_be_refused(CLONE_PIDFD);
    swept("spawn, without a descriptor for the process");
    assert_eq!(faults::used_flags(), 0);
}
