//! Finds the shared objects in a recording, and the events that concern them.

use std::collections::BTreeMap;

use super::events::{Call, Event, EventData, Recording, Role};
use super::replay::{Handle, Origin, Replay, Trace};
use super::text_width;

/// A recording with the history of its objects and their handles.
#[derive(Debug)]
pub(crate) struct History<'a> {
    pub(crate) recording: &'a Recording,
    pub(crate) handles: Vec<Handle>,
    pub(crate) traces: Vec<Trace>,
    /// The shared objects, in the order of their creation. They are the tracked objects, and their handles are tracked.
    pub(crate) objects: Vec<Object>,
    /// The index of the event with the kernel's answer to which objects the processes share.
    pub(crate) shared: Option<usize>,
}

/// A kernel object that the processes share.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    /// The indices of its handles, in the order in which they were opened.
    pub(crate) handles: Vec<usize>,
}

/// A change that an event made to a handle table.
#[derive(Debug)]
pub(crate) struct Change {
    /// The process whose table changed.
    pub(crate) role: Role,
    pub(crate) value: u64,
    pub(crate) opened: bool,
    /// The object of an opened handle, or the consequence of closing the handle.
    pub(crate) description: String,
    /// Whether the handle refers to a tracked object.
    pub(crate) tracked: bool,
}

impl<'a> History<'a> {
    pub(crate) fn of(recording: &'a Recording) -> Self {
        let Replay { handles, traces, .. } = Replay::of(recording);
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, handle) in handles.iter().enumerate() {
            groups.entry(handle.group).or_default().push(index);
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        for group in &mut groups {
            group.sort_by_key(|handle| handles[*handle].opened);
        }
        groups.sort_by_key(|group| group.first().map(|first| handles[*first].opened));
        // Objects that existed before the recording, such as standard streams, may be shared but are not of interest.
        groups.retain(|group| group.first().is_some_and(|first| handles[*first].origin != Origin::Before));

        let mut history = Self { recording, handles, traces, objects: Vec::new(), shared: None };
        let shared = history.answers().next_back().map(|(event, _)| event);
        history.shared = shared;
        let listed = |group: &Vec<usize>| group.iter().any(|handle| history.is_listed(*handle));
        let created = |group: &Vec<usize>| group.iter().any(|handle| history.is_created_for_sharing(*handle));
        // Without an answer of the kernel, the tracked objects are those of the kinds that are made to be shared.
        let found: Vec<_> = if groups.iter().any(listed) {
            groups.into_iter().filter(listed).collect()
        } else {
            groups.into_iter().filter(created).collect()
        };
        history.objects = found.into_iter().map(|handles| history.object(handles)).collect();
        history
    }

    fn object(&self, handles: Vec<usize>) -> Object {
        let all = || handles.iter().map(|handle| &self.handles[*handle]);
        let made = || all().find_map(|handle| text_width::kind_of(&self.call(handle.opened)?.call));
        let kind = all().find_map(|handle| handle.kind.clone()).or_else(|| made().map(str::to_owned));
        let kind = kind.map_or("object".to_owned(), |kind| text_width::plain(&kind).into_owned());
        // The name in the call is shorter than the full name that the kernel reports.
        let named = |handle: &Handle| {
            let call = self.call(handle.opened).filter(|call| text_width::kind_of(&call.call) == Some(&kind));
            call.and_then(|call| text_width::name(&call.arguments)).map(str::to_owned)
        };
        let name = all().find_map(named).or_else(|| all().find_map(|handle| handle.name.clone()));
        let name = name.filter(|name| !name.is_empty()).map(|name| name.replace("\\\\", "\\"));
        Object { kind, name, handles }
    }

    /// Returns the kernel's answers that contain an object, with the index of their event.
    fn answers(&self) -> impl DoubleEndedIterator<Item = (usize, &'a Vec<super::Common>)> {
        let events = self.recording.events.iter().enumerate();
        events.filter_map(|(index, event)| match &event.data {
            EventData::Shared(common) if !common.is_empty() => Some((index, common)),
            _ => None,
        })
    }

    /// Whether the kernel's answers list the handle among the handles to shared objects.
    fn is_listed(&self, handle: usize) -> bool {
        let Handle { process, value, .. } = self.handles[handle];
        self.answers().any(|(event, common)| {
            let mut holders = common.iter().flat_map(|object| &object.handles);
            self.is_live(handle, event)
                && holders.any(|holder| holder.process == process && holder.values.contains(&value))
        })
    }

    /// Whether the handle was opened by a call that creates an object of a kind that is made to be shared.
    fn is_created_for_sharing(&self, handle: usize) -> bool {
        let handle = &self.handles[handle];
        let kind = self.call(handle.opened).and_then(|call| text_width::kind_of(&call.call));
        handle.origin == Origin::Opened
            && matches!(kind, Some("event" | "mutex" | "semaphore" | "timer" | "shared memory"))
    }

    pub(crate) fn events(&self) -> &'a [Event] {
        &self.recording.events
    }

    pub(crate) fn call(&self, event: usize) -> Option<&'a Call> {
        match &self.recording.events.get(event)?.data {
            EventData::Call(call) => Some(call),
            _ => None,
        }
    }

    /// Whether a handle is open after this event.
    pub(crate) fn is_live(&self, handle: usize, event: usize) -> bool {
        let handle = &self.handles[handle];
        handle.opened <= event && handle.closed.is_none_or(|closed| closed > event)
    }

    /// Returns the index of the tracked object that the handle refers to.
    pub(crate) fn object_of(&self, handle: usize) -> Option<usize> {
        self.objects.iter().position(|object| object.handles.contains(&handle))
    }

    /// Returns the role of a process. A process that recorded nothing is the peer of the process that recorded this
    /// event.
    pub(crate) fn role_of(&self, process: u32, event: usize) -> Role {
        let known = self.events().iter().find(|event| event.process == process).map(|event| event.role);
        known.or_else(|| self.events().get(event).map(|event| event.role.other())).unwrap_or(Role::Child)
    }

    /// Returns the id of the process with this role, from its own events or from its handles in the peer's events.
    pub(crate) fn process(&self, role: Role) -> Option<u32> {
        let known_to_peer = |handle: &Handle| {
            Some(handle.process).filter(|process| self.role_of(*process, handle.opened) == role)
        };
        self.recording.process(role).or_else(|| self.handles.iter().find_map(known_to_peer))
    }

    /// Returns the time of the event in nanoseconds since the start of the recording.
    pub(crate) fn since_start(&self, event: usize) -> u64 {
        self.events().get(event).map_or(0, |event| event.time - self.recording.start())
    }

    /// Whether the event concerns a tracked object, so that it is shown without `--all`.
    pub(crate) fn is_relevant(&self, event: usize) -> bool {
        match &self.recording.events[event].data {
            // A failed call is shown only if the program failed. Other failures, such as a search for a missing folder, are
            // harmless.
            EventData::Call(call) => {
                let explains_failure = call.failed && self.failure().is_some();
                call.always_shown
                    || explains_failure
                    || (!call.query && !call.failed && self.is_relevant_call(event, call))
            }
            EventData::Shared(_) => Some(event) == self.shared,
            EventData::Exited { .. } | EventData::Failed(_) => true,
            EventData::Table(_) | EventData::Started(_) => false,
        }
    }

    fn is_relevant_call(&self, event: usize, call: &Call) -> bool {
        let Trace { opened, closed, touched } = &self.traces[event];
        let tracked = |handles: &Vec<usize>| handles.iter().any(|handle| self.object_of(*handle).is_some());
        if tracked(opened) || tracked(closed) {
            return true;
        }
        // Closing a handle to another object is only cleanup.
        if !closed.is_empty() {
            return false;
        }
        let own = self.recording.events[event].process;
        let of_process = |handle: &usize| {
            let handle = &self.handles[*handle];
            handle.origin == Origin::Opened && self.call(handle.opened).is_some_and(is_of_process)
        };
        let elsewhere = opened.iter().any(|handle| self.handles[*handle].process != own);
        // A path passes nothing to the peer, unless it is the name of a socket that the peer connects to.
        let is_plain_path = call.arguments.contains("path \"") && text_width::socket_name(call).is_none();
        let has_message = !is_plain_path
            && [&call.arguments, &call.result].into_iter().any(|text| {
                text_width::quoted(text).next().is_some()
                    || text_width::list(text).any(|word| word == "bytes")
            });
        let carries = has_message && opened.is_empty();
        tracked(touched) || elsewhere || is_of_process(call) || touched.iter().any(of_process) || carries
    }

    /// Returns the changes that an event made to handle tables. Unless `all`, these are the changes to tracked handles
    /// and the handle to a new process.
    pub(crate) fn changes(&self, event: usize, all: bool) -> Vec<Change> {
        let Trace { opened, closed, .. } = &self.traces[event];
        let mut changes = Vec::new();
        // A handle that was opened by an earlier event is not a change of this event.
        let new = opened.iter().filter(|handle| self.handles[**handle].opened == event);
        let started = self.call(event).is_some_and(is_of_process);
        let mut processes = 0;
        for (&handle, opened) in new.map(|new| (new, true)).chain(closed.iter().map(|old| (old, false))) {
            let tracked = self.object_of(handle).is_some();
            let is_process = opened && started && self.handles[handle].origin == Origin::Opened;
            processes += usize::from(is_process);
            // The call that starts a process opens two handles. The second one refers to its first thread.
            let shown = tracked || all || (is_process && processes == 1);
            let Handle { value, process, .. } = self.handles[handle];
            let description = if opened { self.opening(handle) } else { self.closing(handle, event) };
            if shown {
                changes.push(Change {
                    role: self.role_of(process, event),
                    value,
                    opened,
                    description,
                    tracked,
                });
            }
        }
        changes
    }

    fn opening(&self, handle: usize) -> String {
        let origin = self.handles[handle].origin;
        let call = self.call(self.handles[handle].opened);
        match (self.object_of(handle), origin) {
            (Some(object), _) => {
                let Object { kind, handles, .. } = &self.objects[object];
                if handles.first() == Some(&handle) { kind.clone() } else { format!("→ the same {kind}") }
            }
            (None, Origin::Copied { from }) => format!("copy of {:#x}", self.handles[from].value),
            // The call that starts a process opens a second handle to its first thread.
            (None, Origin::Opened) if call.is_some_and(is_of_process) && self.is_second(handle) => {
                "thread".to_owned()
            }
            (None, _) => call.and_then(|call| text_width::kind_of(&call.call)).unwrap_or_default().to_owned(),
        }
    }

    /// Whether the same call opened another handle before this one, not counting copies.
    fn is_second(&self, handle: usize) -> bool {
        let opened = &self.traces[self.handles[handle].opened].opened;
        let mut before = opened.iter().take_while(|opened| **opened != handle);
        before.any(|opened| self.handles[*opened].origin == Origin::Opened)
    }

    fn closing(&self, handle: usize, event: usize) -> String {
        let Some(object) = self.object_of(handle) else { return String::new() };
        let Object { kind, handles, .. } = &self.objects[object];
        // Only the kernel knows all handles to the object. After its answer, the recorded calls keep the list current.
        if self.shared.is_some() && !handles.iter().any(|handle| self.is_live(*handle, event)) {
            format!("the last handle to the {kind}")
        } else {
            String::new()
        }
    }
}

/// Whether the call starts or opens a process.
pub(crate) fn is_of_process(call: &Call) -> bool {
    text_width::kind_of(&call.call) == Some("process")
}
