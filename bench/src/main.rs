//! What handover costs beside the same calls in C and beside other crates: medians of one run, in turn, and their
//! ratios.
//!
//! Absolute times say little: they are this machine's at this moment. The ratio is what counts.

mod allocations;
mod build_cost;
mod bytes;
mod counting;
mod hand_over;
#[cfg(feature = "peers")]
mod ipc_channel;
#[cfg(feature = "peers")]
mod ipmb;
mod measure;
mod memory;
mod os;
mod receive;
mod report;
mod results;
mod scaling;
mod signal;
mod spawn;

use std::path::PathBuf;

use measure::{Bench, Effort};

/// What a measurement does, or why it doesn't.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// One subject, measured as a whole.
type Part = fn(&mut Bench) -> Outcome;

const PARTS: [(&str, Part); 7] = [
    ("spawn", spawn::measure),
    ("hand-over", hand_over::measure),
    ("signal", signal::measure),
    ("bytes", bytes::measure),
    ("growth", scaling::measure),
    ("allocations", allocations::measure),
    ("weight", build_cost::measure),
];

const USAGE: &str = "\
bench [--quick] [--save FILE] [PART]   measure, all or spawn, hand-over, signal, bytes, growth, allocations, weight
bench render                           make docs/performance.md of the results that are saved in docs/performance";

fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        // This program as the other process.
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
        return Err(format!("came {words:?}; expected:\n{USAGE}").into());
    }
    for (name, part) in parts {
        // A build needs all cores.
        if *name != "weight" {
            os::baseline::stay()?;
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
