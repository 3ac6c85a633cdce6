//! `handover demo`: a strategy, live, as one timeline of two processes.
//!
//! Three processes: this one collects; it starts the parent, which starts the child. Both record the system calls that
//! the library makes, by its `tracing` events ([`record`]), while they do the exercise's steps ([`roles`]). Nothing in the
//! timeline is written by hand.

mod recorder;
pub(crate) mod roles;

use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use clap::{Args, ValueEnum};
use handover::{Command, ExitStatus, Stdio};
use handover_cli::demo::{self, Recording, Role, What};

use crate::columns::width;
use crate::exit::{Stop, print};

const EXAMPLES: &str = "\
Examples:
  handover demo                            inheritance
  handover demo duplication                why the number needs a second way
  handover demo naming --all               with the calls that only ask, and what isn't about the event
  handover demo channel --svg picture.svg
  handover demo duplication --json | jq -r 'select(.what.call) | .what.call.call'";

/// How wide a file or another program has it.
const WIDTH: u16 = 120;
/// How long a demonstration may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Run a strategy live, and show what both processes did and what it did to their handle tables
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// How the child comes by the event
    #[arg(default_value = "inheritance")]
    strategy: Strategy,
    /// Show each system call that the library made
    #[arg(long)]
    all: bool,
    /// Print what was recorded: one event a line, in JSON
    #[arg(long, conflicts_with = "all")]
    json: bool,
    /// Draw a picture into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// It is created with a handle
    Inheritance,
    /// A handle is given to it while it runs
    Duplication,
    /// It opens the event by a name
    Naming,
    /// It receives a message with the event in it
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
    std::env::current_exe().map_err(|error| Stop::failed(format_args!("this program's own path: {error}")))
}

pub(crate) fn demo(options: &Options) -> Result<(), Stop> {
    let (recorded, status) = record_live(options.strategy)?;
    let recording = Recording::parse(&recorded)
        .map_err(|error| Stop::failed(format_args!("what was recorded can't be understood: {error}")))?;
    if let Some(path) = &options.svg {
        let failed = |error| Stop::failed(format_args!("{}: {error}", path.display()));
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
    let said = |event: &&demo::Event| matches!(event.what, What::Ended { .. } | What::Failed(_));
    if !recording.events().iter().filter(said).any(|event| event.role == Role::Parent) {
        // Somebody has ended it, and whatever the child says follows from that.
        return Err(Stop::failed(format_args!("the parent ended with {status} before it was done")));
    }
    let failed = recording.events().iter().find_map(|event| match &event.what {
        What::Failed(why) => Some(why),
        _ => None,
    });
    failed.map_or(Ok(()), |why| Err(Stop::failed(why)))
}

/// Lets the two processes play, and returns what they have recorded and how the parent ended.
fn record_live(strategy: Strategy) -> Result<(String, ExitStatus), Stop> {
    let mut parent = Command::new(this_program()?)
        .args(["demo-role", "parent", strategy.name()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let Some(mut pipe) = parent.stdout.take() else {
        return Err(Stop::failed("the parent's standard output is no pipe"));
    };
    let (sender, receiver) = mpsc::channel();
    // A read can't be told to end at a deadline; the thread that is stuck in one ends with the process.
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = pipe.read_to_string(&mut text);
        sender.send(read.map(|_| text))
    });
    let recorded = match receiver.recv_timeout(DEADLINE) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(Stop::failed(format_args!("what was recorded can't be read: {error}"))),
        Err(_) => return Err(Stop::failed(format_args!("the demonstration didn't end within {DEADLINE:?}"))),
    };
    let status = parent.wait_timeout(DEADLINE)?;
    Ok((recorded, status))
}
