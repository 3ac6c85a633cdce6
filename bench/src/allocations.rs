//! How often a message asks for memory, on both sides.

use crate::hand_over::objects;
use crate::measure::Bench;
use crate::receive::{Behind, DEADLINE, message};
use crate::results::Unit;
use crate::{Outcome, counting};

/// How many are counted. The fewest count: what another thread does meanwhile isn't the message's.
const MESSAGES: usize = 20;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    const TABLE: &str = "allocations per message";
    let behind = Behind::start("ours-counted")?;
    #[cfg(feature = "peers")]
    let peers = crate::os::peer::Givers::start()?;
    for count in [1, 64, 253] {
        let (names, events) = objects(count)?;
        let mut fewest = [u64::MAX; 3];
        for _ in 0..MESSAGES {
            let (built, building) = counting::during(|| message(&[1], &names, &events));
            let (sent, sending) = counting::during(|| behind.channel.send(built));
            sent?;
            let answer = behind.channel.recv_timeout(DEADLINE)?;
            let receiving = u64::from_le_bytes(answer.bytes().try_into()?);
            for (fewest, now) in fewest.iter_mut().zip([building, sending, receiving]) {
                *fewest = now.min(*fewest);
            }
        }
        let x = count.to_string();
        for (who, found) in ["ours: building", "ours: sending", "ours: receiving"].iter().zip(fewest) {
            bench.push(TABLE, &x, who, Unit::Count, Ok((found as f64, None)));
        }
        #[cfg(feature = "peers")]
        for giver in peers.of(&events, crate::hand_over::frame_length(&names)) {
            let found = giver.give.and_then(|mut give| {
                let mut fewest = u64::MAX;
                for _ in 0..MESSAGES {
                    let (given, now) = counting::during(|| give(true));
                    given.map_err(|error| error.to_string())?;
                    fewest = now.min(fewest);
                }
                Ok((fewest as f64, None))
            });
            let way = format!("{}, and its answer", giver.name);
            bench.push(TABLE, &x, &way, Unit::Count, found);
        }
    }
    Ok(())
}
