//! Waits for an event that was duplicated into this process, under the number that comes on standard input.

use std::process::ExitCode;

use clap::Parser;
use exercises::{CHILD_EXIT_CODES, ChildOptions, Story, end_of, line_within};
use handover::Event;

/// Waits for an event that was duplicated into this process, under the number that comes on standard input
#[derive(Debug, Parser)]
#[command(after_help = CHILD_EXIT_CODES)]
struct Options {
    #[command(flatten)]
    child: ChildOptions,
}

fn main() -> ExitCode {
    let Options { child: options } = Options::parse();
    end_of(&Story::of("child"), |story| {
        // Acquire a handle to the unnamed event object: it will be there when the pipe says where.
        let told = line_within(options.time_left())?;
        let handle = told.value();
        story.step(format_args!("ReadFile(standard input) = handle {handle:#x}"));
        let event: Event = told.adopt()?;
        story.step(format_args!("NtQueryObject({handle:#x}) = an event"));

        // Wait for it to become signaled, clean up and exit.
        story.wait_for_signal(event, &options)
    })
}
