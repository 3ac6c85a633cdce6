//! `handover demo`: runs one strategy with two real processes, and shows both as one timeline.
//!
//! The demonstration takes three processes. This process starts the parent, which starts the child, and collects what
//! both record. Parent and child do the steps of the exercise ([`roles`]), and record every system call of the library
//! from its `tracing` events ([`recorder`]). No line of the timeline is written by hand.

mod recorder;
pub(crate) mod roles;

use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use clap::{Args, ValueEnum};
use handover::{Command, ExitStatus, Stdio};
use handover_cli::demo::{self, EventData, Recording, Role};

use crate::columns::width;
use crate::exit::{Stop, print};

const EXAMPLES: &str = "\
Examples:
  handover demo                            runs inheritance
  handover demo duplication                shows why the handle value needs a second channel
  handover demo naming --all               includes queries and unrelated calls
  handover demo channel --svg picture.svg
  handover demo duplication --json | jq -r 'select(.data.call) | .data.call.call'";

/// The width of the output in a file or a pipe, in columns.
const WIDTH: u16 = 120;
/// The time limit of a demonstration.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Run one strategy with two real processes, and show their system calls and handle tables
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// How the child gets the event
    #[arg(default_value = "inheritance")]
    strategy: Strategy,
    /// Show every system call of the library, including queries and calls that are unrelated to the event
    #[arg(long)]
    all: bool,
    /// Print the recording as JSON, one event per line
    #[arg(long, conflicts_with = "all")]
    json: bool,
    /// Draw a picture into this SVG file, instead of printing text
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// The child is created with a handle to it
    Inheritance,
    /// The parent gives the running child a handle to it
    Duplication,
    /// The child opens it by its name
    Naming,
    /// The parent sends it in a message on a channel
    Channel,
}

impl Strategy {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Inheritance => "inheritance",
            Self::Duplication => "duplication",
            Self::Naming => "naming",
            Self::Channel => "channel",
        }
    }
}

fn this_program() -> Result<PathBuf, Stop> {
    std::env::current_exe()
        .map_err(|error| Stop::failed(format_args!("cannot find the path of this program: {error}")))
}

pub(crate) fn demo(options: &Options) -> Result<(), Stop> {
    let (recorded, status) = record_live(options.strategy)?;
    let recording = Recording::parse(&recorded).map_err(Stop::failed)?;
    if let Some(path) = &options.svg {
        let failed = |error| Stop::failed(format_args!("cannot write {path:?}: {error}"));
        std::fs::write(path, demo::svg(&recording)).map_err(failed)?;
    }
    if options.json {
        let lines: Result<Vec<String>, _> = recording.events().iter().map(serde_json::to_string).collect();
        let lines = lines.map_err(Stop::failed)?;
        print(&(lines.join("\n") + "\n"))?;
    } else if options.svg.is_none() {
        let styled = AutoStream::choice(&std::io::stdout()) != ColorChoice::Never;
        print(&demo::text(&recording, width().unwrap_or(WIDTH).into(), styled, options.all))?;
    }
    let is_last =
        |event: &&demo::Event| matches!(event.data, EventData::Exited { .. } | EventData::Failed(_));
    if !recording.events().iter().filter(is_last).any(|event| event.role == Role::Parent) {
        // The parent was killed. An error of the child is only a consequence, so it is not reported.
        return Err(Stop::failed(format_args!("the parent was stopped ({status}) before it finished")));
    }
    let failed = recording.events().iter().find_map(|event| match &event.data {
        EventData::Failed(reason) => Some((event.role, reason)),
        _ => None,
    });
    failed.map_or(Ok(()), |(role, reason)| {
        Err(Stop::failed(format_args!(
            "the {} failed: {reason}",
            if role == Role::Parent { "parent" } else { "child" }
        )))
    })
}

/// Runs parent and child, and returns their recording and the exit status of the parent.
fn record_live(strategy: Strategy) -> Result<(String, ExitStatus), Stop> {
    let mut parent = Command::new(this_program()?)
        .args(["demo-role", "parent", strategy.name()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let Some(mut pipe) = parent.stdout.take() else {
        return Err(Stop::failed("the parent's standard output is not a pipe"));
    };
    let (sender, receiver) = mpsc::channel();
    // A blocking read of a pipe has no timeout. After the timeout, the thread ends with the process.
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = pipe.read_to_string(&mut text);
        sender.send(read.map(|_| text))
    });
    let recorded = match receiver.recv_timeout(TIMEOUT) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            return Err(Stop::failed(format_args!(
                "cannot read the recording of the demonstration: {error}"
            )));
        }
        Err(_) => {
            return Err(Stop::failed(format_args!("the demonstration did not finish within {TIMEOUT:?}")));
        }
    };
    let status = parent.wait_timeout(TIMEOUT)?;
    Ok((recorded, status))
}
