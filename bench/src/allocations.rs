//! Counts the memory allocations of a message, in the sender and in the receiver.

use crate::hand_over::objects;
use crate::measure::Bench;
use crate::peer_process::{ChannelPeer, DEADLINE, message};
use crate::results::Unit;
use crate::{Outcome, counting};

/// The number of messages. The smallest count of all messages is the result, because other threads may allocate at the
/// same time.
const MESSAGES: usize = 20;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    const TABLE: &str = "allocations per message";
    let ours = ChannelPeer::start("handover-counted")?;
    #[cfg(feature = "peers")]
    let peers = crate::os::peer::PeerSenders::start()?;
    for count in [1, 64, 253] {
        let (names, events) = objects(count)?;
        let mut fewest = [u64::MAX; 3];
        for _ in 0..MESSAGES {
            let (built, building) = counting::during(|| message(&[1], &names, &events));
            let (sent, sending) = counting::during(|| ours.channel.send(built));
            sent?;
            let answer = ours.channel.recv_timeout(DEADLINE)?;
            let receiving = u64::from_le_bytes(answer.bytes().try_into()?);
            for (fewest, count) in fewest.iter_mut().zip([building, sending, receiving]) {
                *fewest = count.min(*fewest);
            }
        }
        let x = count.to_string();
        for (way, result) in
            ["handover: building", "handover: sending", "handover: receiving"].iter().zip(fewest)
        {
            bench.push(TABLE, &x, way, Unit::Count, Ok((result as f64, None)));
        }
        #[cfg(feature = "peers")]
        for sender in peers.of(&events, crate::hand_over::frame_length(&names)) {
            let result = sender.send.and_then(|mut send| {
                let mut fewest = u64::MAX;
                for _ in 0..MESSAGES {
                    let (sent, count) = counting::during(|| send(true));
                    sent.map_err(|error| error.to_string())?;
                    fewest = count.min(fewest);
                }
                Ok((fewest as f64, None))
            });
            let way = format!("{}, and its answer", sender.name);
            bench.push(TABLE, &x, &way, Unit::Count, result);
        }
    }
    Ok(())
}
