//! `handover audit`: finds the handles that a command's processes inherit although no parent listed them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use handover::inspect::{Audit, AuditedProcess, HandleEntry, Origin};
use handover::{Error, ObjectKind};
use serde_json::{Value, json};

use crate::columns::{columns, counted};
use crate::exit::{Stop, WithAdvice, code, json_text, not_run, print, remark};
use crate::os::{exit_code, leave_terminal_signals_to_command};
use crate::run::seconds;
use crate::table::{as_json, printable, remark_unknown_kind};

const EXAMPLES: &str = "\
Examples:
  handover audit -- cargo test             in CI: fails if a handle leaks
  handover audit --own -- my-program       ignores handles that leaked into handover itself
  handover audit --json --output leaks.json -- my-program
  handover audit --allow kind:file -- make            allows the pipe of make's jobserver

The command runs under a debugger. Each process that it starts is stopped before its first instruction, and its handle table is read. Expected handles are the process's three standard streams, and the handles that its parent listed for it, with the handover library or as a service manager does. Every other inherited handle is a leak.

The exit code is 1 if a handle leaks or a process could not be inspected, and 3 if no handle leaks but the command failed. The audit waits for all processes, including those that outlive the command; at the timeout it kills them. In JSON, the origin of a handle is \"stream\", \"duplicate stream\" (a second handle to a standard stream), \"listed\", \"allowed\" or \"leaked\".

Commands that are debuggers themselves can't be audited. On Linux, a program with the set-user-id bit runs without the rights of its owner.";

/// Run a command and find the handles that leak into its processes
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Handles that don't count as leaks: `kind:KIND`, or `name:PART` for a part of the object's name; can be repeated
    #[arg(long, value_name = "RULE", value_parser = allowed)]
    allow: Vec<Allowed>,
    /// Find only the leaks of the command's own processes: don't pass on the handles that leaked into this program
    #[arg(long)]
    own: bool,
    /// Kill the command and all processes that it started after this many seconds, and report the processes seen by
    /// then
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true, default_value = "3600")]
    timeout: Duration,
    /// Write the report as JSON
    #[arg(long)]
    json: bool,
    /// Write the report to this file instead of standard output, which the command uses too
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print each process on standard error when it starts
    #[arg(long, short)]
    verbose: bool,
    /// The command, with its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// A rule for handles that don't count as leaks.
#[derive(Debug, Clone)]
enum Allowed {
    Kind(String),
    Name(String),
}

fn allowed(text: &str) -> Result<Allowed, String> {
    match text.split_once(':') {
        Some(("kind", kind)) if !kind.is_empty() => Ok(Allowed::Kind(kind.to_owned())),
        Some(("name", part)) if !part.is_empty() => Ok(Allowed::Name(part.to_lowercase())),
        _ => Err("expected kind:KIND, such as kind:event, or name:PART".into()),
    }
}

impl Allowed {
    fn allows(&self, entry: &HandleEntry) -> bool {
        match self {
            Self::Kind(kind) => entry.kind().is_ok_and(|other| other.name().eq_ignore_ascii_case(kind)),
            Self::Name(part) => {
                entry.name().ok().flatten().is_some_and(|name| name.to_lowercase().contains(part))
            }
        }
    }
}

pub(crate) fn audit(options: &Options) -> Result<(), Stop> {
    let [program, arguments @ ..] = options.command.as_slice() else {
        return Err(Stop::usage("the command is missing"));
    };
    if options.own {
        clear_inherit_of_leaked_handles()
            .map_err(|error| Stop::with_code(code::SETUP_FAILED, WithAdvice(&error)))?;
    }
    leave_terminal_signals_to_command();
    let mut command = Command::new(program);
    command.args(arguments);
    // Collects the processes, so that the report is complete even if the timeout kills the command.
    let mut seen = Vec::new();
    let audit = Audit::new(command).watch(|started| {
        if options.verbose {
            let leaks = started.leaks().filter(|entry| options.is_leak(entry)).count();
            let leaks = if leaks == 0 { String::new() } else { format!(": {}", counted(leaks, "leak")) };
            remark(format_args!("{} starts, child of process {}{leaks}", label(started), started.parent));
        }
        seen.push(started.clone());
    });
    let (status, timed_out) = match audit.run(options.timeout) {
        Ok(audit) => (Some(audit.status), None),
        Err(error @ Error::TimedOut { .. }) => (None, Some(error)),
        // An empty command, or a 64-bit program that a 32-bit build of this program can't audit.
        Err(error @ Error::InvalidInput { .. }) => return Err(Stop::usage(WithAdvice(&error))),
        Err(error) => return Err(not_run(&error)),
    };
    let rows = rows(options, &seen);
    let leaks = rows.iter().filter(|row| row.leaks).count();
    let incomplete = seen.iter().filter(|started| started.incomplete.is_some()).count();
    let report = if options.json {
        json_text(&as_json_of(options, &seen, &rows, status.map(exit_code)))
    } else {
        report(&seen, &rows, leaks, incomplete, timed_out.is_some())
    };
    for rule in &options.allow {
        if let Allowed::Kind(kind) = rule {
            remark_unknown_kind(kind, rows.iter().map(|row| row.entry), "the processes inherited");
        }
    }
    match write(options, &report) {
        // The exit code reports a leak even if the reader of the report has gone.
        Ok(()) | Err(Stop::OutputClosed) => {}
        Err(other) => return Err(other),
    }
    let failed = status.filter(|status| !status.success());
    match (timed_out, leaks + incomplete, failed) {
        (Some(error), ..) => Err(Stop::with_code(code::TIMED_OUT, error)),
        (None, 0, None) => Ok(()),
        (None, 0, Some(status)) => {
            let ended = match status.code() {
                Some(code) => format!("exited with code {code}"),
                None => format!("was killed ({status})"),
            };
            Err(Stop::with_code(
                code::COMMAND_FAILED,
                format_args!("no handle leaks, but the command {ended}"),
            ))
        }
        (None, ..) => Err(Stop::Exit(code::FAILED.into())),
    }
}

fn write(options: &Options, report: &str) -> Result<(), Stop> {
    let Some(path) = &options.output else { return print(report) };
    std::fs::write(path, report).map_err(|error| {
        // An audit can take an hour, so its report isn't lost with a wrong path.
        let _ = print(report);
        Stop::failed(format_args!(
            "cannot write the report to {path:?}: {error}; it was written to standard output instead"
        ))
    })
}

/// Clears the inherit flag of the handles that leaked into this process, so that the command does not inherit them.
fn clear_inherit_of_leaked_handles() -> handover::Result<()> {
    for leaked in handover::leaked_handles()? {
        match leaked.clear_inherit() {
            // The handle was closed in the meantime, so it can't leak.
            Ok(()) | Err(Error::InvalidHandle { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Options {
    /// Whether an unlisted handle counts as a leak.
    fn is_leak(&self, entry: &HandleEntry) -> bool {
        !self.allow.iter().any(|allowed| allowed.allows(entry))
    }
}

/// A handle that a process has inherited.
struct Row<'a> {
    started: &'a AuditedProcess,
    entry: &'a HandleEntry,
    origin: &'a Origin,
    leaks: bool,
}

fn rows<'a>(options: &Options, seen: &'a [AuditedProcess]) -> Vec<Row<'a>> {
    let of = |started: &'a AuditedProcess| {
        started.handles.iter().map(move |(entry, origin)| Row {
            started,
            entry,
            origin,
            leaks: *origin == Origin::Leaked && options.is_leak(entry),
        })
    };
    seen.iter().flat_map(of).collect()
}

/// Returns the process id, and the name of the program if it is known.
fn label(started: &AuditedProcess) -> String {
    let program = started.program.as_ref().ok().and_then(|path| path.file_name());
    match program {
        Some(program) => format!("process {} ({})", started.id, printable(&program.to_string_lossy())),
        None => format!("process {}", started.id),
    }
}

/// Returns the origin of a handle as the JSON report names it.
fn origin_name(row: &Row<'_>) -> &'static str {
    match row.origin {
        Origin::Stream => "stream",
        Origin::DuplicateStream => "duplicate stream",
        Origin::Listed(_) => "listed",
        _ if row.leaks => "leaked",
        _ => "allowed",
    }
}

fn report(
    seen: &[AuditedProcess],
    rows: &[Row<'_>],
    leaks: usize,
    incomplete: usize,
    timed_out: bool,
) -> String {
    let mut text = String::new();
    let leaked: Vec<&Row<'_>> = rows.iter().filter(|row| row.leaks).collect();
    if !leaked.is_empty() {
        let titles = ["PROCESS", "HANDLE", "KIND", "RIGHTS", "NAME"];
        text += &columns(
            &titles,
            leaked.iter().map(|row| {
                let name = match row.entry.name() {
                    Ok(name) => printable(name.unwrap_or_default()),
                    Err(reason) => format!("? {reason}"),
                };
                vec![
                    label(row.started),
                    format!("{:#x}", row.entry.value()),
                    row.entry.kind().map_or("?", ObjectKind::name).to_owned(),
                    row.entry.rights(),
                    name,
                ]
            }),
        );
        text.push('\n');
    }
    for started in seen {
        if let Some(reason) = &started.incomplete {
            text += &format!("? {} could not be inspected completely: {reason}\n", label(started));
        }
    }
    let listed = rows.iter().filter(|row| matches!(row.origin, Origin::Listed(_))).count();
    let streams =
        rows.iter().filter(|row| matches!(row.origin, Origin::Stream | Origin::DuplicateStream)).count();
    let allowed = rows.len() - listed - streams - leaks;
    let processes = match seen.len() {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    };
    text += &format!("inherited: {} in {processes}\n", counted(rows.len(), "handle"));
    text += &format!("expected: {} ({streams} for standard streams, {listed} listed)\n", streams + listed);
    if allowed > 0 {
        text += &format!("allowed by --allow: {allowed}\n");
    }
    text += &match leaks {
        0 if timed_out => "result: no leaks before the timeout\n".to_owned(),
        0 => "result: no leaks\n".to_owned(),
        leaks => format!("result: {}\n", counted(leaks, "leak")),
    };
    if incomplete > 0 {
        let processes = if incomplete == 1 { "process" } else { "processes" };
        text += &format!(
            "incomplete: {incomplete} {processes} could not be inspected completely, which counts as a failure\n"
        );
    }
    text
}

fn as_json_of(options: &Options, seen: &[AuditedProcess], rows: &[Row<'_>], status: Option<i32>) -> Value {
    let processes: Vec<Value> = seen
        .iter()
        .map(|started| {
            let of_process = rows.iter().filter(|row| std::ptr::eq(row.started, started));
            let handles: Vec<Value> = of_process
                .map(|row| {
                    let mut handle = as_json(row.entry);
                    handle["origin"] = origin_name(row).into();
                    if let Origin::Listed(name) = row.origin {
                        handle["listed_as"] = name.as_str().into();
                    }
                    handle
                })
                .collect();
            let program = started.program.as_ref().ok().map(|path| path.to_string_lossy());
            let mut process = json!({ "process": started.id, "parent": started.parent, "program": program });
            process["inherited"] = handles.into();
            if let Some(reason) = &started.incomplete {
                process["incomplete"] = reason.to_string().into();
            }
            process
        })
        .collect();
    let command: Vec<_> = options.command.iter().map(|word| word.to_string_lossy()).collect();
    json!({
        "command": command,
        "exit_code": status,
        "leaks": rows.iter().filter(|row| row.leaks).count(),
        "processes": processes,
    })
}
