//! A process that serves many channels with one thread, and a process that has their other endpoints.

use std::time::Duration;

use handover::inspect::HandleTable;
use handover::{Channel, ReceivedMessage};

use super::{Service, services};
use crate::Outcome;
use crate::measure::timed;
use crate::peer_process::{ChannelPeer, DEADLINE, until_closed};

/// The number of messages in one measurement.
const IN_A_ROW: u32 = 20;

#[derive(Debug)]
pub(super) struct Pair {
    client: ChannelPeer,
    server: ChannelPeer,
}

impl Pair {
    /// Starts both processes, and waits until they have all channels.
    pub(super) fn start(service: &Service, channels: usize) -> Outcome<Self> {
        let count = channels.to_string();
        let server = ChannelPeer::start_with("set-server", &[service.name, &count])?;
        let address = String::from_utf8(server.channel.recv_timeout(DEADLINE)?.into_bytes())?;
        let client = ChannelPeer::start_with("set-client", &[service.name, &count, &address])?;
        client.channel.recv_timeout(DEADLINE)?;
        server.channel.recv_timeout(DEADLINE)?;
        Ok(Self { client, server })
    }

    /// Returns the time from a message to its answer, when the messages use `active` of the channels in turn.
    pub(super) fn round_trip(&self, active: usize) -> Outcome<Duration> {
        self.client.channel.send(u64::try_from(active)?.to_le_bytes().to_vec())?;
        let nanoseconds = self.client.channel.recv_timeout(DEADLINE)?;
        Ok(Duration::from_nanos(number(&nanoseconds)?))
    }

    /// Returns the number of open handles of each process.
    pub(super) fn handles(&self) -> Outcome<[usize; 2]> {
        let of = |peer: &ChannelPeer| HandleTable::of(peer.process()).map(|table| table.entries().len());
        Ok([of(&self.client)?, of(&self.server)?])
    }
}

fn number(message: &ReceivedMessage) -> Outcome<u64> {
    Ok(u64::from_le_bytes(message.bytes().try_into()?))
}

fn service(name: &str) -> Outcome<Service> {
    let found = services().find(|service| service.name == name);
    found.ok_or_else(|| format!("no service has the name {name}").into())
}

/// Runs as the server.
pub(crate) fn server(name: &str, count: usize) -> Outcome {
    let parent = Channel::parent()?;
    (service(name)?.serve)(count, &|text| Ok(parent.send(text.as_bytes())?))
}

/// Runs as the client: measures when the parent asks for it.
pub(crate) fn client(name: &str, count: usize, address: &str) -> Outcome {
    let parent = Channel::parent()?;
    let mut round_trip = (service(name)?.connect)(address, count)?;
    parent.send(b"")?;
    let mut sent = 0;
    while let Some(request) = until_closed(parent.recv_timeout(DEADLINE))? {
        let active = usize::try_from(number(&request)?)?;
        // The active channels are spread over the set.
        let mut next = || {
            sent += 1;
            round_trip(sent % active * (count / active))
        };
        next()?;
        let (time, ()) = timed(|| (0..IN_A_ROW).try_for_each(|_| next()))?;
        let nanoseconds = u64::try_from((time / IN_A_ROW).as_nanos())?;
        parent.send(nanoseconds.to_le_bytes().to_vec())?;
    }
    Ok(())
}
