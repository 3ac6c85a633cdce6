//! An audit in a test: it fails if a process of one's own program inherits a handle that nothing has listed for it.
//!
//! `cargo run -p handover --features inspect --example audit_in_a_test`
//!
//! In a project, the function `no_handle_leaks` is a test in `tests/leaks.rs`, and the audited command is
//! `Command::new(env!("CARGO_BIN_EXE_my-program"))`. The audit is this process's debugger for the command and all that
//! it starts, so a program that must not be debugged can't be audited.

use std::time::Duration;

use handover::inspect::{Audit, AuditReport};
use handover::{Command, Event};

const TIMEOUT: Duration = Duration::from_secs(20);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["program", mode] => program(mode),
        ["worker", mode] => worker(mode),
        ["tool"] => Ok(()),
        _ => {
            // Handles that leaked into this process from its own parent, such as a shell, must not count as the program's leaks.
            handover::leaked_handles()?.iter().try_for_each(handover::LeakedHandle::clear_inherit)?;
            no_handle_leaks()?;
            a_leak_is_found()
        }
    }
}

/// The test.
fn no_handle_leaks() -> Result<()> {
    let report = audit("careful")?;
    // The report's text lists each process with its leaks.
    assert!(report.status.success() && report.is_clean(), "{report}");
    println!("careful: {} processes, no leak", report.processes.len());
    Ok(())
}

/// The same test of a program with a mistake.
fn a_leak_is_found() -> Result<()> {
    let report = audit("careless")?;
    for (process, handle) in report.leaks() {
        let kind = handle.kind().map_or_else(ToString::to_string, ToString::to_string);
        println!("careless: handle {:#x} ({kind}) leaked into process {}", handle.value(), process.id);
    }
    assert_eq!(report.leaks().count(), 1, "{report}");
    Ok(())
}

fn audit(mode: &str) -> Result<AuditReport> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["program", mode]);
    Ok(Audit::new(command).run(TIMEOUT)?)
}

/// The audited program: starts a worker that inherits an event.
fn program(mode: &str) -> Result<()> {
    let ready = Event::manual_reset()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["worker", mode]).inherit("ready", &ready).status()?;
    Ok(())
}

/// The worker: starts a tool with std, which passes on each handle that is inheritable.
fn worker(mode: &str) -> Result<()> {
    // The first call of `inherited` keeps the inherited handles from this process's own children. A careless worker
    // starts a child before that call, and the event leaks.
    if mode == "careful" {
        handover::inherited()?;
    }
    std::process::Command::new(std::env::current_exe()?).arg("tool").status()?;
    handover::inherited()?.take::<Event>("ready")?.set()?;
    Ok(())
}
