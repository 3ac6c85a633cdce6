//! The story in a recording: which objects it is about, and which events belong to it.

use std::collections::BTreeMap;

use super::events::{Call, Event, Recording, Role, What};
use super::replay::{Handle, Origin, Replay, Trace};
use super::text_width;

/// A recording, understood.
#[derive(Debug)]
pub(crate) struct Story<'a> {
    pub(crate) recording: &'a Recording,
    pub(crate) handles: Vec<Handle>,
    pub(crate) traces: Vec<Trace>,
    /// What the story is about, in the order in which it came to be.
    pub(crate) objects: Vec<Object>,
    /// The event that is the kernel's answer to what the two have in common.
    pub(crate) shared: Option<usize>,
}

/// A kernel object of the story.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    /// The handles to it, by index, in the order in which they were opened.
    pub(crate) handles: Vec<usize>,
}

/// One thing that an event did to a handle table.
#[derive(Debug)]
pub(crate) struct Change {
    /// Whose table it is.
    pub(crate) role: Role,
    pub(crate) value: u64,
    pub(crate) opened: bool,
    /// What the handle refers to, or what its end means.
    pub(crate) what: String,
    /// Whether it is a handle to one of the story's objects.
    pub(crate) ours: bool,
}

impl<'a> Story<'a> {
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
        // What was there before, such as standard streams, may be shared, and is nobody's story.
        groups.retain(|group| group.first().is_some_and(|first| handles[*first].origin != Origin::Before));

        let mut story = Self { recording, handles, traces, objects: Vec::new(), shared: None };
        let shared = story.answers().next_back().map(|(event, _)| event);
        story.shared = shared;
        let listed = |group: &Vec<usize>| group.iter().any(|handle| story.is_listed(*handle));
        let made = |group: &Vec<usize>| group.iter().any(|handle| story.is_made(*handle));
        // Without an answer of the kernel's it is about what was made to be shared.
        let found: Vec<_> = if groups.iter().any(listed) {
            groups.into_iter().filter(listed).collect()
        } else {
            groups.into_iter().filter(made).collect()
        };
        story.objects = found.into_iter().map(|handles| story.object(handles)).collect();
        story
    }

    fn object(&self, handles: Vec<usize>) -> Object {
        let all = || handles.iter().map(|handle| &self.handles[*handle]);
        let made = || all().find_map(|handle| text_width::kind_of(&self.call(handle.opened)?.call));
        let kind = all().find_map(|handle| handle.kind.clone()).or_else(|| made().map(str::to_owned));
        let kind = kind.map_or("object".to_owned(), |kind| text_width::plain(&kind).into_owned());
        // The name that was asked for is shorter than the one that the kernel makes of it.
        let named = |handle: &Handle| {
            let call = self.call(handle.opened).filter(|call| text_width::kind_of(&call.call) == Some(&kind));
            call.and_then(|call| text_width::name(&call.arguments)).map(str::to_owned)
        };
        let name = all().find_map(named).or_else(|| all().find_map(|handle| handle.name.clone()));
        let name = name.filter(|name| !name.is_empty()).map(|name| name.replace("\\\\", "\\"));
        Object { kind, name, handles }
    }

    /// The kernel's answers that name an object.
    fn answers(&self) -> impl DoubleEndedIterator<Item = (usize, &'a Vec<super::Common>)> {
        let events = self.recording.events.iter().enumerate();
        events.filter_map(|(index, event)| match &event.what {
            What::Shared(common) if !common.is_empty() => Some((index, common)),
            _ => None,
        })
    }

    /// Whether the kernel says that it refers to something that both have.
    fn is_listed(&self, handle: usize) -> bool {
        let Handle { process, value, .. } = self.handles[handle];
        self.answers().any(|(event, common)| {
            let mut holders = common.iter().flat_map(|object| &object.handles);
            self.is_live(handle, event)
                && holders.any(|holder| holder.process == process && holder.values.contains(&value))
        })
    }

    /// Whether the call that opened it makes something to be shared.
    fn is_made(&self, handle: usize) -> bool {
        let handle = &self.handles[handle];
        let kind = self.call(handle.opened).and_then(|call| text_width::kind_of(&call.call));
        handle.origin == Origin::Opened
            && matches!(kind, Some("event" | "mutex" | "semaphore" | "timer" | "shared memory"))
    }

    pub(crate) fn events(&self) -> &'a [Event] {
        &self.recording.events
    }

    pub(crate) fn call(&self, event: usize) -> Option<&'a Call> {
        match &self.recording.events.get(event)?.what {
            What::Call(call) => Some(call),
            _ => None,
        }
    }

    /// Whether a handle is open after this event.
    pub(crate) fn is_live(&self, handle: usize, event: usize) -> bool {
        let handle = &self.handles[handle];
        handle.opened <= event && handle.closed.is_none_or(|closed| closed > event)
    }

    /// The story's object behind a handle.
    pub(crate) fn object_of(&self, handle: usize) -> Option<usize> {
        self.objects.iter().position(|object| object.handles.contains(&handle))
    }

    /// Whose table a process's is; one that has recorded nothing is the other's than that of whom this event is.
    pub(crate) fn role_of(&self, process: u32, event: usize) -> Role {
        let known = self.events().iter().find(|event| event.process == process).map(|event| event.role);
        known.or_else(|| self.events().get(event).map(|event| event.role.other())).unwrap_or(Role::Child)
    }

    /// The process's id: its own word, or what the other knows of it.
    pub(crate) fn process(&self, role: Role) -> Option<u32> {
        let told = |handle: &Handle| {
            Some(handle.process).filter(|process| self.role_of(*process, handle.opened) == role)
        };
        self.recording.process(role).or_else(|| self.handles.iter().find_map(told))
    }

    /// Nanoseconds since the recording began.
    pub(crate) fn since_start(&self, event: usize) -> u64 {
        self.events().get(event).map_or(0, |event| event.time - self.recording.start())
    }

    /// Whether the event belongs to the story.
    pub(crate) fn belongs(&self, event: usize) -> bool {
        match &self.recording.events[event].what {
            // What failed without harm, such as a look for a folder that isn't there, isn't what the story is about.
            What::Call(call) => {
                let is_why = call.failed && self.failure().is_some();
                is_why || (!call.asks && !call.failed && self.matters(event, call))
            }
            What::Shared(_) => Some(event) == self.shared,
            What::Ended { .. } | What::Failed(_) => true,
            What::Table(_) | What::Started(_) => false,
        }
    }

    fn matters(&self, event: usize, call: &Call) -> bool {
        let Trace { opened, closed, touched } = &self.traces[event];
        let ours = |handles: &Vec<usize>| handles.iter().any(|handle| self.object_of(*handle).is_some());
        if ours(opened) || ours(closed) {
            return true;
        }
        // Closing something else is tidying up.
        if !closed.is_empty() {
            return false;
        }
        let own = self.recording.events[event].process;
        let of_process = |handle: &usize| {
            let handle = &self.handles[*handle];
            handle.origin == Origin::Opened && self.call(handle.opened).is_some_and(is_of_process)
        };
        let elsewhere = opened.iter().any(|handle| self.handles[*handle].process != own);
        // A path is told to nobody, but for one under which others find something.
        let is_place = call.arguments.contains("path \"") && text_width::place(call).is_none();
        let says = !is_place
            && [&call.arguments, &call.result].into_iter().any(|text| {
                text_width::quoted(text).next().is_some()
                    || text_width::list(text).any(|word| word == "bytes")
            });
        let carries = says && opened.is_empty();
        ours(touched) || elsewhere || is_of_process(call) || touched.iter().any(of_process) || carries
    }

    /// What an event did to the handle tables; of what isn't the story's only a new process, unless it is `all`.
    pub(crate) fn changes(&self, event: usize, all: bool) -> Vec<Change> {
        let Trace { opened, closed, .. } = &self.traces[event];
        let mut changes = Vec::new();
        // What was there before didn't happen now.
        let new = opened.iter().filter(|handle| self.handles[**handle].opened == event);
        let started = self.call(event).is_some_and(is_of_process);
        let mut processes = 0;
        for (&handle, opened) in new.map(|new| (new, true)).chain(closed.iter().map(|old| (old, false))) {
            let ours = self.object_of(handle).is_some();
            let is_process = opened && started && self.handles[handle].origin == Origin::Opened;
            processes += usize::from(is_process);
            // The second is its first thread.
            let shown = ours || all || (is_process && processes == 1);
            let Handle { value, process, .. } = self.handles[handle];
            let what = if opened { self.opening(handle) } else { self.closing(handle, event) };
            if shown {
                changes.push(Change { role: self.role_of(process, event), value, opened, what, ours });
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
            // Starting a process opens two handles: to it, and to its first thread.
            (None, Origin::Opened) if call.is_some_and(is_of_process) && self.is_second(handle) => {
                "thread".to_owned()
            }
            (None, _) => call.and_then(|call| text_width::kind_of(&call.call)).unwrap_or_default().to_owned(),
        }
    }

    /// Whether the same call has opened another handle before, which isn't a copy either.
    fn is_second(&self, handle: usize) -> bool {
        let opened = &self.traces[self.handles[handle].opened].opened;
        let mut before = opened.iter().take_while(|opened| **opened != handle);
        before.any(|opened| self.handles[*opened].origin == Origin::Opened)
    }

    fn closing(&self, handle: usize, event: usize) -> String {
        let Some(object) = self.object_of(handle) else { return String::new() };
        let Object { kind, handles, .. } = &self.objects[object];
        // Only the kernel knows all handles that there are; what it has said, the calls since then follow.
        if self.shared.is_some() && !handles.iter().any(|handle| self.is_live(*handle, event)) {
            format!("the last handle to the {kind}")
        } else {
            String::new()
        }
    }
}

/// Whether a call is about a process.
pub(crate) fn is_of_process(call: &Call) -> bool {
    text_width::kind_of(&call.call) == Some("process")
}
