//! Waits for an event that its parent duplicates into it while both run.

use std::process::ExitCode;

use clap::Parser;
use exercises::{CHILD_EXIT_CODES, ChildOptions, Story, duplication, end_of};

/// Waits for an event that its parent duplicates into it while both run
#[derive(Debug, Parser)]
#[command(after_help = CHILD_EXIT_CODES)]
struct Options {
    #[command(flatten)]
    child: ChildOptions,
}

fn main() -> ExitCode {
    let Options { child: options } = Options::parse();
    end_of(&Story::of("child"), |story| {
        // Acquire a handle to the unnamed event object: it will be there when the parent says where.
        let event = duplication::take_over(story, &options)?;

        // Wait for it to become signaled, clean up and exit.
        story.wait_for_signal(event, &options)
    })
}
