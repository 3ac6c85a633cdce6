//! Where it was measured, and when. No names of hosts or folders.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use super::System;
use crate::results::Results;

/// Says of each part that was measured just now where that was.
pub(super) fn stamp(results: &mut Results, system: &str) {
    let here = here(system == "wine");
    let mut parts: Vec<&str> = results.rows.iter().map(|row| row.part.as_str()).collect();
    parts.dedup();
    for part in parts {
        if results.machines.iter().all(|(other, _)| other != part) {
            results.machines.push((part.into(), here.clone()));
        }
    }
}

pub(super) fn described(systems: &[System]) -> String {
    let mut text = String::from("| | measured on |\n|---|---|\n");
    for System { name, results, .. } in systems {
        let mut machines: Vec<&str> = results.machines.iter().map(|(_, machine)| machine.as_str()).collect();
        machines.sort_unstable();
        machines.dedup();
        for machine in &machines {
            let parts = results.machines.iter().filter(|(_, other)| other == machine);
            let parts: Vec<&str> = parts.map(|(part, _)| part.as_str()).collect();
            let which = if machines.len() == 1 { String::new() } else { format!(" ({})", parts.join(", ")) };
            text += &format!("| {name}{which} | {machine} |\n");
        }
    }
    text.pop();
    text
}

fn here(under_wine: bool) -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let field = |name| {
        let line = cpus.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    // Windows says it in a variable.
    let model = field("model name").or_else(|| std::env::var("PROCESSOR_IDENTIFIER").ok());
    let numbers = match (field("cpu family"), field("model\t")) {
        (Some(family), Some(model)) => format!(" (family {family}, model {model})"),
        _ => String::new(),
    };
    // Not as many as this process may use, which is one by now.
    let cores = match cpus.lines().filter(|line| line.starts_with("processor")).count() {
        0 => std::thread::available_parallelism().map_or(0, usize::from),
        cores => cores,
    };
    let release = read("/proc/sys/kernel/osrelease");
    let system = match release.trim() {
        "" => said("cmd", &["/c", "ver"]),
        // Behind the version stands who has built it.
        release => format!("Linux {}", release.split('-').next().unwrap_or(release)),
    };
    let wine = if under_wine { format!(", {}", said("wine", &["--version"])) } else { String::new() };
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.into());
    format!("{model}{numbers}, {cores} cores, which others share; {system}{wine}; {}", today())
}

/// What a program says, in one line.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| program.to_owned(), |it| String::from_utf8_lossy(&it.stdout).trim().to_owned())
}

/// The day, in UTC.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    date(seconds / 86_400)
}

/// The date of the day that is so many after 1970-01-01.
fn date(mut days: u64) -> String {
    let is_leap = |year: u64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_have_dates() {
        for (days, text) in
            [(0, "1970-01-01"), (365, "1971-01-01"), (11_016, "2000-02-29"), (20_453, "2025-12-31")]
        {
            assert_eq!(super::date(days), text);
        }
    }
}
