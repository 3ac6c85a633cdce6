//! Explains in sentences how an object got from one process to the other, and why in this way.

use super::events::EventData;
use super::object_history::{History, Object, is_of_process};
use super::replay::Handle;
use super::text_width;
use super::transfer::{PassedValue, Transfer};

/// An object with its handles in both processes.
pub(crate) struct Explanation<'a> {
    pub(crate) history: &'a History<'a>,
    pub(crate) object: &'a Object,
    pub(crate) given: &'a Handle,
    pub(crate) taken: &'a Handle,
    /// The index of `taken`.
    pub(crate) taken_index: usize,
    pub(crate) passed: Option<PassedValue>,
}

impl Explanation<'_> {
    fn call(&self, event: usize) -> &str {
        self.history.call(event).map_or("a call", |call| &call.call)
    }

    /// Explains how the receiver got its handle and the handle value.
    pub(crate) fn transfer(&self, transfer: Transfer) -> String {
        let (giver, receiver) = (self.given.process, self.taken.process);
        let [own, value] = [self.given, self.taken].map(|handle| format!("{:#x}", handle.value));
        let kind = &self.object.kind;
        let table = format!(
            "A handle value is an index into one process's handle table, so {own} of process {giver} means nothing in \
             process {receiver}."
        );
        match transfer {
            Transfer::Inherited(event) => {
                let starts =
                    event.map_or("The parent's call".to_owned(), |event| self.call(event).to_owned());
                let copy = self.copy();
                format!(
                    "{table} {starts} created process {receiver} with the handle already in its table.{copy} An inherited \
                     handle keeps its value, {value}. {}",
                    self.known_value(event)
                )
            }
            Transfer::Duplicated(event) => format!(
                "{table} {} put a second handle to the {kind} into the table of process {receiver}, and the kernel \
                 chose its value, {value}. {}",
                self.call(event),
                self.passed_value()
            ),
            Transfer::Taken(event) => format!(
                "{table} Process {receiver} copied the handle out of that table itself: {} created a handle of its own, \
                 {value}, and returned the value.",
                self.call(event)
            ),
            Transfer::Message { sent, received } => self.message(&table, sent, received),
            Transfer::Named(event) => {
                let named = self.object.name.as_deref().unwrap_or_default();
                format!(
                    "No handle was passed. Process {giver} created the {kind} with {}, under the name \"{named}\". Process \
                     {receiver} opened that name with {}, and got a handle of its own, {value}. A handle value of one \
                     process means nothing in the other. Both processes only had to know the name{}.",
                    self.call(self.given.opened),
                    self.call(event),
                    self.passed_name(named)
                )
            }
            Transfer::Unknown => {
                format!("{table} The recording does not show how {value} got into the table.")
            }
        }
    }

    /// Describes the copy that the giver made only to be inherited, if there is one.
    fn copy(&self) -> String {
        let handles = self.object.handles.iter().map(|handle| &self.history.handles[*handle]);
        let mut copies = handles.filter(|handle| {
            handle.process == self.given.process
                && handle.value == self.taken.value
                && handle.value != self.given.value
        });
        copies.next().map_or(String::new(), |copy| {
            let closed = if copy.closed.is_some() { " and closed afterwards" } else { "" };
            let made = self.call(copy.opened);
            format!(
                " The child inherited a copy, {:#x}, which the parent made for this purpose with {made}{closed}.",
                copy.value
            )
        })
    }

    fn known_value(&self, event: Option<usize>) -> String {
        match &self.passed {
            Some(passed) if Some(passed.sent) == event => {
                let hex = same_number(&passed.text, self.taken.value);
                format!(
                    "So the parent knew the value before the child started, and could pass it on the command line, as {}{hex}.",
                    passed.text
                )
            }
            Some(_) => self.passed_value(),
            None => "So the parent knew the value before the child started.".to_owned(),
        }
    }

    fn passed_value(&self) -> String {
        let (receiver, value) = (self.taken.process, self.taken.value);
        let Some(passed) = &self.passed else {
            let sent = self.history.message_after(self.taken_index);
            return sent.map_or(String::new(), |(event, _)| {
                format!(
                    "Process {receiver} was already running, and no call notifies it of the new handle. The value must have \
                     been in the message that followed, sent with {}.",
                    self.call(event)
                )
            });
        };
        let hex = same_number(&passed.text, value);
        let received = passed.received.map_or(String::new(), |event| {
            format!(", and process {receiver} received it with {}", self.described(event))
        });
        format!(
            "Process {receiver} was already running, and no call notifies it of the new handle. So the value had to be \
             passed through a second channel: {} wrote {}{hex}{received}.",
            self.call(passed.sent),
            passed.text
        )
    }

    fn described(&self, event: usize) -> String {
        let call = self.history.call(event);
        call.map_or(String::new(), |call| {
            format!("{}({})", call.call, text_width::shorten_paths(&call.arguments))
        })
    }

    fn message(&self, table: &str, sent: Option<usize>, received: usize) -> String {
        let (receiver, value) = (self.taken.process, self.taken.value);
        let sent = sent.map_or("a message", |event| self.call(event));
        let named = self.named_socket();
        let same = if value == self.given.value {
            " Both processes have the same handle value by chance, because each has its own table."
        } else {
            ""
        };
        format!(
            "{table} {named}No call puts a descriptor into a running process, but a message over a Unix socket can carry \
             one. Process {} sent the {kind} with {sent}. In process {receiver}, {} returned a new descriptor with a value \
             that the kernel chose, {value:#x}. So the receiver learns the value from the message, without a second \
             channel.{same}",
            self.given.process,
            self.call(received),
            kind = self.object.kind,
        )
    }

    /// Explains the socket's name, which stands for the object's name on Linux.
    fn named_socket(&self) -> String {
        let history = self.history;
        let Some((name, bound, connected)) = history.common_name(self.object) else { return String::new() };
        // A name with this sign in front is abstract: it is in no folder.
        let place = if name.starts_with('@') { "" } else { " in a folder" };
        format!(
            "The kernel has no names for this kind of object, so \"{name}\" is the name of a socket{place} that \
             both processes know: process {} created it with {}, and process {} found it with {}. ",
            self.given.process,
            self.call(bound),
            self.taken.process,
            self.call(connected)
        )
    }

    /// Explains how the name was passed, if it was on the command line.
    fn passed_name(&self, named: &str) -> String {
        // The command line may contain the name without its namespace, such as `Local\`.
        let bare = named.rsplit('\\').next().unwrap_or(named);
        let starts = self.history.events().iter().find_map(|event| match &event.data {
            EventData::Call(call) if is_of_process(call) && call.arguments.contains(bare) => Some(&call.call),
            _ => None,
        });
        starts.map_or(String::new(), |call| format!(", which {call} passed to the child on its command line"))
    }

    /// Explains that a signal through one handle ended a wait through the other, and which processes closed their
    /// handles.
    pub(crate) fn signaled(&self) -> Option<String> {
        let history = self.history;
        let call_using = |handle: &Handle, words: &[&str]| {
            let calls = (0..history.events().len()).filter_map(|event| Some((event, history.call(event)?)));
            // The query of an object's kind has `write` and `read` in its name too, and signals nothing.
            let mut calls = calls.filter(|(_, call)| {
                !call.failed
                    && !call.pending
                    && !call.query
                    && words.iter().any(|word| call.call.contains(word))
            });
            calls.find_map(|(event, call)| {
                let mut touched = history.traces[event].touched.iter();
                touched.any(|touched| std::ptr::eq(&history.handles[*touched], handle)).then_some(call)
            })
        };
        let set = call_using(self.given, &["SetEvent", "write", "Release"])?;
        let wait = call_using(self.taken, &["WaitFor", "poll", "read"])?;
        let [own, value] = [self.given, self.taken].map(|handle| handle.value);
        let mut signaled = format!(
            "Process {} called {} on its {own:#x}, and the {} of process {} on its {value:#x} returned \"{}\", because \
             both handles refer to one object.",
            self.given.process, set.call, wait.call, self.taken.process, wait.result
        );
        let closing = [self.given, self.taken].map(|handle| handle.closed);
        if let [Some(_), Some(_)] = closing {
            signaled += &format!(
                " Each process closed its own handle, and the kernel deleted the {} with the last one.",
                self.object.kind
            );
        }
        Some(signaled)
    }
}

/// Returns a note that gives the value in hex, if the text has it in decimal.
fn same_number(text: &str, value: u64) -> String {
    let same = text.trim_start_matches("0x") == format!("{value:x}");
    if same { String::new() } else { format!(" (decimal for {value:#x})") }
}
