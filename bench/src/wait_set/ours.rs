//! Serves channels of handover's with a `WaitSet`.

use handover::{Channel, Listener, WaitSet};

use super::{LENGTH, RoundTrip, Service, Tell};
use crate::Outcome;
use crate::peer_process::{ANSWER, DEADLINE, until_closed};

pub(super) const OURS: Service = Service { name: "handover", serve, connect };

fn serve(count: usize, tell: Tell<'_>) -> Outcome {
    let name = format!("handover-bench-set.{}", std::process::id());
    let mut listener = Listener::bind(&name)?;
    tell(&name)?;
    let (set, mut channels) = (WaitSet::new()?, Vec::with_capacity(count));
    for key in 0..u64::try_from(count)? {
        let channel = listener.accept_timeout(DEADLINE)?.accept()?;
        set.add(key, &channel)?;
        channels.push(channel);
    }
    // The parent kills this process, which would leave the listener's name behind.
    drop(listener);
    tell("")?;
    loop {
        let ready = set.wait(DEADLINE)?;
        if ready.len() == 0 {
            return Ok(());
        }
        for ready in ready {
            let channel = &channels[usize::try_from(ready.key())?];
            match until_closed(channel.try_recv())? {
                Some(Some(_)) => channel.send(b"")?,
                Some(None) => {}
                None => return Ok(()),
            }
        }
    }
}

fn connect(name: &str, count: usize) -> Outcome<RoundTrip> {
    let channels: Vec<Channel> =
        (0..count).map(|_| Channel::connect_timeout(name, DEADLINE)).collect::<Result<_, _>>()?;
    Ok(Box::new(move |index| {
        channels[index].send(&[ANSWER; LENGTH])?;
        channels[index].recv_timeout(DEADLINE)?;
        Ok(())
    }))
}
