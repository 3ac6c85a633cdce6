//! Waits for an event that it opens by the name on its command line.

use std::process::ExitCode;

use clap::Parser;
use exercises::call::OPEN_EVENT;
use exercises::{ChildOptions, NAMED_CHILD_EXIT_CODES, Story, end_of};
use handover::{Event, HandleValue, ObjectName};

/// Waits for an event that it opens by the name on its command line
#[derive(Debug, Parser)]
#[command(after_help = NAMED_CHILD_EXIT_CODES)]
struct Options {
    /// The event's name
    name: ObjectName,
    #[command(flatten)]
    child: ChildOptions,
}

fn main() -> ExitCode {
    let Options { name, child: options } = Options::parse();
    end_of(&Story::of("child"), |story| {
        // Acquire a handle to the event: whoever knows the name may open it.
        let event = Event::open_named(&name)?;
        let own = HandleValue::of(&event)?;
        story.step(format_args!("{OPEN_EVENT}(\"{name}\") = an event, handle {own:#x}"));

        // Wait for it to become signaled, clean up and exit.
        story.wait_for_signal(event, &options)
    })
}
