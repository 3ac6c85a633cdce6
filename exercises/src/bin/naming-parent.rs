//! Shares an event that has a name with a child, which is told the name on its command line.

use std::process::ExitCode;

use clap::Parser;
use exercises::call::{CLOSE, CREATE_EVENT, CREATE_PROCESS, SET_EVENT};
use exercises::{PARENT_EXIT_CODES, ParentOptions, Story, end_of};
use handover::{Event, HandleValue, ObjectName, ResetMode};

/// Shares an event that has a name with a child, which opens it by that name
#[derive(Debug, Parser)]
#[command(after_help = PARENT_EXIT_CODES)]
struct Options {
    /// The event's name [default: one that no other parent has]
    #[arg(long)]
    name: Option<ObjectName>,
    #[command(flatten)]
    parent: ParentOptions,
}

fn main() -> ExitCode {
    let Options { name, parent: options } = Options::parse();
    end_of(&Story::of("parent"), |story| {
        // Create an event of that name; it is an error if anybody has it.
        let name = match name {
            Some(name) => name,
            None => ObjectName::local(&format!("handover-exercise.{}", std::process::id()))?,
        };
        let event = Event::create_named(&name, ResetMode::Manual)?;
        let own = HandleValue::of(&event)?;
        story.step(format_args!("{CREATE_EVENT}(manual reset, \"{name}\") = handle {own:#x}"));

        // Spawn the child, which inherits its standard streams and nothing else; its only argument is the name.
        let mut child = options.child("naming-child")?.arg(name.as_str()).spawn()?;
        story.step(format_args!(
            "{CREATE_PROCESS}(child \"{name}\", inherit nothing) = process {}",
            child.id()
        ));
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
