//! What becomes of a channel whose other end breaks a rule.

use std::time::Duration;

use handover::{Channel, Child, Error, Event, Message, ReceivedMessage};

use crate::table;

const SOON: Duration = Duration::from_secs(10);

/// Asserts that the child has broken a rule, and that the error says which.
///
/// # Panics
///
/// If it is otherwise.
#[track_caller]
pub fn breaks_a_rule(outcome: Result<ReceivedMessage, Error>, child: &Child, part: &str) {
    match outcome {
        Err(error @ Error::Protocol { pid: process, .. }) if process == child.id() => {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        other => panic!("{part}: {other:?}"),
    }
}

/// Asserts that what the child sends breaks a rule, that nothing of it is left, and that the channel has ended with it.
///
/// # Panics
///
/// If it is otherwise.
#[track_caller]
pub fn ends_for_good(child: &Child, channel: &Channel, part: &str) {
    let handles = table::count();
    breaks_a_rule(channel.recv_timeout(SOON), child, part);
    assert_eq!(table::count(), handles, "{part}");
    // It is the end, both ways, and it stays the end.
    breaks_a_rule(channel.recv_timeout(SOON), child, part);
    let event = Event::manual_reset().unwrap();
    let sent = channel.send(Message::new(b"").with("event", &event));
    assert!(matches!(sent, Err(Error::Protocol { .. })), "{sent:?}");
    assert_eq!(table::values_of(&event, child.id()), []);
}
