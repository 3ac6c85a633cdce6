//! Measures several ways to do the same in turn, and computes medians and ratios.

use std::fmt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::results::{Ratio, Row, Unit};

/// How many rounds are measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// The minimum number of rounds. A fifth of it is enough when twice `long_enough` has passed.
    pub(crate) fewest: usize,
    /// The maximum number of rounds: more do not make the result more exact.
    pub(crate) most: usize,
    /// The time after which no round follows, once the minimum is reached.
    pub(crate) long_enough: Duration,
    /// Whether this run only checks that each way works, and skips or reduces long measurements.
    pub(crate) is_quick: bool,
}

impl Effort {
    pub(crate) const FULL: Self =
        Self { fewest: 100, most: 3000, long_enough: Duration::from_secs(8), is_quick: false };
    pub(crate) const QUICK: Self = Self { fewest: 2, most: 2, long_enough: Duration::ZERO, is_quick: true };

    /// Lowers the minimum number of rounds, for rounds that take seconds.
    pub(crate) fn with_at_least(self, fewest: usize) -> Self {
        Self { fewest: fewest.min(self.fewest), ..self }
    }
}

/// The reason why a way can't do the work. The table shows it instead of a number.
pub(crate) type Reason = String;

/// One of several ways to do the same work. `run` measures its own time, so that it can exclude preparation and
/// cleanup.
pub(crate) struct Way<'a> {
    name: String,
    run: Result<Box<dyn FnMut() -> Outcome<Duration> + 'a>, Reason>,
}

impl<'a> Way<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> Outcome<Duration> + 'a) -> Self {
        Self { name: name.into(), run: Ok(Box::new(run)) }
    }

    /// Creates a way that can't do the work.
    pub(crate) fn missing(name: impl Into<String>, reason: impl Into<Reason>) -> Self {
        Self { name: name.into(), run: Err(reason.into()) }
    }

    /// Returns a way that does the work once before each time that it measures. Only that first run pays for what the
    /// way before it has left behind.
    pub(crate) fn warmed_up(self) -> Self {
        let Self { name, run } = self;
        let run = run.map(|mut run| -> Box<dyn FnMut() -> Outcome<Duration> + 'a> {
            Box::new(move || {
                run()?;
                run()
            })
        });
        Self { name, run }
    }
}

impl fmt::Debug for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Runs `work` and measures its time.
pub(crate) fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(Duration, T)> {
    let started = Instant::now();
    let result = work()?;
    Ok((started.elapsed(), result))
}

/// Pauses until the previous child's cleanup no longer disturbs the measurement.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(3));
}

/// Returns an error unless the child exited with success, because the time of a failed child is not comparable.
pub(crate) fn check_success(status: ExitStatus) -> Outcome {
    if status.success() { Ok(()) } else { Err(format!("the child exited with {status}").into()) }
}

/// The results of one part, and the effort to measure it with.
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

    /// Measures all ways in turn, and compares each with the first.
    pub(crate) fn compare(&mut self, table: &str, x: impl fmt::Display, ways: Vec<Way<'_>>) -> Outcome {
        let x = x.to_string();
        eprintln!("   … {table}, {x}: {ways:?}");
        let (names, times) = in_turn(self.effort, ways)?;
        for (name, mine) in names.iter().zip(&times) {
            self.time(table, &x, name, mine, &times[0]);
        }
        Ok(())
    }

    /// Adds the median of a way's times, and its ratio to `base`, which was measured in the same rounds. Adds the
    /// reason if the way can't do the work.
    pub(crate) fn time(&mut self, table: &str, x: &str, way: &str, mine: &Times, base: &Times) {
        match (mine, base) {
            (Ok(mine), Ok(base)) => {
                let time = median(mine.clone());
                self.push(table, x, way, Unit::Seconds, Ok((time, Some(ratio(mine, base)))));
            }
            (Ok(mine), Err(_)) => {
                self.push(table, x, way, Unit::Seconds, Ok((median(mine.clone()), None)));
            }
            (Err(reason), _) => self.push(table, x, way, Unit::Seconds, Err(reason.clone())),
        }
    }

    /// Adds and prints a result: a number, or the reason why none was measured.
    pub(crate) fn push(
        &mut self,
        table: &str,
        x: &str,
        way: &str,
        unit: Unit,
        result: Result<(f64, Option<Ratio>), Reason>,
    ) {
        let row =
            Row { part: self.part.into(), table: table.into(), x: x.into(), way: way.into(), unit, result };
        println!("{row}");
        self.rows.push(row);
    }
}

/// The times of one way in seconds, one for each round; or the reason why none were measured.
pub(crate) type Times = Result<Vec<f64>, Reason>;

/// Measures all ways in turn, round after round. Returns their names, and the times of the quieter half of the rounds.
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
    let mut failed = 0;
    while !is_enough(round) {
        match one_round(&mut ways, round) {
            Ok(of_round) => {
                for (times, time) in times.iter_mut().zip(of_round) {
                    if let (Ok(times), Some(time)) = (times, time) {
                        times.push(time);
                    }
                }
                round += 1;
            }
            Err(error) if failed < MOST_FAILED && error.contains(NOT_STARTED_BY_WINE) => {
                failed += 1;
                eprintln!("   … a round doesn't count, because Wine started no process: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    keep_quieter_half(&mut times);
    Ok((ways.into_iter().map(|way| way.name).collect(), times))
}

/// Wine's error if a new process exits during its own start (docs/wine.md).
const NOT_STARTED_BY_WINE: &str = "os error 1359";
/// The maximum number of rounds of one row that fail for this reason.
const MOST_FAILED: usize = 5;

/// Measures each way once. Returns the times in seconds, or the first failure.
fn one_round(ways: &mut [Way<'_>], round: usize) -> Result<Vec<Option<f64>>, String> {
    let mut times = vec![None; ways.len()];
    for index in order(ways.len(), round) {
        let Way { name, run } = &mut ways[index];
        if let Ok(run) = run {
            let time = run().map_err(|error| format!("{name}: {error}"))?;
            times[index] = Some(time.as_secs_f64());
        }
    }
    Ok(times)
}

/// Keeps the half of the rounds in which all ways together took the least time. In the slower rounds, other programs
/// used the machine. The same rounds are removed from all ways.
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

/// Returns the order of the ways in a round. Each way is first equally often, and the direction of the order changes.
fn order(ways: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..ways).map(move |index| {
        let index = if (round / ways) % 2 == 0 { index } else { ways - 1 - index };
        (index + round) % ways
    })
}

/// Returns the ratio of the medians, and the range of the ratios of single rounds.
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
    fn order_contains_each_way_once_and_rotates_the_first() {
        for round in 0..20 {
            let mut all: Vec<usize> = order(5, round).collect();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4]);
        }
        let first: Vec<usize> = (0..5).filter_map(|round| order(5, round).next()).collect();
        assert_eq!(first, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_warmed_up_way_returns_the_time_of_its_second_run() {
        let mut times = [1, 2, 3, 4].map(Duration::from_secs).into_iter();
        let way = Way::new("way", || times.next().ok_or_else(|| "too many runs".into())).warmed_up();
        let mut run = way.run.expect("the way can do the work");
        assert_eq!(run().expect("two runs"), Duration::from_secs(2));
        assert_eq!(run().expect("two runs"), Duration::from_secs(4));
    }

    #[test]
    fn round_in_which_wine_starts_no_process_does_not_count() {
        let measured = |failure: &'static str, failures: usize| {
            let mut left = failures;
            let second = Way::new("second", move || match left {
                0 => Ok(Duration::from_secs(2)),
                _ => {
                    left -= 1;
                    Err(failure.into())
                }
            });
            let first = Way::new("first", || Ok(Duration::from_secs(1)));
            in_turn(Effort::QUICK, vec![first, second])
                .map(|(_, times)| times)
                .map_err(|error| error.to_string())
        };
        let expected = || Ok(vec![Ok(vec![1.0]), Ok(vec![2.0])]);
        assert_eq!(measured("Internal error. (os error 1359)", MOST_FAILED), expected());
        let too_many = measured("Internal error. (os error 1359)", MOST_FAILED + 1);
        assert_eq!(too_many, Err("second: Internal error. (os error 1359)".into()));
        assert_eq!(measured("other", 1), Err("second: other".into()));
    }

    #[test]
    fn the_slower_half_of_the_rounds_is_removed() {
        let mut times = [Ok(vec![1.0, 9.0, 1.5, 2.0]), Err("can't".into()), Ok(vec![3.0, 1.0, 2.0, 9.0])];
        keep_quieter_half(&mut times);
        assert_eq!(times, [Ok(vec![1.5, 1.0]), Err("can't".into()), Ok(vec![2.0, 3.0])]);
    }

    #[test]
    fn ratio_is_of_the_medians_with_the_spread_of_the_rounds() {
        let base = vec![1.0; 11];
        let mine: Vec<f64> = (0..11).map(f64::from).collect();
        let ratio = ratio(&mine, &base);
        assert_eq!((ratio.of_medians, ratio.low, ratio.high), (5.0, 1.0, 9.0));
    }
}
