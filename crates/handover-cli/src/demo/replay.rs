//! Replays what calls did to handle tables: which handles there were, from when to when, and which refer to one object.

use std::collections::{HashMap, HashSet};

use super::effects::{Effect, Place, number};
use super::events::{Call, Common, Entry, Event, Recording, What};
use super::text_width;

/// A handle of a process, from its opening to its end.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) process: u32,
    pub(crate) value: u64,
    /// The event that opened it, by index.
    pub(crate) opened: usize,
    /// The event that closed it.
    pub(crate) closed: Option<usize>,
    pub(crate) origin: Origin,
    /// Handles of one group refer to one object.
    pub(crate) group: usize,
    pub(crate) kind: Option<String>,
    pub(crate) access: Option<String>,
    pub(crate) name: Option<String>,
}

/// Where a handle comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was there before the story began.
    Before,
    /// A call of its own process opened it; for what, the call alone doesn't say.
    Opened,
    /// It is a copy of another handle.
    Copied { from: usize },
    /// It came in the message that this event sent, as a copy of this handle.
    Received { from: usize, sent: usize },
    /// It was opened under a name, which this other handle's object was given.
    Named { from: usize },
    /// Only the kernel's answer shows it.
    Seen,
}

/// What one event did to handle tables, and which handles it names, by index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace {
    pub(crate) opened: Vec<usize>,
    pub(crate) closed: Vec<usize>,
    pub(crate) touched: Vec<usize>,
}

/// All handles of a recording, and what each event did.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) handles: Vec<Handle>,
    pub(crate) traces: Vec<Trace>,
    open: HashMap<(u32, u64), usize>,
    named: HashMap<(String, &'static str), usize>,
    sent: Vec<Moved>,
    received: Vec<Moved>,
    answers: Vec<(usize, Vec<Common>)>,
}

/// The handles of a message, at one of its ends.
#[derive(Debug)]
struct Moved {
    event: usize,
    process: u32,
    handles: Vec<usize>,
}

impl Replay {
    pub(crate) fn of(recording: &Recording) -> Self {
        let mut replay = Self::default();
        for (index, event) in recording.events.iter().enumerate() {
            replay.traces.push(Trace::default());
            match &event.what {
                What::Call(call) => replay.call(index, event, call),
                What::Table(entries) => replay.table(index, event.process, entries),
                What::Shared(common) => replay.answers.push((index, common.clone())),
                What::Started(_) | What::Ended { .. } | What::Failed(_) => {}
            }
        }
        // A message may be recorded as received before it is recorded as sent, so this needs all of both.
        replay.match_messages();
        for (index, common) in std::mem::take(&mut replay.answers) {
            replay.believe(index, &common);
        }
        replay
    }

    fn open(&mut self, at: (u32, u64), opened: usize, origin: Origin) -> usize {
        let handle = self.handles.len();
        let (process, value) = at;
        if let Some(old) = self.open.insert(at, handle) {
            // Somebody has closed it unseen: the number couldn't be given again otherwise.
            self.handles[old].closed = Some(opened);
        }
        let group = match origin {
            Origin::Copied { from } | Origin::Named { from } => self.handles[from].group,
            _ => handle,
        };
        let (kind, access, name) = (None, None, None);
        self.handles.push(Handle { process, value, opened, closed: None, origin, group, kind, access, name });
        handle
    }

    fn call(&mut self, index: usize, event: &Event, call: &Call) {
        let find = |place: &Place| (place.process.unwrap_or(event.process), place.value);
        let named = |value: u64| self.open.get(&(event.process, value)).copied();
        self.traces[index].touched = text_width::values(&call.arguments).filter_map(named).collect();
        let handles = text_width::after(&call.arguments, "handles ").filter(|_| call.call.contains("send"));
        if let Some(handles) = handles {
            let handles: Vec<_> = text_width::list(handles).map_while(number).filter_map(named).collect();
            self.sent.push(Moved { event: index, process: event.process, handles });
        }
        let access =
            text_width::after(&call.arguments, "access ").map(|rest| rest.split(',').next().unwrap_or(rest));
        let mut fresh = Vec::new();
        for effect in &call.effects.0 {
            match effect {
                Effect::Closed { at } => {
                    if let Some(handle) = self.open.remove(&find(at)) {
                        self.handles[handle].closed = Some(index);
                        self.traces[index].closed.push(handle);
                    }
                }
                Effect::Opened { at, copy_of } => {
                    let from = copy_of.as_ref().and_then(|from| self.open.get(&find(from)).copied());
                    let handle = self.opened(index, event, call, (find(at), from));
                    self.handles[handle].access =
                        access.map(str::to_owned).or_else(|| self.handles[handle].access.take());
                    self.traces[index].opened.push(handle);
                    if from.is_none() && at.process.is_none_or(|process| process == event.process) {
                        fresh.push(handle);
                    }
                }
            }
        }
        if !fresh.is_empty() && call.call.contains("recv") {
            self.received.push(Moved { event: index, process: event.process, handles: fresh });
        }
    }

    /// A call has opened this handle, as a copy of that one.
    fn opened(
        &mut self,
        index: usize,
        event: &Event,
        call: &Call,
        (at, from): ((u32, u64), Option<usize>),
    ) -> usize {
        // A child can look at its table before its parent has come to say that it made one.
        let there = self.open.get(&at).copied();
        let there =
            there.filter(|there| self.handles[*there].origin == Origin::Before && at.0 != event.process);
        if let (Some(there), Some(from)) = (there, from) {
            let (old, new) = (self.handles[there].group, self.handles[from].group);
            self.handles[there].opened = index;
            self.handles[there].origin = Origin::Copied { from };
            self.regroup(old, new);
            return there;
        }
        if let Some(from) = from {
            return self.open(at, index, Origin::Copied { from });
        }
        let Some(name) = text_width::name(&call.arguments) else {
            return self.open(at, index, Origin::Opened);
        };
        let key = (name.to_owned(), text_width::kind_of(&call.call).unwrap_or_default());
        let from = self.named.get(&key).copied();
        let handle = self.open(at, index, from.map_or(Origin::Opened, |from| Origin::Named { from }));
        self.handles[handle].name = Some(name.to_owned());
        self.named.entry(key).or_insert(handle);
        handle
    }

    fn table(&mut self, index: usize, process: u32, entries: &[Entry]) {
        for entry in entries {
            let at = (process, entry.value);
            let there = self.open.get(&at).copied();
            let handle = there.unwrap_or_else(|| self.open(at, index, Origin::Before));
            let handle = &mut self.handles[handle];
            handle.kind = Some(entry.kind.clone());
            handle.access = Some(entry.access.clone()).filter(|access| !access.is_empty());
            handle.name = entry.name.clone().or_else(|| handle.name.take());
        }
    }

    /// The kernel keeps the order of messages, so each is the earliest of as many handles that nobody has received yet.
    fn match_messages(&mut self) {
        let mut sent = std::mem::take(&mut self.sent);
        for message in std::mem::take(&mut self.received) {
            let (process, count) = (message.process, message.handles.len());
            let earliest =
                sent.iter().position(|sent| sent.process != process && sent.handles.len() == count);
            let Some(earliest) = earliest else { continue };
            let Moved { event, handles, .. } = sent.remove(earliest);
            for (to, from) in message.handles.into_iter().zip(handles) {
                let (old, new) = (self.handles[to].group, self.handles[from].group);
                self.regroup(old, new);
                self.handles[to].origin = Origin::Received { from, sent: event };
            }
        }
    }

    fn regroup(&mut self, old: usize, new: usize) {
        for handle in self.handles.iter_mut().filter(|handle| handle.group == old) {
            handle.group = new;
        }
    }

    /// The kernel's answer is the truth, whatever the calls led us to think.
    fn believe(&mut self, index: usize, common: &[Common]) {
        let mut told = HashSet::new();
        let mut groups = HashSet::new();
        for object in common {
            let mut handles: Vec<_> = object
                .handles
                .iter()
                .flat_map(|holder| holder.values.iter().map(|value| (holder.process, *value)))
                .map(|at| self.live(at, index).unwrap_or_else(|| self.open(at, index, Origin::Seen)))
                .collect();
            handles.sort_by_key(|handle| self.handles[*handle].opened);
            let Some(&first) = handles.first() else { continue };
            // Each object is one group, also where the calls made one of two.
            let group = match self.handles[first].group {
                taken if groups.contains(&taken) => self.new_group(),
                group => group,
            };
            groups.insert(group);
            for &handle in &handles {
                let old = self.handles[handle].group;
                if groups.contains(&old) {
                    self.handles[handle].group = group;
                } else {
                    self.regroup(old, group);
                }
                let handle = &mut self.handles[handle];
                handle.kind = Some(object.kind.clone());
                handle.name = object.name.clone().or_else(|| handle.name.take());
            }
            told.extend(handles);
        }
        // What the answer doesn't list is something else.
        for handle in 0..self.handles.len() {
            let other = self.is_live(handle, index) && !told.contains(&handle);
            if other && groups.contains(&self.handles[handle].group) {
                self.handles[handle].group = self.new_group();
            }
        }
    }

    fn new_group(&self) -> usize {
        self.handles.iter().map(|handle| handle.group + 1).max().unwrap_or_default()
    }

    fn is_live(&self, handle: usize, at: usize) -> bool {
        let handle = &self.handles[handle];
        handle.opened <= at && handle.closed.is_none_or(|closed| closed > at)
    }

    fn live(&self, (process, value): (u32, u64), index: usize) -> Option<usize> {
        (0..self.handles.len()).find(|handle| {
            let Handle { process: of, value: number, .. } = self.handles[*handle];
            (of, number) == (process, value) && self.is_live(*handle, index)
        })
    }
}
