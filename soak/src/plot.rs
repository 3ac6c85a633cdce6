//! Plots handle counts and memory over time.

use chart::{BLUE, FAINT, Field, Line, ORANGE, SOLID, linear};

use crate::Outcome;
use crate::samples::PROCESSES;

/// Draws the plot of a table that `record.rs` has written.
pub(crate) fn svg(table: &str, system: &str) -> Outcome<String> {
    // The first line is the date, and the second is the summary.
    let summary = table.lines().nth(1).and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
    let rows = table.lines().filter(|line| !line.starts_with('#')).skip(1);
    let rows: Vec<Vec<&str>> = rows.map(|line| line.split('\t').collect()).collect();
    let number = |row: &[&str], column: usize| row.get(column)?.parse::<f64>().ok();
    let highest = |column| rows.iter().filter_map(|row| number(row, column)).fold(0.1, f64::max);

    // Lines at rest are drawn after lines at work, and so cover them.
    let kinds = [(0, BLUE, FAINT), (0, BLUE, SOLID), (1, ORANGE, FAINT), (1, ORANGE, SOLID)];
    let names = kinds.map(|(process, _, stroke)| {
        format!("{}, at {}", PROCESSES[process], if stroke == FAINT { "work" } else { "rest" })
    });
    let field = |heading, first: usize, unit: f64| {
        let lines = kinds.iter().zip(&names).map(|(&(process, colour, stroke), name)| {
            let samples = rows
                .iter()
                .filter(|row| row.get(1).is_some_and(|when| (*when == "at work") == (stroke == FAINT)));
            let point = |row: &Vec<&str>| Some((number(row, 0)?, number(row, first + 2 * process)? / unit));
            Line { name, colour, stroke, points: samples.filter_map(point).collect(), bars: Vec::new() }
        });
        let high = highest(first).max(highest(first + 2)) / unit * 1.08;
        Field { heading, x: linear(highest(0), " s"), y: linear(high, ""), lines: lines.collect() }
    };
    let title = format!("Soak test, {system}: handles and memory");
    let fields = [field("handles", 4, 1.0), field("private memory, MiB", 5, 1024.0 * 1024.0)];
    Ok(chart::svg(&title, summary, &fields)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::table;
    use crate::samples::{Sample, Soaked, When};

    #[test]
    fn each_process_has_a_line_at_rest_and_at_work() {
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
        let plot = svg(&table(&soaked), "a system").expect("drawing succeeds");
        // Each process has handles and memory, at rest and at work, except the peer's handles at work, which have no
        // samples.
        let drawn =
            ["#0969DA", "#953800"].map(|colour| plot.matches(&format!("stroke=\"{colour}\"")).count());
        // The legend has two lines of each colour.
        assert_eq!(drawn, [2 + 4, 2 + 3]);
        assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
        assert!(plot.contains("8 objects transferred and 0 children spawned by 8 threads"), "{plot}");
    }
}
