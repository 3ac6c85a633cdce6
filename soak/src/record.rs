//! What was seen, as a file: a table, and beside it a picture.

use std::fmt::Write;
use std::path::Path;

use crate::samples::{PROCESSES, Sample, Soaked, When};
use crate::{Outcome, plot};

/// About so many lines of what was seen at work are kept.
const KEPT: usize = 200;

/// Writes the table, and draws it.
pub(crate) fn save(file: &Path, soaked: &Soaked) -> Outcome {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, table(soaked))?;
    draw(file)
}

/// Draws a table that was saved. The file's name says on which system it was recorded.
pub(crate) fn draw(file: &Path) -> Outcome {
    let system = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let system = system.strip_prefix("soak-").unwrap_or(system);
    std::fs::write(file.with_extension("svg"), plot::svg(&std::fs::read_to_string(file)?, system)?)?;
    println!("{} and {}", file.display(), file.with_extension("svg").display());
    Ok(())
}

pub(crate) fn table(soaked: &Soaked) -> String {
    let mut text = format!("# {}\n", jiff::Timestamp::now().strftime("%F"));
    for line in soaked.summary().lines() {
        let _ = writeln!(text, "# {line}");
    }
    let verdict = soaked.judge().map_or_else(|why| format!("not flat: {why}"), |()| "flat".into());
    let _ = writeln!(text, "# {verdict}");
    text += "seconds\twhen\thand-overs\tspawns";
    for process in PROCESSES {
        let _ = write!(text, "\thandles of {process}\tprivate bytes of {process}");
    }
    text += "\n";
    for sample in kept(&soaked.samples) {
        let when = match sample.when {
            When::WarmUp => "warm-up",
            When::Rest => "rest",
            When::AtWork => "at work",
        };
        let _ = write!(text, "{:.2}\t{when}\t{}\t{}", sample.seconds, sample.hand_overs, sample.spawns);
        for process in 0..PROCESSES.len() {
            let handles = sample.handles[process].map_or_else(String::new, |count| count.to_string());
            let _ = write!(text, "\t{handles}\t{}", sample.memory[process]);
        }
        text += "\n";
    }
    text
}

/// All rests, and every so many of the others.
fn kept(samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    let at_work = samples.iter().filter(|sample| sample.when == When::AtWork).count();
    let every = (at_work / KEPT).max(1);
    let mut number = 0;
    samples.iter().filter(move |sample| {
        number += usize::from(sample.when == When::AtWork);
        sample.when != When::AtWork || number % every == 0
    })
}
