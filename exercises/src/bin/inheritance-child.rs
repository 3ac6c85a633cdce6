//! Waits for an event that it inherited under the number on its command line.

use std::process::ExitCode;

use clap::Parser;
use exercises::call::ASK_FOR_KIND;
use exercises::{CHILD_EXIT_CODES, ChildOptions, Story, end_of};
use handover::{Event, HandleValue};

/// Waits for an event that it inherited under the number on its command line
#[derive(Debug, Parser)]
#[command(after_help = CHILD_EXIT_CODES)]
struct Options {
    /// The event's handle in this process: its number in decimal, or in hex with 0x
    #[arg(allow_hyphen_values = true)]
    handle: HandleValue,
    #[command(flatten)]
    child: ChildOptions,
}

fn main() -> ExitCode {
    let Options { handle, child: options } = Options::parse();
    end_of(&Story::of("child"), |story| {
        // Acquire a handle to the unnamed event object: it is there, and the command line says where.
        #[allow(unsafe_code, reason = "the step that the exercise is about: a number proves nothing")]
        // SAFETY: the parent let this process inherit the handle and passed its value, and nothing else here owns it. With
        // two owners, the second close may hit an unrelated handle.
        let event: Event = unsafe { handle.adopt() }?;
        story.step(format_args!("{ASK_FOR_KIND}({handle:#x}) = an event"));

        // Wait for it to become signaled, clean up and exit.
        story.wait_for_signal(event, &options)
    })
}
