//! Measures a call and its reply, beside a message and its answer by plain sends and receives. Both use the same channel.

use std::time::Duration;

use handover::{Channel, Message};

use crate::Outcome;
use crate::hand_over::objects;
use crate::measure::{Bench, Way, timed};
use crate::peer_process::{ChannelPeer, DEADLINE, message, until_closed};

/// The number of round trips in one measurement.
const IN_A_ROW: u32 = 20;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    const SIZES: [(&str, usize, usize); 3] =
        [("64 B", 64, 0), ("16 KiB", 16 << 10, 0), ("64 B and 1 object", 64, 1)];
    let peer = ChannelPeer::start("handover-reply")?;
    for (x, size, count) in SIZES {
        let (names, events) = objects(count)?;
        let bytes = vec![0; size];
        let build = || message(&bytes, &names, &events);
        let ways = vec![
            Way::new("send, recv", || in_a_row(|| send_and_recv(&peer.channel, build()))),
            Way::new("call, reply", || in_a_row(|| call(&peer.channel, build()))),
        ];
        bench.compare("call", x, ways)?;
    }
    Ok(())
}

fn send_and_recv(channel: &Channel, message: Message<'_>) -> Outcome {
    channel.send(message)?;
    channel.recv_timeout(DEADLINE)?;
    Ok(())
}

fn call(channel: &Channel, message: Message<'_>) -> Outcome {
    channel.call(message, DEADLINE)?;
    Ok(())
}

fn in_a_row(mut round_trip: impl FnMut() -> Outcome) -> Outcome<Duration> {
    round_trip()?;
    let (time, ()) = timed(|| (0..IN_A_ROW).try_for_each(|_| round_trip()))?;
    Ok(time / IN_A_ROW)
}

/// Runs as the other process: replies to each call, and answers each other message with a message.
pub(crate) fn other_process() -> Outcome {
    let channel = Channel::parent()?;
    while let Some(message) = until_closed(channel.recv_timeout(DEADLINE))? {
        if message.expects_reply() {
            message.reply(b"")?;
        } else {
            channel.send(b"")?;
        }
    }
    Ok(())
}
