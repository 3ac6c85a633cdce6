//! Ways to break the library that somebody has thought of, each tried with all tests that come by it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use crate::run::{Ended, Test};
use crate::tree::{Tree, read, write as write_file};
use crate::{State, System, Wanted, page, today, worker};

const LIST: &str = include_str!("../breakages.txt");

#[derive(Debug, Clone)]
pub(crate) struct Breakage {
    title: String,
    file: String,
    from: String,
    to: String,
}

/// Those of a system, counted from 1.
pub(crate) fn list(system: System) -> Result<Vec<Breakage>, String> {
    let parse = |text: &str| {
        let (title, rest) = text.split_once('\n')?;
        let (file, rest) = rest.split_once("\n<<<\n")?;
        let (from, rest) = rest.split_once("\n===\n")?;
        let (to, _) = rest.split_once("\n>>>")?;
        let [title, file, from, to] = [title, file, from, to].map(str::to_owned);
        Some(Breakage { title, file: format!("crates/handover/src/{file}"), from, to })
    };
    let all: Option<Vec<Breakage>> = LIST.split("\n## ").skip(1).map(parse).collect();
    let mut all = all.ok_or("breakages.txt: a title, a file, <<<, ===, >>>")?;
    all.retain(|breakage| system.has(&breakage.file));
    Ok(all)
}

/// Puts them into the copy of the library, each behind its switch.
pub(crate) fn put(tree: &Tree, all: &[Breakage]) -> Result<(), String> {
    let files: BTreeSet<&str> = all.iter().map(|breakage| breakage.file.as_str()).collect();
    for file in files {
        let mut text = read(&tree.root.join(file))?;
        for (id, breakage) in (1..).zip(all).filter(|(_, breakage)| breakage.file == file) {
            if text.matches(&breakage.from).count() != 1 {
                return Err(format!("{file} hasn't this once:\n{}", breakage.from));
            }
            let to = breakage.to.replace("BROKEN", &format!("crate::mutant::on({id})"));
            text = text.replace(&breakage.from, &to);
        }
        write_file(&tree.folder.join(file), text.as_bytes())?;
    }
    Ok(())
}

/// Tries each, and writes the page.
pub(crate) fn try_all(
    tree: &Tree,
    work: &Path,
    all: &[Breakage],
    state: &State,
    wanted: &Wanted,
) -> Result<(), String> {
    let red: Vec<Mutex<Vec<(String, Ended)>>> = all.iter().map(|_| Mutex::default()).collect();
    let pairs = |id: usize| {
        state.tests.iter().filter(move |test| test.reaches.contains(&id)).map(move |test| (id, test))
    };
    let mut pairs_left: Vec<(usize, &Test)> = (1..=all.len()).flat_map(pairs).collect();
    // From the end on, the fastest first.
    pairs_left.sort_by_key(|(_, test)| std::cmp::Reverse(test.took));
    let left = Mutex::new(pairs_left);
    eprintln!("{} pairs of a breakage and a test", left.lock().expect("no panic").len());
    std::thread::scope(|scope| {
        for number in 0..wanted.jobs {
            let (left, red) = (&left, &red);
            scope.spawn(move || {
                let Ok(worker) = worker(tree, work, &state.programs, number) else { return };
                loop {
                    let Some((id, test)) = left.lock().expect("no panic").pop() else { break };
                    if red[id - 1].lock().expect("no panic").len() >= ENOUGH {
                        continue;
                    }
                    let (ended, _) = worker.run(test, id, None);
                    // What fails once may have failed because the machine is busy.
                    let ended = if ended == Ended::Well { ended } else { worker.run(test, id, None).0 };
                    if ended != Ended::Well {
                        red[id - 1].lock().expect("no panic").push((test.name.clone(), ended));
                    }
                }
                worker.end();
            });
        }
    });
    let mut part = format!("{}\n\nTried: {}.\n\n", page::title(tree.system), today());
    part.push_str("| broken | where | tests that come by it | red | which |\n|---|---|--:|--:|---|\n");
    for (place, breakage) in all.iter().enumerate() {
        let mut red = red[place].lock().expect("no panic").clone();
        red.sort_by(|one, other| one.0.cmp(&other.0));
        let names: Vec<String> = red
            .iter()
            .take(5)
            .map(|(name, ended)| match ended {
                Ended::Never => format!("`{name}` (hangs)"),
                _ => format!("`{name}`"),
            })
            .collect();
        let more = red.len().saturating_sub(names.len());
        let more = if more == 0 { String::new() } else { format!(", and {more} more") };
        let _ = writeln!(
            part,
            "| {} | {} | {} | {} | {}{more} |",
            breakage.title,
            breakage.file.trim_start_matches("crates/handover/src/"),
            pairs(place + 1).count(),
            if red.len() >= ENOUGH { format!("{ENOUGH} or more") } else { red.len().to_string() },
            names.join(", "),
        );
    }
    // The programs are those of the breakages now.
    let _ = fs::remove_file(work.join("state.json"));
    page::put_part(&tree.root.join("docs/verified/breakages.md"), BEGINNING, tree.system, &part)
}

/// So many tests that fail are enough.
const ENOUGH: usize = 8;

const BEGINNING: &str = "\
# Broken on purpose

What would turn the suite red? Each line is one mistake that somebody could make, put into the library behind a switch, and
tried with all tests of `handover` and `handover-tests` that come by it. `cargo xtask mutants --breakages` does it, and makes
this page; the list is in `mutants/breakages.txt`. A test that fails has failed twice; after the eighth, no more are tried.
";
