//! Describes steps of a recording as evidence.

use std::process::ExitStatus;
use std::time::Duration;

use handover::inspect::observe::{Action, Call, Inherits, Kind, Outcome, Step, Target};

use super::record::{Record, Recorded};
use super::roles::Roles;

/// Returns a time in milliseconds.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// Formats a count with its noun.
pub(crate) fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Formats a noun with numbers: `handle 3`, `handles 3 and 4`.
pub(crate) fn list(noun: &str, numbers: &[u32]) -> String {
    let texts: Vec<String> = numbers.iter().map(u32::to_string).collect();
    let plural = if noun.ends_with('s') { "es" } else { "s" };
    match texts.as_slice() {
        [] => format!("no {noun}"),
        [one] => format!("{noun} {one}"),
        [first @ .., last] => format!("{noun}{plural} {} and {last}", first.join(", ")),
    }
}

/// Returns the name of a kind.
pub(crate) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Event => "event",
        Kind::Semaphore => "semaphore",
        Kind::Mutex => "mutex",
        Kind::Pipe => "pipe",
        Kind::NamedPipe => "named pipe",
        Kind::Socket => "socket",
        Kind::SharedMemory => "shared memory",
        Kind::Process => "process",
        Kind::Timer => "timer",
        Kind::Other => "object",
    }
}

/// Returns the name of a kind with its article.
pub(crate) fn object_name(kind: Kind) -> String {
    let name = kind_name(kind);
    match kind {
        Kind::SharedMemory => name.to_owned(),
        Kind::Event | Kind::Other => format!("an {name}"),
        _ => format!("a {name}"),
    }
}

/// Returns the call of a step, with its system's name.
pub(crate) fn wait_function(step: &Recorded) -> String {
    step.calls().map(call).unwrap_or_default()
}

fn target(target: &Target) -> String {
    match target {
        Target::Handle(value) => format!("handle {value}"),
        Target::Mapped(address) => format!("mapping {address:#x}"),
    }
}

fn call(call: &Call) -> String {
    let handles = |values: &[handover::HandleValue]| {
        list("handle", &values.iter().map(|value| value.get()).collect::<Vec<_>>())
    };
    let flag = |on: bool| if on { "inheritable" } else { "not inheritable" };
    let arguments = match &call.action {
        Action::Create { kind, name: Some(name), .. } => format!("{} {name:?}", kind_name(*kind)),
        Action::Create { inheritable, .. } => flag(*inheritable).to_owned(),
        Action::Open { name, handle: Some(handle), .. } => format!("handle {handle}, {name:?}"),
        Action::Open { name, access, .. } => format!("{name:?}, to {access}"),
        Action::Publish { handle: Some(handle), name, .. } => format!("handle {handle}, {name:?}"),
        Action::Publish { from, name, .. } => format!("{:?}, {name:?}", from.as_deref().unwrap_or_default()),
        Action::Map { handle } | Action::Receive { handle, .. } => format!("handle {handle}"),
        Action::Duplicate { from, value, to, .. } if from == to => format!("handle {value}"),
        Action::Duplicate { from, value, .. } => format!("handle {value} of process {from}"),
        Action::SetInheritable { handles: values, on } => format!("{}, {}", handles(values), flag(*on)),
        Action::Spawn { inherits: Inherits::Everything } => String::new(),
        Action::Spawn { inherits: Inherits::Listed(list) } => format!("inherits {}", handles(list)),
        Action::Spawn { inherits: Inherits::Nothing } => "inherits no handle".to_owned(),
        Action::Signal { target: object }
        | Action::Reset { target: object }
        | Action::Pulse { target: object } => target(object),
        Action::Wait { targets, processes, threads, timeout } => {
            let mut texts: Vec<String> = targets.iter().map(target).collect();
            texts.extend(processes.iter().map(|process| format!("process {process}")));
            texts.extend(threads.iter().map(|process| format!("thread of process {process}")));
            texts.extend(timeout.map(|timeout| format!("for {}", milliseconds(timeout))));
            texts.join(", ")
        }
        Action::Read { handle, length, .. } | Action::Write { handle, length } => {
            format!("handle {handle}, {length} bytes")
        }
        Action::Send { handle, handles: values } => format!("handle {handle}, with {}", handles(values)),
        Action::Close { handles: values } => handles(values),
        Action::OpenProcess { process, .. } => format!("process {process}"),
        Action::Sleep { time } => milliseconds(*time),
    };
    format!("{}({arguments})", call.function)
}

/// Returns the outcome of a call in words. A process isn't signaled, it exits.
fn words(call: &Call, outcome: &Outcome) -> String {
    match (&call.action, outcome) {
        (Action::Wait { targets, processes, .. }, Outcome::Signaled)
            if targets.is_empty() && !processes.is_empty() =>
        {
            "exited".to_owned()
        }
        _ => outcome.in_words(),
    }
}

/// Describes a step: when, which process, and the call with its result.
pub(crate) fn evidence(record: &Record, roles: &Roles, index: usize) -> String {
    let event = &record.steps[index].event;
    let role = match event.process {
        process if process == roles.parent => roles.names[0],
        process if Some(process) == roles.child => roles.names[1],
        _ => "process",
    };
    let what = match &event.step {
        Step::Started { program, .. } => format!("starts {}", program.display()),
        Step::Forked { parent } => format!("is a copy of process {parent}"),
        Step::Calls(it) => call(it),
        Step::Returned(it, outcome) => format!("{} = {}", call(it), words(it, outcome)),
        Step::Exited { status } => match status.code() {
            Some(code) => format!("exits with code {code}"),
            None => format!("is killed ({status})"),
        },
        Step::Unseen { reason } => format!("can't be followed: {reason}"),
    };
    format!("{}: {role} {} {what}", milliseconds(event.at), event.process)
}

/// Says how a process ended.
pub(crate) fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exited with code {code}"),
        None => format!("was killed ({status})"),
    }
}
