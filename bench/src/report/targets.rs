//! Lists the project's performance targets, and compares the results with them.

use super::System;
use super::table::ratio_text;
use crate::results::Row;

/// The limit of a target.
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

struct Target {
    text: &'static str,
    table: &'static str,
    /// The rows that count; all of them if the list is empty.
    rows: &'static [&'static str],
    /// The way whose number counts.
    way: &'static str,
    /// The way that it is divided by: a name, `itself` for the stored ratio, or empty for the plain number.
    base: &'static str,
    limit: Limit,
}

const ALL: &[&str] = &[];
const HAND_OVER: [&str; 2] = ["hand-over, answered", "hand-over, one way"];

const fn spawn(text: &'static str, base: &'static str, maximum: f64) -> Target {
    Target { text, table: "spawn", rows: ALL, way: "ours", base, limit: Limit::AtMost(maximum) }
}

const fn hand_over(text: &'static str, way: usize, rows: &'static [&'static str], maximum: f64) -> Target {
    Target { text, table: HAND_OVER[way], rows, way: "ours", base: "C floor", limit: Limit::AtMost(maximum) }
}

const fn faster(text: &'static str, way: usize, than: &'static str) -> Target {
    Target { text, table: HAND_OVER[way], rows: ALL, way: than, base: "ours", limit: Limit::AtLeast(2.0) }
}

const TARGETS: [Target; 17] = [
    spawn("a child: at most 1.03 × the floor in C", "C floor", 1.03),
    spawn("a child: at most 1.03 × posix_spawn in C", "C floor: posix_spawn", 1.03),
    spawn("a child: at most the time of windows-spawn", "windows-spawn", 1.0),
    spawn("a child: at most the time of command-fds", "command-fds", 1.0),
    hand_over("1 object, answered: at most 1.15 × the floor", 0, &["1"], 1.15),
    hand_over("1 object, one way: at most 1.15 × the floor", 1, &["1"], 1.15),
    hand_over("64 objects, answered: at most 1.05 × the floor", 0, &["64"], 1.05),
    hand_over("64 objects, one way: at most 1.05 × the floor", 1, &["64"], 1.05),
    faster("ipmb, answered: at least 2 × our time", 0, "ipmb"),
    faster("ipmb, one way: at least 2 × our time", 1, "ipmb"),
    faster("ipc-channel, answered: at least 2 × our time", 0, "ipc-channel"),
    faster("ipc-channel, one way: at least 2 × our time", 1, "ipc-channel"),
    Target {
        text: "a signal that wakes a process: at most 1.02 × the floor",
        table: "signal",
        rows: ALL,
        way: "ours",
        base: "C floor",
        limit: Limit::AtMost(1.02),
    },
    Target {
        text: "one of 10,000 or 100,000 objects: at most 1.1 × one of 1,000",
        table: "per object, against that of 1,000",
        rows: &["10000", "100000"],
        way: "ours",
        base: "itself",
        limit: Limit::AtMost(1.1),
    },
    Target {
        text: "allocations to send a message of any size: at most 1",
        table: "allocations per message",
        rows: ALL,
        way: "ours: sending",
        base: "",
        limit: Limit::AtMost(1.0),
    },
    Target {
        text: "dependencies: at most 4 crates",
        table: "weight",
        rows: &["crates that it brings, linux", "crates that it brings, windows"],
        way: "handover",
        base: "",
        limit: Limit::AtMost(4.0),
    },
    Target {
        text: "clean release build: at most 10 s",
        table: "weight",
        rows: &["clean release build"],
        way: "handover",
        base: "",
        limit: Limit::AtMost(10.0),
    },
];

impl Target {
    /// Returns the worst number, and the row's label.
    fn worst<'a>(&self, system: &'a System) -> Option<(f64, &'a str)> {
        let rows: Vec<&Row> = system.results.rows.iter().filter(|row| row.table == self.table).collect();
        let number_of = |x: &str, way: &str| {
            let row = rows.iter().find(|row| row.x == x && is_way(row, way))?;
            row.result.as_ref().ok()
        };
        let mine = rows.iter().filter(|row| row.way == self.way);
        let mine = mine.filter(|row| self.rows.is_empty() || self.rows.contains(&row.x.as_str()));
        let numbers = mine.filter_map(|row| {
            let (value, ratio) = row.result.as_ref().ok()?;
            let number = match self.base {
                "" => *value,
                "itself" => ratio.as_ref()?.of_medians,
                other => value / number_of(&row.x, other)?.0,
            };
            Some((number, row.x.as_str()))
        });
        match self.limit {
            Limit::AtMost(_) => numbers.max_by(|one, other| one.0.total_cmp(&other.0)),
            Limit::AtLeast(_) => numbers.min_by(|one, other| one.0.total_cmp(&other.0)),
        }
    }

    fn is_reached(&self, number: f64) -> bool {
        match self.limit {
            Limit::AtMost(most) => number <= most,
            Limit::AtLeast(least) => number >= least,
        }
    }
}

/// Returns whether a row belongs to a way. `C floor` also matches the more exact name that Linux has for spawns.
fn is_way(row: &Row, way: &str) -> bool {
    row.way == way || (way == "C floor" && row.way == "C floor: fork, execve")
}

/// Returns a Markdown table of the targets, and of the worst number on each system.
pub(super) fn table(systems: &[System]) -> String {
    let names: Vec<&str> = systems.iter().map(|system| system.name).collect();
    let mut text = format!("| target | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for target in &TARGETS {
        text += &format!("| {} |", target.text);
        for system in systems {
            text += &match target.worst(system) {
                None => " – |".to_owned(),
                Some((number, label)) => {
                    let verdict = if target.is_reached(number) { "reached" } else { "**missed**" };
                    let label = super::table::with_commas(label);
                    let label = if target.rows.len() == 1 || target.table == "signal" {
                        String::new()
                    } else {
                        format!(" (row: {label})")
                    };
                    format!(" {verdict}: {}{label} |", ratio_text(number))
                }
            };
        }
        text += "\n";
    }
    text.pop();
    text
}
