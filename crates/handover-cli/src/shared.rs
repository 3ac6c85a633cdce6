//! `handover shared`: finds the kernel objects that two processes share.

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

The kernel compares the objects themselves; equal handle values or names prove nothing. On Linux, an object is an open file description: two processes that each open the same file share no object.";

/// Show which kernel objects two processes share, and through which handles
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The process id of one process, in decimal or in hex with 0x
    #[arg(value_parser = process_id)]
    pid: u32,
    /// The process id of the other process
    #[arg(value_parser = process_id)]
    other: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn shared(options: &Options) -> Result<(), Stop> {
    let ids = [options.pid, options.other];
    if ids[0] == ids[1] {
        return Err(Stop::usage(format_args!(
            "expected the ids of two different processes, but {} was given twice",
            ids[0]
        )));
    }
    let [one, other] = ids.map(Process::open_for_query);
    let shared = handover::inspect::shared_objects(&one?, &other?)?;
    if options.json {
        let values = |values: &[HandleValue]| values.iter().map(|value| value.get()).collect::<Vec<u32>>();
        let objects: Vec<Value> = shared
            .objects
            .iter()
            .map(|object| {
                let handles: Vec<Value> = std::iter::zip(ids, &object.handles)
                    .map(|(process, handles)| json!({ "process": process, "values": values(handles) }))
                    .collect();
                json!({ "kind": object.kind.name(), "name": object.name, "handles": handles })
            })
            .collect();
        let incomplete: Vec<Value> = shared
            .incomplete
            .iter()
            .map(|(process, value, reason)| {
                json!({ "process": process, "value": value.get(), "reason": reason.to_string() })
            })
            .collect();
        return print_json(&json!({ "objects": objects, "incomplete": incomplete }));
    }
    let mut text = String::new();
    if !shared.objects.is_empty() {
        let values = |values: &[HandleValue]| {
            values.iter().map(|value| format!("{value:#x}")).collect::<Vec<_>>().join(", ")
        };
        let titles = ["KIND", &format!("IN {}", ids[0]), &format!("IN {}", ids[1]), "NAME"];
        text = columns(
            &titles,
            shared.objects.iter().map(|object| {
                let [one, other] = &object.handles;
                let name = printable(object.name.as_deref().unwrap_or_default());
                vec![object.kind.name().to_owned(), values(one), values(other), name]
            }),
        );
        text.push('\n');
    }
    let count = counted(shared.objects.len(), "object");
    text += &format!("processes {} and {} share {count}\n", ids[0], ids[1]);
    for (process, value, reason) in &shared.incomplete {
        text += &format!("? {value:#x} of process {process} could not be compared: {reason}\n");
    }
    print(&text)
}
