//! Tests of handle values that a process is passed at its start, and how each can be taken.

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use handover::{Channel, Command, Error, Event, HandleValue, OwnedHandle, Stdio};
use handover_tests::{Suite, adopt, expect, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "handle_value",
    tests: tests![
        value_is_adopted_once,
        channel_descriptor_cannot_be_taken,
        env_handle_rejects_the_manifest_variable,
        forged_manifest_with_stream_is_rejected,
        parts_of_a_line_are_read_whole,
    ],
    roles: tests![reads_values, has_a_channel, prints_to_a_stream, reads_thirteen],
};

fn in_role(name: &str, arguments: &[&str]) -> Command<'static> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Reads the value of the same inherited event twice.
fn reads_values(arguments: &[String]) {
    let is_named = arguments[0] != "unnamed";
    if arguments[0] == "named" {
        assert_eq!(handover::inherited().unwrap().names(), ["event"]);
    }
    let before = table::count();
    println!("ready");
    let event: Event = adopt(HandleValue::from_stdin().unwrap()).unwrap();
    assert!(!table::is_inheritable(&event));
    let twice = adopt::<Event>(HandleValue::from_stdin().unwrap());
    assert!(matches!(twice, Err(Error::AlreadyTaken { .. })), "{twice:?}");
    if is_named {
        let again = handover::inherited().unwrap().take::<Event>("event");
        assert!(matches!(again, Err(Error::AlreadyTaken { .. })), "{again:?}");
    }
    event.set().unwrap();
    drop(event);
    assert_eq!(table::count(), before - 1);
}

fn value_is_adopted_once() {
    for way in ["unnamed", "named"] {
        let event = Event::manual_reset().unwrap();
        let before = table::count();
        let mut command = in_role("reads_values", &[way]);
        command.inherit("event", &event).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let number = child.inherited_handles().next().unwrap().1.get();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let lines = format!("{number}\n{number}\n");
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0), "{way}");
        assert!(event.try_wait().unwrap());
        drop((child, command));
        assert_eq!(table::count(), before);
    }
}

fn has_a_channel(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    for _ in 0..2 {
        match inherited.take::<OwnedHandle>("handover/channel") {
            Err(Error::UnknownName { available: names, .. }) => assert_eq!(names, ["event"]),
            other => panic!("{other:?}"),
        }
    }
    Channel::parent().unwrap().send(b"works").unwrap();
}

fn channel_descriptor_cannot_be_taken() {
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let mut child = in_role("has_a_channel", &[]).inherit("event", &event).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"works");
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    drop((child, channel));
    assert_eq!(table::count(), before);
}

fn env_handle_rejects_the_manifest_variable() {
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let mut command = Command::new("true");
    let refused = command.inherit("event", &event).env_handle("HANDOVER_INHERITED", "{event}").spawn();
    assert!(matches!(refused, Err(Error::InvalidInput { .. })), "{refused:?}");
    assert_eq!(table::count(), before);
    assert_eq!(table::children_of(std::process::id()), []);
}

fn prints_to_a_stream(_: &[String]) {
    let forged = handover::inherited().map(|inherited| inherited.names());
    // The stream stays inheritable, and children get it.
    let status = std::process::Command::new("sh").args(["-c", "echo said"]).status().unwrap();
    assert_eq!(status.code(), Some(0));
    println!("{forged:?}");
}

fn forged_manifest_with_stream_is_rejected() {
    for stream in 0..3 {
        let arguments = role("prints_to_a_stream", &[]);
        let output = expect::forged(&this_program(), &arguments, &format!("{stream}=stream"));
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && out.starts_with("said\n") && out.contains("a standard stream"),
            "{out}"
        );
    }
}

fn reads_thirteen(_: &[String]) {
    assert_eq!(HandleValue::from_stdin().unwrap().get(), 13);
}

fn parts_of_a_line_are_read_whole() {
    use std::io::Write;
    let (read, write) = raw::pipe();
    raw::set_nonblocking(&read);
    let mut write = std::fs::File::from(write);
    write.write_all(b"1").unwrap();
    let mut command = in_role("reads_thirteen", &[]);
    let mut child = command.stdin(read).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    write.write_all(b"3\n").unwrap();
    assert_eq!(child.wait_timeout(Duration::from_secs(10)).unwrap().code(), Some(0));
}
