//! Waits for an event that was duplicated into this process, under the number that comes on standard input.
//!
//! Exit codes: 0 the event was signaled; 1 the pipe closed, or the number is no handle of this process, or not an
//! event's; 2 it can't be a handle at all, or wrong usage; 3 a deadline passed

use std::process::ExitCode;

use clap::Parser;
use exercises::{ChildOptions, Story, end_of, line_within};
use handover::{Event, HandleValue};

#[derive(Debug, Parser)]
#[command(about, long_about = None, verbatim_doc_comment)]
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
