//! Starts this program as the other process, and sends it objects and bytes over a channel of handover's.

use std::time::Duration;

use handover::{Carried, Channel, Child, Command, Error, Event, Message, Process};

use crate::Outcome;
use crate::measure::Reason;

/// The timeout of each wait.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A flag in a message's first byte: the sender waits for an answer.
pub(crate) const ANSWER: u8 = 1;
/// A flag in a message's first byte: the receiver keeps the objects until a message without this flag arrives.
pub(crate) const KEEP: u8 = 2;

/// Starts this program in `role`. Dropping the child kills it.
pub(crate) fn start<'a>(role: &str, prepare: impl FnOnce(&mut Command<'a>)) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    prepare(command.arg("--as").arg(role).kill_on_drop(true));
    Ok(command.spawn()?)
}

/// A process in a role, with a channel of handover's to it.
#[derive(Debug)]
pub(crate) struct ChannelPeer {
    child: Child,
    pub(crate) channel: Channel,
}

impl ChannelPeer {
    pub(crate) fn start(role: &str) -> Outcome<Self> {
        Self::start_with(role, &[])
    }

    pub(crate) fn start_with(role: &str, arguments: &[&str]) -> Outcome<Self> {
        Self::start_prepared(role, |command| {
            command.args(arguments);
        })
    }

    /// Starts the process with what `prepare` adds to its command.
    pub(crate) fn start_prepared<'a>(role: &str, prepare: impl FnOnce(&mut Command<'a>)) -> Outcome<Self> {
        let mut child = start(role, |command| {
            prepare(command);
            command.channel();
        })?;
        let channel = child.take_channel().ok_or("the child has no channel, although one was requested")?;
        Ok(Self { child, channel })
    }

    pub(crate) fn process(&self) -> &Process {
        self.child.process()
    }

    /// Sends objects under these names.
    pub(crate) fn send_objects(&self, names: &[String], events: &[Event], flags: u8) -> Outcome {
        self.channel.send(message(&[flags], names, events))?;
        self.wait_for_answer(flags)
    }

    /// Sends objects in a value.
    pub(crate) fn send_typed(&self, events: &[Carried<Event>], flags: u8) -> Outcome {
        self.channel.send(Message::from_value(&(flags, events))?)?;
        self.wait_for_answer(flags)
    }

    /// Sends bytes, the first of which holds the flags.
    pub(crate) fn send(&self, bytes: &[u8]) -> Outcome {
        self.channel.send(bytes)?;
        self.wait_for_answer(bytes[0])
    }

    fn wait_for_answer(&self, flags: u8) -> Outcome {
        if flags & ANSWER != 0 {
            self.channel.recv_timeout(DEADLINE)?;
        }
        Ok(())
    }
}

/// One way to send objects to another process.
pub(crate) struct ObjectSender<'a> {
    pub(crate) name: &'static str,
    /// Sends the objects, and waits for the answer if the argument is true; or the reason why this way can't send them.
    pub(crate) send: Result<Box<dyn FnMut(bool) -> Outcome + 'a>, Reason>,
}

/// Builds a message of `bytes`, with each object under its name.
pub(crate) fn message<'a>(bytes: &'a [u8], names: &'a [String], events: &'a [Event]) -> Message<'a> {
    let mut message = Message::new(bytes);
    for (name, event) in names.iter().zip(events) {
        message.add(name, event);
    }
    message
}

/// Returns what was received, or `None` if the peer process has closed the channel, which ends this process's work.
pub(crate) fn until_closed<T>(received: handover::Result<T>) -> Outcome<Option<T>> {
    match received {
        Ok(received) => Ok(Some(received)),
        Err(Error::Disconnected { .. } | Error::ProcessExited { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}
