//! Measures messages of bytes without objects, from sending until the answer arrives.

use std::time::Duration;

use crate::Outcome;
use crate::measure::{Bench, Way, timed};
use crate::os::baseline;
use crate::peer_process::{ANSWER, ChannelPeer};

/// The number of messages in one measurement.
const IN_A_ROW: u32 = 5;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    const SIZES: [(&str, usize); 5] =
        [("64 B", 64), ("1 KiB", 1 << 10), ("16 KiB", 16 << 10), ("128 KiB", 128 << 10), ("1 MiB", 1 << 20)];
    let floor = baseline::FloorPeer::start()?;
    let ours = ChannelPeer::start("handover")?;
    #[cfg(feature = "peers")]
    let peer = crate::ipc_channel::Bytes::start()?;
    for (name, size) in SIZES {
        let bytes = vec![ANSWER; size];
        #[allow(unused_mut, reason = "only the feature `peers` adds ways")]
        let mut ways = vec![
            Way::new("C floor", || in_a_row(|| floor.send_bytes(size))),
            Way::new("handover", || in_a_row(|| ours.send(&bytes))),
        ];
        #[cfg(feature = "peers")]
        ways.push(Way::new("ipc-channel", || in_a_row(|| peer.send(&bytes))));
        bench.compare("bytes", name, ways)?;
    }
    Ok(())
}

fn in_a_row(mut send: impl FnMut() -> Outcome) -> Outcome<Duration> {
    send()?;
    let (time, ()) = timed(|| (0..IN_A_ROW).try_for_each(|_| send()))?;
    Ok(time / IN_A_ROW)
}
