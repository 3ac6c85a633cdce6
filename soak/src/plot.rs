//! Handle counts and memory over time, as a picture.

use chart::{BLUE, FAINT, Field, Line, ORANGE, SOLID, linear};

use crate::Outcome;
use crate::samples::PROCESSES;

/// Draws a table that `record.rs` has written.
pub(crate) fn svg(table: &str, system: &str) -> Outcome<String> {
    // The first comment is the date.
    let summary = table.lines().nth(1).and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
    let rows = table.lines().filter(|line| !line.starts_with('#')).skip(1);
    let rows: Vec<Vec<&str>> = rows.map(|line| line.split('\t').collect()).collect();
    let number = |row: &[&str], column: usize| row.get(column)?.parse::<f64>().ok();
    let highest = |column| rows.iter().filter_map(|row| number(row, column)).fold(0.1, f64::max);

    // The lines at rest lie above those at work.
    let kinds = [(0, BLUE, FAINT), (0, BLUE, SOLID), (1, ORANGE, FAINT), (1, ORANGE, SOLID)];
    let names = kinds.map(|(process, _, stroke)| {
        format!("{}, at {}", PROCESSES[process], if stroke == FAINT { "work" } else { "rest" })
    });
    let field = |heading, first: usize, unit: f64| {
        let lines = kinds.iter().zip(&names).map(|(&(process, colour, stroke), name)| {
            let seen = rows
                .iter()
                .filter(|row| row.get(1).is_some_and(|when| (*when == "at work") == (stroke == FAINT)));
            let point = |row: &Vec<&str>| Some((number(row, 0)?, number(row, first + 2 * process)? / unit));
            Line { name, colour, stroke, points: seen.filter_map(point).collect(), bars: Vec::new() }
        });
        let high = highest(first).max(highest(first + 2)) / unit * 1.08;
        Field { heading, x: linear(highest(0), " s"), y: linear(high, ""), lines: lines.collect() }
    };
    let title = format!("What two processes have while they hand objects over: {system}");
    let fields = [field("handles", 4, 1.0), field("private memory, MiB", 5, 1024.0 * 1024.0)];
    Ok(chart::svg(&title, summary, &fields)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::table;
    use crate::samples::{Sample, Soaked, When};

    #[test]
    fn each_process_has_its_lines() {
        let sample = |number: u64, when| Sample {
            seconds: number as f64,
            when,
            hand_overs: number,
            spawns: 0,
            handles: [Some(40 + number % 2), (when != When::AtWork).then_some(30)],
            memory: [5 << 20, 4 << 20],
        };
        let both = |number| [sample(number, When::Rest), sample(number, When::AtWork)];
        let soaked = Soaked { threads: 8, samples: (1..9).flat_map(both).collect(), ..Soaked::default() };
        let picture = svg(&table(&soaked), "here").expect("it is drawn");
        // At rest and at work, handles and memory, this process and the peer; but not what wasn't counted.
        let drawn =
            ["#0969DA", "#953800"].map(|colour| picture.matches(&format!("stroke=\"{colour}\"")).count());
        // Two lines of each colour are in the legend.
        assert_eq!(drawn, [2 + 4, 2 + 3]);
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        assert!(picture.contains("8 hand-overs and 0 spawns by 8 threads"), "{picture}");
    }
}
