//! What parent and child do in each strategy: the exercises' steps, with the library.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use handover::{
    Channel, Child, Command, Entry, Error, Event, HandleValue, Kind, Message, Name, Process, Reset, Table,
    Told,
};
use serde_json::{Value, json};

use super::Strategy;
use super::record::{aside, begin, note};
use crate::ending::{Explained, Stop};
use crate::os::duplication;

/// How long anything is waited for.
pub(crate) const TIME: Duration = Duration::from_secs(10);
/// How long the child is left waiting, so that one sees it wait.
const PAUSE: Duration = Duration::from_millis(120);
/// The event's name among what is handed down or sent.
pub(crate) const EVENT: &str = "event";

/// Play a part in a demonstration
#[derive(Debug, Args)]
pub(crate) struct Options {
    role: Role,
    strategy: Strategy,
    /// What the child is told on its command line
    told: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Parent,
    Child,
}

pub(crate) fn play(options: &Options) -> Result<(), Stop> {
    begin(match options.role {
        Role::Parent => "parent",
        Role::Child => "child",
    });
    note(&json!({ "started": {
        "program": "handover",
        "strategy": options.strategy.name(),
        "system": crate::os::SYSTEM,
    }}));
    let outcome = aside(own_table).and_then(|table| {
        note(&table);
        match options.role {
            Role::Parent => parent(options.strategy),
            Role::Child => child(options.strategy, options.told.as_deref()),
        }
    });
    match outcome {
        Ok(()) => {
            note(&json!({ "ended": { "code": 0 } }));
            Ok(())
        }
        Err(error) => {
            note(&json!({ "failed": Explained(&error).to_string() }));
            Err(Stop::With(1))
        }
    }
}

fn own_table() -> Result<Value, Error> {
    let table = Table::of(&Process::open_to_look(std::process::id())?)?;
    let entry = |entry: &Entry| {
        json!({
            "value": entry.value().get(),
            "kind": entry.kind().map_or("?", Kind::name),
            "access": entry.rights(),
            "inheritable": entry.is_inheritable(),
            "name": entry.name().ok().flatten(),
        })
    };
    Ok(json!({ "table": table.entries().iter().map(entry).collect::<Vec<_>>() }))
}

fn parent(strategy: Strategy) -> Result<(), Error> {
    let name = Name::local(&format!("handover-demo.{}", std::process::id()))?;
    let event = match strategy {
        Strategy::Naming => Event::create_named(&name, Reset::Manual)?,
        _ => Event::manual_reset()?,
    };

    let mut command = child_of(strategy)?;
    let mut child = match strategy {
        Strategy::Inheritance => command.inherit(EVENT, &event).arg_handle("{event}").spawn()?,
        Strategy::Duplication => duplication::prepare(&mut command).spawn()?,
        Strategy::Naming => command.arg(name.as_str()).spawn()?,
        Strategy::Channel => command.channel().spawn()?,
    };
    drop(command);
    match strategy {
        Strategy::Inheritance | Strategy::Naming => {}
        Strategy::Duplication => duplication::hand_over(&event, &mut child)?,
        Strategy::Channel => channel_of(&child)?.send(Message::new(b"go").with(EVENT, &event))?,
    }

    aside(|| look_at_what_is_shared(&event, &child))?;
    event.set()?;
    if strategy == Strategy::Channel {
        channel_of(&child)?.recv_timeout(TIME)?;
    }
    let status = child.wait_timeout(TIME)?;
    drop(event);
    drop(child);
    if status.success() {
        return Ok(());
    }
    Err(Error::InvalidInput { what: "the child".into(), why: format!("ended with {status}") })
}

fn child(strategy: Strategy, told: Option<&str>) -> Result<(), Error> {
    /// Where what it is told stands on its command line, behind the program and three words.
    const TOLD: usize = 4;
    let mut channel = None;
    let event: Event = match strategy {
        Strategy::Inheritance => Told::argument(TOLD)?.adopt()?,
        Strategy::Duplication => duplication::take_over()?,
        Strategy::Naming => Event::open_named(told.unwrap_or_default())?,
        Strategy::Channel => channel.insert(Channel::parent()?).recv_timeout(TIME)?.take(EVENT)?,
    };
    note(&aside(own_table)?);
    event.wait_timeout(TIME)?;
    drop(event);
    if let Some(channel) = channel {
        channel.send(b"done")?;
    }
    Ok(())
}

/// This program in the role of the child.
fn child_of(strategy: Strategy) -> Result<Command<'static>, Error> {
    let mut command = Command::new(super::this_program()?);
    command.args(["demo-role", "child", strategy.name()]).kill_on_drop(true);
    Ok(command)
}

/// The parent's end of the channel to a child that has one.
pub(crate) fn channel_of(child: &Child) -> Result<&Channel, Error> {
    child.channel.as_ref().ok_or(Error::NoChannel)
}

/// Asks the kernel what both have, as soon as the child has the event, and leaves it waiting for a while.
fn look_at_what_is_shared(event: &Event, child: &Child) -> Result<(), Error> {
    let own = HandleValue::of(event)?;
    let this = Process::open_to_look(std::process::id())?;
    let started = Instant::now();
    loop {
        let mut sharing = handover::shared(&this, child.process())?;
        // The handle to look with isn't the story's.
        let looking = HandleValue::of(&this)?;
        for object in &mut sharing.objects {
            object.handles[0].retain(|value| *value != looking);
        }
        sharing.objects.retain(|object| !object.handles[0].is_empty());
        let has_it = sharing.objects.iter().any(|object| object.handles[0].contains(&own));
        if has_it || started.elapsed() > TIME {
            let values = |values: &[HandleValue]| values.iter().map(|value| value.get()).collect::<Vec<_>>();
            let ids = [this.id(), child.id()];
            let objects = sharing.objects.iter().map(|object| {
                let handles: Vec<Value> = std::iter::zip(ids, &object.handles)
                    .map(|(process, handles)| json!({ "process": process, "values": values(handles) }))
                    .collect();
                json!({ "kind": object.kind.name(), "name": object.name, "handles": handles })
            });
            // Both tables as they are now: with what has come since the first look.
            note(&own_table()?);
            note(&json!({ "shared": objects.collect::<Vec<_>>() }));
            std::thread::sleep(PAUSE);
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
