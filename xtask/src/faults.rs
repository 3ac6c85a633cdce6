//! `cargo xtask faults` and `cargo xtask kills`: makes each system call fail in turn, and kills processes at random
//! moments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::step::Failed;
use crate::win32::Win32;
use crate::{Systems, native, win32_beside_native};

/// The variable with the file to which the package `tests` appends its counts.
const SWEPT: &str = "HANDOVER_SWEPT";

/// A part of the name of each test that makes the calls of a scenario fail.
pub(crate) const SWEEP: &str = "each_failing_call";

/// The test that kills processes.
pub(crate) const KILLS: &str = "survivors_of_random_kills_neither_hang_nor_leak";

/// Makes each system call of each scenario fail in turn, and prints how many calls each scenario makes.
pub(crate) fn faults(systems: Systems) -> Result<(), Failed> {
    const SWEEPS: [&str; 6] = ["test", "--quiet", "--package", "handover-tests", "--tests", "--"];
    let sweeps = [&SWEEPS[..], &[SWEEP]].concat();
    native::check()?;
    let file = empty_file(std::env::consts::OS)?;
    let outcome = native::cargo_with("make each call fail", &sweeps, &[(SWEPT, &file)]);
    show(std::env::consts::OS, Path::new(&file))?;
    outcome?;
    let Some(win32) = win32_beside_native(systems)? else { return Ok(()) };
    let file = empty_file("wine")?;
    let outcome = win32.cargo_with("make each call fail under Wine", &sweeps, &[(SWEPT, &file)]);
    show("Windows, under Wine", Path::new(&file))?;
    outcome
}

/// Creates an empty file for the counts of a system's scenarios.
fn empty_file(system: &str) -> Result<String, Failed> {
    let path: PathBuf = crate::root().join("target").join(format!("swept-{system}.tsv"));
    std::fs::create_dir_all(path.parent().unwrap_or(&path))
        .and_then(|()| std::fs::write(&path, ""))
        .map_err(Failed::at(&path))?;
    Ok(path.to_string_lossy().into_owned())
}

/// The counts of a scenario: the calls that it makes, the calls that a test made fail, and the failures among them that
/// the library ignores for a listed reason.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Sum {
    calls: u64,
    points: u64,
    harmless: u64,
}

fn show(system: &str, file: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(file).map_err(Failed::at(file))?;
    let swept = sums(&text)?;
    if swept.is_empty() {
        return Err(Failed("no scenario wrote its counts".into()));
    }
    println!("\n{system}\n{:<52} {:>6} {:>7} {:>9}", "scenario", "calls", "points", "harmless");
    let mut all = Sum::default();
    for (name, Sum { calls, points, harmless }) in &swept {
        println!("{name:<52} {calls:>6} {points:>7} {harmless:>9}");
        all =
            Sum { calls: all.calls + calls, points: all.points + points, harmless: all.harmless + harmless };
    }
    let name = format!("{} scenarios", swept.len());
    println!("{name:<52} {:>6} {:>7} {:>9}", all.calls, all.points, all.harmless);
    Ok(())
}

/// Returns the counts for each scenario. Only the last run of a scenario counts, because a test that hung under Wine is
/// repeated.
fn sums(text: &str) -> Result<BTreeMap<&str, Sum>, Failed> {
    let mut swept = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        let number = |place: usize| words.get(place).and_then(|word: &&str| word.parse().ok());
        let (Some(calls), Some(points), Some(harmless)) = (number(1), number(2), number(3)) else {
            return Err(Failed(format!("expected a scenario and three counts, found {line:?}")));
        };
        swept.insert(words[0], Sum { calls, points, harmless });
    }
    Ok(swept)
}

/// Kills this many processes at random moments, which depend on the seed.
pub(crate) fn kills(systems: Systems, runs: u64, seed: Option<u64>) -> Result<(), Failed> {
    native::check()?;
    let seed = seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| u64::from(time.subsec_nanos()))
    });
    for_each_part(runs, seed, |arguments, variables| native::cargo_with("kill", arguments, variables))?;
    let Some(win32) = win32_beside_native(systems)? else { return Ok(()) };
    kills_under_wine(&win32, runs, seed)
}

fn kills_under_wine(win32: &Win32, runs: u64, seed: u64) -> Result<(), Failed> {
    for_each_part(runs, seed, |arguments, variables| {
        win32.cargo_with("kill under Wine", arguments, variables)
    })
}

/// Runs the test several times with at most 200 kills each and consecutive seeds, so that a failure can be repeated
/// alone.
fn for_each_part(
    runs: u64,
    seed: u64,
    run: impl Fn(&[&str], &[(&str, &str)]) -> Result<(), Failed>,
) -> Result<(), Failed> {
    const PART: u64 = 200;
    const TEST: [&str; 8] = [
        "test",
        "--quiet",
        "--package",
        "handover-tests",
        "--test",
        "random_kills",
        "--",
        // Without the harness, which would hide the test's output.
        "--run-one-test",
    ];
    let test = [TEST.as_slice(), &[KILLS]].concat();
    let (mut left, mut seed) = (runs, seed);
    while left > 0 {
        let part = left.min(PART);
        run(&test, &[("HANDOVER_KILLS", &part.to_string()), ("HANDOVER_SEED", &seed.to_string())])?;
        left -= part;
        seed = seed.wrapping_add(1);
        println!("killed {} of {runs} processes", runs - left);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_counts_of_each_scenario_are_used() {
        let sums = sums("spawn\t90\t90\t0\t\nend\t5\t4\t1\tread\nspawn\t90\t89\t0\t\n")
            .expect("the counts are valid");
        assert_eq!(sums.len(), 2);
        assert_eq!(sums["spawn"], Sum { calls: 90, points: 89, harmless: 0 });
        assert_eq!(sums["end"], Sum { calls: 5, points: 4, harmless: 1 });
        assert!(super::sums("spawn 90").is_err());
    }

    #[test]
    fn kills_run_in_parts_with_consecutive_seeds() {
        let parts = std::cell::RefCell::new(Vec::new());
        let run = |_: &[&str], variables: &[(&str, &str)]| {
            parts.borrow_mut().push(variables.iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>());
            Ok(())
        };
        for_each_part(450, 7, run).expect("each part succeeds");
        assert_eq!(parts.into_inner(), [["200", "7"], ["200", "8"], ["50", "9"]]);
    }
}
