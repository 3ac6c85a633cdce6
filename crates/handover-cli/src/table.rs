//! `handover table`: what is in a process's handle table.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use handover::inspect::{HandleEntry, HandleTable};
use handover::{ObjectKind, Process};
use serde_json::{Value, json};

use crate::columns::{columns, counted};
use crate::exit::{Stop, is_invisible, print, print_json, remark};

const EXAMPLES: &str = "\
Examples:
  handover table 1234                        all of it, and how many there are of each kind
  handover table 1234 --kind event --kind mutex
  handover table 1234 --name log --sort name
  handover table 1234 --inheritable          what a child would get that is created with inheritance of all
  handover table 1234 --json | jq '.handles[] | select(.kind == \"socket\")'

What this user has no right to see, or what the kernel doesn't answer in time, stands in its row as ? with the reason.";

/// Show a process's handle table: values, kinds, access, flags and names
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The process's id, in decimal or in hex with 0x
    #[arg(value_parser = process_id)]
    pid: u32,
    /// Only handles to this kind of object: event, file, "shared memory", …; can be given several times
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Only handles to objects with this in their name, in whatever case
    #[arg(long, value_name = "PART")]
    name: Option<String>,
    /// Only handles that a child created with inheritance of all would get
    #[arg(long)]
    inheritable: bool,
    /// In which order
    #[arg(long, value_name = "BY", default_value = "value")]
    sort: Sort,
    /// Only how many there are of each kind
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

/// A process's id as people have it from other tools.
pub(crate) fn process_id(text: &str) -> Result<u32, String> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (text, 10),
    };
    // The parser takes a sign; an id has none.
    let id = u32::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'));
    id.ok_or_else(|| "expected a process's id, in decimal or in hex with 0x".into())
}

pub(crate) fn table(options: &Options) -> Result<(), Stop> {
    let table = HandleTable::of(&Process::open_for_query(options.pid)?)?;
    let mut entries: Vec<&HandleEntry> =
        table.entries().iter().filter(|entry| options.wants(entry)).collect();
    let name = |entry: &HandleEntry| entry.name().ok().flatten().map(str::to_lowercase);
    match options.sort {
        Sort::Value => {}
        Sort::Kind => entries.sort_by_key(|entry| kind(entry).to_owned()),
        Sort::Access => entries.sort_by_key(|entry| entry.access()),
        // What has none comes last.
        Sort::Name => entries.sort_by_key(|entry| (name(entry).is_none(), name(entry))),
    }
    for wanted in &options.kind {
        let is_there = table.entries().iter().any(|entry| kind(entry).eq_ignore_ascii_case(wanted));
        if !is_there && !ObjectKind::ALL.iter().any(|known| known.name().eq_ignore_ascii_case(wanted)) {
            let mut kinds: Vec<&str> = table.entries().iter().map(kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            remark(format_args!(
                "no kind is called {wanted:?}; process {} has {}",
                table.process(),
                kinds.join(", ")
            ));
        }
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
        text = columns(&titles, entries.iter().map(|entry| line(entry)));
        text.push('\n');
    }
    let all = table.entries().len();
    let count = counted(entries.len(), "handle");
    text += &match entries.len() {
        shown if shown == all => format!("{count} of process {}", table.process()),
        _ => format!("{count} of the {all} of process {}", table.process()),
    };
    let kinds: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if !kinds.is_empty() {
        text += &format!(": {}", kinds.join(", "));
    }
    text.push('\n');
    print(&text)
}

impl Options {
    fn wants(&self, entry: &HandleEntry) -> bool {
        let name = || entry.name().ok().flatten().unwrap_or_default().to_lowercase();
        (self.kind.is_empty() || self.kind.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind(entry))))
            && self.name.as_ref().is_none_or(|part| name().contains(&part.to_lowercase()))
            && (!self.inheritable || entry.is_inheritable())
    }
}

/// The kind in a word, if it is known.
fn kind(entry: &HandleEntry) -> &str {
    entry.kind().map_or("?", ObjectKind::name)
}

fn line(entry: &HandleEntry) -> Vec<String> {
    let flags = [(entry.is_inheritable(), "inherit"), (entry.is_protected(), "protect")];
    let flags: Vec<&str> = flags.iter().filter(|(has, _)| *has).map(|(_, word)| *word).collect();
    let name = match (entry.kind(), entry.name()) {
        (_, Err(why)) | (Err(why), Ok(None)) => format!("? {why}"),
        (Err(why), Ok(Some(name))) => format!("{} ? {why}", printable(name)),
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

/// A name that another process has chosen, without what would move a terminal's cursor.
pub(crate) fn printable(name: &str) -> String {
    let shown = |letter: char| if is_invisible(letter) { char::REPLACEMENT_CHARACTER } else { letter };
    name.chars().map(shown).collect()
}

/// A handle for a program.
pub(crate) fn as_json(entry: &HandleEntry) -> Value {
    let mut untold = serde_json::Map::new();
    for (what, why) in [("kind", entry.kind().err()), ("name", entry.name().err())] {
        if let Some(why) = why {
            untold.insert(what.into(), why.to_string().into());
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
    if !untold.is_empty() {
        handle["untold"] = untold.into();
    }
    handle
}
