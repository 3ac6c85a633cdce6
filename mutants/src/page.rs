//! The page with what is known, a part for each system.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use crate::list::Mutant;
use crate::tree::{read, write as write_file};
use crate::{Results, System, key};

/// How mutants end, in the table's order.
const ENDS: [&str; 9] = [
    "unviable",
    "caught",
    "hung",
    "caught there",
    "missed",
    "not reached",
    "unfinished",
    "not switched",
    "not tried",
];

/// Those of them that nothing has caught.
const SURVIVE: [&str; 3] = ["missed", "not reached", "unfinished"];

const BEGINNING: &str = "\
# Mutants

Is there a test for it? cargo-mutants lists ways to break the library: a function that answers at once with something
else, an operator that is another, an arm of a `match` that isn't there. `cargo xtask mutants` tries them, and makes
this page. All mutants of cargo-mutants' list are in one build, each behind a switch, so that no build is needed between two of
them; a mutant is tried with all tests of `handover` and `handover-tests` that come by it, until one fails twice.

- *unviable*: doesn't compile. *hung*: a test didn't end by its deadline, which is a failure.
- *caught there*: survives here or wasn't tried, in a file of both systems, and is caught on the other one.
- *not reached*: no test comes by it. *unfinished*: the quicker ones of the tests that come by it were tried. With *missed* these
  are the survivors.
- *not switched*: stands where no switch can be asked, such as in a constant.
- *of viable* is what of those that compile and were tried was caught or hung.
";

/// Why a survivor may stay.
const REASONS: &str = "mutants/reasons.tsv";

pub(crate) fn write(
    root: &Path,
    system: System,
    mutants: &BTreeMap<usize, Mutant>,
    results: &Results,
) -> Result<(), String> {
    let part = part(root, system, mutants, results)?;
    put_part(&root.join("docs/verified/mutants.md"), BEGINNING, system, &part)
}

/// Writes a page, of which one system's part is new.
pub(crate) fn put_part(path: &Path, beginning: &str, system: System, part: &str) -> Result<(), String> {
    let before = read(path).unwrap_or_default();
    let mut page = beginning.to_owned();
    for other in [System::Linux, System::Wine] {
        let (open, close) = marks(other);
        let old = before.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
        let old = old.map_or("", |(old, _)| old);
        let part = if other == system { part } else { old }.trim_matches('\n');
        if !part.is_empty() {
            let _ = write!(page, "\n{open}\n{part}\n{close}\n");
        }
    }
    write_file(path, page.as_bytes())
}

pub(crate) fn title(system: System) -> &'static str {
    match system {
        System::Linux => "## Linux",
        System::Wine => "## Windows, under Wine",
    }
}

fn marks(system: System) -> (String, String) {
    (format!("<!-- {} -->", system.name()), format!("<!-- end of {} -->", system.name()))
}

fn part(
    root: &Path,
    system: System,
    mutants: &BTreeMap<usize, Mutant>,
    results: &Results,
) -> Result<String, String> {
    let other = crate::results_of(root, system.other(), mutants)?;
    let what = |mutant: &Mutant| {
        let there = other.get(&key(mutant)).map(|outcome| outcome.what.as_str());
        let is_caught_there = matches!(there, Some("caught" | "hung"));
        match results.get(&key(mutant)).map(|outcome| outcome.what.as_str()) {
            Some(here) if SURVIVE.contains(&here) && is_caught_there => "caught there",
            None if is_caught_there => "caught there",
            None if there == Some("unviable") => "unviable",
            here => here.unwrap_or("not tried"),
        }
    };
    let mut files: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut total: BTreeMap<&str, usize> = BTreeMap::new();
    let mut dates = BTreeSet::new();
    for mutant in mutants.values() {
        *files.entry(&mutant.file).or_default().entry(what(mutant)).or_default() += 1;
        *total.entry(what(mutant)).or_default() += 1;
        dates.extend(results.get(&key(mutant)).map(|outcome| outcome.date.as_str()));
    }
    let reasons = reasons(root)?;
    let mut text = String::new();
    let dates: Vec<&str> = dates.into_iter().collect();
    let survivors: Vec<&Mutant> = mutants.values().filter(|mutant| SURVIVE.contains(&what(mutant))).collect();
    let reason =
        |mutant: &Mutant| reasons.get(&(mutant.file.clone(), mutant.name.clone())).map_or("", String::as_str);
    let explained = survivors.iter().filter(|mutant| !reason(mutant).is_empty()).count();
    let count = |end: &str| total.get(end).copied().unwrap_or(0);
    let good = count("caught") + count("hung") + count("caught there");
    // In tenths of a percent, and never better than it is.
    let rate = |of: usize| {
        let rate = (good * 1000).checked_div(of).unwrap_or(0);
        format!("{}.{} %", rate / 10, rate % 10)
    };
    let tried = good + survivors.len();
    let _ = write!(
        text,
        "{}\n\nTried: {tried} viable mutants, {}. {good} were caught: {}. {} survived, {explained} of them because no test \
         can catch them, for the reasons below. Of the others, {} were caught. Not tried: {}, and {} that can't be \
         switched.\n\n",
        title(system),
        dates.join(", "),
        rate(tried),
        survivors.len(),
        rate(tried - explained),
        count("not tried"),
        count("not switched"),
    );
    let _ = writeln!(text, "| file | mutants | {} | of viable |", ENDS.join(" | "));
    let _ = writeln!(text, "|---|--:|{}--:|", "--:|".repeat(ENDS.len()));
    let line = |name: &str, counts: &BTreeMap<&str, usize>| {
        let of = |end: &str| counts.get(end).copied().unwrap_or(0);
        let cells: Vec<String> = ENDS
            .iter()
            .map(|end| of(end))
            .map(|n| if n == 0 { String::new() } else { n.to_string() })
            .collect();
        let good = of("caught") + of("hung") + of("caught there");
        let tried = good + SURVIVE.iter().map(|end| of(end)).sum::<usize>();
        // In whole percents, and never better than it is.
        let rate = (good * 100).checked_div(tried).map_or_else(String::new, |rate| format!("{rate} %"));
        format!("| {name} | {} | {} | {rate} |\n", counts.values().sum::<usize>(), cells.join(" | "))
    };
    for (file, counts) in &files {
        text.push_str(&line(file.trim_start_matches("crates/handover/src/"), counts));
    }
    text.push_str(&line("all", &total));
    let _ = write!(text, "\n### Survivors\n\n| file | mutation | why |\n|---|---|---|\n");
    for mutant in survivors {
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            mutant.file.trim_start_matches("crates/handover/src/"),
            mutant.name.replace('|', "\\|").replace('<', "&lt;"),
            match reason(mutant) {
                "" => what(mutant),
                why => why,
            }
        );
    }
    Ok(text.trim_end().to_owned())
}

/// The reasons, by file and mutation.
pub(crate) fn reasons(root: &Path) -> Result<BTreeMap<(String, String), String>, String> {
    let text = read(&root.join(REASONS))?;
    let mut reasons = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let [file, name, why] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("{REASONS}: not a file, a mutation and a reason: {line}"));
        };
        reasons.insert((format!("crates/handover/src/{file}"), name.to_owned()), why.to_owned());
    }
    Ok(reasons)
}
