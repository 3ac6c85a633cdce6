//! Lists the project's performance targets, and compares the results with them.

use super::System;
use super::table::ratio_text;
use crate::results::Row;

/// The limit of a target.
enum Limit {
    Most(f64),
    /// At most the first number on Linux, and the second one on Windows.
    MostOn(f64, f64),
    Least(f64),
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
    Target { text, table: "spawn", rows: ALL, way: "handover", base, limit: Limit::Most(maximum) }
}

const fn spawned(text: &'static str, rows: &'static [&'static str], maximum: f64) -> Target {
    Target { rows, ..spawn(text, "C floor: posix_spawn", maximum) }
}

/// The target for copies of shared memory: at least 0.8 of the speed of `memcpy`.
const fn copied(text: &'static str, table: &'static str) -> Target {
    Target { text, table, rows: ALL, way: "handover", base: "memcpy", limit: Limit::Most(1.25) }
}

const fn hand_over(text: &'static str, way: usize, rows: &'static [&'static str], maximum: f64) -> Target {
    Target {
        text,
        table: HAND_OVER[way],
        rows,
        way: "handover",
        base: "C floor",
        limit: Limit::Most(maximum),
    }
}

/// The target for objects that the receiver takes, and its answer.
const fn taken(text: &'static str, rows: &'static [&'static str], linux: f64, windows: f64) -> Target {
    Target {
        text,
        table: HAND_OVER[0],
        rows,
        way: "handover, take",
        base: "C floor",
        limit: Limit::MostOn(linux, windows),
    }
}

const fn faster(text: &'static str, way: usize, than: &'static str) -> Target {
    Target { text, table: HAND_OVER[way], rows: ALL, way: than, base: "handover", limit: Limit::Least(2.0) }
}

const fn typed(text: &'static str, way: usize) -> Target {
    Target {
        text,
        table: HAND_OVER[way],
        rows: ALL,
        way: "handover, typed",
        base: "handover, take",
        limit: Limit::Most(1.15),
    }
}

const fn wait_set(text: &'static str, table: &'static str) -> Target {
    Target { text, table, rows: ALL, way: "handover", base: "C floor", limit: Limit::Most(1.3) }
}

const TARGETS: [Target; 35] = [
    spawn("starting a child: at most 1.03 × the C floor (on Linux, fork and execve)", "C floor", 1.03),
    spawned("starting a child with up to 8 objects: at most 1.15 × posix_spawn", &["0", "1", "8"], 1.15),
    spawned("starting a child with 64 objects: at most 0.9 × posix_spawn", &["64"], 0.9),
    spawn("starting a child: at most the time of windows-spawn", "windows-spawn", 1.0),
    spawn("starting a child: at most the time of command-fds", "command-fds", 1.0),
    taken(
        "1 object that is taken, and the answer: at most 1.3 × the C floor on Linux, 1.2 on Windows",
        &["1"],
        1.3,
        1.2,
    ),
    taken(
        "8 objects that are taken, and the answer: at most 1.7 × the C floor on Linux, 1.2 on Windows",
        &["8"],
        1.7,
        1.2,
    ),
    taken(
        "64 objects that are taken, and the answer: at most 3 × the C floor on Linux, 1.5 on Windows",
        &["64"],
        3.0,
        1.5,
    ),
    taken(
        "253 objects that are taken, and the answer: at most 3.5 × the C floor on Linux, 1.5 on Windows",
        &["253"],
        3.5,
        1.5,
    ),
    hand_over("a message with 1 object, and its answer: at most 1.15 × the C floor", 0, &["1"], 1.15),
    hand_over("a message with 1 object, in one direction: at most 1.15 × the C floor", 1, &["1"], 1.15),
    hand_over("a message with 64 objects, and its answer: at most 1.05 × the C floor", 0, &["64"], 1.05),
    hand_over("a message with 64 objects, in one direction: at most 1.05 × the C floor", 1, &["64"], 1.05),
    typed("objects in a value, and the answer: at most 1.15 × objects that are taken by name", 0),
    typed("objects in a value, in one direction: at most 1.15 × objects that are taken by name", 1),
    faster("a message by ipmb, and its answer: at least 2 × the time of handover", 0, "ipmb"),
    faster("a message by ipmb, in one direction: at least 2 × the time of handover", 1, "ipmb"),
    faster("a message by ipc-channel, and its answer: at least 2 × the time of handover", 0, "ipc-channel"),
    faster("a message by ipc-channel, in one direction: at least 2 × the time of handover", 1, "ipc-channel"),
    Target {
        text: "bytes, and their answer: at most the time of ipc-channel",
        table: "bytes",
        rows: ALL,
        way: "handover",
        base: "ipc-channel",
        limit: Limit::Most(1.0),
    },
    Target {
        text: "1 MiB, and its answer: at most 1.3 × the C floor",
        table: "bytes",
        rows: &["1 MiB"],
        way: "handover",
        base: "C floor",
        limit: Limit::Most(1.3),
    },
    copied("bytes that are copied into shared memory: at most 1.25 × memcpy", "shared memory, written"),
    copied("bytes that are copied out of shared memory: at most 1.25 × memcpy", "shared memory, read"),
    Target {
        text: "a signal that wakes a process: at most 1.05 × the C floor",
        table: "signal",
        rows: ALL,
        way: "handover",
        base: "C floor",
        limit: Limit::Most(1.05),
    },
    Target {
        text: "a call and its reply: at most 1.1 × a send and a receive on both sides",
        table: "call",
        rows: ALL,
        way: "call, reply",
        base: "send, recv",
        limit: Limit::Most(1.1),
    },
    Target {
        text: "a message between asynchronous processes, and its answer: at most 1.5 × between blocking ones",
        table: "async",
        rows: ALL,
        way: "tokio",
        base: "blocking",
        limit: Limit::Most(1.5),
    },
    wait_set("a message on one of many channels, and its answer: at most 1.3 × the C floor", "wait set"),
    wait_set("the same when all channels have messages: at most 1.3 × the C floor", "wait set, in turn"),
    Target {
        text: "a message on one of many channels: at most 1.1 × the time of one of 10",
        table: "wait set, against that of 10",
        rows: ALL,
        way: "handover",
        base: "itself",
        limit: Limit::Most(1.1),
    },
    Target {
        text: "one of 10,000 or 100,000 objects: at most 1.1 × the time of one of 1,000",
        table: "per object, against that of 1,000",
        rows: &["10000", "100000"],
        way: "handover",
        base: "itself",
        limit: Limit::Most(1.1),
    },
    Target {
        text: "one of 10,000 or 100,000 objects in flight: at most 1.1 × the time of one of 1,000",
        table: "in flight, against that of 1,000",
        rows: &["10000", "100000"],
        way: "handover",
        base: "itself",
        limit: Limit::Most(1.1),
    },
    Target {
        text: "allocations to send a message of any size: at most 1",
        table: "allocations per message",
        rows: ALL,
        way: "handover: sending",
        base: "",
        limit: Limit::Most(1.0),
    },
    Target {
        text: "dependencies: at most 4 crates",
        table: "weight",
        rows: &["dependencies on Linux", "dependencies on Windows"],
        way: "handover",
        base: "",
        limit: Limit::Most(4.0),
    },
    Target {
        text: "clean release build: at most 1.5 × rustix alone",
        table: "weight",
        rows: &["clean release build"],
        way: "handover",
        base: "rustix alone",
        limit: Limit::Most(1.5),
    },
    Target {
        text: "a program that uses a channel: at most the size of ipc-channel's",
        table: "weight",
        rows: &["smallest program, minus an empty program"],
        way: "handover, a channel",
        base: "ipc-channel",
        limit: Limit::Most(1.0),
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
            Limit::Most(_) | Limit::MostOn(..) => numbers.max_by(|one, other| one.0.total_cmp(&other.0)),
            Limit::Least(_) => numbers.min_by(|one, other| one.0.total_cmp(&other.0)),
        }
    }

    fn is_reached(&self, system: &System, number: f64) -> bool {
        match self.limit {
            Limit::Most(most) => number <= most,
            Limit::MostOn(linux, windows) => number <= if system.file == "linux" { linux } else { windows },
            Limit::Least(least) => number >= least,
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
                    let verdict = if target.is_reached(system, number) { "reached" } else { "**missed**" };
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
