//! The recording of one run of a pair: each step of each process, with the objects that it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use handover::HandleValue;
use handover::inspect::observe::{Action, Call, Change, Event, Kind, Outcome, Step, Target};

/// The index of an object in [`Record::objects`].
pub(crate) type ObjectId = usize;

/// An object that a process of the pair has created or opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    /// The names that it has had.
    pub(crate) names: Vec<String>,
    /// The process that created it, unless it was there before.
    pub(crate) creator: Option<u32>,
    /// How many objects of its kind the same process had created before. The same object of another run has the same
    /// number.
    pub(crate) nth: usize,
}

/// A handle in a process's table, as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) value: HandleValue,
    pub(crate) kind: String,
    pub(crate) access: String,
    pub(crate) inheritable: bool,
    /// Whether it is a standard stream.
    pub(crate) is_stream: bool,
    pub(crate) name: Option<String>,
    pub(crate) object: Option<ObjectId>,
}

/// A step, with the objects behind its handles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) event: Event,
    /// The objects that the step mentions; at an exit those to which the process still had a handle.
    pub(crate) objects: Vec<(Target, ObjectId)>,
    /// The handle table of a process that is about to begin a program.
    pub(crate) rows: Vec<Row>,
    /// The rows of the handles that a call opened to an object that exists already.
    pub(crate) opened: Vec<Row>,
    /// The environment that a program begins with, if the system shows it.
    pub(crate) environment: Option<String>,
}

/// How the checker held the parent at its signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The index of the step at which the parent was held.
    pub(crate) step: usize,
    pub(crate) time: Duration,
    /// The index of the first step that came after the hold.
    pub(crate) end: usize,
}

/// How the checker broke something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) breakage: Breakage,
    /// The process whose handle was changed, or whose parent was killed.
    pub(crate) process: u32,
    pub(crate) handles: Vec<HandleValue>,
    /// Whether it could be done: `None` if this machine doesn't allow it.
    pub(crate) done: Option<bool>,
}

/// A thing that the checker breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breakage {
    Handle(Change),
    ParentKilled,
    /// The process that owns a mutex, while the parent waits for it.
    OwnerKilled,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    AllExited,
    /// The time limit passed, and all processes were killed.
    TimedOut,
    /// The processes made more calls than are recorded, and were killed.
    TooManyCalls,
}

/// The recording of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) steps: Vec<Recorded>,
    pub(crate) objects: Vec<Object>,
    pub(crate) hold: Option<Hold>,
    pub(crate) broken: Option<Broken>,
    pub(crate) ending: Ending,
    pub(crate) time: Duration,
}

impl Record {
    /// Returns the process that the command started.
    pub(crate) fn parent(&self) -> Option<u32> {
        self.steps.first().map(|step| step.event.process)
    }

    pub(crate) fn of_process(&self, process: u32) -> impl Iterator<Item = (usize, &Recorded)> {
        self.steps.iter().enumerate().filter(move |(_, step)| step.event.process == process)
    }

    /// Returns the exit code of a process, if it exited by itself.
    pub(crate) fn exit(&self, process: u32) -> Option<(usize, std::process::ExitStatus)> {
        self.of_process(process).find_map(|(index, step)| match step.event.step {
            Step::Exited { status } => Some((index, status)),
            _ => None,
        })
    }

    /// Returns the step at which a process begins its first program.
    pub(crate) fn program_of(&self, process: u32) -> Option<&Recorded> {
        let mut steps = self.of_process(process);
        steps.find(|(_, step)| matches!(step.event.step, Step::Started { .. })).map(|(_, step)| step)
    }

    /// Returns the process that started a process.
    pub(crate) fn parent_of(&self, process: u32) -> Option<u32> {
        self.of_process(process).find_map(|(_, step)| match step.event.step {
            Step::Forked { parent } | Step::Started { parent, .. } => Some(parent),
            _ => None,
        })
    }

    /// Returns whether a handle was put into a process's table by another process, before a step.
    pub(crate) fn was_given(&self, process: u32, value: HandleValue, before: usize) -> bool {
        self.steps[..before].iter().any(|step| {
            step.given_to() == Some(process)
                && matches!(step.returned(), Some((_, Outcome::Opened(handles))) if handles.contains(&value))
        })
    }

    /// Returns the inherited handles to an object that a process has at a step, at which it begins a program.
    pub(crate) fn inherited_rows(&self, index: usize, object: ObjectId) -> impl Iterator<Item = &Row> {
        let process = self.steps[index].event.process;
        let rows = self.steps[index].rows.iter().filter(move |row| row.object == Some(object));
        rows.filter(move |row| !self.was_given(process, row.value, index))
    }

    /// Returns the processes that exist in the recording, in the order of their first steps.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut seen = BTreeSet::new();
        self.steps.iter().map(|step| step.event.process).filter(|process| seen.insert(*process)).collect()
    }
}

impl Recorded {
    /// Returns whether the step mentions the object.
    pub(crate) fn is_about(&self, object: ObjectId) -> bool {
        self.objects.iter().any(|(_, other)| *other == object)
    }

    /// Returns the call that the thread is about to make.
    pub(crate) fn calls(&self) -> Option<&Call> {
        match &self.event.step {
            Step::Calls(call) => Some(call),
            _ => None,
        }
    }

    /// Returns the call from which the thread has returned.
    pub(crate) fn returned(&self) -> Option<(&Call, &Outcome)> {
        match &self.event.step {
            Step::Returned(call, outcome) => Some((call, outcome)),
            _ => None,
        }
    }

    /// Returns the process into whose table another one has duplicated a handle.
    pub(crate) fn given_to(&self) -> Option<u32> {
        match self.returned()? {
            (Call { action: Action::Duplicate { to, .. }, .. }, Outcome::Opened(_)) => {
                Some(*to).filter(|to| *to != self.event.process)
            }
            _ => None,
        }
    }

    /// Returns whether the thread begins to wait for the object.
    pub(crate) fn begins_wait_for(&self, object: ObjectId) -> bool {
        self.calls().is_some_and(|call| is_wait(&call.action)) && self.is_about(object)
    }

    /// Returns whether the thread is about to signal the object.
    pub(crate) fn begins_signal_of(&self, object: ObjectId) -> bool {
        let target = self.calls().and_then(|call| signaled(&call.action));
        target.is_some_and(|target| self.objects.contains(&(target, object)))
    }
}

/// Returns whether a call waits, or reads, which waits until bytes arrive.
pub(crate) fn is_wait(action: &Action) -> bool {
    matches!(action, Action::Wait { .. } | Action::Read { .. } | Action::Receive { .. })
}

/// Returns the object that a call signals, or to which it writes: a pipe or a socket can serve as an event. The handles in a
/// message aren't signaled.
pub(crate) fn signaled(action: &Action) -> Option<Target> {
    match action {
        Action::Signal { target } | Action::Pulse { target } => Some(*target),
        Action::Write { handle, .. } | Action::Send { handle, .. } => Some((*handle).into()),
        _ => None,
    }
}

/// Returns whether a call opens a handle to an object that exists already.
fn is_of_existing(action: &Action) -> bool {
    matches!(action, Action::Open { .. } | Action::Receive { .. } | Action::Duplicate { .. })
}

/// Returns the rows of handles in a process's table.
fn rows_of(process: u32, handles: &[(Target, ObjectId)], kernel: &impl Kernel) -> Vec<Row> {
    if handles.is_empty() {
        return Vec::new();
    }
    let object = |row: &Row| handles.iter().find(|(target, _)| *target == row.value.into()).map(|it| it.1);
    let with_object = |row: Row| Some(Row { object: Some(object(&row)?), ..row });
    kernel.table(process).into_iter().filter_map(with_object).collect()
}

/// Returns the handles and mappings that a step mentions, without those that it opens.
pub(crate) fn mentioned(step: &Step) -> Vec<Target> {
    let (Step::Calls(call) | Step::Returned(call, _)) = step else { return Vec::new() };
    let all = |handles: &[HandleValue]| handles.iter().map(|value| Target::Handle(*value)).collect();
    match &call.action {
        Action::Publish { handle: Some(handle), .. }
        | Action::Open { handle: Some(handle), .. }
        | Action::Map { handle }
        | Action::Read { handle, .. }
        | Action::Write { handle, .. }
        | Action::Receive { handle, .. } => vec![(*handle).into()],
        Action::Send { handle, handles } => {
            std::iter::once(*handle).chain(handles.iter().copied()).map(Target::Handle).collect()
        }
        Action::SetInheritable { handles, .. } | Action::Close { handles } => all(handles),
        Action::Signal { target } | Action::Reset { target } | Action::Pulse { target } => vec![*target],
        Action::Wait { targets, .. } => targets.clone(),
        Action::Create { .. }
        | Action::Publish { .. }
        | Action::Open { .. }
        | Action::Duplicate { .. }
        | Action::Spawn { .. }
        | Action::OpenProcess { .. }
        | Action::Sleep { .. } => Vec::new(),
    }
}

/// The kernel's answers about processes that are stopped.
pub(crate) trait Kernel {
    /// Returns the handle table of a process.
    fn table(&self, process: u32) -> Vec<Row>;
    /// Returns whether two handles are to one object.
    fn is_same(&self, one: (u32, HandleValue), other: (u32, HandleValue)) -> bool;
    /// Returns the environment of a process.
    fn environment(&self, process: u32) -> Option<String>;
}

/// The objects behind the handles of all processes, kept up to date with each event.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) all: Vec<Object>,
    tables: BTreeMap<u32, BTreeMap<Target, ObjectId>>,
    /// The messages with handles that haven't been received: the sender, and the object of each handle.
    sent: Vec<(u32, Vec<Option<ObjectId>>)>,
    /// The table of each process when it last began to start another one.
    at_spawn: BTreeMap<u32, BTreeMap<Target, ObjectId>>,
}

impl Objects {
    /// Takes an event, and returns it with its objects.
    pub(crate) fn record(&mut self, event: Event, kernel: &impl Kernel) -> Recorded {
        let process = event.process;
        let mut recorded = Recorded {
            objects: self.mentions(process, &event.step),
            rows: Vec::new(),
            opened: Vec::new(),
            environment: None,
            event,
        };
        match &recorded.event.step {
            Step::Forked { parent } => {
                let copy = self.tables.get(parent).cloned().unwrap_or_default();
                self.tables.insert(process, copy);
            }
            Step::Started { parent, .. } => {
                recorded.rows = self.begin(process, *parent, kernel);
                recorded.environment = kernel.environment(process);
            }
            Step::Exited { .. } => {
                let table = self.tables.remove(&process).unwrap_or_default();
                recorded.objects = table.into_iter().collect();
            }
            Step::Returned(call, outcome) => {
                let owner = match &call.action {
                    Action::Duplicate { to, .. } => *to,
                    _ => process,
                };
                let opened = self.apply(process, call, outcome, kernel);
                if is_of_existing(&call.action) {
                    recorded.opened = rows_of(owner, &opened, kernel);
                }
                for (target, object) in opened {
                    self.tables.entry(owner).or_default().insert(target, object);
                    recorded.objects.push((target, object));
                }
            }
            Step::Calls(Call { action: Action::Send { handles, .. }, .. }) => {
                let table = self.tables.get(&process);
                let object = |value: &HandleValue| table?.get(&(*value).into()).copied();
                self.sent.push((process, handles.iter().map(object).collect()));
            }
            Step::Calls(Call { action: Action::Spawn { .. }, .. }) => {
                let table = self.tables.get(&process).cloned().unwrap_or_default();
                self.at_spawn.insert(process, table);
            }
            Step::Calls(_) | Step::Unseen { .. } => {}
        }
        recorded
    }

    /// Returns a process that has a handle to an object or has mapped it, other than the given one.
    pub(crate) fn holder(&self, object: ObjectId, but: u32) -> Option<u32> {
        let mut tables = self.tables.iter().filter(|(process, _)| **process != but);
        tables.find(|(_, table)| table.values().any(|other| *other == object)).map(|(process, _)| *process)
    }

    /// Returns the handles of a process to an object.
    pub(crate) fn handles(&self, process: u32, object: ObjectId) -> Vec<HandleValue> {
        let table = self.tables.get(&process).into_iter().flatten();
        let handle = |(target, other): (&Target, &ObjectId)| match target {
            Target::Handle(value) if *other == object => Some(*value),
            _ => None,
        };
        table.filter_map(handle).collect()
    }

    fn mentions(&self, process: u32, step: &Step) -> Vec<(Target, ObjectId)> {
        let table = self.tables.get(&process);
        let object = |target: Target| Some((target, *table?.get(&target)?));
        mentioned(step).into_iter().filter_map(object).collect()
    }

    /// Reads the table of a process that is about to begin a program.
    fn begin(&mut self, process: u32, parent: u32, kernel: &impl Kernel) -> Vec<Row> {
        let before = self.tables.remove(&process);
        let is_copy = before.is_some();
        let before = before.unwrap_or_default();
        // A process that isn't a copy of its parent has inherited handles under their values there. The parent may have closed
        // its own since.
        let inherited = |row: &Row| {
            let target = Target::Handle(row.value);
            let is_closed = !self.tables.get(&parent)?.contains_key(&target);
            let object = self.at_spawn.get(&parent)?.get(&target).copied();
            object.filter(|_| !is_copy && row.inheritable && is_closed)
        };
        let mut rows = kernel.table(process);
        let mut table = BTreeMap::new();
        for row in &mut rows {
            let target = Target::Handle(row.value);
            // A handle that no other process has any more keeps the object that it had before the program began.
            let found = self.find(process, row.value, kernel).or_else(|| before.get(&target).copied());
            row.object = found.or_else(|| inherited(row));
            table.extend(row.object.map(|object| (target, object)));
        }
        self.tables.insert(process, table);
        rows
    }

    /// Asks the kernel to which known object a handle is.
    fn find(&self, process: u32, value: HandleValue, kernel: &impl Kernel) -> Option<ObjectId> {
        self.tables.iter().flat_map(|(other, table)| table.iter().map(move |row| (*other, row))).find_map(
            |(other, (target, object))| match target {
                Target::Handle(known) if (other, *known) != (process, value) => {
                    kernel.is_same((process, value), (other, *known)).then_some(*object)
                }
                _ => None,
            },
        )
    }

    /// Returns the objects of the message that a process has received, as far as they are known. The sender may have
    /// closed its handles since, and then the kernel has nothing to compare with. Messages arrive in the order in which
    /// they were sent.
    fn take_message(&mut self, process: u32, known: &[Option<ObjectId>]) -> Vec<Option<ObjectId>> {
        let agrees = |sent: &[Option<ObjectId>]| {
            let mut both = sent.iter().zip(known);
            sent.len() == known.len() && both.all(|(sent, known)| known.is_none() || known == sent)
        };
        let found = self.sent.iter().position(|(sender, sent)| *sender != process && agrees(sent));
        found.map_or_else(|| vec![None; known.len()], |found| self.sent.remove(found).1)
    }

    fn named(&self, kind: Kind, name: &str) -> Option<ObjectId> {
        self.all.iter().rposition(|object| object.kind == kind && object.names.iter().any(|it| it == name))
    }

    fn add(&mut self, kind: Kind, name: Option<&String>, creator: Option<u32>) -> ObjectId {
        let nth = self.all.iter().filter(|other| other.kind == kind && other.creator == creator).count();
        self.all.push(Object { kind, names: name.cloned().into_iter().collect(), creator, nth });
        self.all.len() - 1
    }

    /// Returns the handles that a call has opened, with their objects.
    fn apply(
        &mut self,
        process: u32,
        call: &Call,
        outcome: &Outcome,
        kernel: &impl Kernel,
    ) -> Vec<(Target, ObjectId)> {
        let opened: &[HandleValue] = match outcome {
            Outcome::Opened(handles) => handles,
            _ => &[],
        };
        let each = |object: ObjectId| opened.iter().map(|value| (Target::Handle(*value), object)).collect();
        let of = |value: HandleValue, objects: &Self| {
            objects.tables.get(&process).and_then(|table| table.get(&value.into())).copied()
        };
        match (&call.action, outcome) {
            (_, Outcome::Failed(_)) => Vec::new(),
            (Action::Create { kind, name, .. }, _) => {
                // `sem_open` opens a semaphore in the same way as it creates one.
                let existing = name.as_ref().and_then(|name| self.named(*kind, name));
                let object = existing.filter(|_| *kind != Kind::NamedPipe);
                each(object.unwrap_or_else(|| self.add(*kind, name.as_ref(), Some(process))))
            }
            (Action::Open { kind, name, handle: None, .. }, _) => {
                let same = opened.first().and_then(|value| self.find(process, *value, kernel));
                let known = same.or_else(|| self.named(*kind, name));
                each(known.unwrap_or_else(|| self.add(*kind, Some(name), None)))
            }
            (Action::Publish { handle, from, name }, _) => {
                let object = match handle {
                    Some(handle) => of(*handle, self),
                    None => from
                        .as_ref()
                        .and_then(|from| self.all.iter().rposition(|object| object.names.contains(from))),
                };
                if let Some(object) = object {
                    self.all[object].names.push(name.clone());
                }
                Vec::new()
            }
            (Action::Map { handle }, Outcome::Mapped(address)) => {
                of(*handle, self).map(|object| (Target::Mapped(*address), object)).into_iter().collect()
            }
            (Action::Duplicate { from, value, .. }, _) => {
                let known = self.tables.get(from).and_then(|table| table.get(&(*value).into())).copied();
                let asked = || opened.first().and_then(|value| self.find(process, *value, kernel));
                known.or_else(asked).map(each).unwrap_or_default()
            }
            (Action::Receive { .. }, _) => {
                let known: Vec<_> = opened.iter().map(|value| self.find(process, *value, kernel)).collect();
                let sent = self.take_message(process, &known);
                let mut arrived = Vec::new();
                for ((value, known), sent) in opened.iter().zip(known).zip(sent) {
                    let object = known.or(sent).unwrap_or_else(|| self.add(Kind::Other, None, None));
                    arrived.push((Target::Handle(*value), object));
                }
                arrived
            }
            (Action::Close { handles }, _) => {
                if let Some(table) = self.tables.get_mut(&process) {
                    for value in handles {
                        table.remove(&(*value).into());
                    }
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}
