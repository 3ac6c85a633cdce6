//! Tests of audits that are specific to Windows, where a child inherits all inheritable handles, including its parent's
//! streams; and of effects that a debugger may have.

use std::process::Stdio;
use std::time::Duration;

use handover::inspect::{Audit, AuditedProcess, Origin};
use handover::os::windows::CommandExt as _;
use handover::{Error, Event, ObjectKind};
use handover_tests::{
    Suite, audit, in_role_of_std, left_out, raw, role, settled, table, tests, this_program,
};

const LONG: Duration = Duration::from_secs(60);

pub(super) const SUITE: Suite = Suite {
    name: "audit",
    tests: tests![
        parents_streams_leak_into_child_with_other_streams,
        shared_stream_is_reported_twice_and_not_as_leak,
        listed_handles_are_named_for_each_kind_of_spawn,
        leaked_power_over_processes_is_reported_by_kind,
        debugger_effects_do_not_change_exit_status,
        creation_flags_of_the_command_are_replaced,
        audit_rejects_piped_streams,
        audit_of_program_with_threads_leaks_no_handles,
        narrow_build_refuses_a_wider_program,
        helper_of_race_free_spawns_is_clean,
    ],
    roles: tests![
        exits,
        has_a_child_with_other_streams,
        spawns_in_each_way,
        acts_as_argument_says,
        has_threads,
        spawns_race_free
    ],
};

fn with(started: &AuditedProcess, is: impl Fn(&Origin) -> bool) -> usize {
    started.handles.iter().filter(|(_, origin)| is(origin)).count()
}

fn exits(_: &[String]) {}

/// The leak of rust-lang/rust#54760.
fn has_a_child_with_other_streams(_: &[String]) {
    let mut child = in_role_of_std("exits", &[]);
    child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(child.status().unwrap().code(), Some(0));
}

fn parents_streams_leak_into_child_with_other_streams() {
    table::keep_what_came();
    let audit = audit("has_a_child_with_other_streams", &[]);
    let [command, child] = audit.processes.as_slice() else { panic!("{audit}") };
    assert_eq!(command.leaks().count(), 0, "{audit}");
    // The child has each of the parent's handles to its streams, and none of them is a stream of the child.
    let parents: Vec<u32> = command.handles.iter().map(|(entry, _)| entry.value().get()).collect();
    let leaked: Vec<u32> = child.leaks().map(|leak| leak.value().get()).collect();
    assert!(leaked.len() >= 3, "{audit}");
    assert_eq!(leaked, parents, "{audit}");
    assert!(child.leaks().all(|leak| leak.kind() == Ok(&ObjectKind::File)), "{audit}");
    assert_eq!(with(child, |origin| *origin == Origin::Stream), 3, "{audit}");
}

fn shared_stream_is_reported_twice_and_not_as_leak() {
    table::keep_what_came();
    let audit = audit("exits", &[]);
    let [command] = audit.processes.as_slice() else { panic!("{audit}") };
    assert_eq!(with(command, |origin| *origin == Origin::Stream), 3, "{audit}");
    // Handles of this process that are inheritable, because it has inherited them itself.
    let inheritable = table::of(std::process::id()).iter().filter(|entry| entry.inheritable).count();
    assert_eq!(with(command, |origin| *origin == Origin::DuplicateStream), inheritable, "{audit}");
    assert!(audit.is_clean(), "{audit}");
}

fn spawns_in_each_way(_: &[String]) {
    let leak = Event::manual_reset().unwrap();
    table::make_inheritable(&leak);
    let ready = Event::manual_reset().unwrap();
    let command = || {
        let mut command = handover::Command::new(this_program());
        command.args(role("exits", &[])).inherit("ready", &ready);
        command
    };
    assert_eq!(command().spawn().unwrap().wait_timeout(LONG).unwrap().code(), Some(0));
    assert_eq!(command().race_free().spawn().unwrap().wait_timeout(LONG).unwrap().code(), Some(0));
    assert_eq!(command().kill_with_parent(true).spawn().unwrap().wait_timeout(LONG).unwrap().code(), Some(0));
    let suspended = command().spawn_suspended().unwrap();
    assert_eq!(suspended.resume().unwrap().wait_timeout(LONG).unwrap().code(), Some(0));
}

fn listed_handles_are_named_for_each_kind_of_spawn() {
    table::keep_what_came();
    let mut audit = audit("spawns_in_each_way", &[]);
    // Whether a debugger sees the helper of race-free spawns, which never runs, depends on the system. It is a parent.
    let parents: Vec<u32> = audit.processes.iter().map(|started| started.parent).collect();
    let command = audit.processes[0].id;
    audit.processes.retain(|started| started.id == command || !parents.contains(&started.id));
    assert!(audit.is_clean(), "{audit}");
    assert_eq!(audit.processes.len(), 5, "{audit}");
    let listed = Origin::Listed("ready".into());
    let having = audit.processes.iter().filter(|started| with(started, |origin| *origin == listed) == 1);
    assert_eq!(having.count(), 4, "{audit}");
}

fn leaked_power_over_processes_is_reported_by_kind() {
    table::keep_what_came();
    let objects = raw::power();
    objects.iter().for_each(|(_, object, _)| table::make_inheritable(object));
    let audit = audit("exits", &[]);
    let found: Vec<_> =
        audit.leaks().map(|(_, leak)| (leak.value().get(), leak.kind().unwrap().clone())).collect();
    let mut expected: Vec<_> =
        objects.iter().map(|(_, object, kind)| (table::value(object), kind.clone())).collect();
    expected.sort_unstable_by_key(|(value, _)| *value);
    assert_eq!(found, expected, "{audit}");
}

/// The exception that a close of a protected handle raises under a debugger.
const PROTECTED_HANDLE_CLOSED: u32 = 0xc000_0235;

fn acts_as_argument_says(arguments: &[String]) {
    match arguments[0].as_str() {
        "close what isn't open" => table::close_value(0x7_fff0),
        "say something to a debugger" => raw::say_to_a_debugger(),
        "break" => raw::break_into_a_debugger(),
        "raise what a close raises" => raw::raise(PROTECTED_HANDLE_CLOSED),
        other => panic!("{other}"),
    }
}

fn debugger_effects_do_not_change_exit_status() {
    for what in ["close what isn't open", "say something to a debugger", "break", "raise what a close raises"]
    {
        let quiet = || {
            let mut command = in_role_of_std("acts_as_argument_says", &[what]);
            command.stderr(Stdio::null());
            command
        };
        let expected = quiet().status().unwrap();
        let audit = Audit::new(quiet()).run(LONG).unwrap();
        assert_eq!(audit.status, expected, "{what}");
        assert_eq!(expected.success(), what == "say something to a debugger", "{what}: {expected}");
    }
}

fn creation_flags_of_the_command_are_replaced() {
    use std::os::windows::process::CommandExt;
    // CREATE_SUSPENDED: with this flag, the program would never run.
    let mut command = in_role_of_std("exits", &[]);
    command.creation_flags(4);
    assert_eq!(Audit::new(command).run(LONG).unwrap().status.code(), Some(0));
}

fn audit_rejects_piped_streams() {
    for which in 0..3 {
        let mut command = in_role_of_std("exits", &[]);
        match which {
            0 => command.stdin(Stdio::piped()),
            1 => command.stdout(Stdio::piped()),
            _ => command.stderr(Stdio::piped()),
        };
        let error = Audit::new(command).run(LONG).unwrap_err();
        assert!(error.to_string().contains("has a pipe to this process"), "{which}: {error}");
    }
}

fn has_threads(_: &[String]) {
    let threads: Vec<_> = (0..20).map(|_| std::thread::spawn(|| ())).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn audit_of_program_with_threads_leaks_no_handles() {
    table::keep_what_came();
    // The system has now created what it creates once for a process.
    assert!(audit("exits", &[]).is_clean());
    let before = settled(std::process::id());
    assert!(audit("has_threads", &[]).is_clean());
    assert_eq!(settled(std::process::id()), before);
}

/// Windows doesn't let a 32-bit process debug a 64-bit one. Wine does, but then its parameters can't be read.
fn narrow_build_refuses_a_wider_program() {
    if cfg!(target_pointer_width = "64") || !handover_tests::has_roles_of_another_width() {
        return left_out("it needs a 32-bit build of the test and a 64-bit one of its roles");
    }
    table::keep_what_came();
    let before = settled(std::process::id());
    let error = Audit::new(in_role_of_std("exits", &[])).run(LONG).unwrap_err();
    assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
    assert!(error.to_string().contains("audit it with a 64-bit build"), "{error}");
    assert_eq!(settled(std::process::id()), before);
}

fn spawns_race_free(_: &[String]) {
    let ready = Event::manual_reset().unwrap();
    let mut command = handover::Command::new(this_program());
    command.args(role("exits", &[])).race_free().inherit("ready", &ready);
    assert!(command.spawn().unwrap().wait_timeout(LONG).unwrap().success());
}

fn helper_of_race_free_spawns_is_clean() {
    table::keep_what_came();
    let audit = audit("spawns_race_free", &[]);
    assert_eq!(audit.processes.len(), 2, "{audit}");
    assert!(audit.is_clean(), "{audit}");
}
