//! Replays the changes to handle tables: finds the lifetime of each handle, and which handles refer to the same object.

use std::collections::{HashMap, HashSet};

use super::effects::{Effect, HandleRef, number};
use super::events::{Call, Common, Entry, Event, EventData, Recording};
use super::text_width;

/// A handle of a process, from its opening to its closing.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) process: u32,
    pub(crate) value: u64,
    /// The index of the event that opened it.
    pub(crate) opened: usize,
    /// The index of the event that closed it.
    pub(crate) closed: Option<usize>,
    pub(crate) origin: Origin,
    /// The number of its group. The handles of one group refer to the same object.
    pub(crate) group: usize,
    pub(crate) kind: Option<String>,
    pub(crate) access: Option<String>,
    pub(crate) name: Option<String>,
}

/// The way in which a handle was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The handle existed before the recording started.
    Before,
    /// A call of its own process opened the handle. The call alone does not show to which object.
    Opened,
    /// The handle is a copy of another handle.
    Copied { from: usize },
    /// The handle was received in a message. The event `sent` sent the message, with a copy of the handle `from`.
    Received { from: usize, sent: usize },
    /// The handle was opened by name. The object of the handle `from` was created with that name.
    Named { from: usize },
    /// The handle appears only in the kernel's answer, not in a call.
    Seen,
}

/// The handles, by index, that one event opened, closed or used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace {
    pub(crate) opened: Vec<usize>,
    pub(crate) closed: Vec<usize>,
    pub(crate) touched: Vec<usize>,
}

/// All handles of a recording, and the changes of each event.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(crate) handles: Vec<Handle>,
    pub(crate) traces: Vec<Trace>,
    open: HashMap<(u32, u64), usize>,
    named: HashMap<(String, &'static str), usize>,
    sent: Vec<MessageHandles>,
    received: Vec<MessageHandles>,
    answers: Vec<(usize, Vec<Common>)>,
}

/// The handles of a message, on the sending or the receiving side.
#[derive(Debug)]
struct MessageHandles {
    event: usize,
    process: u32,
    handles: Vec<usize>,
}

impl Replay {
    pub(crate) fn of(recording: &Recording) -> Self {
        let mut replay = Self::default();
        for (index, event) in recording.events.iter().enumerate() {
            replay.traces.push(Trace::default());
            match &event.data {
                EventData::Call(call) => replay.call(index, event, call),
                EventData::Table(entries) => replay.table(index, event.process, entries),
                EventData::Shared(common) => replay.answers.push((index, common.clone())),
                EventData::Started(_) | EventData::Exited { .. } | EventData::Failed(_) => {}
            }
        }
        // A message may be recorded as received before it is recorded as sent, so all calls must be replayed first.
        replay.match_messages();
        for (index, common) in std::mem::take(&mut replay.answers) {
            replay.apply_kernel_answer(index, &common);
        }
        replay
    }

    fn open(&mut self, at: (u32, u64), opened: usize, origin: Origin) -> usize {
        let handle = self.handles.len();
        let (process, value) = at;
        if let Some(old) = self.open.insert(at, handle) {
            // The handle was closed without a record, because the kernel has reused its value.
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
        let find = |place: &HandleRef| (place.process.unwrap_or(event.process), place.value);
        let named = |value: u64| self.open.get(&(event.process, value)).copied();
        self.traces[index].touched = text_width::values(&call.arguments).filter_map(named).collect();
        let handles =
            text_width::text_after(&call.arguments, "handles ").filter(|_| call.call.contains("send"));
        if let Some(handles) = handles {
            let handles: Vec<_> = text_width::list(handles).map_while(number).filter_map(named).collect();
            self.sent.push(MessageHandles { event: index, process: event.process, handles });
        }
        let access = text_width::text_after(&call.arguments, "access ")
            .map(|rest| rest.split(',').next().unwrap_or(rest));
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
            self.received.push(MessageHandles { event: index, process: event.process, handles: fresh });
        }
    }

    /// Adds the handle at `at` that a call opened, as a copy of the handle `from` if it is one.
    fn opened(
        &mut self,
        index: usize,
        event: &Event,
        call: &Call,
        (at, from): ((u32, u64), Option<usize>),
    ) -> usize {
        // A child may record its table before its parent records the call that put the handle there.
        let existing = self.open.get(&at).copied();
        let existing = existing
            .filter(|existing| self.handles[*existing].origin == Origin::Before && at.0 != event.process);
        if let (Some(existing), Some(from)) = (existing, from) {
            let (old, new) = (self.handles[existing].group, self.handles[from].group);
            self.handles[existing].opened = index;
            self.handles[existing].origin = Origin::Copied { from };
            self.regroup(old, new);
            return existing;
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
            let existing = self.open.get(&at).copied();
            let handle = existing.unwrap_or_else(|| self.open(at, index, Origin::Before));
            let handle = &mut self.handles[handle];
            handle.kind = Some(entry.kind.clone());
            handle.access = Some(entry.access.clone()).filter(|access| !access.is_empty());
            handle.name = entry.name.clone().or_else(|| handle.name.take());
        }
    }

    /// Matches received messages with sent ones. The kernel keeps the order of messages, so each received message is
    /// the earliest unmatched one with the same number of handles.
    fn match_messages(&mut self) {
        let mut sent = std::mem::take(&mut self.sent);
        for message in std::mem::take(&mut self.received) {
            let (process, count) = (message.process, message.handles.len());
            let earliest =
                sent.iter().position(|sent| sent.process != process && sent.handles.len() == count);
            let Some(earliest) = earliest else { continue };
            let MessageHandles { event, handles, .. } = sent.remove(earliest);
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

    /// Corrects the groups by the kernel's answer, which overrides the conclusions from the calls.
    fn apply_kernel_answer(&mut self, index: usize, common: &[Common]) {
        let mut listed = HashSet::new();
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
            // Each object gets a group of its own, even if the calls suggested that two objects are the same.
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
            listed.extend(handles);
        }
        // A handle that the answer does not list refers to another object.
        for handle in 0..self.handles.len() {
            let other = self.is_live(handle, index) && !listed.contains(&handle);
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
