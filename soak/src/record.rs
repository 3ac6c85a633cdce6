//! What was seen, as a file: a table, and beside it a picture.

use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::samples::{PROCESSES, Sample, Soaked, When};
use crate::{Outcome, plot};

/// About so many lines of what was seen at work are kept.
const KEPT: usize = 200;

/// Writes the table and the picture. What kind of system it was seen on is the table's name.
pub(crate) fn save(file: &Path, soaked: &Soaked) -> Outcome {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, table(soaked))?;
    let system = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let system = system.strip_prefix("soak-").unwrap_or(system);
    std::fs::write(file.with_extension("svg"), plot::svg(soaked, system))?;
    println!("{} and {}", file.display(), file.with_extension("svg").display());
    Ok(())
}

fn table(soaked: &Soaked) -> String {
    let mut text = format!("# {}\n", today());
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

/// The day, in UTC.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    date(seconds / 86_400)
}

/// The date of the day that is so many after 1970-01-01, in years that begin with March.
fn date(days: u64) -> String {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    // From the 1st of March of the year 0.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (year, day) = (era * 400 + year + u64::from(month > 9), day - (153 * month + 2) / 5 + 1);
    format!("{year}-{:02}-{day:02}", if month > 9 { month - 9 } else { month + 3 })
}

/// All rests, and every so many of the others.
pub(crate) fn kept(samples: &[Sample]) -> impl Iterator<Item = &Sample> {
    let at_work = samples.iter().filter(|sample| sample.when == When::AtWork).count();
    let every = (at_work / KEPT).max(1);
    let mut number = 0;
    samples.iter().filter(move |sample| {
        number += usize::from(sample.when == When::AtWork);
        sample.when != When::AtWork || number % every == 0
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_have_dates() {
        for (days, text) in [
            (0, "1970-01-01"),
            (365, "1971-01-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_453, "2025-12-31"),
        ] {
            assert_eq!(super::date(days), text);
        }
    }
}
