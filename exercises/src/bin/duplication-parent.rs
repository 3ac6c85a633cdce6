//! Shares an unnamed event with a running child: duplicates it into the child and tells it where it is.

use std::process::ExitCode;

use clap::Parser;
use exercises::call::{CLOSE, CREATE_EVENT, CREATE_PROCESS, SET_EVENT};
use exercises::{PARENT_EXIT_CODES, ParentOptions, Story, duplication, end_of};
use handover::{Event, HandleValue};

/// Shares an unnamed event with a running child: duplicates it into the child and tells it where it is
#[derive(Debug, Parser)]
#[command(after_help = PARENT_EXIT_CODES)]
struct Options {
    #[command(flatten)]
    parent: ParentOptions,
}

fn main() -> ExitCode {
    let Options { parent: options } = Options::parse();
    end_of(&Story::of("parent"), |story| {
        // Create an unnamed event kernel object.
        let event = Event::manual_reset()?;
        let own = HandleValue::of(&event)?;
        story.step(format_args!("{CREATE_EVENT}(manual reset, no name) = handle {own:#x}"));

        // Spawn the child, which inherits its standard streams and at most a way to be told things.
        let mut command = options.child("duplication-child")?;
        let mut child = duplication::prepare(&mut command).spawn()?;
        story.step(format_args!(
            "{CREATE_PROCESS}(child, inherit {}) = process {}",
            duplication::INHERITS,
            child.id()
        ));

        // Give the running child the event, and tell it where it is.
        duplication::hand_over(story, &event, &mut child)?;
        story.leave_waiting(&mut child, options.delay(), "the event was signaled")?;

        // Signal the event.
        if options.signals() {
            event.set()?;
            story.step(format_args!("{SET_EVENT}({own:#x}) = ok"));
        }

        // Wait for the child to terminate.
        story.wait_for_end(&mut child, &options)?;

        // Clean up and exit.
        drop(event);
        story.step(format_args!("{CLOSE}({own:#x}) = ok"));
        Ok(())
    })
}
