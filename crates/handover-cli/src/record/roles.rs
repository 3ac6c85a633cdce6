//! What parent and child do in each strategy: the exercises' steps, with the library.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use handover::inspect::{HandleEntry, HandleTable};
use handover::{
    Channel, Child, Command, Event, HandleValue, Message, ObjectKind, ObjectName, Process, ResetMode,
};
use serde_json::{Value, json};

use super::Strategy;
use super::recorder::{aside, begin, note};
use crate::exit::Stop;
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
    let outcome = aside(own_table).map_err(Stop::from).and_then(|table| {
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
        Err(Stop::Failed { why, .. }) => {
            note(&json!({ "failed": why }));
            Err(Stop::With(1))
        }
        Err(other) => Err(other),
    }
}

fn own_table() -> handover::Result<Value> {
    let table = HandleTable::of(&Process::open_for_query(std::process::id())?)?;
    let entry = |entry: &HandleEntry| {
        json!({
            "value": entry.value().get(),
            "kind": entry.kind().map_or("?", ObjectKind::name),
            "access": entry.rights(),
            "inheritable": entry.is_inheritable(),
            "name": entry.name().ok().flatten(),
        })
    };
    Ok(json!({ "table": table.entries().iter().map(entry).collect::<Vec<_>>() }))
}

fn parent(strategy: Strategy) -> Result<(), Stop> {
    let name = ObjectName::local(&format!("handover-demo.{}", std::process::id()))?;
    let event = match strategy {
        Strategy::Naming => Event::create_named(&name, ResetMode::Manual)?,
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
    let channel = (strategy == Strategy::Channel).then(|| channel_of(&mut child)).transpose()?;
    match (strategy, &channel) {
        (Strategy::Duplication, _) => duplication::hand_over(&event, &mut child)?,
        (_, Some(channel)) => channel.send(Message::new(b"go").with(EVENT, &event))?,
        _ => {}
    }

    aside(|| look_at_what_is_shared(&event, &child))?;
    event.set()?;
    if let Some(channel) = channel {
        channel.recv_timeout(TIME)?;
    }
    let status = child.wait_timeout(TIME)?;
    drop(event);
    drop(child);
    if status.success() {
        return Ok(());
    }
    Err(Stop::failed(format_args!("the child exited with {status}")))
}

fn child(strategy: Strategy, told: Option<&str>) -> Result<(), Stop> {
    /// Where what it is told stands on its command line, behind the program and three words.
    const TOLD: usize = 4;
    let mut channel = None;
    let event: Event = match strategy {
        Strategy::Inheritance => adopt(HandleValue::from_arg(TOLD)?)?,
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
fn child_of(strategy: Strategy) -> Result<Command<'static>, Stop> {
    let mut command = Command::new(super::this_program()?);
    command.args(["demo-role", "child", strategy.name()]).kill_on_drop(true);
    Ok(command)
}

/// The parent's endpoint of the channel to a child that has one.
pub(crate) fn channel_of(child: &mut Child) -> Result<Channel, Stop> {
    child.take_channel().ok_or_else(|| Stop::failed("the child has no channel"))
}

/// Makes an owner of the handle whose value the parent passed by hand.
#[allow(unsafe_code, reason = "the strategy's own step: a number proves nothing")]
pub(crate) fn adopt(value: HandleValue) -> handover::Result<Event> {
    // SAFETY: the parent made the handle for this process and passed its value, and nothing else here owns it.
    unsafe { value.adopt() }
}

/// Asks the kernel what both have, as soon as the child has the event, and leaves it waiting for a while.
fn look_at_what_is_shared(event: &Event, child: &Child) -> Result<(), Stop> {
    let own = HandleValue::of(event)?;
    let this = Process::open_for_query(std::process::id())?;
    let started = Instant::now();
    loop {
        let mut sharing = handover::inspect::shared_objects(&this, child.process())?;
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
