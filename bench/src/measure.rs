//! Medians, in turn.

use std::fmt;
use std::time::{Duration, Instant};

use crate::Outcome;

/// Fewer rounds say nothing.
const FEWEST: usize = 120;
/// More rounds say no more.
const MOST: usize = 3000;
/// Between the two, as many as fit into this time.
const LONG_ENOUGH: Duration = Duration::from_secs(5);

/// One of several ways to do the same. It says how long it took, so that what comes before and after doesn't count.
pub(crate) struct Way<'a> {
    name: &'static str,
    /// `None` if it can't be done this way.
    run: Option<Box<dyn FnMut() -> Outcome<Duration> + 'a>>,
}

impl<'a> Way<'a> {
    pub(crate) fn new(name: &'static str, run: impl FnMut() -> Outcome<Duration> + 'a) -> Self {
        Self { name, run: Some(Box::new(run)) }
    }

    /// A way that stops short of so many objects: a dash in the row.
    #[cfg(feature = "peers")]
    pub(crate) fn missing(name: &'static str) -> Self {
        Self { name, run: None }
    }
}

impl fmt::Debug for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Does one thing and says how long it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(Duration, T)> {
    let started = Instant::now();
    let done = work()?;
    Ok((started.elapsed(), done))
}

/// Goes all the ways in turn, again and again, and prints a row: how many objects, the median time of the floor, which
/// is the first way, and for each other its median time and the median of its ratios to the floor of the same round.
pub(crate) fn row(count: usize, mut ways: Vec<Way<'_>>, with_head: bool) -> Outcome {
    if with_head {
        print!("| objects | {} |", ways[0].name);
        ways[1..].iter().for_each(|way| print!(" {} | ratio |", way.name));
        println!("\n|{}", "---|".repeat(2 * ways.len()));
    }
    let mut times = vec![Vec::new(); ways.len()];
    let started = Instant::now();
    let mut round = 0;
    while round < FEWEST || (round < MOST && started.elapsed() < LONG_ENOUGH) {
        for which in order(ways.len(), round) {
            if let Some(run) = &mut ways[which].run {
                times[which].push(run()?);
            }
        }
        round += 1;
    }
    let floor = &times[0];
    print!("| {count} | {:.1?} |", median(floor.clone(), Duration::cmp));
    for times in &times[1..] {
        if times.is_empty() {
            print!(" - | - |");
            continue;
        }
        let ratios = times.iter().zip(floor).map(|(time, floor)| time.as_secs_f64() / floor.as_secs_f64());
        let (time, ratio) = (median(times.clone(), Duration::cmp), median(ratios.collect(), f64::total_cmp));
        print!(" {time:.1?} | {ratio:.3} |");
    }
    println!();
    Ok(())
}

/// The order in which the ways are taken this time: each begins as often, and goes both ways round.
fn order(ways: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..ways).map(move |place| {
        let place = if (round / ways) % 2 == 0 { place } else { ways - 1 - place };
        (place + round) % ways
    })
}

fn median<T: Clone>(mut values: Vec<T>, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> T {
    values.sort_unstable_by(order);
    values[values.len() / 2].clone()
}
