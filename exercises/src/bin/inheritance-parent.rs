//! Shares an unnamed event with a child that inherits it and is told its number on the command line.

use std::process::ExitCode;

use clap::Parser;
use exercises::call::{CLOSE, CREATE_EVENT, CREATE_PROCESS, SET_EVENT};
use exercises::{PARENT_EXIT_CODES, ParentOptions, Story, end_of};
use handover::{Event, HandleValue};

/// Shares an unnamed event with a child that inherits it and is told its number on the command line
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

        // Spawn the child, which inherits the event and nothing else; its only argument is the number.
        let mut child =
            options.child("inheritance-child")?.inherit("event", &event).arg_handle("{event}").spawn()?;
        for (name, value) in child.inherited_handles() {
            story.step(format_args!(
                "{CREATE_PROCESS}(child {value}, inherit {name} {value:#x}) = process {}",
                child.id()
            ));
        }
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
