//! Finds out which process of a pair is the child, and which object is the event.

use std::collections::BTreeSet;

use handover::inspect::observe::{Action, Kind, Step};

use super::record::{Object, ObjectId, Record, Recorded};

/// The kinds that can serve as the event, the most fitting first.
const KINDS: [Kind; 6] =
    [Kind::Event, Kind::Semaphore, Kind::Mutex, Kind::NamedPipe, Kind::Pipe, Kind::Socket];

const NAMES: [&str; 2] = ["parent", "child"];

/// The roles in a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) parent: u32,
    pub(crate) child: Option<u32>,
    pub(crate) event: Option<ObjectId>,
    /// The words for the two processes.
    pub(crate) names: [&'static str; 2],
}

/// The event, as it is found again in another run: its kind, the place of its creator in the order of processes, and how many
/// objects of that kind the creator had created before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventKey {
    pub(crate) kind: Kind,
    pub(crate) creator: usize,
    pub(crate) nth: usize,
}

impl EventKey {
    pub(crate) fn of(record: &Record, object: ObjectId) -> Self {
        let Object { kind, nth, creator, .. } = record.objects[object];
        let creator = record.processes().iter().position(|process| Some(*process) == creator);
        Self { kind, nth, creator: creator.unwrap_or_default() }
    }

    /// Returns the object of this key, if it has been created by the process that has the creator's place.
    pub(crate) fn find(self, objects: &[Object], processes: &[u32]) -> Option<ObjectId> {
        let creator = processes.get(self.creator).copied();
        objects.iter().position(|object| {
            object.creator == creator && (object.kind, object.nth) == (self.kind, self.nth)
        })
    }
}

/// Returns the place of a kind among those that can serve as the event.
pub(super) fn place(kind: Kind) -> Option<usize> {
    KINDS.iter().position(|other| *other == kind)
}

/// Returns the process that plays the parent: the one that the command started, unless it created no event, and one other
/// process created the object for which another one waits, or to which it at least has a handle. So a script can start the
/// parent.
fn parent(record: &Record) -> Option<u32> {
    let first = record.parent()?;
    let is_proper = |object: &Object| object.kind <= Kind::Mutex;
    if record.objects.iter().any(|object| object.creator == Some(first) && is_proper(object)) {
        return Some(first);
    }
    let creators = |is_wanted: &dyn Fn(&Recorded, ObjectId) -> bool| {
        let all = record.steps.iter().flat_map(|step| {
            let rows = step.rows.iter().filter_map(|row| row.object);
            let objects = step.objects.iter().map(|(_, object)| *object).chain(rows);
            objects.filter(|object| is_wanted(step, *object)).map(move |object| (step.event.process, object))
        });
        let found = all.filter_map(|(process, object)| {
            let Object { creator, kind, .. } = record.objects[object];
            Some((place(kind)?, creator.filter(|creator| *creator != process)?))
        });
        let found: BTreeSet<_> = found.collect();
        let best = found.first().map(|(place, _)| *place);
        found
            .into_iter()
            .filter(|(place, _)| Some(*place) == best)
            .map(|(_, creator)| creator)
            .collect::<Vec<_>>()
    };
    let mut found = creators(&|step, object| step.begins_wait_for(object));
    if found.is_empty() {
        found = creators(&|_, object| is_proper(&record.objects[object]));
    }
    match found.as_slice() {
        [creator] => Some(*creator),
        _ => Some(first),
    }
}

/// Finds the roles.
///
/// - The parent is the process that the command started, or the one that a script started.
/// - The event is an object that the parent created and for which another process waits. Without such an object, it is one
///   to which another process has a handle, or the first one that the parent created.
/// - The child is the process that waits for the event. If no process waits, it is the one that has a handle to it, or
///   the first process that was started after the event's creation.
pub(crate) fn roles(record: &Record) -> Option<Roles> {
    let parent = parent(record)?;
    let others = || record.steps.iter().filter(|step| step.event.process != parent);
    // Functions that start a process make pipes of their own, and so does a script that replaces itself by the parent.
    let begun = record
        .steps
        .iter()
        .rposition(|step| step.event.process == parent && matches!(step.event.step, Step::Started { .. }));
    let own_steps = &record.steps[begun.unwrap_or_default()..];
    let is_used = |object: ObjectId| {
        !matches!(record.objects[object].kind, Kind::Pipe | Kind::Socket)
            || own_steps.iter().any(|step| {
                (step.event.process != parent && step.begins_wait_for(object))
                    || step.begins_signal_of(object)
            })
    };
    let is_candidate = |object: &ObjectId| {
        let Object { creator, kind, .. } = record.objects[*object];
        creator == Some(parent) && place(kind).is_some() && is_used(*object)
    };
    let best = |candidates: Vec<(ObjectId, u32)>| {
        let candidates = candidates.into_iter().filter(|(object, _)| is_candidate(object));
        candidates.min_by_key(|(object, _)| (place(record.objects[*object].kind), *object))
    };
    let waited = best(
        others()
            .flat_map(|step| step.objects.iter().map(move |(_, object)| (step, *object)))
            .filter(|(step, object)| step.begins_wait_for(*object))
            .map(|(step, object)| (object, step.event.process))
            .collect(),
    );
    // A pipe that only tells a number is no event, and neither is an object that no process signals, if there is a better
    // object that the parent signals.
    let signaled = |object: ObjectId| record.steps.iter().any(|step| step.begins_signal_of(object));
    let own = (0..record.objects.len()).filter(is_candidate).filter(|object| signaled(*object));
    let own = own.filter(|object| record.objects[*object].kind <= Kind::Mutex).min();
    let is_event = |object: ObjectId| record.objects[object].kind <= Kind::Mutex && signaled(object);
    if let Some((event, child)) = waited.filter(|(object, _)| own.is_none() || is_event(*object)) {
        return Some(Roles { parent, child: Some(child), event: Some(event), names: NAMES });
    }
    let had = others().flat_map(|step| {
        let rows = step.rows.iter().filter_map(|row| row.object);
        let opened = step.objects.iter().map(|(_, object)| *object);
        rows.chain(opened).map(|object| (object, step.event.process))
    });
    let had = best(had.collect());
    let event = own.or(had.map(|(object, _)| object)).or_else(|| {
        (0..record.objects.len())
            .filter(is_candidate)
            .min_by_key(|object| place(record.objects[*object].kind))
    });
    let with_handle = had.filter(|(object, _)| Some(*object) == event).map(|(_, process)| process);
    let created = event.and_then(|event| record.steps.iter().position(|step| step.is_about(event)));
    let started = |from: usize| {
        let mut later = record.steps[from..].iter().filter(|step| step.event.process != parent);
        let is_start =
            |step: &&Recorded| matches!(step.event.step, Step::Started { .. } | Step::Forked { .. });
        later.find(is_start).map(|step| step.event.process)
    };
    let child = with_handle.or_else(|| started(created.unwrap_or_default())).or_else(|| started(0));
    Some(Roles { parent, child, event, names: NAMES })
}

/// The call of the parent that is the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalBy {
    /// The first call that signals the event, or writes to the object that serves as one.
    Call,
    /// The close of a handle, after this number of others of the event. The child sees the end of the stream.
    Close { after: usize },
}

/// Finds the call that is the signal.
pub(crate) fn signal(record: &Record, roles: &Roles) -> Option<(usize, SignalBy)> {
    let event = roles.event?;
    let steps =
        || record.steps.iter().enumerate().filter(|(_, step)| Some(step.event.process) != roles.child);
    let call = steps().find(|(_, step)| step.begins_signal_of(event));
    if let Some((index, _)) = call {
        return Some((index, SignalBy::Call));
    }
    if !matches!(record.objects[event].kind, Kind::NamedPipe | Kind::Pipe | Kind::Socket) {
        return None;
    }
    // The child's last wait for the object ended because the last other end was closed.
    let child = roles.child?;
    let end = record.of_process(child).filter(|(_, step)| step.is_about(event));
    let end =
        end.filter(|(_, step)| step.returned().is_some_and(|(call, _)| super::record::is_wait(&call.action)));
    let (end, _) = end.last()?;
    let is_close = |step: &Recorded| {
        step.calls().is_some_and(|call| matches!(call.action, Action::Close { .. })) && step.is_about(event)
    };
    let closes: Vec<usize> =
        steps().filter(|(index, step)| *index < end && is_close(step)).map(|(index, _)| index).collect();
    let (last, before) = closes.split_last()?;
    Some((*last, SignalBy::Close { after: before.len() }))
}

/// Returns whether a step is the signal, when `closed_before` handles of the event have been closed before it.
pub(crate) fn is_the_signal(by: SignalBy, step: &Recorded, event: ObjectId, closed_before: usize) -> bool {
    match by {
        SignalBy::Call => step.begins_signal_of(event),
        SignalBy::Close { after } => {
            step.calls().is_some_and(|call| matches!(call.action, Action::Close { .. }))
                && closed_before == after
        }
    }
}
