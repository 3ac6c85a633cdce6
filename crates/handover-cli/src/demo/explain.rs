//! How an object came from one process to the other, and why that way: the sentences that explain.

use super::events::What;
use super::object_history::{Object, Story, is_of_process};
use super::replay::Handle;
use super::text_width;
use super::transfer::{Crossing, PassedValue};

/// An object's way from one process to the other.
pub(crate) struct HandOver<'a> {
    pub(crate) story: &'a Story<'a>,
    pub(crate) object: &'a Object,
    pub(crate) given: &'a Handle,
    pub(crate) taken: &'a Handle,
    /// The same, by index.
    pub(crate) taken_index: usize,
    pub(crate) told: Option<PassedValue>,
}

impl HandOver<'_> {
    fn call(&self, event: usize) -> &str {
        self.story.call(event).map_or("a call", |call| &call.call)
    }

    /// How the receiver came by its handle and by the number.
    pub(crate) fn crossed(&self, crossing: Crossing) -> String {
        let (giver, receiver) = (self.given.process, self.taken.process);
        let [own, value] = [self.given, self.taken].map(|handle| format!("{:#x}", handle.value));
        let kind = &self.object.kind;
        let table = format!(
            "A handle is an index into one process's own table, so {own} in process {giver} means nothing to process \
             {receiver}."
        );
        match crossing {
            Crossing::Inherited(event) => {
                let starts =
                    event.map_or("The parent's call".to_owned(), |event| self.call(event).to_owned());
                let copy = self.copy();
                format!(
                    "{table} {starts} made process {receiver} with the handle already in its table.{copy} An inherited \
                     handle keeps its number, {value}. {}",
                    self.number_known_before(event)
                )
            }
            Crossing::Duplicated(event) => format!(
                "{table} {} put a second handle to the {kind} into the table of process {receiver}, and the kernel \
                 chose its number there, {value}. {}",
                self.call(event),
                self.number_told()
            ),
            Crossing::Taken(event) => format!(
                "{table} Process {receiver} reached into that table itself: {} made it a handle of its own, {value}, \
                 and returned the number.",
                self.call(event)
            ),
            Crossing::Message { sent, received } => self.message(&table, sent, received),
            Crossing::Named(event) => {
                let named = self.object.name.as_deref().unwrap_or_default();
                format!(
                    "No handle crossed. Process {giver} gave the {kind} the name \"{named}\" when it made it with {}; \
                     process {receiver} asked the kernel for that name with {}, and got a handle of its own, {value}. \
                     A number in one process's table means nothing in the other; what both had to know is the name{}.",
                    self.call(self.given.opened),
                    self.call(event),
                    self.name_told(named)
                )
            }
            Crossing::Unknown => format!("{table} How {value} came into the table isn't in the recording."),
        }
    }

    /// The giver's copy that was made to be inherited, if there was one.
    fn copy(&self) -> String {
        let handles = self.object.handles.iter().map(|handle| &self.story.handles[*handle]);
        let mut copies = handles.filter(|handle| {
            handle.process == self.given.process
                && handle.value == self.taken.value
                && handle.value != self.given.value
        });
        copies.next().map_or(String::new(), |copy| {
            let closed = if copy.closed.is_some() { " and closed afterwards" } else { "" };
            let made = self.call(copy.opened);
            format!(
                " What it inherited is a copy, {:#x}, that the parent made with {made} for this{closed}.",
                copy.value
            )
        })
    }

    fn number_known_before(&self, event: Option<usize>) -> String {
        match &self.told {
            Some(told) if Some(told.said) == event => {
                let hex = same_number(&told.text, self.taken.value);
                format!(
                    "So it was known before the child began, and the command line could carry it, as {}{hex}.",
                    told.text
                )
            }
            Some(_) => self.number_told(),
            None => "So it was known before the child began.".to_owned(),
        }
    }

    fn number_told(&self) -> String {
        let (receiver, value) = (self.taken.process, self.taken.value);
        let Some(told) = &self.told else {
            let sent = self.story.message_after(self.taken_index);
            return sent.map_or(String::new(), |(event, _)| {
                format!(
                    "Process {receiver} was running already, and nothing tells it: the number must have crossed in the \
                     message that followed, with {}.",
                    self.call(event)
                )
            });
        };
        let hex = same_number(&told.text, value);
        let heard = told.heard.map_or(String::new(), |event| {
            format!(", and process {receiver} learned it from {}", self.described(event))
        });
        format!(
            "Process {receiver} was running already, and nothing tells it that there is something new in its table. So \
             the number had to cross by a second channel: {} wrote {}{hex}{heard}.",
            self.call(told.said),
            told.text
        )
    }

    fn described(&self, event: usize) -> String {
        let call = self.story.call(event);
        call.map_or(String::new(), |call| format!("{}({})", call.call, text_width::brief(&call.arguments)))
    }

    fn message(&self, table: &str, sent: Option<usize>, received: usize) -> String {
        let (receiver, value) = (self.taken.process, self.taken.value);
        let sent = sent.map_or("a message", |event| self.call(event));
        let named = self.named_socket();
        let same = if value == self.given.value {
            " That both have the same number is chance: they stand in two tables."
        } else {
            ""
        };
        format!(
            "{table} {named}No call puts a descriptor into a process that runs, but a message over a Unix socket can carry \
             one. Process {} sent the {kind} with {sent}; {} gave process {receiver} the number that the kernel chose in its \
             table, {value:#x}. So the message is also what tells the number, and needs no second channel.{same}",
            self.given.process,
            self.call(received),
            kind = self.object.kind,
        )
    }

    /// On Linux a name is a socket's.
    fn named_socket(&self) -> String {
        let story = self.story;
        let Some((name, bound, asked)) = story.common_name(self.object) else { return String::new() };
        format!(
            "The kernel has no names for this kind of object, so \"{name}\" is the name of a socket in a folder that \
             both know: process {} made it with {}, and process {} found it with {}. ",
            self.given.process,
            self.call(bound),
            self.taken.process,
            self.call(asked)
        )
    }

    /// Where the name crossed, if it was on the command line.
    fn name_told(&self, named: &str) -> String {
        // Whoever opens it needn't say in which folder of names it is.
        let bare = named.rsplit('\\').next().unwrap_or(named);
        let starts = self.story.events().iter().find_map(|event| match &event.what {
            What::Call(call) if is_of_process(call) && call.arguments.contains(bare) => Some(&call.call),
            _ => None,
        });
        starts.map_or(String::new(), |call| {
            format!(", which was on the command line that {call} gave the child")
        })
    }

    /// That a signal through one handle woke who waited at the other, and who closed what.
    pub(crate) fn signaled(&self) -> Option<String> {
        let story = self.story;
        let touching = |handle: &Handle, words: &[&str]| {
            let calls = (0..story.events().len()).filter_map(|event| Some((event, story.call(event)?)));
            let mut calls =
                calls.filter(|(_, call)| !call.failed && words.iter().any(|word| call.call.contains(word)));
            calls.find_map(|(event, call)| {
                let mut touched = story.traces[event].touched.iter();
                touched.any(|touched| std::ptr::eq(&story.handles[*touched], handle)).then_some(call)
            })
        };
        let set = touching(self.given, &["SetEvent", "write", "Release"])?;
        let wait = touching(self.taken, &["WaitFor", "poll", "read"])?;
        let [own, value] = [self.given, self.taken].map(|handle| handle.value);
        let mut signaled = format!(
            "Process {} called {} on its {own:#x}, and the {} of process {} on its {value:#x} returned \"{}\": through \
             two handles they use one object.",
            self.given.process, set.call, wait.call, self.taken.process, wait.result
        );
        let ends = [self.given, self.taken].map(|handle| handle.closed);
        if let [Some(_), Some(_)] = ends {
            signaled += &format!(" Each closed its own handle; the {} went with the last.", self.object.kind);
        }
        Some(signaled)
    }
}

/// That a decimal number is the same as the one in hex.
fn same_number(text: &str, value: u64) -> String {
    let same = text.trim_start_matches("0x") == format!("{value:x}");
    if same { String::new() } else { format!(" (decimal for {value:#x})") }
}
