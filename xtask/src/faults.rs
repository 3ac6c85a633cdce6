//! `cargo xtask faults` and `cargo xtask kills`: each system call fails in turn, and processes are killed at random moments,
//! with what the tests say of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::step::Failed;
use crate::win32::Win32;
use crate::{Which, beside_native, native};

/// As `handover_tests` has it.
const SWEPT: &str = "HANDOVER_SWEPT";

/// Lets each system call of each scenario fail in turn, and says how many that were.
pub(crate) fn faults(which: Which) -> Result<(), Failed> {
    const SWEEPS: [&str; 10] = [
        "test",
        "--quiet",
        "--package",
        "handover-tests",
        "--test",
        "faults",
        "--test",
        "os",
        "--",
        "each_call",
    ];
    native::check()?;
    let file = empty_file(std::env::consts::OS)?;
    let outcome = native::cargo_with("let each call fail", &SWEEPS, &[(SWEPT, &file)]);
    show(std::env::consts::OS, Path::new(&file))?;
    outcome?;
    let Some(win32) = beside_native(which)? else { return Ok(()) };
    let file = empty_file("wine")?;
    let outcome = win32.cargo_with("let each call fail under Wine", &SWEEPS, &[(SWEPT, &file)]);
    show("Windows, under Wine", Path::new(&file))?;
    outcome
}

/// Where the sweeps of a system say what they have done.
fn empty_file(system: &str) -> Result<String, Failed> {
    let path: PathBuf = crate::root().join("target").join(format!("swept-{system}.tsv"));
    std::fs::create_dir_all(path.parent().unwrap_or(&path))
        .and_then(|()| std::fs::write(&path, ""))
        .map_err(|error| Failed(format!("{}: {error}", path.display())))?;
    Ok(path.to_string_lossy().into_owned())
}

/// What a scenario's sweeps add up to: how many calls it makes, how many were made to fail, and how many of those failures
/// were made light of.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Sum {
    calls: u64,
    points: u64,
    harmless: u64,
}

fn show(system: &str, file: &Path) -> Result<(), Failed> {
    let text =
        std::fs::read_to_string(file).map_err(|error| Failed(format!("{}: {error}", file.display())))?;
    let swept = sums(&text)?;
    if swept.is_empty() {
        return Err(Failed("no sweep has said anything".into()));
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

/// By scenario. One that was swept in several ways, or once more because Wine had hung, counts once.
fn sums(text: &str) -> Result<BTreeMap<&str, Sum>, Failed> {
    let mut swept = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        let number = |place: usize| words.get(place).and_then(|word: &&str| word.parse().ok());
        let (Some(calls), Some(points), Some(harmless)) = (number(1), number(2), number(3)) else {
            return Err(Failed(format!("not what a sweep says: {line:?}")));
        };
        swept.insert(words[0], Sum { calls, points, harmless });
    }
    Ok(swept)
}

/// Kills so many processes at random moments.
pub(crate) fn kills(which: Which, runs: u64, seed: Option<u64>) -> Result<(), Failed> {
    native::check()?;
    let seed = seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| u64::from(time.subsec_nanos()))
    });
    for_each_part(runs, seed, |arguments, variables| native::cargo_with("kill", arguments, variables))?;
    let Some(win32) = beside_native(which)? else { return Ok(()) };
    kills_under_wine(&win32, runs, seed)
}

fn kills_under_wine(win32: &Win32, runs: u64, seed: u64) -> Result<(), Failed> {
    for_each_part(runs, seed, |arguments, variables| {
        win32.cargo_with("kill under Wine", arguments, variables)
    })
}

/// Each part is a process of its own, with the next seed: what fails in one can be run again by itself.
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
        // Not by the harness, which keeps what a test says.
        "--run-one-test",
    ];
    let test = [TEST.as_slice(), &["whoever_is_killed_whenever_the_others_go_on"]].concat();
    let (mut left, mut seed) = (runs, seed);
    while left > 0 {
        let part = left.min(PART);
        run(&test, &[("HANDOVER_KILLS", &part.to_string()), ("HANDOVER_SEED", &seed.to_string())])?;
        left -= part;
        seed = seed.wrapping_add(1);
        println!("{} of {runs} were killed", runs - left);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sweeps_say_is_added_up_once_for_each_scenario() {
        let sums = sums("spawn\t90\t90\t0\t\nend\t5\t4\t1\tread\nspawn\t90\t89\t0\t\n").expect("it is so");
        assert_eq!(sums.len(), 2);
        assert_eq!(sums["spawn"], Sum { calls: 90, points: 89, harmless: 0 });
        assert_eq!(sums["end"], Sum { calls: 5, points: 4, harmless: 1 });
        assert!(super::sums("spawn 90").is_err());
    }

    #[test]
    fn a_thousand_are_killed_in_parts_with_a_seed_each() {
        let parts = std::cell::RefCell::new(Vec::new());
        let run = |_: &[&str], variables: &[(&str, &str)]| {
            parts.borrow_mut().push(variables.iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>());
            Ok(())
        };
        for_each_part(450, 7, run).expect("it is done");
        assert_eq!(parts.into_inner(), [["200", "7"], ["200", "8"], ["50", "9"]]);
    }
}
