//! Waits for an event that was duplicated into this process, under the number that comes on standard input.

use std::process::ExitCode;

use clap::Parser;
use exercises::{CHILD_EXIT_CODES, ChildOptions, Story, end_of, line_within};
use handover::{Event, HandleValue};

/// Waits for an event that was duplicated into this process, under the number that comes on standard input
#[derive(Debug, Parser)]
#[command(about, after_help = CHILD_EXIT_CODES)]
struct Options {
    #[command(flatten)]
    child: ChildOptions,
}

fn main() -> ExitCode {
    let Options { child: options } = Options::parse();
    end_of(&Story::of("child"), |story| {
        // Acquire a handle to the unnamed event object.
        let line = line_within(options.timeout())?;
        let handle: HandleValue = line.parse()?;
        story.step(format_args!("ReadFile(standard input) = handle {handle:#x}"));
        let event: Event = handover::adopt(handle)?;
        story.step(format_args!("NtQueryObject({handle:#x}) = an event"));

        // Wait for it to become signaled, clean up and exit.
        story.wait_for_signal(event, options.timeout())
    })
}
