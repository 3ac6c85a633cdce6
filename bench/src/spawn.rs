//! Starting a child with objects.

use std::time::Duration;

use handover::{Command, Event};

use crate::Outcome;
use crate::measure::{Way, row, timed};
use crate::os::{self, floor};

/// After which a child that should have ended is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn measure() -> Outcome {
    let ends =
        std::env::current_exe()?.with_file_name("nothing").with_extension(std::env::consts::EXE_EXTENSION);

    println!("\nA child with so many objects:\n");
    for count in [0, 1, 8, 64] {
        let events: Vec<Event> = (0..count).map(|_| Event::manual_reset()).collect::<Result<_, _>>()?;
        let mut ways = floor::spawns(&ends, &events);
        let (mut ours, mut sealed) = (Command::new(&ends), Command::new(&ends));
        sealed.sealed();
        for (number, event) in events.iter().enumerate() {
            ours.inherit(number.to_string(), event);
            sealed.inherit(number.to_string(), event);
        }
        ways.push(Way::new("ours", move || started(&mut ours)));
        if os::SEALING_COSTS {
            ways.push(Way::new("sealed", move || started(&mut sealed)));
        }
        row(count, ways, count == 0)?;
    }
    Ok(())
}

fn started(command: &mut Command<'_>) -> Outcome<Duration> {
    settle();
    let (time, mut child) = timed(|| Ok(command.spawn()?))?;
    child.wait_timeout(DEADLINE)?;
    Ok(time)
}

/// Lets what is left of the last child go.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(3));
}
