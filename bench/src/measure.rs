//! Medians and ratios, in turn.

use std::fmt;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::results::{Ratio, Row, Unit};

/// How often each way is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Fewer rounds say nothing, but where a round takes long, a fifth has to do.
    pub(crate) fewest: usize,
    /// More rounds say no more.
    pub(crate) most: usize,
    /// Between the two, as many as fit into this time.
    pub(crate) long_enough: Duration,
    /// A look at whether each way does its work: what takes long is done in small.
    pub(crate) is_quick: bool,
}

impl Effort {
    pub(crate) const FULL: Self =
        Self { fewest: 100, most: 3000, long_enough: Duration::from_secs(8), is_quick: false };
    pub(crate) const QUICK: Self = Self { fewest: 2, most: 2, long_enough: Duration::ZERO, is_quick: true };

    /// For what takes seconds.
    pub(crate) fn with_at_least(self, fewest: usize) -> Self {
        Self { fewest: fewest.min(self.fewest), ..self }
    }
}

/// Why something can't be done in a way: it stands in the table instead of a number.
pub(crate) type Reason = String;

/// One of several ways to do the same. It says how long it took, so that what comes before and after doesn't count.
pub(crate) struct Way<'a> {
    name: String,
    run: Result<Box<dyn FnMut() -> Outcome<Duration> + 'a>, Reason>,
}

impl<'a> Way<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> Outcome<Duration> + 'a) -> Self {
        Self { name: name.into(), run: Ok(Box::new(run)) }
    }

    /// One that can't do it.
    pub(crate) fn missing(name: impl Into<String>, why: impl Into<Reason>) -> Self {
        Self { name: name.into(), run: Err(why.into()) }
    }
}

impl fmt::Debug for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Does one thing and says how long it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(Duration, T)> {
    let started = Instant::now();
    let done = work()?;
    Ok((started.elapsed(), done))
}

/// The measuring of one part, and its results.
#[derive(Debug)]
pub(crate) struct Bench {
    part: &'static str,
    pub(crate) effort: Effort,
    rows: Vec<Row>,
}

impl Bench {
    pub(crate) fn new(part: &'static str, effort: Effort) -> Self {
        Self { part, effort, rows: Vec::new() }
    }

    pub(crate) fn into_rows(self) -> Vec<Row> {
        self.rows
    }

    /// Goes all the ways in turn, and compares each with the first.
    pub(crate) fn compare(&mut self, table: &str, x: impl fmt::Display, ways: Vec<Way<'_>>) -> Outcome {
        let x = x.to_string();
        eprintln!("   … {table}, {x}: {ways:?}");
        let (names, times) = in_turn(self.effort, ways)?;
        for (name, mine) in names.iter().zip(&times) {
            self.time(table, &x, name, mine, &times[0]);
        }
        Ok(())
    }

    /// A time, and its ratio to another's of the same rounds; or why there is none.
    pub(crate) fn time(&mut self, table: &str, x: &str, way: &str, mine: &Times, base: &Times) {
        match (mine, base) {
            (Ok(mine), Ok(base)) => {
                let time = median(mine.clone());
                self.push(table, x, way, Unit::Seconds, Ok((time, Some(ratio(mine, base)))));
            }
            (Ok(mine), Err(_)) => {
                self.push(table, x, way, Unit::Seconds, Ok((median(mine.clone()), None)));
            }
            (Err(why), _) => self.push(table, x, way, Unit::Seconds, Err(why.clone())),
        }
    }

    /// Anything that was found: a number, or why there is none.
    pub(crate) fn push(
        &mut self,
        table: &str,
        x: &str,
        way: &str,
        unit: Unit,
        found: Result<(f64, Option<Ratio>), Reason>,
    ) {
        let row =
            Row { part: self.part.into(), table: table.into(), x: x.into(), way: way.into(), unit, found };
        println!("{row}");
        self.rows.push(row);
    }
}

/// The times of one way in seconds, a round each; or why there are none.
pub(crate) type Times = Result<Vec<f64>, Reason>;

/// Goes all the ways in turn, again and again.
pub(crate) fn in_turn(effort: Effort, mut ways: Vec<Way<'_>>) -> Outcome<(Vec<String>, Vec<Times>)> {
    let mut times: Vec<Times> =
        ways.iter().map(|way| way.run.as_ref().map(|_| Vec::new()).map_err(Clone::clone)).collect();
    let started = Instant::now();
    let mut round = 0;
    let is_enough = |round| {
        let time = started.elapsed();
        let (is_long, is_too_long) = (time >= effort.long_enough, time >= 2 * effort.long_enough);
        round >= effort.most
            || (round >= effort.fewest && is_long)
            || (round >= effort.fewest.div_ceil(5) && is_too_long)
    };
    while !is_enough(round) {
        for which in order(ways.len(), round) {
            if let (Ok(run), Ok(times)) = (&mut ways[which].run, &mut times[which]) {
                times.push(run().map_err(|error| format!("{}: {error}", ways[which].name))?.as_secs_f64());
            }
        }
        round += 1;
    }
    keep_quieter_half(&mut times);
    Ok((ways.into_iter().map(|way| way.name).collect(), times))
}

/// Leaves the half of the rounds in which all ways together took least: in the others, somebody else used the machine,
/// and what each way then waited for isn't its own. All ways lose the same rounds.
fn keep_quieter_half(times: &mut [Times]) {
    let rounds = times.iter().flatten().map(Vec::len).min().unwrap_or(0);
    let mut sums: Vec<(f64, usize)> =
        (0..rounds).map(|round| (times.iter().flatten().map(|times| times[round]).sum(), round)).collect();
    sums.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    sums.truncate(rounds.div_ceil(2));
    for times in times.iter_mut().flatten() {
        *times = sums.iter().map(|(_, round)| times[*round]).collect();
    }
}

/// The order in which the ways are taken this time: each begins as often, and goes both ways round.
fn order(ways: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..ways).map(move |place| {
        let place = if (round / ways) % 2 == 0 { place } else { ways - 1 - place };
        (place + round) % ways
    })
}

/// The ratio of the medians, and how far the ratios of single rounds are spread.
pub(crate) fn ratio(mine: &[f64], base: &[f64]) -> Ratio {
    let mut each: Vec<f64> = mine.iter().zip(base).map(|(mine, base)| mine / base).collect();
    each.sort_unstable_by(f64::total_cmp);
    Ratio {
        of_medians: median(mine.to_vec()) / median(base.to_vec()),
        low: each[each.len() / 10],
        high: each[each.len() - 1 - each.len() / 10],
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_turn_in_each_place() {
        for round in 0..20 {
            let mut all: Vec<usize> = order(5, round).collect();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4]);
        }
        let first: Vec<usize> = (0..5).filter_map(|round| order(5, round).next()).collect();
        assert_eq!(first, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn rounds_that_were_disturbed_dont_count() {
        let mut times = [Ok(vec![1.0, 9.0, 1.5, 2.0]), Err("can't".into()), Ok(vec![3.0, 1.0, 2.0, 9.0])];
        keep_quieter_half(&mut times);
        assert_eq!(times, [Ok(vec![1.5, 1.0]), Err("can't".into()), Ok(vec![2.0, 3.0])]);
    }

    #[test]
    fn the_ratio_is_that_of_the_medians_with_the_spread_of_the_rounds() {
        let base = vec![1.0; 11];
        let mine: Vec<f64> = (0..11).map(f64::from).collect();
        let ratio = ratio(&mine, &base);
        assert_eq!((ratio.of_medians, ratio.low, ratio.high), (5.0, 1.0, 9.0));
    }
}
