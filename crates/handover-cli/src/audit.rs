//! `handover audit`: what the processes of a command inherit, and which of it nobody has listed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use handover::inspect::{Audit, AuditedProcess, HandleEntry, Origin};
use handover::{Error, ObjectKind};
use serde_json::{Value, json};

use crate::columns::{columns, counted};
use crate::exit::{Explained, Stop, code, json_text, print, remark};
use crate::os::exit_code;
use crate::run::seconds;
use crate::table::{as_json, printable};

const EXAMPLES: &str = "\
Examples:
  handover audit -- cargo test             in CI: fails if anything leaks
  handover audit --own -- my-program       whatever this program has inherited itself
  handover audit --json --output leaks.json -- my-program
  handover audit --allow kind:file -- make            its jobserver is a pipe

The command is started the ordinary way, under a debugger: each process that it starts is stopped before its first instruction, and its handle table is read. What it has inherited the ordinary way, less what it would have under an exact list (its three standard streams, and what its parent has listed for it by this library or as a service manager does) is a leak.

The exit code is 1 if anything leaks or couldn't be seen, 3 if nothing does and the command failed. All processes are waited for, also those that the command leaves behind; at the timeout they are ended. In JSON, the standing of a handle is stream, stream, twice (a second handle to the same stream), listed, allowed or leaked.

Not for commands that are debuggers themselves; on Linux a program with the set-user-id bit runs without its rights.";

/// Run a command and find the handles that leak into its processes
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// What may be inherited without being listed: `kind:KIND`, or `name:PART` of the object's name; can be given several times
    #[arg(long, value_name = "WHAT", value_parser = allowed)]
    allow: Vec<Allowed>,
    /// Find only what the command's own processes leak: keep from it what has leaked into this program
    #[arg(long)]
    own: bool,
    /// End the command, and all that it has started, after so many seconds, and report what was seen
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "3600")]
    timeout: Duration,
    /// Print JSON when all is done
    #[arg(long)]
    json: bool,
    /// Write the report into this file: standard output is the command's too
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Say each process as it starts
    #[arg(long, short)]
    verbose: bool,
    /// The command, with its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// What a user knows of and doesn't mind.
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
        return Err(Stop::usage("there is no command"));
    };
    if options.own {
        keep_what_came().map_err(|error| Stop::with_code(code::NOT_BEGUN, Explained(&error)))?;
    }
    let mut command = Command::new(program);
    command.args(arguments);
    // What was seen is said also if the command is ended before it is done.
    let mut seen = Vec::new();
    let audit = Audit::new(command).watch(|started| {
        if options.verbose {
            let leaks = started.leaks().filter(|entry| options.minds(entry)).count();
            let leaks = if leaks == 0 { String::new() } else { format!(": {}", counted(leaks, "leak")) };
            remark(format_args!("{} begins, child of {}{leaks}", called(started), started.parent));
        }
        seen.push(started.clone());
    });
    let (status, late) = match audit.run(options.timeout) {
        Ok(audit) => (Some(exit_code(audit.status)), None),
        Err(late @ Error::TimedOut { .. }) => (None, Some(late)),
        Err(error) => return Err(not_audited(&error)),
    };
    let rows = rows(options, &seen);
    let leaks = rows.iter().filter(|row| row.leaks).count();
    let blind = seen.iter().filter(|started| started.incomplete.is_some()).count();
    let report = if options.json {
        json_text(&as_json_of(options, &seen, &rows, status))
    } else {
        report(&seen, &rows, leaks, blind)
    };
    match write(options, &report) {
        // A leak is one whether or not somebody reads of it.
        Ok(()) | Err(Stop::NobodyReads) => {}
        Err(other) => return Err(other),
    }
    match (late, leaks + blind, status.unwrap_or_default()) {
        (Some(late), ..) => Err(Stop::with_code(code::LATE, Explained(&late))),
        (None, 0, 0) => Ok(()),
        (None, 0, status) => Err(Stop::with_code(
            code::COMMAND_FAILED,
            format_args!("nothing leaks, but the command ended with {status}"),
        )),
        (None, ..) => Err(Stop::With(code::FAILED.into())),
    }
}

fn write(options: &Options, report: &str) -> Result<(), Stop> {
    let Some(path) = &options.output else { return print(report) };
    std::fs::write(path, report).map_err(|error| Stop::failed(format_args!("{}: {error}", path.display())))
}

/// Keeps from the command what this program has inherited without being told.
fn keep_what_came() -> handover::Result<()> {
    for unlisted in handover::leaked_handles()? {
        match unlisted.clear_inherit() {
            // What is closed doesn't leak.
            Ok(()) | Err(Error::InvalidHandle { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn not_audited(error: &Error) -> Stop {
    let code = match error {
        Error::System { source, .. } if source.kind() == std::io::ErrorKind::NotFound => code::NOT_FOUND,
        Error::System { call, .. } if *call == crate::os::STARTING => code::NOT_STARTED,
        _ => code::NOT_BEGUN,
    };
    Stop::with_code(code, Explained(error))
}

impl Options {
    /// Whether a handle that nobody has listed counts.
    fn minds(&self, entry: &HandleEntry) -> bool {
        !self.allow.iter().any(|allowed| allowed.allows(entry))
    }
}

/// A handle that a process has inherited.
struct Row<'a> {
    started: &'a AuditedProcess,
    entry: &'a HandleEntry,
    standing: &'a Origin,
    leaks: bool,
}

fn rows<'a>(options: &Options, seen: &'a [AuditedProcess]) -> Vec<Row<'a>> {
    let of = |started: &'a AuditedProcess| {
        started.handles.iter().map(move |(entry, standing)| Row {
            started,
            entry,
            standing,
            leaks: *standing == Origin::Leaked && options.minds(entry),
        })
    };
    seen.iter().flat_map(of).collect()
}

/// The process, by its id and its program.
fn called(started: &AuditedProcess) -> String {
    let program = started.program.as_ref().ok().and_then(|path| path.file_name());
    match program {
        Some(program) => format!("process {} ({})", started.id, printable(&program.to_string_lossy())),
        None => format!("process {}", started.id),
    }
}

/// What stands for a standing.
fn word(row: &Row<'_>) -> String {
    match row.standing {
        Origin::Stream => "stream".into(),
        Origin::DuplicateStream => "stream, twice".into(),
        Origin::Listed(name) => format!("listed as {name:?}"),
        _ if row.leaks => "LEAK".into(),
        _ => "allowed".into(),
    }
}

fn report(seen: &[AuditedProcess], rows: &[Row<'_>], leaks: usize, blind: usize) -> String {
    let mut text = String::new();
    let shown: Vec<&Row<'_>> = rows.iter().filter(|row| row.leaks).collect();
    if !shown.is_empty() {
        let titles = ["PROCESS", "HANDLE", "KIND", "RIGHTS", "NAME"];
        text += &columns(
            &titles,
            shown.iter().map(|row| {
                let name = match row.entry.name() {
                    Ok(name) => printable(name.unwrap_or_default()),
                    Err(why) => format!("? {why}"),
                };
                vec![
                    called(row.started),
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
        if let Some(why) = &started.incomplete {
            text += &format!("? {} couldn't be seen in full: {why}\n", called(started));
        }
    }
    let listed = rows.iter().filter(|row| matches!(row.standing, Origin::Listed(_))).count();
    let streams =
        rows.iter().filter(|row| matches!(row.standing, Origin::Stream | Origin::DuplicateStream)).count();
    let allowed = rows.len() - listed - streams - leaks;
    let processes = match seen.len() {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    };
    text += &format!("inherited the ordinary way: {} in {processes}\n", counted(rows.len(), "handle"));
    text += &format!("under an exact list: {} ({streams} for streams, {listed} listed)\n", streams + listed);
    if allowed > 0 {
        text += &format!("allowed here: {allowed}\n");
    }
    text += &match leaks {
        0 => "the difference: nothing leaks\n".to_owned(),
        leaks => format!("the difference: {}\n", counted(leaks, "leak")),
    };
    if blind > 0 {
        let processes = if blind == 1 { "process" } else { "processes" };
        text += &format!("not all could be seen: {blind} {processes}, which counts as a failure\n");
    }
    text
}

fn as_json_of(options: &Options, seen: &[AuditedProcess], rows: &[Row<'_>], status: Option<i32>) -> Value {
    let processes: Vec<Value> = seen
        .iter()
        .map(|started| {
            let of_it = rows.iter().filter(|row| std::ptr::eq(row.started, started));
            let handles: Vec<Value> = of_it
                .map(|row| {
                    let mut handle = as_json(row.entry);
                    handle["standing"] = match row.standing {
                        Origin::Listed(_) => "listed".into(),
                        Origin::Leaked if row.leaks => "leaked".into(),
                        _ => word(row).into(),
                    };
                    if let Origin::Listed(name) = row.standing {
                        handle["listed_as"] = name.as_str().into();
                    }
                    handle
                })
                .collect();
            let program = started.program.as_ref().ok().map(|path| path.to_string_lossy());
            let mut process = json!({ "process": started.id, "parent": started.parent, "program": program });
            process["inherited"] = handles.into();
            if let Some(why) = &started.incomplete {
                process["incomplete"] = why.to_string().into();
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
