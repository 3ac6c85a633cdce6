//! This program as the other process.

use std::time::Duration;

use handover::{Channel, Child, Command, Error, Event, Message, ReceivedMessage};

use crate::counting;
use crate::os::baseline;
use crate::{Outcome, memory, signal};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// What is to be done with a message, in its first byte: an answer is waited for.
pub(crate) const ANSWER: u8 = 1;
/// Its objects stay until a message comes without this.
pub(crate) const KEEP: u8 = 2;

pub(crate) fn other_process(role: &str, arguments: &[&str]) -> Outcome {
    baseline::room(baseline::WANTED);
    match (role, arguments) {
        ("ours", []) => receive(|_| Ok(())),
        ("ours-taken", []) => receive(|message| {
            let names: Vec<String> = message.names().map(str::to_owned).collect();
            for name in names {
                message.take::<Event>(&name)?;
            }
            Ok(())
        }),
        ("ours-counted", []) => count(),
        ("floor", _) => baseline::take_over(),
        ("echo", []) => signal::echo(),
        ("floor-echo", []) => baseline::echo(),
        ("channels", [name, count]) => memory::other_process(name, count.parse()?),
        #[cfg(feature = "peers")]
        ("ipc-channel", [name]) => crate::ipc_channel::other_process(name),
        #[cfg(feature = "peers")]
        ("ipc-channel-bytes", [name]) => crate::ipc_channel::bytes_other_process(name),
        #[cfg(feature = "peers")]
        ("ipmb", [bus]) => crate::ipmb::other_process(bus),
        #[cfg(feature = "peers")]
        (other, arguments) => crate::os::peer::other_process(other, arguments),
        #[cfg(not(feature = "peers"))]
        (other, arguments) => Err(format!("{other} {arguments:?} is no role").into()),
    }
}

/// Takes each message, and answers those that ask for it.
fn receive(take: impl Fn(&mut ReceivedMessage) -> Outcome) -> Outcome {
    let channel = Channel::parent()?;
    let mut kept = Vec::new();
    loop {
        let mut message = match channel.recv_timeout(DEADLINE) {
            Ok(message) => message,
            Err(Error::Disconnected { .. } | Error::ProcessExited { .. }) => return Ok(()),
            Err(other) => return Err(other.into()),
        };
        take(&mut message)?;
        let what = message.bytes().first().copied().unwrap_or(ANSWER);
        if what & KEEP == 0 {
            kept.clear();
            drop(message);
        } else {
            kept.push(message);
        }
        if what & ANSWER != 0 {
            channel.send(b"")?;
        }
    }
}

/// Answers each message with how many allocations it took to receive it.
fn count() -> Outcome {
    let channel = Channel::parent()?;
    loop {
        let (received, allocations) = counting::during(|| channel.recv_timeout(DEADLINE));
        match received {
            Ok(message) => drop(message),
            Err(Error::Disconnected { .. } | Error::ProcessExited { .. }) => return Ok(()),
            Err(other) => return Err(other.into()),
        }
        channel.send(allocations.to_le_bytes().to_vec())?;
    }
}

/// This program in a role, until the result is dropped.
pub(crate) fn start<'a>(role: &str, prepare: impl FnOnce(&mut Command<'a>)) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    prepare(command.arg("--as").arg(role).kill_on_drop(true));
    Ok(command.spawn()?)
}

/// A process in a role behind a channel of ours.
#[derive(Debug)]
pub(crate) struct Behind {
    _child: Child,
    pub(crate) channel: Channel,
}

impl Behind {
    pub(crate) fn start(role: &str) -> Outcome<Self> {
        let mut child = start(role, |command| {
            command.channel();
        })?;
        let channel = child.take_channel().ok_or("a channel was asked for")?;
        Ok(Self { _child: child, channel })
    }

    /// Hands objects over under these names.
    pub(crate) fn hand_over(&self, names: &[String], events: &[Event], what: u8) -> Outcome {
        self.channel.send(message(&[what], names, events))?;
        self.answer(what)
    }

    /// Sends bytes, of which the first says what is to be done.
    pub(crate) fn send(&self, bytes: &[u8]) -> Outcome {
        self.channel.send(bytes)?;
        self.answer(bytes[0])
    }

    fn answer(&self, what: u8) -> Outcome {
        if what & ANSWER != 0 {
            self.channel.recv_timeout(DEADLINE)?;
        }
        Ok(())
    }
}

/// So many objects, each under its name.
pub(crate) fn message<'a>(bytes: &'a [u8], names: &'a [String], events: &'a [Event]) -> Message<'a> {
    let mut message = Message::new(bytes);
    for (name, event) in names.iter().zip(events) {
        message.add(name, event);
    }
    message
}
