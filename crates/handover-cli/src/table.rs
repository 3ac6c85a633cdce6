//! `handover table`: prints a process's handle table.

use std::collections::BTreeMap;
use std::fmt::Display;

use clap::{Args, ValueEnum};
use handover::inspect::{HandleEntry, HandleTable};
use handover::{ObjectKind, Process};
use serde_json::{Value, json};

use crate::columns::{columns, counted};
use crate::exit::{Stop, is_invisible, print, print_json, remark};

const EXAMPLES: &str = "\
Examples:
  handover table 1234                        all handles, and how many there are of each kind
  handover table 1234 --kind event --kind mutex
  handover table 1234 --name log --sort name
  handover table 1234 --inheritable          the handles that can leak into a child
  handover table 1234 --json | jq '.handles[] | select(.kind == \"socket\")'

A row shows ? and the reason if this user may not read a handle's kind or name, or if the kernel does not answer in time.";

/// Show a process's handle table: values, kinds, access, flags and names
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The process id, in decimal or in hex with 0x
    #[arg(value_parser = process_id)]
    pid: u32,
    /// Show only handles to objects of this kind: event, file, "shared memory", …; can be repeated
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Show only handles to objects whose name contains this text; upper and lower case don't matter
    #[arg(long, value_name = "PART")]
    name: Option<String>,
    /// Show only inheritable handles
    #[arg(long)]
    inheritable: bool,
    /// Sort by this column
    #[arg(long, value_name = "BY", default_value = "value")]
    sort: Sort,
    /// Print only the number of handles of each kind
    #[arg(long)]
    summary: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sort {
    Value,
    Kind,
    Access,
    Name,
}

/// Parses a process id in decimal or in hex, the forms that other tools print.
pub(crate) fn process_id(text: &str) -> Result<u32, String> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    // `from_str_radix` accepts a plus sign, which is not part of a process id.
    let id = u32::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'));
    id.ok_or_else(|| "expected a process id, in decimal or in hex with 0x".into())
}

pub(crate) fn table(options: &Options) -> Result<(), Stop> {
    let table = HandleTable::of(&Process::open_for_query(options.pid)?)?;
    let mut entries: Vec<&HandleEntry> =
        table.entries().iter().filter(|entry| options.matches(entry)).collect();
    let name = |entry: &HandleEntry| entry.name().ok().flatten().map(str::to_lowercase);
    match options.sort {
        Sort::Value => {}
        Sort::Kind => entries.sort_by_key(|entry| kind(entry).to_owned()),
        Sort::Access => entries.sort_by_key(|entry| entry.access()),
        // Handles without a name come last.
        Sort::Name => entries.sort_by_key(|entry| (name(entry).is_none(), name(entry))),
    }
    for wanted in &options.kind {
        remark_unknown_kind(wanted, table.entries(), format_args!("process {} has", table.process()));
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in &entries {
        *counts.entry(kind(entry)).or_default() += 1;
    }
    if options.json {
        let handles: Vec<Value> = entries.iter().map(|entry| as_json(entry)).collect();
        let mut all = json!({ "process": table.process(), "count": entries.len(), "kinds": counts });
        if !options.summary {
            all["handles"] = handles.into();
        }
        return print_json(&all);
    }
    let mut text = String::new();
    if !options.summary && !entries.is_empty() {
        let titles = ["VALUE", "KIND", "ACCESS", "RIGHTS", "FLAGS", "NAME"];
        text = columns(&titles, entries.iter().map(|entry| row(entry)));
        text.push('\n');
    }
    let all = counted(table.entries().len(), "handle");
    text += &match entries.len() {
        shown if shown == table.entries().len() => format!("{all} of process {}", table.process()),
        shown => format!("{shown} of {all} of process {}", table.process()),
    };
    let kinds: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if !kinds.is_empty() {
        text += &format!(": {}", kinds.join(", "));
    }
    text.push('\n');
    print(&text)
}

/// Remarks that there is no such kind, and lists the kinds of the handles that were looked at.
pub(crate) fn remark_unknown_kind<'a>(
    wanted: &str,
    entries: impl IntoIterator<Item = &'a HandleEntry>,
    owner: impl Display,
) {
    let mut kinds: Vec<&str> = entries.into_iter().map(kind).collect();
    let known = ObjectKind::ALL.iter().map(|kind| kind.name());
    if known.chain(kinds.iter().copied()).any(|kind| kind.eq_ignore_ascii_case(wanted)) {
        return;
    }
    kinds.sort_unstable();
    kinds.dedup();
    remark(format_args!("there is no kind {wanted:?}; {owner} handles of these kinds: {}", kinds.join(", ")));
}

impl Options {
    fn matches(&self, entry: &HandleEntry) -> bool {
        let name = || entry.name().ok().flatten().unwrap_or_default().to_lowercase();
        (self.kind.is_empty() || self.kind.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind(entry))))
            && self.name.as_ref().is_none_or(|part| name().contains(&part.to_lowercase()))
            && (!self.inheritable || entry.is_inheritable())
    }
}

/// Returns the name of the object's kind, or `?` if the kind is unavailable.
fn kind(entry: &HandleEntry) -> &str {
    entry.kind().map_or("?", ObjectKind::name)
}

fn row(entry: &HandleEntry) -> Vec<String> {
    let flags = [(entry.is_inheritable(), "inherit"), (entry.is_protected(), "protect")];
    let flags: Vec<&str> = flags.iter().filter(|(has, _)| *has).map(|(_, word)| *word).collect();
    let name = match (entry.kind(), entry.name()) {
        (_, Err(reason)) | (Err(reason), Ok(None)) => format!("? {reason}"),
        (Err(reason), Ok(Some(name))) => format!("{} ? {reason}", printable(name)),
        (Ok(_), Ok(name)) => printable(name.unwrap_or_default()),
    };
    vec![
        format!("{:#x}", entry.value()),
        kind(entry).to_owned(),
        format!("{:#x}", entry.access()),
        entry.rights(),
        flags.join(", "),
        name,
    ]
}

/// Replaces invisible characters in a name. Another process chose the name, and control characters in it could
/// manipulate the terminal.
pub(crate) fn printable(name: &str) -> String {
    let replace = |character: char| {
        if is_invisible(character) { char::REPLACEMENT_CHARACTER } else { character }
    };
    name.chars().map(replace).collect()
}

/// Returns a handle as JSON.
pub(crate) fn as_json(entry: &HandleEntry) -> Value {
    let mut unavailable = serde_json::Map::new();
    for (field, reason) in [("kind", entry.kind().err()), ("name", entry.name().err())] {
        if let Some(reason) = reason {
            unavailable.insert(field.into(), reason.to_string().into());
        }
    }
    let mut handle = json!({
        "value": entry.value().get(),
        "kind": entry.kind().ok().map(ObjectKind::name),
        "access": entry.access(),
        "rights": entry.rights(),
        "inheritable": entry.is_inheritable(),
        "protected": entry.is_protected(),
        "name": entry.name().ok().flatten(),
    });
    if !unavailable.is_empty() {
        handle["unavailable"] = unavailable.into();
    }
    handle
}
