//! `cargo xtask soak`: runs the soak test on each system and saves the results.

use clap::Args;

use crate::step::Failed;
use crate::{Systems, native, win32_beside_native};

/// The options of the build: the library without features, as users have it.
const SOAK: [&str; 3] = ["--release", "--package", "soak"];
const RESULTS: &str = "docs/verified";
/// The amount of work that Wine does in some minutes. It needs 100 ms to start a process, and Linux 1 ms.
const UNDER_WINE: [&str; 4] = ["--hand-overs", "350000", "--spawns", "3500"];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many objects to hand over [default: 1000000, under Wine 350000]
    #[arg(long)]
    hand_overs: Option<u64>,
    /// How many children to start [default: 10000, under Wine 3500]
    #[arg(long)]
    spawns: Option<u64>,
    /// How many threads do the work [default: 8]
    #[arg(long)]
    threads: Option<u64>,
    /// The seed of the random order [default: 1]
    #[arg(long)]
    seed: Option<u64>,
}

impl Options {
    /// Returns the arguments for the program. Later ones override earlier ones.
    fn arguments(&self, system: &str, defaults: &[&str]) -> Vec<String> {
        let mut arguments = vec!["--save".to_owned(), format!("{RESULTS}/soak-{system}.tsv")];
        arguments.extend(defaults.iter().map(|default| (*default).to_owned()));
        let options = [
            ("--hand-overs", self.hand_overs),
            ("--spawns", self.spawns),
            ("--threads", self.threads),
            ("--seed", self.seed),
        ];
        for (name, value) in options {
            if let Some(value) = value {
                arguments.extend([name.to_owned(), value.to_string()]);
            }
        }
        arguments
    }
}

/// Runs the soak test natively, and a third of it under Wine.
pub(crate) fn soak(systems: Systems, options: &Options) -> Result<(), Failed> {
    native::check()?;
    let build = [&["build", "--quiet"], SOAK.as_slice()].concat();
    native::cargo("build the soak test", &build)?;
    let arguments = options.arguments(std::env::consts::OS, &[]);
    native::program("soak", &SOAK, &crate::as_strs(&arguments))?;
    let Some(win32) = win32_beside_native(systems)? else { return Ok(()) };
    win32.cargo("build the soak test for Windows", &build)?;
    let arguments = options.arguments("wine", &UNDER_WINE);
    win32.program("release", "soak", &crate::as_strs(&arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_override_the_defaults_of_a_system() {
        let options = Options { hand_overs: Some(7), spawns: None, threads: None, seed: None };
        let arguments = options.arguments("wine", &UNDER_WINE);
        let expected = "--save docs/verified/soak-wine.tsv --hand-overs 350000 --spawns 3500 --hand-overs 7";
        assert_eq!(arguments.join(" "), expected);
    }
}
