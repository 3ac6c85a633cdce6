//! Draws a run as a picture, through the layout of `handover demo`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use handover::inspect::observe::{Action, Call, Kind, Outcome, Step, Target};
use handover_cli::demo::{self, Common, Effects, Entry, EventData, Holder, Panel, Recording, Role};

use super::evidence::{kind_name, milliseconds};
use super::record::{Ending, ObjectId, Record, Recorded, is_wait, mentioned};
use super::roles::Roles;

/// Two processes of a run, drawn side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sides {
    /// The process that shares the object, on the left.
    pub(crate) left: u32,
    /// The process that gets it, on the right.
    pub(crate) right: Option<u32>,
    pub(crate) names: [&'static str; 2],
    pub(crate) objects: Vec<ObjectId>,
}

impl Sides {
    /// Returns the parent and the child with the event.
    pub(crate) fn of(roles: &Roles) -> Self {
        Self {
            left: roles.parent,
            right: roles.child,
            names: roles.names,
            objects: roles.event.into_iter().collect(),
        }
    }
}

/// The most rows of calls that change no handle table.
const MAX_ROWS: usize = 60;
/// Shorter sleeps are parts of a wait in small steps.
const SHORT: Duration = Duration::from_millis(10);
/// The most objects that are drawn.
const MAX_OBJECTS: usize = 5;

/// Draws the run. Failed calls are shown if `shows_failures`.
pub(crate) fn picture(
    record: &Record,
    all: &[Sides],
    title: &str,
    remarks: &[String],
    shows_failures: bool,
) -> String {
    let panel = |(index, sides): (usize, &Sides)| {
        let recording = Drawing::of(record, sides, shows_failures);
        let mut remarks = if index == 0 { remarks.to_vec() } else { Vec::new() };
        let is_mapped =
            record.steps.iter().flat_map(|step| &step.objects).any(|(target, object)| {
                matches!(target, Target::Mapped(_)) && sides.objects.contains(object)
            });
        if is_mapped {
            remarks.push(
                "A long value is the address at which a process has mapped the object; it needs no handle then.".to_owned(),
            );
        }
        Panel { recording, title: title.to_owned(), names: sides.names.map(str::to_owned), remarks }
    };
    demo::panels(&all.iter().enumerate().map(panel).collect::<Vec<_>>())
}

/// The handles of all processes at one moment.
type Tables = BTreeMap<u32, BTreeMap<Target, ObjectId>>;

struct Drawing<'a> {
    record: &'a Record,
    sides: &'a Sides,
    shows_failures: bool,
    events: Vec<demo::Event>,
    tables: Tables,
    time: u64,
    /// How often each call was made that changes no table: its index among the events, and the count.
    seen: BTreeMap<(u32, String), (usize, usize)>,
    /// The processes whose program has begun.
    begun: BTreeSet<u32>,
}

impl<'a> Drawing<'a> {
    /// Converts the steps of both processes to the events of a demonstration.
    fn of(record: &'a Record, sides: &'a Sides, shows_failures: bool) -> Recording {
        let mut drawing = Self {
            record,
            sides,
            shows_failures,
            events: Vec::new(),
            tables: Tables::new(),
            time: 0,
            seen: BTreeMap::new(),
            begun: BTreeSet::new(),
        };
        let answer = drawing.moment();
        for (index, step) in record.steps.iter().enumerate() {
            if answer == Some(index) {
                drawing.answer();
            }
            drawing.step(index, step);
            apply(record, &mut drawing.tables, step);
        }
        drawing.end();
        Recording::of(drawing.events)
    }

    /// Returns the role of a process.
    fn role(&self, process: u32) -> Option<Role> {
        match process {
            process if process == self.sides.left => Some(Role::Parent),
            process if Some(process) == self.sides.right => Some(Role::Child),
            _ => None,
        }
    }

    fn push(&mut self, process: u32, data: EventData) {
        let Some(role) = self.role(process) else { return };
        let sequence = self.events.len() as u64;
        self.time += 1;
        self.events.push(demo::Event { time: self.time, sequence, process, role, data });
    }

    fn step(&mut self, index: usize, step: &Recorded) {
        let process = step.event.process;
        let at = u64::try_from(step.event.at.as_nanos()).unwrap_or(u64::MAX);
        self.time = self.time.max(at);
        if self.role(process).is_none() {
            return;
        }
        match &step.event.step {
            Step::Started { .. } => self.started(step),
            Step::Forked { .. } => {
                let program = self.record.program_of(process);
                self.born(process, program);
                if program.is_none() {
                    self.begun.insert(process);
                }
            }
            // The table is read when the program begins, so the calls before it are left out.
            _ if !self.begun.contains(&process) => {}
            Step::Calls(call) => self.calls(index, step, call),
            Step::Returned(call, outcome) if comes_late(&call.action) => {
                self.made(process, step, call, Some(outcome), false);
            }
            Step::Returned(..) => {}
            Step::Exited { status } => {
                let data = match status.code() {
                    Some(code) => EventData::Exited { code: code.into() },
                    None => EventData::Failed(format!("killed ({status})")),
                };
                self.push(process, data);
            }
            Step::Unseen { reason } => self.push(process, EventData::Failed((*reason).to_owned())),
        }
    }

    /// A call that waits is shown when it returns, and when it begins if it doesn't return at once.
    fn calls(&mut self, index: usize, step: &Recorded, call: &Call) {
        let (process, thread) = (step.event.process, step.event.thread);
        let later = &self.record.steps[index + 1..];
        let end = later.iter().position(|step| step.event.thread == thread);
        let returned = end.and_then(|end| match &later[end].event.step {
            Step::Returned(_, outcome) => Some((end, &later[end], outcome)),
            _ => None,
        });
        match (returned, comes_late(&call.action)) {
            (Some((between, ..)), true) if between > 0 => self.made(process, step, call, None, true),
            (None, true) => self.made(process, step, call, None, true),
            (Some(_), true) => {}
            (Some((_, after, outcome)), false) => self.made(process, after, call, Some(outcome), false),
            // Calls such as `execve` and those of killed threads don't return.
            (None, false) => {}
        }
    }

    /// Adds the call.
    fn made(
        &mut self,
        process: u32,
        step: &Recorded,
        call: &Call,
        outcome: Option<&Outcome>,
        is_pending: bool,
    ) {
        if matches!(call.action, Action::Spawn { .. }) && !matches!(outcome, Some(Outcome::Failed(_))) {
            // The new process's own first step shows it.
            return;
        }
        let failed = matches!(outcome, Some(Outcome::Failed(_)));
        let effects = outcome.map(|outcome| effects(process, call, outcome)).unwrap_or_default();
        let is_short = match &call.action {
            Action::Sleep { time } => *time < SHORT,
            Action::Wait { timeout: Some(time), .. } => time.is_zero(),
            _ => false,
        };
        // The other calls of a right pair are left out; in a wrong pair one of them may be the mistake.
        let is_of_roles = match &call.action {
            Action::Wait { processes, .. } => {
                self.shows_failures || processes.iter().any(|process| self.role(*process).is_some())
            }
            Action::Publish { .. }
            | Action::Open { .. }
            | Action::OpenProcess { .. }
            | Action::Duplicate { .. }
            | Action::Send { .. }
            | Action::Receive { .. } => true,
            Action::Close { .. } | Action::SetInheritable { .. } | Action::Create { .. } => false,
            Action::Read { .. } => self.shows_failures && !step.objects.is_empty(),
            _ => self.shows_failures,
        };
        let drawn = demo::Call {
            call: call.function.to_owned(),
            arguments: self.arguments(process, step, call),
            result: outcome.map(|outcome| result(call, outcome)).unwrap_or_default(),
            failed,
            query: false,
            nanoseconds: 0,
            always_shown: if failed {
                self.shows_failures
            } else {
                is_of_roles && !is_short && effects.is_empty()
            },
            effects: effects.parse::<Effects>().unwrap_or_default(),
            pending: is_pending,
        };
        if effects.is_empty() {
            // A loop of the same calls is one row.
            let key = format!("{}({}) = {}, {}", drawn.call, drawn.arguments, drawn.result, drawn.pending);
            if let Some((_, count)) = self.seen.get_mut(&(process, key.clone())) {
                *count += 1;
                return;
            }
            if self.seen.len() >= MAX_ROWS {
                return;
            }
            self.seen.insert((process, key), (self.events.len(), 1));
        }
        self.push(process, EventData::Call(drawn));
    }

    /// Describes the arguments in the words of a demonstration, from which it learns which handles the call uses.
    fn arguments(&self, process: u32, step: &Recorded, call: &Call) -> String {
        let of = |target: Target| {
            let known = step.objects.iter().find(|(other, _)| *other == target).map(|(_, object)| *object);
            let known = known.or_else(|| self.tables.get(&process)?.get(&target).copied());
            known.map_or("handle", |object| kind_name(self.record.objects[object].kind))
        };
        let show = |target: &Target| format!("{} {}", of(*target), hex(*target));
        let handle = |value: &handover::HandleValue| show(&Target::Handle(*value));
        let join = |texts: Vec<String>| texts.join(", ");
        let flag = |on: bool| if on { "inheritable" } else { "not inheritable" };
        // An object can be renamed before anything opens it, so the last name is the one that others use.
        let last_name = |name: &str| {
            let object = step.objects.iter().map(|(_, object)| &self.record.objects[*object]);
            let names = object.flat_map(|object| object.names.last()).next();
            names.map_or(name, String::as_str).to_owned()
        };
        match &call.action {
            Action::Create { kind, name: Some(name), .. } => {
                format!("{}, name \"{}\"", kind_name(*kind), last_name(name))
            }
            Action::Create { inheritable, .. } => flag(*inheritable).to_owned(),
            Action::Open { name, handle: Some(socket), .. } => {
                format!("socket {}, path \"{}\"", hex((*socket).into()), without_end(name))
            }
            Action::Open { kind, name, access, .. } => {
                format!("{}, access {access}, name \"{name}\"", kind_name(*kind))
            }
            Action::Publish { handle: Some(socket), name, .. } => {
                format!("socket {}, path \"{}\"", hex((*socket).into()), without_end(name))
            }
            Action::Publish { from, name, .. } => {
                format!("path \"{}\", new path \"{name}\"", from.as_deref().unwrap_or_default())
            }
            Action::Map { handle: value } | Action::Read { handle: value, .. } => handle(value),
            Action::Receive { handle: value, .. } => handle(value),
            Action::Duplicate { from, value, to, .. } if from == to => handle(value),
            Action::Duplicate { from, value, to, .. } if *to == process => {
                format!("handle {} of process {from}", hex((*value).into()))
            }
            Action::Duplicate { value, to, .. } => format!("{}, into process {to}", handle(value)),
            Action::SetInheritable { handles, on } => {
                format!("{}, {}", join(handles.iter().map(handle).collect()), flag(*on))
            }
            Action::Spawn { .. } => String::new(),
            Action::Signal { target } | Action::Reset { target } | Action::Pulse { target } => show(target),
            Action::Wait { targets, processes, timeout, .. } => {
                let mut texts: Vec<String> = targets.iter().map(show).collect();
                texts.extend(processes.iter().map(|process| format!("process {process}")));
                texts.extend(timeout.map(|timeout| format!("at most {}", milliseconds(timeout))));
                join(texts)
            }
            Action::Write { handle: value, length } => format!("{}, {length} bytes", handle(value)),
            Action::Send { handle: value, handles } => {
                let handles: Vec<String> = handles.iter().map(|value| hex((*value).into())).collect();
                format!("{}, handles {}", handle(value), handles.join(" "))
            }
            Action::Close { handles } => join(handles.iter().map(handle).collect()),
            Action::OpenProcess { process, .. } => format!("process {process}"),
            Action::Sleep { time } => milliseconds(*time),
        }
    }

    /// A process is about to begin a program: the first one of the process, or another one that replaces it.
    fn started(&mut self, step: &Recorded) {
        let process = step.event.process;
        if self.begun.contains(&process) {
            let now: BTreeSet<_> = step.rows.iter().map(|row| Target::Handle(row.value)).collect();
            let before = self.tables.get(&process).into_iter().flatten();
            let gone = before.filter(|(target, _)| !now.contains(target));
            let gone: Vec<String> = gone.map(|(target, _)| format!("-{}", hex(*target))).collect();
            let effects = gone.join(" ").parse().unwrap_or_default();
            let (call, arguments) = (crate::os::SPAWN_CALL.to_owned(), program(step));
            self.push(process, EventData::Call(plain_call(call, arguments, "the program begins", effects)));
        } else if process == self.sides.left {
            self.begins_with_handles(step);
        } else if !self.is_copied(process) {
            self.born(process, Some(step));
        }
        self.begun.insert(process);
        let entries = step.rows.iter().map(|row| Entry {
            value: row.value.get().into(),
            kind: row.kind.clone(),
            access: row.access.clone(),
            inheritable: row.inheritable,
            name: None,
        });
        self.push(process, EventData::Table(entries.collect()));
    }

    /// Adds the beginning of the left process, if it has the object from the start.
    fn begins_with_handles(&mut self, step: &Recorded) {
        let is_shown = |object: Option<ObjectId>| object.is_some_and(|it| self.sides.objects.contains(&it));
        let rows = step.rows.iter().filter(|row| is_shown(row.object));
        let effects: Vec<String> = rows.map(|row| format!("+{}", hex(row.value.into()))).collect();
        if effects.is_empty() {
            return;
        }
        let effects = effects.join(" ").parse().unwrap_or_default();
        let call = plain_call(crate::os::SPAWN_CALL.to_owned(), program(step), "the program begins", effects);
        self.push(step.event.process, EventData::Call(call));
    }

    /// Adds the call that made a process, as one call with the beginning of its program.
    fn born(&mut self, process: u32, begins: Option<&Recorded>) {
        let left = self.sides.left;
        if process == left {
            return;
        }
        let Some((function, between)) = self.maker(process, left) else { return };
        let from = self.tables.get(&left).cloned().unwrap_or_default();
        let inherited: Vec<(Target, ObjectId)> = match begins {
            Some(step) => step.rows.iter().filter_map(|row| Some((row.value.into(), row.object?))).collect(),
            None => from.iter().map(|(target, object)| (*target, *object)).collect(),
        };
        let effect = |(target, object): (Target, ObjectId)| {
            let same = from.get(&target).filter(|other| **other == object).map(|_| target);
            let other = || from.iter().find(|(_, other)| **other == object).map(|(target, _)| *target);
            let copied = same.or_else(other).map(|from| format!("={}", hex(from))).unwrap_or_default();
            format!("+{}@{process}{copied}", hex(target))
        };
        let effects = inherited.into_iter().map(effect).collect::<Vec<_>>().join(" ");
        let is_replaced = begins.is_some() && self.is_copied(process);
        let call = if is_replaced { format!("{function}+{}", crate::os::SPAWN_CALL) } else { function };
        let mut arguments = begins.map(program).unwrap_or_default();
        if let Some(between) = between {
            arguments = format!("{arguments}, through process {between}").trim_start_matches(", ").to_owned();
        }
        let effects = effects.parse().unwrap_or_default();
        let made = plain_call(call, arguments, &format!("process {process}"), effects);
        self.push(left, EventData::Call(made));
    }

    fn is_copied(&self, process: u32) -> bool {
        self.record.of_process(process).any(|(_, step)| matches!(step.event.step, Step::Forked { .. }))
    }

    /// Returns the function with which the left process made another one, and the process between the two, if there is one.
    fn maker(&self, process: u32, left: u32) -> Option<(String, Option<u32>)> {
        let mut child = process;
        // A process has fewer ancestors than the run has processes.
        for _ in 0..self.record.steps.len() {
            let parent = self.record.parent_of(child)?;
            if parent == left {
                let spawn = self.record.of_process(left).filter_map(|(_, step)| match step.calls() {
                    Some(call) if matches!(call.action, Action::Spawn { .. }) => Some(call.function),
                    _ => None,
                });
                let function = spawn.last().unwrap_or(crate::os::SPAWN_CALL).to_owned();
                return Some((function, (child != process).then_some(child)));
            }
            child = parent;
        }
        None
    }

    /// Returns the step before which both tables are shown: the moment at which the right process begins to wait for an object
    /// of its own, or else the signal, or else the moment at which it begins to wait at all, or else the last one at which
    /// both have a handle, or the right one alone.
    fn moment(&self) -> Option<usize> {
        let object = *self.sides.objects.first()?;
        let is_own = |other: ObjectId| {
            let [it, other] = [object, other].map(|object| &self.record.objects[object]);
            self.sides.right.is_some() && other.creator == self.sides.right && other.kind == it.kind
        };
        let waits_for_own = self.record.steps.iter().position(|step| {
            Some(step.event.process) == self.sides.right
                && step.calls().is_some_and(|call| is_wait(&call.action))
                && step.objects.iter().any(|(_, object)| is_own(*object))
        });
        if waits_for_own.is_some() {
            return waits_for_own;
        }
        let mut tables = Tables::new();
        let (mut at_signal, mut at_wait, mut last, mut last_of_one) = (None, None, None, None);
        for (index, step) in self.record.steps.iter().enumerate() {
            let has = |process: Option<u32>| {
                process
                    .and_then(|process| tables.get(&process))
                    .is_some_and(|table| table.values().any(|it| *it == object))
            };
            // A close is drawn where the call begins.
            let is_close =
                step.returned().is_some_and(|(call, _)| matches!(call.action, Action::Close { .. }));
            if has(self.sides.right) && !is_close {
                last_of_one = Some(index);
            }
            if has(Some(self.sides.left)) && has(self.sides.right) && !is_close {
                last = Some(index);
                if Some(step.event.process) == self.sides.right {
                    let waits = step.calls().is_some_and(|call| is_wait(&call.action));
                    at_wait = at_wait.or(waits.then_some(index));
                } else if step.begins_signal_of(object) {
                    at_signal = at_signal.or(Some(index));
                }
            }
            apply(self.record, &mut tables, step);
        }
        let own_wait = || {
            self.record.steps.iter().position(|step| {
                Some(step.event.process) == self.sides.right
                    && step.calls().is_some_and(|call| is_wait(&call.action))
            })
        };
        let exit = || {
            let left = self.sides.left;
            self.record.exit(left).map(|(index, _)| index)
        };
        at_signal.or(at_wait).or(last).or(last_of_one).or_else(own_wait).or_else(exit)
    }

    /// Adds which objects the two processes have handles to at this moment.
    fn answer(&mut self) {
        let processes: Vec<u32> = std::iter::once(self.sides.left).chain(self.sides.right).collect();
        let has = |process: &u32, object: ObjectId| {
            self.tables.get(process).is_some_and(|table| table.values().any(|other| *other == object))
        };
        let kinds: Vec<Kind> =
            self.sides.objects.iter().map(|object| self.record.objects[*object].kind).collect();
        let is_shown = |object: &ObjectId| {
            let it = &self.record.objects[*object];
            let is_own = it.creator.is_some() && it.creator == self.sides.right && kinds.contains(&it.kind);
            let is_common = it.creator.is_some()
                && processes.len() > 1
                && processes.iter().all(|process| has(process, *object));
            self.sides.objects.contains(object) || is_own || is_common
        };
        let mut objects: Vec<ObjectId> = self.sides.objects.clone();
        objects.extend(
            (0..self.record.objects.len())
                .filter(|object| !self.sides.objects.contains(object))
                .filter(is_shown),
        );
        objects.truncate(MAX_OBJECTS);
        let common = objects.into_iter().map(|object| {
            let Object { kind, names } = self.object(object);
            let holder = |process: &u32| {
                let table = self.tables.get(process).into_iter().flatten();
                let values = table.filter(|(_, other)| **other == object).map(|(target, _)| number(*target));
                Holder { process: *process, values: values.collect() }
            };
            let holders: Vec<Holder> =
                processes.iter().map(holder).filter(|holder| !holder.values.is_empty()).collect();
            Common { kind, name: names, handles: holders }
        });
        let common: Vec<Common> = common.filter(|common| !common.handles.is_empty()).collect();
        if !common.is_empty() {
            self.push(self.sides.left, EventData::Shared(common));
        }
    }

    fn object(&self, object: ObjectId) -> Object {
        let it = &self.record.objects[object];
        Object { kind: kind_name(it.kind).to_owned(), names: it.names.last().cloned() }
    }

    /// Adds how the run ended, and how often a call was repeated.
    fn end(&mut self) {
        for (index, count) in self.seen.values().copied().filter(|(_, count)| *count > 1) {
            if let Some(EventData::Call(call)) = self.events.get_mut(index).map(|event| &mut event.data) {
                call.arguments = format!("{}; {count} times", call.arguments);
            }
        }
        let left = std::iter::once(self.sides.left).chain(self.sides.right);
        for process in left.filter(|process| self.record.exit(*process).is_none()) {
            let why = match self.record.ending {
                Ending::AllExited => continue,
                Ending::TimedOut => "still runs at the time limit",
                Ending::TooManyCalls => "makes too many calls",
            };
            self.time = self.time.max(u64::try_from(self.record.time.as_nanos()).unwrap_or(u64::MAX));
            self.push(process, EventData::Failed(format!("{why}, so the checker kills it")));
        }
    }
}

/// Describes the program that a process begins, and its arguments.
fn program(step: &Recorded) -> String {
    let Step::Started { program, arguments, .. } = &step.event.step else { return String::new() };
    let words = arguments.iter().skip(1).map(|word| format!("\"{}\"", word.to_string_lossy()));
    format!("program \"{}\", arguments {}", program.display(), words.collect::<Vec<_>>().join(" "))
}

/// Returns a socket's name without the NULs that fill its address.
fn without_end(name: &str) -> &str {
    name.trim_end_matches('\0')
}

/// An object in the words of a demonstration.
struct Object {
    kind: String,
    names: Option<String>,
}

fn plain_call(call: String, arguments: String, result: &str, effects: Effects) -> demo::Call {
    demo::Call {
        call,
        arguments,
        result: result.to_owned(),
        failed: false,
        query: false,
        nanoseconds: 0,
        effects,
        pending: false,
        always_shown: true,
    }
}

/// Returns whether a call is shown at its return, because it may have waited for another process.
fn comes_late(action: &Action) -> bool {
    is_wait(action) || matches!(action, Action::Sleep { .. })
}

fn number(target: Target) -> u64 {
    match target {
        Target::Handle(value) => value.get().into(),
        Target::Mapped(address) => address,
    }
}

fn hex(target: Target) -> String {
    format!("{:#x}", number(target))
}

fn result(call: &Call, outcome: &Outcome) -> String {
    let is_of_bytes = matches!(call.action, Action::Read { .. } | Action::Write { .. } | Action::Send { .. });
    match outcome {
        // The pipe that tells of a failed start says no more than this.
        Outcome::Done(0) if matches!(call.action, Action::Read { .. }) => "end of file".to_owned(),
        Outcome::Done(1) if is_of_bytes => "1 byte".to_owned(),
        Outcome::Done(count) if is_of_bytes => format!("{count} bytes"),
        Outcome::Opened(handles) if handles.is_empty() => "ok".to_owned(),
        Outcome::Opened(handles) => {
            handles.iter().map(|value| hex((*value).into())).collect::<Vec<_>>().join(", ")
        }
        Outcome::Done(_) => "ok".to_owned(),
        other => other.in_words(),
    }
}

/// Returns the changes that a call made to handle tables.
fn effects(process: u32, call: &Call, outcome: &Outcome) -> String {
    let opened = |to: u32, from: Option<String>| match outcome {
        Outcome::Opened(handles) => {
            let at = if to == process { String::new() } else { format!("@{to}") };
            let from = from.map(|from| format!("={from}")).unwrap_or_default();
            // Both ends of a new pipe are handles to one object.
            let is_pair = matches!(call.action, Action::Create { .. });
            let first = handles.first().filter(|_| is_pair).map(|first| hex((*first).into()));
            let each = |(index, value): (usize, &handover::HandleValue)| {
                let from = match &first {
                    Some(first) if index > 0 => format!("={first}"),
                    _ => from.clone(),
                };
                format!("+{}{at}{from}", hex((*value).into()))
            };
            handles.iter().enumerate().map(each).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    };
    match (&call.action, outcome) {
        (_, Outcome::Failed(_)) => String::new(),
        (Action::Close { handles }, _) => {
            handles.iter().map(|value| format!("-{}", hex((*value).into()))).collect::<Vec<_>>().join(" ")
        }
        (Action::Map { handle }, Outcome::Mapped(address)) => {
            format!("+{address:#x}={}", hex((*handle).into()))
        }
        (Action::Duplicate { from, value, to, .. }, _) => {
            let at = if *from == process { String::new() } else { format!("@{from}") };
            opened(*to, Some(format!("{}{at}", hex((*value).into()))))
        }
        _ => opened(process, None),
    }
}

/// Applies a step to the tables.
fn apply(record: &Record, tables: &mut Tables, step: &Recorded) {
    let process = step.event.process;
    let of_rows = |step: &Recorded| {
        step.rows.iter().filter_map(|row| Some((row.value.into(), row.object?))).collect::<BTreeMap<_, _>>()
    };
    match &step.event.step {
        // The copy that begins a program keeps the handles that the program has.
        Step::Forked { parent } => {
            let table = match record.program_of(process) {
                Some(program) => of_rows(program),
                None => tables.get(parent).cloned().unwrap_or_default(),
            };
            tables.insert(process, table);
        }
        Step::Started { .. } => {
            tables.insert(process, of_rows(step));
        }
        Step::Exited { .. } => {
            tables.remove(&process);
        }
        Step::Returned(call, outcome) => {
            if let (Action::Close { handles }, Outcome::Done(_)) = (&call.action, outcome) {
                if let Some(table) = tables.get_mut(&process) {
                    handles.iter().for_each(|value| {
                        table.remove(&(*value).into());
                    });
                }
            } else if matches!(outcome, Outcome::Opened(_) | Outcome::Mapped(_)) {
                let old = mentioned(&step.event.step);
                let new = step.objects.iter().filter(|(target, _)| !old.contains(target));
                tables.entry(process).or_default().extend(new.copied());
            }
        }
        Step::Calls(_) | Step::Unseen { .. } => {}
    }
}
