//! Starting a child with objects.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use handover::{Command, Event};

use crate::Outcome;
use crate::measure::{Bench, Way, timed};
use crate::os::{self, baseline};
use crate::receive::DEADLINE;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    for count in [0, 1, 8, 64] {
        let events: Vec<Event> = (0..count).map(|_| Event::manual_reset()).collect::<Result<_, _>>()?;
        bench.compare("spawn", count, ways(&events)?)?;
    }
    Ok(())
}

/// All who can start a child with these objects. The first is the floor.
pub(crate) fn ways(events: &[Event]) -> Outcome<Vec<Way<'_>>> {
    let ends = program()?;
    let mut ways = baseline::spawns(&ends, events);
    let (mut ours, mut sealed) = (Command::new(&ends), Command::new(&ends));
    sealed.race_free();
    for (number, event) in events.iter().enumerate() {
        ours.inherit(number.to_string(), event);
        sealed.inherit(number.to_string(), event);
    }
    ways.push(Way::new("ours", move || started(&mut ours)));
    ways.push(if os::SEALING_COSTS {
        Way::new("ours, sealed", move || started(&mut sealed))
    } else {
        Way::missing("ours, sealed", "every spawn is")
    });
    #[cfg(feature = "peers")]
    ways.extend(os::peer::spawns(&ends, events)?);
    ways.push(Way::new("std, all inheritable", inheritable(ends, events)));
    Ok(ways)
}

/// The program that is started: it ends at once.
fn program() -> Outcome<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("nothing");
    Ok(program.with_extension(std::env::consts::EXE_EXTENSION))
}

fn started(command: &mut Command<'_>) -> Outcome<Duration> {
    settle();
    let (time, mut child) = timed(|| Ok(command.spawn()?))?;
    ended_well(child.wait_timeout(DEADLINE)?)?;
    Ok(time)
}

/// A child that fails isn't one to measure.
pub(crate) fn ended_well(status: ExitStatus) -> Outcome {
    if status.success() { Ok(()) } else { Err(format!("the child ended with {status}").into()) }
}

/// std knows no list: what is inheritable goes to the child, and to each other that is started at that moment.
fn inheritable(program: PathBuf, events: &[Event]) -> impl FnMut() -> Outcome<Duration> {
    let mut command = std::process::Command::new(program);
    move || {
        settle();
        baseline::let_inherit(events, true)?;
        let (time, mut child) = timed(|| Ok(command.spawn()?))?;
        baseline::let_inherit(events, false)?;
        ended_well(child.wait()?)?;
        Ok(time)
    }
}

/// Lets what is left of the last child go.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(3));
}
