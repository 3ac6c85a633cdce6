//! Measures the memory of an open channel in each of its two processes.

use handover::{Channel, Listener};

use crate::Outcome;
use crate::measure::Bench;
use crate::os::baseline;
use crate::peer_process::{DEADLINE, start};
use crate::results::Unit;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    const TABLE: &str = "memory per channel";
    let count: usize = if bench.effort.is_quick { 20 } else { 1_000 };
    eprintln!("   … {TABLE}, {count} of them");
    let name = format!("handover-bench.{}", std::process::id());
    let mut listener = Listener::bind(&name)?;
    let _client = start("channels", |command| {
        command.arg(&name).arg(count.to_string());
    })?;
    let (mut channels, before) = (Vec::with_capacity(count), baseline::memory());
    for _ in 0..count {
        channels.push(listener.accept_timeout(DEADLINE)?.accept()?);
    }
    let open = per_channel(before, count);
    for channel in &channels {
        channel.recv_timeout(DEADLINE)?;
        channel.send(b"")?;
    }
    let used = per_channel(before, count);
    let answer = channels[0].recv_timeout(DEADLINE)?;
    let client: Vec<f64> = answer
        .bytes()
        .chunks_exact(8)
        .filter_map(|bytes| bytes.try_into().ok().map(f64::from_le_bytes))
        .collect();
    let [client_open, client_used] = client[..] else {
        return Err("the client did not send two numbers".into());
    };
    for (x, process, bytes) in [
        ("open", "the server", open),
        ("open", "the client", client_open),
        ("after a message each way", "the server", used),
        ("after a message each way", "the client", client_used),
    ] {
        bench.push(TABLE, x, process, Unit::Bytes, Ok((bytes, None)));
    }
    Ok(())
}

/// Returns the growth of this process's memory since `before`, divided by the number of channels.
fn per_channel(before: u64, count: usize) -> f64 {
    baseline::memory().saturating_sub(before) as f64 / count as f64
}

/// Runs as the client: connects `count` times, and sends the memory of one channel to the server.
pub(crate) fn other_process(name: &str, count: usize) -> Outcome {
    let (mut channels, before) = (Vec::with_capacity(count), baseline::memory());
    for _ in 0..count {
        channels.push(Channel::connect_timeout(name, DEADLINE)?);
    }
    let open = per_channel(before, count);
    for channel in &channels {
        channel.send(b"")?;
        channel.recv_timeout(DEADLINE)?;
    }
    let used = per_channel(before, count);
    channels[0].send([open.to_le_bytes(), used.to_le_bytes()].concat())?;
    channels[0].flush(DEADLINE)?;
    // The channels stay open until the server has measured its own memory and closes them.
    while channels[0].recv_timeout(DEADLINE).is_ok() {}
    Ok(())
}
