//! Writes the page with all results: fills tables and plots into a hand-written template.

mod machine;
mod plot;
mod table;
mod targets;

use std::path::Path;

use crate::Outcome;
use crate::results::Results;

/// The folder of the results and the plots.
const FOLDER: &str = "docs/performance";
const PAGE: &str = "docs/performance.md";
const TEMPLATE: &str = include_str!("template.md");

/// The results of one system.
#[derive(Debug)]
struct System {
    file: &'static str,
    name: &'static str,
    results: Results,
}

pub(crate) fn render() -> Outcome {
    let folder = Path::new(FOLDER);
    let mut systems = Vec::new();
    for (file, name) in [("linux", "Linux"), ("wine", "Windows' build under Wine"), ("windows", "Windows")] {
        let path = folder.join(file).with_extension("tsv");
        if let Some(mut results) = Results::read(&path)? {
            machine::stamp(&mut results, file);
            results.write(&path)?;
            systems.push(System { file, name, results });
        }
    }
    let mut page = String::new();
    for line in TEMPLATE.lines() {
        match line.strip_prefix("{{").and_then(|line| line.strip_suffix("}}")) {
            None => page += line,
            Some("machines") => page += &machine::table(&systems),
            Some("misses") => page += include_str!("misses.md").trim_end(),
            Some("targets") => page += &targets::table(&systems),
            Some(mark) => {
                let (table, title) = mark
                    .split_once(" | ")
                    .ok_or_else(|| format!("template.md: {{{{{mark}}}}} has no \" | \" before its title"))?;
                page += &section(&systems, table, title)?;
            }
        }
        page += "\n";
    }
    std::fs::write(PAGE, page)?;
    println!("{PAGE}");
    Ok(())
}

/// Returns the table of each system that has results for it, and writes its plot.
fn section(systems: &[System], table: &str, title: &str) -> Outcome<String> {
    let mut text = String::new();
    for system in systems {
        let rows: Vec<_> = system.results.of(table).collect();
        if rows.iter().all(|row| row.result.is_err()) {
            continue;
        }
        if !text.is_empty() {
            text += "\n";
        }
        text += &format!("**{}**\n\n{}", system.name, table::markdown(&rows));
        if let Some(picture) = plot::svg(&rows, title, system.name)? {
            let words: Vec<&str> =
                table.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
            let name = format!("{}-{}.svg", system.file, words.join("-"));
            std::fs::write(Path::new(FOLDER).join(&name), picture)?;
            text += &format!("\n![{title}, {}](performance/{name})\n", system.name);
        }
    }
    Ok(text)
}
