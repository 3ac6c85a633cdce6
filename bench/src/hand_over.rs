//! Measures messages with objects to a running process, over an open channel.

use std::time::Duration;

use handover::{Carried, Event};

use crate::Outcome;
use crate::measure::{Bench, Way, timed};
use crate::os::baseline;
use crate::peer_process::{ANSWER, ChannelPeer, ObjectSender};

/// The number of messages in one measurement. A message to warm up precedes them, because the previous way has filled
/// the processor's caches with its own data.
const IN_A_ROW: u32 = 10;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    baseline::raise_handle_limit(baseline::WANTED);
    let floor = baseline::FloorPeer::start()?;
    let variants = baseline::FloorPeer::start_variants()?;
    let (closing, taking) = (ChannelPeer::start("handover")?, ChannelPeer::start("handover-take")?);
    let typed = ChannelPeer::start("handover-typed")?;
    #[cfg(feature = "peers")]
    let peers = crate::os::peer::PeerSenders::start()?;
    for (table, is_one_way) in [("hand-over, answered", false), ("hand-over, one way", true)] {
        for count in [1_usize, 8, 64, 253] {
            let (names, events) = objects(count)?;
            let carried = events
                .iter()
                .map(|event| event.try_clone().map(Carried::new))
                .collect::<Result<Vec<_>, _>>()?;
            let objects = baseline::objects(&events);
            let length = frame_length(&names);
            let ours = |peer: &ChannelPeer, answer| peer.send_objects(&names, &events, u8::from(answer));
            let mut senders = vec![
                ObjectSender {
                    name: "C floor",
                    send: Ok(Box::new(|answer| floor.send_objects(&objects, length, u8::from(answer)))),
                },
                ObjectSender { name: "handover, take", send: Ok(Box::new(|answer| ours(&taking, answer))) },
                ObjectSender { name: "handover", send: Ok(Box::new(|answer| ours(&closing, answer))) },
                ObjectSender {
                    name: "handover, typed",
                    send: Ok(Box::new(|answer| typed.send_typed(&carried, u8::from(answer)))),
                },
            ];
            for (name, floor) in &variants {
                let objects = &objects;
                let send = move |answer| floor.send_objects(objects, length, u8::from(answer));
                senders.insert(1, ObjectSender { name, send: Ok(Box::new(send)) });
            }
            #[cfg(feature = "peers")]
            senders.extend(peers.of(&events, length));
            let ways = senders.into_iter().map(|sender| match sender.send {
                Ok(send) if is_one_way => Way::new(sender.name, one_way(send)),
                Ok(send) => Way::new(sender.name, answered(send)),
                Err(reason) => Way::missing(sender.name, reason),
            });
            bench.compare(table, count, ways.collect())?;
        }
    }
    Ok(())
}

/// Creates `count` events, and their names.
pub(crate) fn objects(count: usize) -> Outcome<(Vec<String>, Vec<Event>)> {
    let events = (0..count).map(|_| Event::manual_reset()).collect::<Result<_, _>>()?;
    Ok(((0..count).map(|number| number.to_string()).collect(), events))
}

/// Returns the length of the frame that handover sends for objects with these names and one byte: a header of 32 bytes,
/// the table, and the byte. The floor sends the same number of bytes.
pub(crate) fn frame_length(names: &[String]) -> usize {
    32 + 1 + names.iter().map(|name| 1 + name.len()).sum::<usize>()
}

/// Sends messages in a row, and waits for the answer to each.
pub(crate) fn answered(mut send: impl FnMut(bool) -> Outcome) -> impl FnMut() -> Outcome<Duration> {
    move || {
        send(true)?;
        let (time, ()) = timed(|| (0..IN_A_ROW).try_for_each(|_| send(true)))?;
        Ok(time / IN_A_ROW)
    }
}

/// Sends messages in a row, and waits for the answer to the last one.
fn one_way(mut send: impl FnMut(bool) -> Outcome) -> impl FnMut() -> Outcome<Duration> {
    move || {
        send(true)?;
        let (time, ()) = timed(|| (1..=IN_A_ROW).try_for_each(|number| send(number == IN_A_ROW)))?;
        Ok(time / IN_A_ROW)
    }
}

const _: () = assert!(ANSWER == 1, "`u8::from(answer)` must be the flag");
