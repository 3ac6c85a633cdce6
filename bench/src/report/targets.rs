//! What the project aims at, and whether it is reached.

use super::System;
use super::table::shown;
use crate::results::Row;

/// What is to be small, or large.
enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

struct Target {
    text: &'static str,
    table: &'static str,
    /// Which places count; all, if it is empty.
    places: &'static [&'static str],
    /// Whose number, and beside whose; nobody's, if it is empty.
    way: &'static str,
    beside: &'static str,
    aim: Aim,
}

const ALL: &[&str] = &[];
const HAND_OVER: [&str; 2] = ["hand-over, answered", "hand-over, one way"];

const fn spawn(text: &'static str, beside: &'static str, most: f64) -> Target {
    Target { text, table: "spawn", places: ALL, way: "ours", beside, aim: Aim::AtMost(most) }
}

const fn hand_over(text: &'static str, way: usize, places: &'static [&'static str], most: f64) -> Target {
    Target { text, table: HAND_OVER[way], places, way: "ours", beside: "C floor", aim: Aim::AtMost(most) }
}

const fn faster(text: &'static str, way: usize, than: &'static str) -> Target {
    Target { text, table: HAND_OVER[way], places: ALL, way: than, beside: "ours", aim: Aim::AtLeast(2.0) }
}

const TARGETS: [Target; 17] = [
    spawn("a child: at most 1.03 × the floor in C", "C floor", 1.03),
    spawn("a child: at most 1.03 × posix_spawn in C", "C floor: posix_spawn", 1.03),
    spawn("a child: at most as much as windows-spawn", "windows-spawn", 1.0),
    spawn("a child: at most as much as command-fds", "command-fds", 1.0),
    hand_over("1 object, answered: at most 1.15 × the floor", 0, &["1"], 1.15),
    hand_over("1 object, one way: at most 1.15 × the floor", 1, &["1"], 1.15),
    hand_over("64 objects, answered: at most 1.05 × the floor", 0, &["64"], 1.05),
    hand_over("64 objects, one way: at most 1.05 × the floor", 1, &["64"], 1.05),
    faster("ipmb, answered: at least 2 × our time", 0, "ipmb"),
    faster("ipmb, one way: at least 2 × our time", 1, "ipmb"),
    faster("ipc-channel, answered: at least 2 × our time", 0, "ipc-channel"),
    faster("ipc-channel, one way: at least 2 × our time", 1, "ipc-channel"),
    Target {
        text: "a signal that wakes: at most 1.02 × the floor",
        table: "signal",
        places: ALL,
        way: "ours",
        beside: "C floor",
        aim: Aim::AtMost(1.02),
    },
    Target {
        text: "an object among 10,000 or 100,000: at most 1.1 × one among 1,000",
        table: "per object, against that of 1,000",
        places: &["10000", "100000"],
        way: "ours",
        beside: "itself",
        aim: Aim::AtMost(1.1),
    },
    Target {
        text: "allocations to send a message of any size: at most 1",
        table: "allocations per message",
        places: ALL,
        way: "ours: sending",
        beside: "",
        aim: Aim::AtMost(1.0),
    },
    Target {
        text: "crates that it brings: at most 4",
        table: "weight",
        places: &["crates that it brings, linux", "crates that it brings, windows"],
        way: "handover",
        beside: "",
        aim: Aim::AtMost(4.0),
    },
    Target {
        text: "seconds of a clean release build: less than 10",
        table: "weight",
        places: &["clean release build"],
        way: "handover",
        beside: "",
        aim: Aim::AtMost(10.0),
    },
];

impl Target {
    /// The worst that there is, and where.
    fn worst<'a>(&self, system: &'a System) -> Option<(f64, &'a str)> {
        let rows: Vec<&Row> = system.results.rows.iter().filter(|row| row.table == self.table).collect();
        let of = |x: &str, way: &str| {
            let row = rows.iter().find(|row| row.x == x && is_of(row, way))?;
            row.found.as_ref().ok()
        };
        let mine = rows.iter().filter(|row| row.way == self.way);
        let mine = mine.filter(|row| self.places.is_empty() || self.places.contains(&row.x.as_str()));
        let found = mine.filter_map(|row| {
            let (value, ratio) = row.found.as_ref().ok()?;
            let number = match self.beside {
                "" => *value,
                "itself" => ratio.as_ref()?.of_medians,
                other => value / of(&row.x, other)?.0,
            };
            Some((number, row.x.as_str()))
        });
        match self.aim {
            Aim::AtMost(_) => found.max_by(|one, other| one.0.total_cmp(&other.0)),
            Aim::AtLeast(_) => found.min_by(|one, other| one.0.total_cmp(&other.0)),
        }
    }

    fn is_reached(&self, number: f64) -> bool {
        match self.aim {
            Aim::AtMost(most) => number <= most,
            Aim::AtLeast(least) => number >= least,
        }
    }
}

/// The floor is named more exactly where there are two.
fn is_of(row: &Row, way: &str) -> bool {
    row.way == way || (way == "C floor" && row.way == "C floor: fork, execve")
}

/// What is aimed at, and the worst that was measured on each system.
pub(super) fn table(systems: &[System]) -> String {
    let names: Vec<&str> = systems.iter().map(|system| system.name).collect();
    let mut text = format!("| the aim | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for target in &TARGETS {
        text += &format!("| {} |", target.text);
        for system in systems {
            text += &match target.worst(system) {
                None => " – |".to_owned(),
                Some((number, place)) => {
                    let word = if target.is_reached(number) { "reached" } else { "**missed**" };
                    let place = super::table::with_commas(place);
                    let place = if target.places.len() == 1 || target.table == "signal" {
                        String::new()
                    } else {
                        format!(", with {place}")
                    };
                    format!(" {word}: {}{place} |", shown(number))
                }
            };
        }
        text += "\n";
    }
    text.pop();
    text
}
