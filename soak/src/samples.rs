//! Holds the samples, and decides whether they are flat (pure).
//!
//! After each round, all threads rest: no message is in transit, and no child runs. A process is flat if:
//! - at each rest after the warm-up, it has exactly as many handles as at the first of these rests;
//! - the median of its private memory in the last quarter of these rests exceeds that in the first quarter by at most
//!   `TOLERATED`;
//! - it never has more than `MAX_AT_WORK` additional handles for each thread.

/// The tolerated growth of a process's memory in bytes. The caches of an allocator vary by less than half of this.
/// Over a million hand-overs, it is about four bytes for each.
const TOLERATED: f64 = 4.0 * 1024.0 * 1024.0;
/// The maximum number of handles that the work of one thread needs in a process.
const MAX_AT_WORK: u64 = 120;
/// The minimum number of rests for a verdict.
const MIN_RESTS: usize = 8;

/// The two processes that are sampled.
pub(crate) const PROCESSES: [&str; 2] = ["the test process", "the peer process"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// At rest, while the processes may still create what they create once.
    WarmUp,
    Rest,
    AtWork,
}

/// The state of both processes at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    pub(crate) when: When,
    pub(crate) hand_overs: u64,
    pub(crate) spawns: u64,
    /// The handle counts of this process and of the peer; `None` if the system cannot count them at this moment.
    pub(crate) handles: [Option<u64>; 2],
    pub(crate) memory: [u64; 2],
}

/// The samples of a run, and its totals.
#[derive(Debug, Default)]
pub(crate) struct Soaked {
    pub(crate) threads: u64,
    pub(crate) seed: u64,
    /// The number of spawns that failed on purpose.
    pub(crate) failed_spawns: u64,
    pub(crate) samples: Vec<Sample>,
}

impl Soaked {
    pub(crate) fn rests(&self) -> impl DoubleEndedIterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.when == When::Rest)
    }

    /// Returns the handle count of a process at its first rest after the warm-up.
    pub(crate) fn handles_at_rest(&self, process: usize) -> Option<u64> {
        self.rests().next()?.handles[process]
    }

    /// Returns the medians of a process's memory in the first and in the last quarter of the rests.
    pub(crate) fn memory(&self, process: usize) -> (f64, f64) {
        let memory: Vec<u64> = self.rests().map(|sample| sample.memory[process]).collect();
        let quarter = (memory.len() / 4).max(1).min(memory.len());
        (median(&memory[..quarter]), median(&memory[memory.len() - quarter..]))
    }

    /// Returns an error with the reason unless both processes are flat.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let count = self.rests().count();
        if count < MIN_RESTS {
            return Err(format!("there were {count} rests, but a verdict needs at least {MIN_RESTS}"));
        }
        for (process, name) in PROCESSES.iter().enumerate() {
            let at_first = self
                .handles_at_rest(process)
                .ok_or_else(|| format!("the handles of {name} were not counted"))?;
            let mut others = self.rests().filter(|sample| sample.handles[process] != Some(at_first));
            if let Some(other) = others.next() {
                let last = self.rests().next_back().and_then(|sample| sample.handles[process]).unwrap_or(0);
                return Err(format!(
                    "{name} had {at_first} handles at rest at first, {} after {} hand-overs and {} spawns, and {last} at the end",
                    other.handles[process].unwrap_or(0),
                    other.hand_overs,
                    other.spawns,
                ));
            }
            let at_work = self.samples.iter().filter_map(|sample| sample.handles[process]).max();
            let maximum = at_first + self.threads * MAX_AT_WORK;
            if let Some(at_work) = at_work.filter(|at_work| *at_work > maximum) {
                return Err(format!("{name} had {at_work} handles at work, but needs at most {maximum}"));
            }
            let (first, last) = self.memory(process);
            if last > first + TOLERATED {
                return Err(format!(
                    "the memory of {name} has grown from {} to {}, by more than {}",
                    kibibytes(first),
                    kibibytes(last),
                    kibibytes(TOLERATED)
                ));
            }
        }
        Ok(())
    }

    /// Summarizes the run in a few lines.
    pub(crate) fn summary(&self) -> String {
        let Some(last) = self.samples.last() else { return "no samples were taken".into() };
        let mut text = format!(
            "{} objects transferred and {} children spawned by {} threads in {:.1} s; {} spawns failed on purpose; seed {}",
            last.hand_overs, last.spawns, self.threads, last.seconds, self.failed_spawns, self.seed
        );
        for (process, name) in PROCESSES.iter().enumerate() {
            let rests: Vec<u64> = self.rests().filter_map(|sample| sample.handles[process]).collect();
            let at_work = self.samples.iter().filter_map(|sample| sample.handles[process]).max().unwrap_or(0);
            let (first, last) = self.memory(process);
            text += &format!(
                "\n{name}: {} to {} handles at {} rests, at most {at_work} at work; private memory {} in the first quarter, {} in the last",
                rests.iter().min().unwrap_or(&0),
                rests.iter().max().unwrap_or(&0),
                rests.len(),
                kibibytes(first),
                kibibytes(last),
            );
        }
        text
    }
}

fn median(values: &[u64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    match sorted.len() {
        0 => 0.0,
        length => (sorted[(length - 1) / 2] + sorted[length / 2]) as f64 / 2.0,
    }
}

fn kibibytes(bytes: f64) -> String {
    format!("{:.0} KiB", bytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn soaked(rests: u64, at: impl Fn(u64) -> ([u64; 2], [u64; 2])) -> Soaked {
        let sample = |number| {
            let (handles, memory) = at(number);
            let handles = handles.map(Some);
            let when = if number == 0 { When::WarmUp } else { When::Rest };
            Sample {
                seconds: number as f64,
                when,
                hand_overs: 1000 * number,
                spawns: number,
                handles,
                memory,
            }
        };
        Soaked { threads: 8, samples: (0..=rests).map(sample).collect(), ..Soaked::default() }
    }

    #[test]
    fn warm_up_does_not_affect_the_verdict() {
        let flat = soaked(40, |number| match number {
            0 => ([9, 9], [0, 0]),
            // The noise is about 5 % of the tolerance.
            _ => ([40, 30], [5 * MIB + number % 3 * 100_000, 4 * MIB]),
        });
        assert_eq!(flat.judge(), Ok(()));
        assert!(flat.summary().contains("40 to 40 handles at 40 rests"), "{}", flat.summary());
    }

    #[test]
    fn one_leaked_handle_is_detected_in_either_process() {
        for process in [0, 1] {
            let leak = soaked(40, |number| {
                let mut handles = [40, 30];
                handles[process] += u64::from(number > 30);
                (handles, [5 * MIB; 2])
            });
            let reason = leak.judge().expect_err("one handle leaks");
            assert!(
                reason.contains(PROCESSES[process]) && reason.contains("after 31000 hand-overs"),
                "{reason}"
            );
        }
        // A lower count is wrong too: a handle was closed that another owner needs.
        let less = soaked(40, |number| ([40 - u64::from(number == 40), 30], [5 * MIB; 2]));
        assert!(less.judge().is_err());
    }

    #[test]
    fn growing_memory_is_detected_in_either_process() {
        for process in [0, 1] {
            let leak = soaked(40, |number| {
                let mut memory = [5 * MIB; 2];
                // The medians of the quarters differ by slightly more than the tolerance.
                memory[process] += number * 150_000;
                ([40, 30], memory)
            });
            let reason = leak.judge().expect_err("memory grows");
            assert!(reason.contains(PROCESSES[process]) && reason.contains("has grown"), "{reason}");
        }
    }

    #[test]
    fn too_many_handles_at_work_and_too_few_rests_are_errors() {
        let mut soaked = soaked(40, |_| ([40, 30], [5 * MIB; 2]));
        let at_work = Sample { when: When::AtWork, handles: [Some(10_000), None], ..soaked.samples[20] };
        soaked.samples.insert(20, at_work);
        assert!(soaked.judge().expect_err("too many").contains("at work"));
        soaked.samples.truncate(5);
        assert!(soaked.judge().expect_err("too few").contains("needs at least 8"));
        assert!(Soaked::default().judge().is_err());
    }
}
