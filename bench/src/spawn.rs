//! Starting a child with objects.

use std::time::Duration;

use handover::{Command, Event};

use crate::floor::{self, Floor};
use crate::measure::{Times, order, ratio};

const ROUNDS: usize = 120;
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn measure() -> handover::Result<()> {
    let program = std::env::current_exe().expect("the system knows a process's program");
    let ends = program.with_file_name("nothing.exe");

    println!("\nA child with so many objects:\n");
    println!("| objects | C floor | ours | ratio | sealed | ratio |");
    println!("|---|---|---|---|---|---|");
    for count in [0, 1, 8, 64] {
        let events: Vec<Event> = (0..count).map(|_| Event::manual_reset()).collect::<Result<_, _>>()?;
        let floor = Floor::new(&ends, &events);
        let (mut ours, mut sealed) = (Command::new(&ends), Command::new(&ends));
        sealed.sealed();
        for (number, event) in events.iter().enumerate() {
            ours.inherit(number.to_string(), event);
            sealed.inherit(number.to_string(), event);
        }
        let mut times = Times::<3>::new();
        for round in 0..ROUNDS {
            for which in order::<3>(round) {
                // What is left of the last child goes first.
                std::thread::sleep(Duration::from_millis(3));
                if which == 0 {
                    let process = times.add(which, || floor.spawn());
                    floor::wait(&process, DEADLINE);
                } else {
                    let command = if which == 1 { &mut ours } else { &mut sealed };
                    times.add(which, || command.spawn())?.wait_timeout(DEADLINE)?;
                }
            }
        }
        let [floor, ours, sealed] = times.medians();
        println!(
            "| {count} | {floor:.1?} | {ours:.1?} | {:.3} | {sealed:.1?} | {:.3} |",
            ratio(ours, floor),
            ratio(sealed, floor)
        );
    }
    Ok(())
}
