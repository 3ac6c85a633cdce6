//! Compares handover with the same system calls in C, and with other crates.
//!
//! One run measures all ways in turn, and reports their medians and the ratios of the medians. Compare the ratios only:
//! absolute times depend on the machine and its load.

mod allocations;
mod build_cost;
mod bytes;
mod call;
mod copies;
mod counting;
mod futures;
mod hand_over;
mod in_flight;
#[cfg(feature = "peers")]
mod ipc_channel;
#[cfg(feature = "peers")]
mod ipmb;
mod measure;
mod memory;
mod os;
mod peer_process;
mod receive;
mod report;
mod results;
mod scaling;
mod signal;
mod spawn;
mod wait_set;

use std::path::PathBuf;

use measure::{Bench, Effort};

/// The result of a measurement.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A function that measures one subject.
type Part = fn(&mut Bench) -> Outcome;

const PARTS: [(&str, Part); 14] = [
    ("spawn", spawn::measure),
    ("hand-over", hand_over::measure),
    ("signal", signal::measure),
    ("bytes", bytes::measure),
    ("copies", copies::measure),
    ("call", call::measure),
    ("async", futures::measure),
    ("wait-set", wait_set::measure),
    ("growth", scaling::measure),
    ("in-flight", in_flight::measure),
    ("open-handles", scaling::spawn_beside_handles),
    ("children", scaling::spawn_beside_children),
    ("allocations", allocations::measure),
    ("weight", build_cost::measure),
];

const USAGE: &str = "\
bench [--quick] [--save FILE] [PART]   measures one part, or all: spawn, hand-over, signal, bytes, copies, call,
                                       async, wait-set, growth, in-flight, open-handles,
                                       children, allocations, weight
bench render                           writes docs/performance.md from the results in docs/performance";

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        // This process was started as the other process.
        ["--as", role, arguments @ ..] => receive::other_process(role, arguments),
        ["render"] => report::render(),
        words => measure(words),
    }
}

fn measure(mut words: &[&str]) -> Outcome {
    let mut effort = Effort::FULL;
    let mut save = None;
    if let ["--quick", rest @ ..] = words {
        (effort, words) = (Effort::QUICK, rest);
    }
    if let ["--save", file, rest @ ..] = words {
        (save, words) = (Some(PathBuf::from(file)), rest);
    }
    let parts: Vec<_> = match words {
        [] => PARTS.iter().collect(),
        [one] => PARTS.iter().filter(|(name, _)| name == one).collect(),
        _ => Vec::new(),
    };
    if parts.is_empty() {
        return Err(format!("the arguments {words:?} are unknown; usage:\n{USAGE}").into());
    }
    for (name, part) in parts {
        // A build uses all cores; all other parts run on one core.
        if *name != "weight" {
            os::baseline::pin_to_core()?;
        }
        let mut bench = Bench::new(name, effort);
        part(&mut bench).map_err(|error| format!("{name}: {error}"))?;
        let rows = bench.into_rows();
        if rows.is_empty() {
            return Err(format!("{name} has no results").into());
        }
        if let Some(file) = &save {
            results::save(file, name, &rows)?;
        }
    }
    Ok(())
}
