//! Linux: events that come in messages.

use std::time::Duration;

use handover::{Command, Event, Message, Semaphore};
use handover_tests::{Role, Test, tests};

use crate::{DEADLINE, DUPLICATION_CHILD, INHERITANCE_CHILD, INHERITANCE_PARENT, SOON, start};

pub(crate) const TESTS: &[Test] = tests![
    a_standard_stream_is_not_the_childs_to_take,
    a_child_without_a_channel_says_so,
    a_message_that_has_no_event_is_refused,
    a_child_to_which_nothing_is_sent_ends_at_its_deadline,
    a_child_whose_channel_is_closed_ends_at_once,
];
pub(crate) const ROLES: &[Role] = tests![];

/// What std calls it when a process ends by itself.
pub(crate) const EXIT: &str = "exit status";
/// A program that isn't there.
pub(crate) const NO_PROGRAM: &str = "/no/such/program";

/// Whose place a foreign child can take: the number comes on the command line.
pub(crate) const FOREIGN_CHILDREN: [(&str, &str); 1] = [(INHERITANCE_PARENT, "inheritance_child")];
/// Which children foreign parents start.
pub(crate) const FOREIGN_PARENTS: [(&str, &str); 1] = [("inheritance_parent", INHERITANCE_CHILD)];

/// The descriptor of an event carries no access: whoever has it can wait for the event and set it.
pub(crate) fn check_the_access(_parent: &str, _child: u32, _descriptor: u32) {}

/// What can't be a descriptor in any process, and a part of the message about it.
pub(crate) const NO_HANDLES: [(&str, &str); 14] = [
    ("", "no number"),
    ("event", "not a number"),
    ("68x", "not a number"),
    ("68 68", "not a number"),
    ("0x", "no number"),
    ("0x4g", "not a number"),
    ("+68", "not a number"),
    ("-4", "negative"),
    ("-1", "negative"),
    ("2147483648", "negative"),
    ("4294967295", "no descriptor"),
    ("0xffffff9c", "no descriptor"),
    ("0xffffffffffffffff", "no descriptor"),
    ("4294967364", "more than 32 bits"),
];

fn a_standard_stream_is_not_the_childs_to_take() {
    for (number, whose) in
        [("0", "the standard input"), ("1", "the standard output"), ("2", "the standard error")]
    {
        start(INHERITANCE_CHILD, &[number]).expect_code(1).expect_text(whose).expect_within(SOON);
    }
}

fn a_child_without_a_channel_says_so() {
    start(DUPLICATION_CHILD, &[]).expect_code(1).expect_text("no channel").expect_within(SOON);
}

/// Starts the child over a channel and sends what is to be sent; the exit code, and what the child says.
fn told(timeout: &str, send: impl FnOnce(&handover::Channel)) -> (Option<i32>, String) {
    let mut command = Command::new(DUPLICATION_CHILD);
    command.args(["--timeout", timeout]).channel().kill_on_drop(true);
    let mut child = command.stderr(handover::Stdio::piped()).spawn().expect("the child starts");
    let channel = child.take_channel().expect("a channel was asked for");
    send(&channel);
    let status = child.wait_timeout(DEADLINE).expect("the child has a deadline of its own");
    let said = std::io::read_to_string(child.stderr.take().expect("it is piped")).expect("it is text");
    (status.code(), said)
}

fn a_message_that_has_no_event_is_refused() {
    let event = Event::manual_reset().expect("an event");
    let semaphore = Semaphore::new(1).expect("a semaphore");
    for (message, part) in [
        (Message::new(b"event"), "\"event\""),
        (Message::default().with("other", &event), "\"event\""),
        (Message::default().with("event", &semaphore), "expected an event"),
    ] {
        let (code, said) = told("10", |channel| channel.send(message).expect("the child lives"));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(part), "{said}");
    }
}

fn a_child_to_which_nothing_is_sent_ends_at_its_deadline() {
    let (code, said) = told("0.5", |_| {});
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("a message from"), "{said}");
}

fn a_child_whose_channel_is_closed_ends_at_once() {
    let started = std::time::Instant::now();
    let mut command = Command::new(DUPLICATION_CHILD);
    let mut child = command.channel().kill_on_drop(true).spawn().expect("the child starts");
    drop(child.take_channel());
    let status = child.wait_timeout(DEADLINE).expect("the child has a deadline of its own");
    assert_eq!(status.code(), Some(1));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}
