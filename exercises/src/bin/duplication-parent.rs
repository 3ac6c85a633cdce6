//! Shares an unnamed event with a running child: duplicates it into the child and tells it the number over a pipe.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use exercises::{PARENT_EXIT_CODES, ParentOptions, Stop, Story, end_of};
use handover::{Access, Event, HandleValue, Stdio};

/// Shares an unnamed event with a running child: duplicates it into the child and tells it the number over a pipe
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
        story.step(format_args!("CreateEventW(manual reset, no name) = handle {own:#x}"));

        // Spawn the child, which inherits its standard streams and nothing else; its input is a pipe.
        let mut child = options.child("duplication-child")?.stdin(Stdio::piped()).spawn()?;
        let mut pipe = child.stdin.take().expect("standard input is piped");
        story.step(format_args!("CreateProcessW(child, inherit nothing) = process {}", child.id()));

        // Duplicate the handle to the event into the child, with the right to wait for it and no other.
        let copy = child.process().duplicate_into(event.only(Access::SYNCHRONIZE))?;
        let value = copy.value();
        story.step(format_args!(
            "DuplicateHandle({own:#x}, process {}, SYNCHRONIZE) = handle {value:#x}",
            child.id()
        ));

        // Tell the child where it is; until that is done, the copy is ours to close.
        writeln!(pipe, "{value}")
            .map_err(|error| Stop::Channel(format!("the child's pipe broke: {error}")))?;
        copy.delivered();
        story.step(format_args!("WriteFile(pipe, \"{value}\") = ok"));
        story.leave_waiting(&mut child, options.delay(), "the event was signaled")?;

        // Signal the event.
        if options.signals() {
            event.set()?;
            story.step(format_args!("SetEvent({own:#x}) = ok"));
        }

        // Wait for the child to terminate.
        story.wait_for_end(&mut child, &options)?;

        // Clean up and exit.
        drop(event);
        story.step(format_args!("CloseHandle({own:#x}) = ok"));
        Ok(())
    })
}
