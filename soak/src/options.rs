//! Parses the command line.

use std::path::PathBuf;

use crate::os;

pub(crate) const USAGE: &str = "\
soak [--short] [--hand-overs N] [--spawns N] [--threads N] [--seed N] [--save FILE] [--leak handles|memory]
soak --draw FILE   draws the plot again of a table that --save has written

  --short          makes the test take seconds: sets lower numbers of hand-overs and spawns, which later options change
  --hand-overs N   the number of objects that arrive in another process (default 1000000)
  --spawns N       the number of children to spawn (default 10000)
  --threads N      the number of threads (default 8)
  --seed N         the seed of the threads' random numbers (default 1)
  --save FILE      writes a table of the samples to FILE, and a plot beside it
  --leak handles   leaks one handle per thousand hand-overs, to check that the test detects it
  --leak memory    leaks 1 KiB per hand-over, to check that the test detects it

Exit codes: 0 if the handle counts and the memory of both processes are flat, 1 if they are not or a step failed,
2 for wrong usage, 3 if no thread made progress for two minutes.";

/// The resource to leak on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leak {
    Handles,
    Memory,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) hand_overs: u64,
    pub(crate) spawns: u64,
    pub(crate) threads: u64,
    pub(crate) seed: u64,
    pub(crate) save: Option<PathBuf>,
    pub(crate) leak: Option<Leak>,
}

impl Options {
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut this =
            Self { hand_overs: 1_000_000, spawns: 10_000, threads: 8, seed: 1, save: None, leak: None };
        let mut words = words.iter();
        while let Some(option) = words.next() {
            if *option == "--short" {
                (this.hand_overs, this.spawns) = os::SHORT;
                continue;
            }
            let value =
                words.next().ok_or_else(|| format!("{option} is an unknown option, or lacks its value"))?;
            let number = || {
                let number = value.replace(['_', ','], "").parse();
                number.map_err(|_| format!("{option}: expected a number, got {value}"))
            };
            match *option {
                "--hand-overs" => this.hand_overs = number()?,
                "--spawns" => this.spawns = number()?,
                "--threads" => this.threads = number()?,
                "--seed" => this.seed = number()?,
                "--save" => this.save = Some(value.into()),
                "--leak" => {
                    this.leak = Some(match *value {
                        "handles" => Leak::Handles,
                        "memory" => Leak::Memory,
                        other => return Err(format!("--leak: expected handles or memory, got {other}")),
                    });
                }
                other => return Err(format!("unknown option: {other}")),
            }
        }
        if !(1..=64).contains(&this.threads) {
            return Err(format!("--threads: expected 1 to 64, got {}", this.threads));
        }
        if this.hand_overs < 1000 * this.threads {
            let minimum = 1000 * this.threads;
            return Err(format!(
                "--hand-overs: expected at least {minimum}, which is 1000 for each thread, got {}",
                this.hand_overs
            ));
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_accepts_valid_options_and_rejects_others() {
        let options = Options::parse(&["--hand-overs", "20_000", "--leak", "memory"]).expect("it is valid");
        assert_eq!((options.hand_overs, options.spawns, options.leak), (20_000, 10_000, Some(Leak::Memory)));
        for (words, part) in [
            (&["--spawns"][..], "lacks its value"),
            (&["--spawns", "many"], "got many"),
            (&["--leak", "sockets"], "got sockets"),
            (&["--hand-overs", "10"], "at least 8000"),
            (&["--threads", "0"], "1 to 64"),
            (&["--fast", "1"], "unknown option"),
        ] {
            let reason = Options::parse(words).expect_err(part);
            assert!(reason.contains(part), "{reason}");
        }
    }
}
