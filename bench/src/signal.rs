//! A signal that wakes another process, and its answer, which wakes this one.

use handover::{Child, Error, Event, inherited};

use crate::Outcome;
use crate::measure::{Bench, Way, timed};
use crate::os::baseline;
use crate::receive::{DEADLINE, start};

/// How many there and back are one measurement.
const IN_A_ROW: u32 = 20;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    let ours = [Event::auto_reset()?, Event::auto_reset()?];
    let bare = [Event::auto_reset()?, Event::auto_reset()?];
    let (_ours, _bare) = (other("echo", &ours)?, other("floor-echo", &bare)?);
    let there_and_back = |set: &dyn Fn() -> Outcome| {
        set()?;
        let (time, ()) = timed(|| (0..IN_A_ROW).try_for_each(|_| set()))?;
        // Two signals, two that wake.
        Ok(time / IN_A_ROW / 2)
    };
    let mine = || {
        ours[0].set()?;
        Ok(ours[1].wait_timeout(DEADLINE)?)
    };
    let floor = || baseline::set_and_wait(&bare[0], &bare[1]);
    let ways =
        vec![Way::new("C floor", || there_and_back(&floor)), Way::new("ours", || there_and_back(&mine))];
    bench.compare("signal", "signal to wake", ways)
}

fn other(role: &str, events: &[Event; 2]) -> Outcome<Child> {
    start(role, |command| {
        command.inherit("there", &events[0]).inherit("back", &events[1]);
    })
}

/// The other process: answers each signal.
pub(crate) fn echo() -> Outcome {
    let inherited = inherited()?;
    let (there, back): (Event, Event) = (inherited.take("there")?, inherited.take("back")?);
    loop {
        match there.wait_timeout(DEADLINE) {
            Ok(()) => back.set()?,
            Err(Error::TimedOut { .. }) => return Ok(()),
            Err(other) => return Err(other.into()),
        }
    }
}
