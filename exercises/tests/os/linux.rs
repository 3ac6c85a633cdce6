//! Linux: the calls of each program, and events that arrive in messages.

use std::time::Duration;

use handover::{Command, Event, Message, Semaphore};
use handover_tests::{Role, Test, tests};

use crate::{
    DEADLINE, DUPLICATION_CHILD, DUPLICATION_PARENT, INHERITANCE_CHILD, INHERITANCE_PARENT, NAMING_PARENT,
    SOON, start,
};

pub(crate) const TESTS: &[Test] = tests![
    the_child_does_not_adopt_a_standard_stream,
    a_child_without_a_channel_fails,
    a_message_without_an_event_is_refused,
    a_child_that_receives_nothing_exits_at_its_deadline,
    a_child_whose_channel_is_closed_exits_at_once,
];
pub(crate) const ROLES: &[Role] = tests![];

/// The calls that each parent prints, and those of its child.
pub(crate) const STEPS: [(&str, &[&str], &[&str]); 3] = [
    (
        INHERITANCE_PARENT,
        &["eventfd2", "clone+execve", "ppoll", "write", "ppoll", "waitid", "close", "close"],
        &["fcntl", "ppoll", "close"],
    ),
    (
        DUPLICATION_PARENT,
        &["eventfd2", "clone+execve", "sendmsg", "ppoll", "write", "ppoll", "waitid", "close", "close"],
        &["fcntl", "recvmsg", "close", "ppoll", "close"],
    ),
    (
        NAMING_PARENT,
        &["eventfd2", "bind", "clone+execve", "ppoll", "write", "ppoll", "waitid", "close", "close"],
        &["connect", "recvmsg", "ppoll", "close"],
    ),
];
/// The call by which each parent's child gets its event.
pub(crate) const GETS_EVENT: [(&str, &str); 3] =
    [(INHERITANCE_PARENT, "fcntl"), (DUPLICATION_PARENT, "recvmsg"), (NAMING_PARENT, "recvmsg")];
/// The parts of the parents' lines that show the child's exit status.
pub(crate) const EXITED_WITH_0: &str = "= exit status: 0";
pub(crate) const EXITED_WITH_3: &str = "= exit status: 3";
/// The path of a program that doesn't exist.
pub(crate) const NO_PROGRAM: &str = "/no/such/program";

/// Adds what a parent needs to share an event with the running child.
pub(crate) fn connect<'a, 'b>(command: &'a mut Command<'b>) -> &'a mut Command<'b> {
    command.channel()
}

/// The parents that work with a child in C, which gets the value on its command line.
pub(crate) const FOREIGN_CHILDREN: [(&str, &str); 1] = [(INHERITANCE_PARENT, "inheritance_child")];
/// The parents in C, and the children that they start.
pub(crate) const FOREIGN_PARENTS: [(&str, &str); 1] = [("inheritance_parent", INHERITANCE_CHILD)];

/// Checks nothing: a process that has an event's descriptor can always wait for the event and set it.
pub(crate) fn check_access(_child: u32, _descriptor: u32) {}

/// Texts that can't be a descriptor in any process, and a part of the message about each.
pub(crate) const NO_HANDLES: [(&str, &str); 14] = [
    ("", "no digits"),
    ("event", "not a number"),
    ("68x", "not a number"),
    ("68 68", "not a number"),
    ("0x", "no digits"),
    ("0x4g", "not a number"),
    ("+68", "not a number"),
    ("-4", "negative"),
    ("-1", "negative"),
    ("2147483648", "negative"),
    ("4294967295", "AT_FDCWD"),
    ("0xffffff9c", "AT_FDCWD"),
    ("0xffffffffffffffff", "AT_FDCWD"),
    ("4294967364", "more than 32 bits"),
];

fn the_child_does_not_adopt_a_standard_stream() {
    for (number, whose) in
        [("0", "the standard input"), ("1", "the standard output"), ("2", "the standard error")]
    {
        start(INHERITANCE_CHILD, &[number]).expect_code(1).expect_text(whose).expect_within(SOON);
    }
}

fn a_child_without_a_channel_fails() {
    start(DUPLICATION_CHILD, &[]).expect_code(1).expect_text("no channel").expect_within(SOON);
}

/// Starts the child with a channel, calls `send`, and returns the child's exit code and error output.
fn run_child(timeout: &str, send: impl FnOnce(&handover::Channel)) -> (Option<i32>, String) {
    let mut command = Command::new(DUPLICATION_CHILD);
    command.args(["--timeout", timeout]).channel().kill_on_drop(true);
    let mut child = command.stderr(handover::Stdio::piped()).spawn().expect("the child starts");
    let channel = child.take_channel().expect("a channel was asked for");
    send(&channel);
    let status = child.wait_timeout(DEADLINE).expect("the child has a deadline of its own");
    let said = std::io::read_to_string(child.stderr.take().expect("it is piped")).expect("it is text");
    (status.code(), said)
}

fn a_message_without_an_event_is_refused() {
    let event = Event::manual_reset().expect("an event");
    let semaphore = Semaphore::new(1).expect("a semaphore");
    for (message, part) in [
        (Message::new(b"event"), "\"event\""),
        (Message::default().with("other", &event), "\"event\""),
        (Message::default().with("event", &semaphore), "expected an event"),
    ] {
        let (code, said) = run_child("10", |channel| channel.send(message).expect("the child lives"));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(part), "{said}");
    }
}

fn a_child_that_receives_nothing_exits_at_its_deadline() {
    let (code, said) = run_child("0.5", |_| {});
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("a message from"), "{said}");
}

fn a_child_whose_channel_is_closed_exits_at_once() {
    let started = std::time::Instant::now();
    let mut command = Command::new(DUPLICATION_CHILD);
    let mut child = command.channel().kill_on_drop(true).spawn().expect("the child starts");
    drop(child.take_channel());
    let status = child.wait_timeout(DEADLINE).expect("the child has a deadline of its own");
    assert_eq!(status.code(), Some(1));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}
