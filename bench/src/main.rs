//! What a spawn costs beside the same CreateProcess call in C: medians of one run, in turn, and their ratio.
//!
//! Absolute times say little: they are this machine's at this moment. The ratio is what counts.

#[cfg(windows)]
mod floor;

#[cfg(not(windows))]
fn main() {
    eprintln!("the floor is Win32's; `cargo xtask bench` builds and runs this here too");
    std::process::exit(2);
}

#[cfg(windows)]
fn main() -> handover::Result<()> {
    use std::time::{Duration, Instant};

    use handover::{Command, Event};

    const ROUNDS: usize = 120;
    const DEADLINE: Duration = Duration::from_secs(30);

    let program = std::env::current_exe().expect("the system knows a process's program");
    let ends = program.with_file_name("nothing.exe");

    println!("| objects | C floor | ours | ratio | sealed | ratio |");
    println!("|---|---|---|---|---|---|");
    for count in [0, 1, 8, 64] {
        let events: Vec<Event> = (0..count).map(|_| Event::manual_reset()).collect::<Result<_, _>>()?;
        let floor = floor::Floor::new(&ends, &events);
        let (mut ours, mut sealed) = (Command::new(&ends), Command::new(&ends));
        sealed.sealed();
        for (number, event) in events.iter().enumerate() {
            ours.inherit(number.to_string(), event);
            sealed.inherit(number.to_string(), event);
        }
        let mut times = [const { Vec::new() }; 3];
        for round in 0..ROUNDS {
            // Each of the six orders in turn, so that none comes after the same other more often.
            let orders = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1], [0, 2, 1], [1, 2, 0]];
            for which in orders[round % 6] {
                // What is left of the last child goes first.
                std::thread::sleep(Duration::from_millis(3));
                let started = Instant::now();
                match which {
                    0 => {
                        let process = floor.spawn();
                        times[0].push(started.elapsed());
                        floor::wait(&process, DEADLINE);
                    }
                    which => {
                        let mut child = if which == 1 { ours.spawn()? } else { sealed.spawn()? };
                        times[which].push(started.elapsed());
                        child.wait_timeout(DEADLINE)?;
                    }
                }
            }
        }
        let [floor, ours, sealed] = times.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        });
        let ratio = |time: Duration| time.as_secs_f64() / floor.as_secs_f64();
        println!(
            "| {count} | {floor:.1?} | {ours:.1?} | {:.3} | {sealed:.1?} | {:.3} |",
            ratio(ours),
            ratio(sealed)
        );
    }
    Ok(())
}
