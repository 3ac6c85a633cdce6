//! Runs this program as the other process, in the role that its arguments name.

use handover::{Carried, Channel, Event, ReceivedMessage};

use crate::counting;
use crate::os::baseline;
use crate::peer_process::{ANSWER, DEADLINE, KEEP, until_closed};
use crate::{Outcome, call, futures, in_flight, memory, signal, wait_set};

pub(crate) fn other_process(role: &str, arguments: &[&str]) -> Outcome {
    baseline::raise_handle_limit(baseline::WANTED);
    match (role, arguments) {
        ("handover", []) => receive(|_| Ok(())),
        ("handover-take", []) => {
            // A program knows the names of the objects that it takes.
            let names: Vec<String> = (0..Channel::MAX_OBJECTS).map(|number| number.to_string()).collect();
            receive(|message| {
                for name in &names[..message.names().len()] {
                    message.take::<Event>(name)?;
                }
                Ok(())
            })
        }
        ("handover-typed", []) => receive_typed(),
        ("handover-counted", []) => count_allocations(),
        ("handover-reply", []) => call::other_process(),
        ("floor", _) => baseline::receive(),
        ("echo", []) => signal::echo(),
        ("floor-echo", []) => baseline::echo(),
        ("in-flight", [name]) => in_flight::other_process(name),
        ("set-server", [name, count]) => wait_set::pair::server(name, count.parse()?),
        ("set-client", [name, count, address]) => wait_set::pair::client(name, count.parse()?, address),
        ("tokio", []) => futures::on_tokio::other_process(),
        ("async-io", []) => futures::on_async_io::other_process(),
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
        (other, arguments) => {
            Err(format!("there is no role {other} with the arguments {arguments:?}").into())
        }
    }
}

/// Receives messages until the channel is closed, and answers those that ask for it.
fn receive(take: impl Fn(&mut ReceivedMessage) -> Outcome) -> Outcome {
    let channel = Channel::parent()?;
    let mut kept = Vec::new();
    while let Some(mut message) = until_closed(channel.recv_timeout(DEADLINE))? {
        take(&mut message)?;
        let flags = message.bytes().first().copied().unwrap_or(ANSWER);
        if flags & KEEP == 0 {
            kept.clear();
            drop(message);
        } else {
            kept.push(message);
        }
        if flags & ANSWER != 0 {
            channel.send(b"")?;
        }
    }
    Ok(())
}

/// Receives values until the channel is closed, and answers those that ask for it.
fn receive_typed() -> Outcome {
    let channel = Channel::parent()?;
    while let Some(message) = until_closed(channel.recv_timeout(DEADLINE))? {
        let (flags, events): (u8, Vec<Carried<Event>>) = message.into_value()?;
        drop(events);
        if flags & ANSWER != 0 {
            channel.send(b"")?;
        }
    }
    Ok(())
}

/// Answers each message with the number of allocations that receiving it took.
fn count_allocations() -> Outcome {
    let channel = Channel::parent()?;
    loop {
        let (received, allocations) = counting::during(|| channel.recv_timeout(DEADLINE));
        let Some(message) = until_closed(received)? else { return Ok(()) };
        drop(message);
        channel.send(allocations.to_le_bytes().to_vec())?;
    }
}
