//! What was seen, and whether it is flat (pure).
//!
//! After each round all threads rest: nothing is under way, and no child is there. After the warm-up, both processes must
//! have exactly as many handles at each rest as at the first. The memory that a process has for itself is judged by the
//! medians of the first and the last quarter of those rests: the last may be no more than a small tolerance above the first.

/// How many bytes more a process may have at the end. What an allocator keeps goes up and down by less than half of that.
/// Over a million hand-overs it is less than three bytes for each.
const TOLERATED: f64 = 4.0 * 1024.0 * 1024.0;
/// How many handles one thread's work may take in a process, as long as it is at work.
const MOST_AT_WORK: u64 = 120;
/// How many rests there must be to say anything.
const LEAST_RESTS: usize = 8;

/// Who is looked at.
pub(crate) const PROCESSES: [&str; 2] = ["this process", "the peer"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// At rest, before everything that is made once was made.
    WarmUp,
    Rest,
    AtWork,
}

/// What was seen at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    pub(crate) when: When,
    pub(crate) hand_overs: u64,
    pub(crate) spawns: u64,
    /// Of this process and of the peer; none where the system doesn't tell now.
    pub(crate) handles: [Option<u64>; 2],
    pub(crate) memory: [u64; 2],
}

/// All that was seen.
#[derive(Debug, Default)]
pub(crate) struct Soaked {
    pub(crate) threads: u64,
    pub(crate) seed: u64,
    /// How many spawns failed that had to.
    pub(crate) failed_spawns: u64,
    pub(crate) samples: Vec<Sample>,
}

impl Soaked {
    pub(crate) fn rests(&self) -> impl DoubleEndedIterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.when == When::Rest)
    }

    /// The handles that a process has at rest.
    pub(crate) fn handles_at_rest(&self, process: usize) -> Option<u64> {
        self.rests().next()?.handles[process]
    }

    /// The medians of a process's memory in the first and in the last quarter of the rests.
    pub(crate) fn memory(&self, process: usize) -> (f64, f64) {
        let memory: Vec<u64> = self.rests().map(|sample| sample.memory[process]).collect();
        let quarter = (memory.len() / 4).max(1).min(memory.len());
        (median(&memory[..quarter]), median(&memory[memory.len() - quarter..]))
    }

    /// Whether all of it is flat, or what isn't.
    pub(crate) fn judge(&self) -> Result<(), String> {
        let count = self.rests().count();
        if count < LEAST_RESTS {
            return Err(format!("{count} rests say nothing; at least {LEAST_RESTS} do"));
        }
        for (process, name) in PROCESSES.iter().enumerate() {
            let at_first = self.handles_at_rest(process).ok_or("the handles of a process weren't counted")?;
            let mut others = self.rests().filter(|sample| sample.handles[process] != Some(at_first));
            if let Some(other) = others.next() {
                let last = self.rests().next_back().and_then(|sample| sample.handles[process]).unwrap_or(0);
                return Err(format!(
                    "{name} has {at_first} handles at rest at first, {} after {} hand-overs and {} spawns, and {last} at the end",
                    other.handles[process].unwrap_or(0),
                    other.hand_overs,
                    other.spawns,
                ));
            }
            let at_work = self.samples.iter().filter_map(|sample| sample.handles[process]).max();
            let most = at_first + self.threads * MOST_AT_WORK;
            if let Some(at_work) = at_work.filter(|at_work| *at_work > most) {
                return Err(format!(
                    "{name} has {at_work} handles at work, and {most} are the most that it needs"
                ));
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

    /// What was done and seen, in a few lines.
    pub(crate) fn summary(&self) -> String {
        let Some(last) = self.samples.last() else { return "nothing was seen".into() };
        let mut text = format!(
            "{} hand-overs and {} spawns by {} threads in {:.1} s; {} spawns failed on purpose; seed {}",
            last.hand_overs, last.spawns, self.threads, last.seconds, self.failed_spawns, self.seed
        );
        for (process, name) in PROCESSES.iter().enumerate() {
            let rests: Vec<u64> = self.rests().filter_map(|sample| sample.handles[process]).collect();
            let at_work = self.samples.iter().filter_map(|sample| sample.handles[process]).max().unwrap_or(0);
            let (first, last) = self.memory(process);
            text += &format!(
                "\n{name}: {} to {} handles at {} rests, {at_work} at most; private memory {} in the first quarter, {} in the last",
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
    fn what_is_flat_is_so_whatever_the_warm_up_was() {
        let flat = soaked(40, |number| match number {
            0 => ([9, 9], [0, 0]),
            // Noise of a third of what is tolerated.
            _ => ([40, 30], [5 * MIB + number % 3 * 100_000, 4 * MIB]),
        });
        assert_eq!(flat.judge(), Ok(()));
        assert!(flat.summary().contains("40 to 40 handles at 40 rests"), "{}", flat.summary());
    }

    #[test]
    fn one_handle_is_found_in_either_process() {
        for process in [0, 1] {
            let leak = soaked(40, |number| {
                let mut handles = [40, 30];
                handles[process] += u64::from(number > 30);
                (handles, [5 * MIB; 2])
            });
            let why = leak.judge().expect_err("a handle more");
            assert!(why.contains(PROCESSES[process]) && why.contains("after 31000 hand-overs"), "{why}");
        }
        // One less is as wrong: something was closed that wasn't ours to close.
        let less = soaked(40, |number| ([40 - u64::from(number == 40), 30], [5 * MIB; 2]));
        assert!(less.judge().is_err());
    }

    #[test]
    fn memory_that_grows_is_found_in_either_process() {
        for process in [0, 1] {
            let leak = soaked(40, |number| {
                let mut memory = [5 * MIB; 2];
                // A bit more than is tolerated between the medians of the quarters.
                memory[process] += number * 150_000;
                ([40, 30], memory)
            });
            let why = leak.judge().expect_err("memory grows");
            assert!(why.contains(PROCESSES[process]) && why.contains("has grown"), "{why}");
        }
    }

    #[test]
    fn too_many_handles_at_work_and_too_few_rests_are_no_success() {
        let mut soaked = soaked(40, |_| ([40, 30], [5 * MIB; 2]));
        let at_work = Sample { when: When::AtWork, handles: [Some(10_000), None], ..soaked.samples[20] };
        soaked.samples.insert(20, at_work);
        assert!(soaked.judge().expect_err("too many").contains("at work"));
        soaked.samples.truncate(5);
        assert!(soaked.judge().expect_err("too few").contains("say nothing"));
        assert!(Soaked::default().judge().is_err());
    }
}
