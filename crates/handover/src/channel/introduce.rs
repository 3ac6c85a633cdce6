//! Introductions: a process that knows two others connects them to each other.

use std::time::Duration;

use super::imp::{self, Endpoint};
use super::{Channel, Message};
use crate::error::{Error, Result};

/// Connects two processes to each other, both of which this process has a channel to.
///
/// It sends a message without bytes to each of them, which carries an endpoint under this name. Each takes its own with
/// [`ReceivedMessage::take_channel`](crate::ReceivedMessage::take_channel) and owns it. After that this process isn't needed
/// any more, and can exit.
///
/// On Linux objects travel between the two in both directions. On Windows one of them would need the right to duplicate
/// handles into the other, which this call gives to neither. So messages between them carry bytes only, and sending an object
/// is an error; `os::windows::introduce_stronger` gives that right.
///
/// A broker for two children:
/// [`examples/broker.rs`](https://docs.rs/crate/handover/latest/source/examples/broker.rs).
///
/// ```no_run
/// use handover::Command;
///
/// let mut producer = Command::new("producer").channel().spawn()?;
/// let mut consumer = Command::new("consumer").channel().spawn()?;
/// let channels = [&mut producer, &mut consumer].map(|child| child.take_channel().expect("it has one"));
/// handover::introduce(&channels[0], &channels[1], "queue")?;
/// # Ok::<(), handover::Error>(())
/// ```
///
/// # Errors
///
/// The errors of [`Channel::send`], for either of the two. If the second one can't be told, the first one's endpoint is
/// disconnected.
pub fn introduce(one: &Channel, other: &Channel, name: &str) -> Result<()> {
    introduce_timeout(one, other, name, Duration::MAX)
}

/// Connects two processes as [`introduce`] does, waiting for at most `timeout` until each of them receives.
///
/// # Errors
///
/// The errors of [`introduce`], and [`Error::TimedOut`].
pub fn introduce_timeout(one: &Channel, other: &Channel, name: &str, timeout: Duration) -> Result<()> {
    let (for_one, for_other) = imp::introduced(&one.endpoint, &other.endpoint)?;
    give(one, for_one, name, timeout)?;
    give(other, for_other, name, timeout)
}

/// Sends a process its endpoint. If that fails, the endpoint is of no use any more, so it isn't returned.
pub(super) fn give(to: &Channel, endpoint: Endpoint, name: &str, timeout: Duration) -> Result<()> {
    let message = Message::new("").with_channel(name, Channel::new(endpoint));
    to.send_timeout(message, timeout).map_err(|error| match error {
        Error::NotSent { source, .. } => *source,
        error => error,
    })
}
