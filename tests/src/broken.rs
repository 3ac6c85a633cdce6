//! Assertions for a channel whose peer breaks a protocol rule.

use std::time::Duration;

use handover::{Channel, Child, Error, Event, Message, ReceivedMessage};

use crate::table;

const SOON: Duration = Duration::from_secs(10);

/// Asserts that the child has broken a protocol rule, and that the error's text contains `part`.
///
/// # Panics
///
/// Panics if the outcome is different.
#[track_caller]
pub fn assert_violation(outcome: Result<ReceivedMessage, Error>, child: &Child, part: &str) {
    match outcome {
        Err(error @ Error::Protocol { pid: process, .. }) if process == child.id() => {
            assert!(error.to_string().contains(part), "{part}: {error}");
        }
        other => panic!("{part}: {other:?}"),
    }
}

/// Asserts that the child's message breaks a protocol rule, leaves no handles, and closes the channel.
///
/// # Panics
///
/// Panics if the outcome is different.
#[track_caller]
pub fn assert_channel_closed_by_violation(child: &Child, channel: &Channel, part: &str) {
    let handles = table::count();
    assert_violation(channel.recv_timeout(SOON), child, part);
    assert_eq!(table::count(), handles, "{part}");
    // The channel stays closed in both directions.
    assert_violation(channel.recv_timeout(SOON), child, part);
    let event = Event::manual_reset().unwrap();
    let sent = channel.send(Message::new(b"").with("event", &event));
    assert!(matches!(sent, Err(Error::Protocol { .. })), "{sent:?}");
    assert_eq!(table::values_of(&event, child.id()), []);
}
