//! Measures a signal that wakes another process, and the answer that wakes this one.

use handover::{Child, Error, Event, inherited};

use crate::Outcome;
use crate::measure::{Bench, Way, timed};
use crate::os::baseline;
use crate::peer_process::{DEADLINE, start};

/// The number of round trips in one measurement.
const IN_A_ROW: u32 = 20;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    let ours = [Event::auto_reset()?, Event::auto_reset()?];
    let floor = [Event::auto_reset()?, Event::auto_reset()?];
    let (_ours, _floor) = (start_echo("echo", &ours)?, start_echo("floor-echo", &floor)?);
    let round_trip = |set: &dyn Fn() -> Outcome| {
        set()?;
        let (time, ()) = timed(|| (0..IN_A_ROW).try_for_each(|_| set()))?;
        // A round trip is two signals.
        Ok(time / IN_A_ROW / 2)
    };
    let by_us = || {
        ours[0].set()?;
        Ok(ours[1].wait_timeout(DEADLINE)?)
    };
    let by_floor = || baseline::set_and_wait(&floor[0], &floor[1]);
    let ways =
        vec![Way::new("C floor", || round_trip(&by_floor)), Way::new("handover", || round_trip(&by_us))];
    bench.compare("signal", "signal to wake", ways)
}

fn start_echo(role: &str, events: &[Event; 2]) -> Outcome<Child> {
    start(role, |command| {
        command.inherit("request", &events[0]).inherit("response", &events[1]);
    })
}

/// Runs as the other process: answers each signal with a signal.
pub(crate) fn echo() -> Outcome {
    let inherited = inherited()?;
    let (request, response): (Event, Event) = (inherited.take("request")?, inherited.take("response")?);
    loop {
        match request.wait_timeout(DEADLINE) {
            Ok(()) => response.set()?,
            Err(Error::TimedOut { .. }) => return Ok(()),
            Err(other) => return Err(other.into()),
        }
    }
}
