//! Writes the samples to a file as a table, and a plot beside it.

use std::fmt::Write;
use std::path::Path;

use crate::samples::{PROCESSES, Sample, Soaked, When};
use crate::{Outcome, plot};

/// The approximate number of samples at work that are written.
const KEPT: usize = 200;

/// Writes the table and draws its plot.
pub(crate) fn save(file: &Path, soaked: &Soaked) -> Outcome {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, table(soaked))?;
    draw(file)
}

/// Draws the plot of a saved table. The file name contains the system on which it was recorded: `soak-linux.tsv`.
pub(crate) fn draw(file: &Path) -> Outcome {
    let system = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let system = match system.strip_prefix("soak-").unwrap_or(system) {
        "linux" => "Linux",
        "wine" => "Windows' build under Wine",
        other => other,
    };
    std::fs::write(file.with_extension("svg"), plot::svg(&std::fs::read_to_string(file)?, system)?)?;
    println!("{} and {}", file.display(), file.with_extension("svg").display());
    Ok(())
}

/// Formats the summary, the verdict and the samples as a table.
pub(crate) fn table(soaked: &Soaked) -> String {
    let mut text = format!("# {}\n", jiff::Timestamp::now().strftime("%F"));
    for line in soaked.summary().lines() {
        let _ = writeln!(text, "# {line}");
    }
    let verdict = soaked.judge().map_or_else(|reason| format!("not flat: {reason}"), |()| "flat".into());
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

/// Returns all samples at rest, and about `KEPT` of those at work, evenly distributed.
fn kept(samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    let at_work = samples.iter().filter(|sample| sample.when == When::AtWork).count();
    let every = (at_work / KEPT).max(1);
    let mut number = 0;
    samples.iter().filter(move |sample| {
        number += usize::from(sample.when == When::AtWork);
        sample.when != When::AtWork || number % every == 0
    })
}
