//! The steps of parent and child in each strategy, which are those of the exercises.

use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use handover::inspect::{HandleEntry, HandleTable};
use handover::{
    Channel, Child, Command, Event, HandleValue, Message, ObjectKind, ObjectName, Process, ResetMode,
};
use serde_json::{Value, json};

use super::Strategy;
use super::recorder::{paused, record, start};
use crate::exit::Stop;
use crate::os::duplication;

/// The timeout of every wait.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// The time before the parent sets the event, so that the timeline shows how the child waits.
const PAUSE: Duration = Duration::from_millis(120);
/// The name under which the child inherits or receives the event.
pub(crate) const EVENT: &str = "event";

/// Run one process of a demonstration
#[derive(Debug, Args)]
pub(crate) struct Options {
    role: Role,
    strategy: Strategy,
    /// The handle value or the name that the parent passes to the child
    passed: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Parent,
    Child,
}

pub(crate) fn play(options: &Options) -> Result<(), Stop> {
    start(match options.role {
        Role::Parent => "parent",
        Role::Child => "child",
    });
    record(&json!({ "started": {
        "program": "handover",
        "strategy": options.strategy.name(),
        "system": crate::os::SYSTEM,
    }}));
    let outcome = paused(own_table).map_err(Stop::from).and_then(|table| {
        record(&table);
        match options.role {
            Role::Parent => parent(options.strategy),
            Role::Child => child(options.strategy, options.passed.as_deref()),
        }
    });
    match outcome {
        Ok(()) => {
            record(&json!({ "exited": { "code": 0 } }));
            Ok(())
        }
        Err(Stop::Failed { message, .. }) => {
            record(&json!({ "failed": message }));
            Err(Stop::Exit(1))
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
        (Strategy::Duplication, _) => duplication::give(&event, &mut child)?,
        (_, Some(channel)) => channel.send(Message::new(b"go").with(EVENT, &event))?,
        _ => {}
    }

    paused(|| record_shared_objects(&event, &child))?;
    event.set()?;
    if let Some(channel) = channel {
        channel.recv_timeout(TIMEOUT)?;
    }
    let status = child.wait_timeout(TIMEOUT)?;
    drop(event);
    drop(child);
    if status.success() {
        return Ok(());
    }
    Err(Stop::failed(format_args!("the child failed: {status}")))
}

fn child(strategy: Strategy, passed: Option<&str>) -> Result<(), Stop> {
    /// The index of the passed handle value on the command line, after the program and three words.
    const PASSED: usize = 4;
    let mut channel = None;
    let event: Event = match strategy {
        Strategy::Inheritance => adopt(HandleValue::from_arg(PASSED)?)?,
        Strategy::Duplication => duplication::receive()?,
        Strategy::Naming => Event::open_named(passed.unwrap_or_default())?,
        Strategy::Channel => channel.insert(Channel::parent()?).recv_timeout(TIMEOUT)?.take(EVENT)?,
    };
    record(&paused(own_table)?);
    event.wait_timeout(TIMEOUT)?;
    drop(event);
    if let Some(channel) = channel {
        channel.send(b"done")?;
    }
    Ok(())
}

/// Returns the command that runs this program as the child.
fn child_of(strategy: Strategy) -> Result<Command<'static>, Stop> {
    let mut command = Command::new(super::this_program()?);
    command.args(["demo-role", "child", strategy.name()]).kill_on_drop(true);
    Ok(command)
}

/// Takes the parent's endpoint of the channel to the child.
pub(crate) fn channel_of(child: &mut Child) -> Result<Channel, Stop> {
    child.take_channel().ok_or_else(|| Stop::failed("the child has no channel"))
}

/// Takes ownership of the handle whose value the parent passed.
#[allow(unsafe_code, reason = "adopting a bare handle value is a step of the strategy")]
pub(crate) fn adopt(value: HandleValue) -> handover::Result<Event> {
    // SAFETY: the parent created this handle for this process, to an event, and passed its value. This function is
    // called once in the process, and no other code owns the handle or closes it.
    unsafe { value.adopt() }
}

/// Waits until the child has the event, records the kernel's answer to which objects both processes share, and then
/// leaves the child waiting for a moment.
fn record_shared_objects(event: &Event, child: &Child) -> Result<(), Stop> {
    let own = HandleValue::of(event)?;
    let this = Process::open_for_query(std::process::id())?;
    let started = Instant::now();
    loop {
        let mut shared = handover::inspect::shared_objects(&this, child.process())?;
        // The handle through which this process inspects itself is not part of the demonstration.
        let own_process = HandleValue::of(&this)?;
        for object in &mut shared.objects {
            object.handles[0].retain(|value| *value != own_process);
        }
        shared.objects.retain(|object| !object.handles[0].is_empty());
        let child_has_event = shared.objects.iter().any(|object| object.handles[0].contains(&own));
        if child_has_event || started.elapsed() > TIMEOUT {
            let values = |values: &[HandleValue]| values.iter().map(|value| value.get()).collect::<Vec<_>>();
            let ids = [this.id(), child.id()];
            let objects = shared.objects.iter().map(|object| {
                let handles: Vec<Value> = std::iter::zip(ids, &object.handles)
                    .map(|(process, handles)| json!({ "process": process, "values": values(handles) }))
                    .collect();
                json!({ "kind": object.kind.name(), "name": object.name, "handles": handles })
            });
            // The table is recorded again, because it has changed since the first recording.
            record(&own_table()?);
            record(&json!({ "shared": objects.collect::<Vec<_>>() }));
            std::thread::sleep(PAUSE);
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
