//! What was asked for.

use std::path::PathBuf;

use crate::os;

pub(crate) const USAGE: &str = "\
soak [--short] [--hand-overs N] [--spawns N] [--threads N] [--seed N] [--save FILE] [--leak handles|memory]
soak --draw FILE   draws the picture of a table again that --save has written

  --short          what takes seconds: fewer hand-overs and spawns, unless it is said how many
  --hand-overs N   how many objects arrive in another process, 1000000
  --spawns N       how many children are started, 10000
  --threads N      by how many threads, 8
  --seed N         what the threads draw their work from, 1
  --save FILE      a table of what was seen, and beside it a picture
  --leak WHAT      leaves one handle in each thousand hand-overs, or 1 KiB in each, to see it found

Exit code 0 if handle counts and memory of both processes are flat, 1 if they aren't or something failed, 2 on wrong usage,
3 if nothing went on for two minutes.";

/// What is left behind on purpose.
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
            let value = words.next().ok_or_else(|| format!("{option} needs a value, or is no option"))?;
            let number = || {
                let number = value.replace(['_', ','], "").parse();
                number.map_err(|_| format!("{option}: expected a number; came {value}"))
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
                        other => return Err(format!("--leak: expected handles or memory; came {other}")),
                    });
                }
                other => return Err(format!("no such option: {other}")),
            }
        }
        if !(1..=64).contains(&this.threads) {
            return Err(format!("--threads: expected 1 to 64; came {}", this.threads));
        }
        if this.hand_overs < 1000 * this.threads {
            let least = 1000 * this.threads;
            return Err(format!("--hand-overs: fewer than {least} say nothing; came {}", this.hand_overs));
        }
        Ok(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_understood() {
        let asked = Options::parse(&["--hand-overs", "20_000", "--leak", "memory"]).expect("it is right");
        assert_eq!((asked.hand_overs, asked.spawns, asked.leak), (20_000, 10_000, Some(Leak::Memory)));
        for (words, part) in [
            (&["--spawns"][..], "needs a value"),
            (&["--spawns", "many"], "came many"),
            (&["--leak", "sockets"], "came sockets"),
            (&["--hand-overs", "10"], "say nothing"),
            (&["--threads", "0"], "1 to 64"),
            (&["--fast", "1"], "no such option"),
        ] {
            let why = Options::parse(words).expect_err(part);
            assert!(why.contains(part), "{why}");
        }
    }
}
