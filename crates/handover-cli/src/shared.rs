//! `handover shared`: which objects two processes have in common.

use clap::Args;
use handover::{HandleValue, Process};
use serde_json::{Value, json};

use crate::columns::{columns, counted};
use crate::exit::{Stop, print, print_json};
use crate::table::{printable, process_id};

const EXAMPLES: &str = "\
Examples:
  handover shared 264 272
  handover shared 0x108 0x110 --json

The kernel compares the objects themselves: equal numbers or names say nothing. On Linux one object is one open file description; two processes that have opened the same file each for themselves share none.";

/// Show which kernel objects two processes have in common, and by which handles
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// One process's id, in decimal or in hex with 0x
    #[arg(value_parser = process_id)]
    pid: u32,
    /// The other's
    #[arg(value_parser = process_id)]
    other: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn shared(options: &Options) -> Result<(), Stop> {
    let ids = [options.pid, options.other];
    if ids[0] == ids[1] {
        return Err(Stop::usage("expected two processes; came the same one twice"));
    }
    let [one, other] = ids.map(Process::open_for_query);
    let sharing = handover::inspect::shared_objects(&one?, &other?)?;
    if options.json {
        let values = |values: &[HandleValue]| values.iter().map(|value| value.get()).collect::<Vec<u32>>();
        let objects: Vec<Value> = sharing
            .objects
            .iter()
            .map(|object| {
                let handles: Vec<Value> = std::iter::zip(ids, &object.handles)
                    .map(|(process, handles)| json!({ "process": process, "values": values(handles) }))
                    .collect();
                json!({ "kind": object.kind.name(), "name": object.name, "handles": handles })
            })
            .collect();
        let incomplete: Vec<Value> = sharing
            .incomplete
            .iter()
            .map(|(process, value, why)| {
                json!({ "process": process, "value": value.get(), "why": why.to_string() })
            })
            .collect();
        return print_json(&json!({ "objects": objects, "incomplete": incomplete }));
    }
    let mut text = String::new();
    if !sharing.objects.is_empty() {
        let values = |values: &[HandleValue]| {
            values.iter().map(|value| format!("{value:#x}")).collect::<Vec<_>>().join(", ")
        };
        let titles = ["KIND", &format!("IN {}", ids[0]), &format!("IN {}", ids[1]), "NAME"];
        text = columns(
            &titles,
            sharing.objects.iter().map(|object| {
                let [one, other] = &object.handles;
                let name = printable(object.name.as_deref().unwrap_or_default());
                vec![object.kind.name().to_owned(), values(one), values(other), name]
            }),
        );
        text.push('\n');
    }
    let count = counted(sharing.objects.len(), "object");
    text += &format!("processes {} and {} have {count} in common\n", ids[0], ids[1]);
    for (process, value, why) in &sharing.incomplete {
        text += &format!("? {value:#x} of process {process} couldn't be compared: {why}\n");
    }
    print(&text)
}
