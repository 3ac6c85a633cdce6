//! Tests of handle tables that are specific to Linux.

use std::time::Duration;

use handover::inspect::{HandleTable, shared_objects};
use handover::{Command, Error, HandleValue, ObjectKind, Process, SharedMemory};
use handover_tests::{Suite, begun, left_out, raw, role, tests, this_program, waits};
use rustix::fs::OFlags;

use super::unprivileged::{NOBODY, PublicCopy};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "tables",
    tests: tests![
        table_of_another_users_process_is_denied,
        ids_of_another_pid_namespace_are_rejected,
        memory_is_shared_memory_only_if_sealed,
        reopened_memory_is_the_same_object,
        rights_describe_open_flags,
        unnamed_objects_have_no_name,
        table_is_readable_after_first_thread_ended,
    ],
    roles: tests![waits, reads_tables, reads_own_table_in_namespace, ends_its_first_thread],
};

fn reads_tables(arguments: &[String]) {
    let process = Process::open_for_query(arguments[0].parse().unwrap()).unwrap();
    let this = Process::open_for_query(std::process::id()).unwrap();
    for outcome in [HandleTable::of(&process).map(drop), shared_objects(&process, &this).map(drop)] {
        match outcome {
            Err(Error::AccessDenied { right, object: what, .. }) => {
                assert!(right.contains("ptrace") && what.contains(&arguments[0]), "{right}; {what}");
            }
            other => panic!("{other:?}"),
        }
    }
}

fn table_of_another_users_process_is_denied() {
    let public_copy = PublicCopy::new("tables");
    let this = std::process::id().to_string();
    let mut command = Command::new(public_copy.program());
    command.args(role("reads_tables", &[&this])).current_dir(public_copy.folder()).uid(NOBODY).gid(NOBODY);
    match command.spawn() {
        Ok(mut child) => assert!(child.wait_timeout(SOON).unwrap().success()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            left_out("only root can start a program as another user");
        }
        Err(error) => panic!("{error}"),
    }
}

/// Runs in a PID namespace of its own, in which it has a different id than in `/proc`.
fn reads_own_table_in_namespace(_: &[String]) {
    assert_eq!(std::process::id(), 1);
    let event = raw::event();
    match HandleTable::of(&this()) {
        Err(Error::InvalidInput { input: what, reason: why, .. }) => {
            assert!(what == "/proc" && why.contains("namespace"), "{what}: {why}");
        }
        other => panic!("{other:?}"),
    }
    let audit = handover::inspect::Audit::new(std::process::Command::new("true")).run(SOON);
    assert!(matches!(audit, Err(Error::InvalidInput { .. })), "{audit:?}");
    drop(event);
    println!("refused");
}

fn ids_of_another_pid_namespace_are_rejected() {
    let unshare = |arguments: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command.args(arguments).stdin(std::process::Stdio::null());
        command
    };
    if !unshare(&["--pid", "--fork", "true"]).status().is_ok_and(|status| status.success()) {
        left_out("unshare is missing, or this user can't create a namespace");
        return;
    }
    let mut command = unshare(&["--pid", "--fork"]);
    let output =
        command.arg(this_program()).args(role("reads_own_table_in_namespace", &[])).output().unwrap();
    assert!(output.status.success() && output.stdout == b"refused\n", "{output:?}");
}

fn this() -> Process {
    Process::open_for_query(std::process::id()).unwrap()
}

fn memory_is_shared_memory_only_if_sealed() {
    let (sealed, unsealed) = (raw::section(), raw::memory());
    let mut command = Command::new(this_program());
    let child =
        begun(command.args(role("waits", &[])).inherit("sealed", &sealed).inherit("unsealed", &unsealed));
    let looked = HandleTable::of(child.process()).unwrap();
    let kinds: Vec<_> = child
        .inherited_handles()
        .map(|(_, value)| looked.get(value).unwrap().kind().unwrap().clone())
        .collect();
    assert_eq!(kinds, [ObjectKind::SharedMemory, ObjectKind::File]);
}

fn reopened_memory_is_the_same_object() {
    let (section, other) = (SharedMemory::new(4096).unwrap(), SharedMemory::new(4096).unwrap());
    let mut command = Command::new(this_program());
    let child = begun(command.args(role("waits", &[])).inherit("section", section.read_only()));
    let sharing = shared_objects(&this(), child.process()).unwrap();
    let sections: Vec<_> = sharing
        .objects
        .iter()
        .filter(|object| object.kind == ObjectKind::SharedMemory)
        .map(|it| &it.handles)
        .collect();
    let there: Vec<_> = child.inherited_handles().map(|(_, value)| value).collect();
    assert_eq!(sections, [&[vec![HandleValue::of(&section).unwrap()], there]]);
    drop(other);
}

fn rights_describe_open_flags() {
    let file = this_program();
    let opened = |flags| {
        let mode = rustix::fs::Mode::empty();
        rustix::fs::open(&file, flags | OFlags::CLOEXEC, mode).unwrap()
    };
    let (reader, writer) = raw::pipe();
    for (handle, expected) in [
        (opened(OFlags::RDONLY), "read"),
        (opened(OFlags::PATH), "path"),
        (opened(OFlags::NONBLOCK), "read, nonblock"),
        (reader, "read"),
        (writer, "write"),
        (raw::event(), "read, write"),
        (raw::opened_for_appending(), "write, append"),
    ] {
        let looked = HandleTable::of(&this()).unwrap();
        let entry = looked.get(HandleValue::of(&handle).unwrap()).unwrap();
        assert_eq!(entry.rights(), expected, "{entry:?}");
    }
}

fn unnamed_objects_have_no_name() {
    let (event, epoll) = (raw::event(), raw::epoll());
    let looked = HandleTable::of(&this()).unwrap();
    let entry = |handle| looked.get(HandleValue::of(handle).unwrap()).unwrap();
    assert_eq!(entry(&event).name(), Ok(None));
    assert_eq!(entry(&epoll).kind(), Ok(&ObjectKind::Other("eventpoll".into())));
    let (reader, writer) = raw::pipe();
    let looked = HandleTable::of(&this()).unwrap();
    let name =
        |handle| looked.get(HandleValue::of(handle).unwrap()).unwrap().name().unwrap().unwrap().to_owned();
    assert!(name(&reader).starts_with("pipe:["));
    assert_eq!(name(&reader), name(&writer));
}

/// Ends the process's first thread, while another one goes on.
fn ends_its_first_thread(_: &[String]) {
    std::thread::spawn(|| {
        let stat = format!("/proc/{}/stat", std::process::id());
        while !std::fs::read_to_string(&stat).unwrap().contains(") Z") {
            std::thread::sleep(Duration::from_millis(1));
        }
        waits(&[]);
        std::process::exit(0);
    });
    raw::end_this_thread();
}

fn table_is_readable_after_first_thread_ended() {
    let event = raw::event();
    let mut command = Command::new(this_program());
    let child = begun(command.args(role("ends_its_first_thread", &[])).inherit("event", &event));
    let (_, value) = child.inherited_handles().next().unwrap();
    let looked = HandleTable::of(child.process()).unwrap();
    assert_eq!(looked.get(value).unwrap().kind(), Ok(&ObjectKind::Event));
}
