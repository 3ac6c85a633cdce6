//! Describes the machine and the date of a measurement, without names of hosts or folders.

use std::process::Command;

use super::System;
use crate::results::Results;

/// Adds this machine and today's date to each part that has no machine yet.
pub(super) fn stamp(results: &mut Results, system: &str) {
    let machine = this_machine(system == "wine");
    let mut parts: Vec<&str> = results.rows.iter().map(|row| row.part.as_str()).collect();
    parts.dedup();
    for part in parts {
        if results.machines.iter().all(|(other, _)| other != part) {
            results.machines.push((part.into(), machine.clone()));
        }
    }
}

/// Returns a Markdown table of the machines.
pub(super) fn table(systems: &[System]) -> String {
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

fn this_machine(is_wine: bool) -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let field = |name| {
        let line = cpus.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    // On Windows, an environment variable holds the model.
    let model = field("model name").or_else(|| std::env::var("PROCESSOR_IDENTIFIER").ok());
    let numbers = match (field("cpu family"), field("model\t")) {
        (Some(family), Some(model)) => format!(" (family {family}, model {model})"),
        _ => String::new(),
    };
    // Counts all cores: `available_parallelism` counts only the one core that this process is pinned to.
    let cores = match cpus.lines().filter(|line| line.starts_with("processor")).count() {
        0 => std::thread::available_parallelism().map_or(0, usize::from),
        cores => cores,
    };
    let release = read("/proc/sys/kernel/osrelease");
    let system = match release.trim() {
        "" => output_of("cmd", &["/c", "ver"]),
        // Leaves out the builder's label after the version.
        release => format!("Linux {}", release.split('-').next().unwrap_or(release)),
    };
    let wine = if is_wine { format!(", {}", output_of("wine", &["--version"])) } else { String::new() };
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.into());
    let today = jiff::Timestamp::now().strftime("%F");
    format!("{model}{numbers}, {cores} cores, which others share; {system}{wine}; {today}")
}

/// Returns the output of a program, or the program's name if it cannot be run.
fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| program.to_owned(), |it| String::from_utf8_lossy(&it.stdout).trim().to_owned())
}
