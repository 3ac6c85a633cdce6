//! Measures starting a child with objects.

use std::path::PathBuf;
use std::time::Duration;

use handover::{Command, Event};

use crate::Outcome;
use crate::measure::{Bench, Way, check_success, settle, timed};
use crate::os::{self, baseline};
use crate::peer_process::DEADLINE;

pub(crate) fn measure(bench: &mut Bench) -> Outcome {
    for count in [0, 1, 8, 64] {
        let events: Vec<Event> = (0..count).map(|_| Event::manual_reset()).collect::<Result<_, _>>()?;
        bench.compare("spawn", count, ways(&events)?)?;
    }
    Ok(())
}

/// Returns all ways to start a child with these objects. The first is the floor.
///
/// Each one starts a child before the one that counts. After a `fork`, this process's first write to each page is a page
/// fault, and without that first child, the faults would be counted for the way that comes after the one that forks.
pub(crate) fn ways(events: &[Event]) -> Outcome<Vec<Way<'_>>> {
    let child = program()?;
    let mut ways = baseline::spawns(&child, events);
    let (mut ours, mut race_free) = (Command::new(&child), Command::new(&child));
    race_free.race_free();
    for (number, event) in events.iter().enumerate() {
        ours.inherit(number.to_string(), event);
        race_free.inherit(number.to_string(), event);
    }
    ways.push(Way::new("handover", move || time_spawn(&mut ours)));
    ways.push(if os::IS_RACE_FREE_SPAWN_SLOWER {
        Way::new("handover, race_free", move || time_spawn(&mut race_free))
    } else {
        Way::missing("handover, race_free", "every spawn is race-free")
    });
    #[cfg(feature = "peers")]
    ways.extend(os::peer::spawns(&child, events)?);
    ways.push(Way::new("std, all inheritable", std_with_inheritable(child, events)));
    Ok(ways.into_iter().map(Way::warmed_up).collect())
}

/// Returns the path of a program that exits at once.
fn program() -> Outcome<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("nothing");
    Ok(program.with_extension(std::env::consts::EXE_EXTENSION))
}

fn time_spawn(command: &mut Command<'_>) -> Outcome<Duration> {
    settle();
    let (time, mut child) = timed(|| Ok(command.spawn()?))?;
    check_success(child.wait_timeout(DEADLINE)?)?;
    Ok(time)
}

/// Spawns with std, which has no list of handles: the child inherits all inheritable handles. Any other child that is
/// spawned at that moment inherits them too.
fn std_with_inheritable(program: PathBuf, events: &[Event]) -> impl FnMut() -> Outcome<Duration> {
    let mut command = std::process::Command::new(program);
    move || {
        settle();
        baseline::set_inheritable(events, true)?;
        let (time, mut child) = timed(|| Ok(command.spawn()?))?;
        baseline::set_inheritable(events, false)?;
        check_success(child.wait()?)?;
        Ok(time)
    }
}
