//! How the object and its number came to the other process, and what went wrong.

use super::effects::number;
use super::events::{Call, Role, What};
use super::object_history::{Object, Story, is_of_process};
use super::replay::{Handle, Origin};
use super::text_width;

/// How the other process came by its handle; what is in it are events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crossing {
    /// It began with it; the call that began it.
    Inherited(Option<usize>),
    /// This call of the giver's put it there.
    Duplicated(usize),
    /// This call of the receiver's took it.
    Taken(usize),
    /// It came in a message.
    Message { sent: Option<usize>, received: usize },
    /// This call opened it under a name.
    Named(usize),
    /// Nothing in the recording says.
    Unknown,
}

/// A handle's number that one process told the other in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PassedValue {
    pub(crate) handle: usize,
    /// The number as it was written.
    pub(crate) text: String,
    /// The call that said it.
    pub(crate) said: usize,
    /// The call that heard it.
    pub(crate) heard: Option<usize>,
}

/// What went wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure<'a> {
    pub(crate) role: Role,
    pub(crate) process: u32,
    /// The call that failed.
    pub(crate) call: Option<usize>,
    /// What the program said of it.
    pub(crate) why: Option<&'a str>,
}

impl<'a> Story<'a> {
    /// The first handle of each of the two processes that has one: the giver's, and the receiver's with how it came there.
    pub(crate) fn ends(&self, object: &Object) -> (Option<usize>, Option<(usize, Crossing)>) {
        let given = object.handles.first().copied();
        let process = given.map(|handle| self.handles[handle].process);
        let taken = object.handles.iter().find(|handle| Some(self.handles[**handle].process) != process);
        (given, taken.map(|taken| (*taken, self.crossing(*taken))))
    }

    fn crossing(&self, handle: usize) -> Crossing {
        let handle = &self.handles[handle];
        let call = self.call(handle.opened);
        match handle.origin {
            Origin::Before => Crossing::Inherited(None),
            Origin::Copied { .. }
                if call.is_some_and(is_of_process) && !self.is_own(handle.opened, handle.process) =>
            {
                Crossing::Inherited(Some(handle.opened))
            }
            Origin::Copied { .. } if self.is_own(handle.opened, handle.process) => {
                Crossing::Taken(handle.opened)
            }
            Origin::Copied { .. } => Crossing::Duplicated(handle.opened),
            Origin::Received { sent, .. } => Crossing::Message { sent: Some(sent), received: handle.opened },
            Origin::Named { .. } => Crossing::Named(handle.opened),
            Origin::Opened if call.is_some_and(|call| call.call.contains("recv")) => {
                Crossing::Message { sent: None, received: handle.opened }
            }
            Origin::Opened | Origin::Seen => Crossing::Unknown,
        }
    }

    fn is_own(&self, event: usize, process: u32) -> bool {
        self.events()[event].process == process
    }

    /// The numbers of the story's handles that crossed as text to the process in whose table they are.
    pub(crate) fn told(&self) -> Vec<PassedValue> {
        let mut told: Vec<PassedValue> = Vec::new();
        for (said, event) in self.events().iter().enumerate() {
            let Some(call) = self.call(said) else { continue };
            for word in text_width::quoted(&call.arguments).flat_map(text_width::list) {
                let Some(value) = number(word) else { continue };
                let there = |handle: &usize| {
                    let of = &self.handles[*handle];
                    of.process != event.process && of.value == value && self.is_live(*handle, said)
                };
                let mut handles = self.objects.iter().flat_map(|object| object.handles.iter().copied());
                let Some(handle) = handles.find(there) else { continue };
                if told.iter().all(|told| told.handle != handle) {
                    let heard = self.hears(word, said, self.handles[handle].process);
                    told.push(PassedValue { handle, text: word.to_owned(), said, heard });
                }
            }
        }
        told
    }

    /// The first call of this process after the event that has the word as well.
    fn hears(&self, word: &str, said: usize, process: u32) -> Option<usize> {
        let has = |text| text_width::quoted(text).flat_map(text_width::list).any(|heard| heard == word);
        (said + 1..self.events().len()).find(|event| {
            self.is_own(*event, process)
                && self.call(*event).is_some_and(|call| has(&call.arguments) || has(&call.result))
        })
    }

    /// The message that follows a handle into this process: the call that sends it, and the one that receives it.
    pub(crate) fn message_after(&self, handle: usize) -> Option<(usize, Option<usize>)> {
        let Handle { process, opened, .. } = self.handles[handle];
        let giver = self.events()[opened].process;
        let mut later = opened + 1..self.events().len();
        let bytes = |event: usize| {
            let call = self.call(event).filter(|_| self.is_own(event, giver))?;
            text_width::list(&call.arguments)
                .zip(text_width::list(&call.arguments).skip(1))
                .find(|(_, unit)| *unit == "bytes")
        };
        let (sent, length) = later.find_map(|event| Some((event, bytes(event)?.0)))?;
        // Which call it is that has as many in the end depends on how the receiver reads.
        let received = format!("{length} bytes");
        let heard = later.find(|event| {
            self.is_own(*event, process)
                && self.call(*event).is_some_and(|call| call.result.starts_with(&received))
        });
        Some((sent, heard))
    }

    /// A name that both processes gave to a call, and that call of each: of the giver's and of the receiver's.
    pub(crate) fn common_name(&self, object: &Object) -> Option<(&'a str, usize, usize)> {
        let (Some(given), Some((taken, _))) = self.ends(object) else { return None };
        let [given, taken] = [given, taken].map(|handle| self.handles[handle].process);
        let named = |process: u32| {
            let own = (0..self.events().len()).filter(move |event| self.is_own(*event, process));
            let name = |call: &'a Call| text_width::name(&call.arguments).or_else(|| text_width::place(call));
            own.filter_map(move |event| Some((event, name(self.call(event)?)?)))
        };
        named(given).find_map(|(gave, name)| {
            let asked = named(taken).find(|(_, asked)| *asked == name);
            asked.map(|(asked, _)| (name, gave, asked))
        })
    }

    /// What went wrong first, if a program says that it failed or ended with another code than 0.
    pub(crate) fn failure(&self) -> Option<Failure<'a>> {
        let (index, event) = self.events().iter().enumerate().find(|(_, event)| match &event.what {
            What::Failed(_) => true,
            What::Ended { code } => *code != 0,
            _ => false,
        })?;
        let why = match &event.what {
            What::Failed(why) => Some(why.as_str()),
            _ => None,
        };
        let before = (0..index).rev().filter(|call| self.is_own(*call, event.process));
        let mut failed = before.filter(|call| self.call(*call).is_some_and(|call| call.failed));
        // An error that names a call means that one, and not what failed while tidying up.
        let named = |event: &usize| {
            self.call(*event).is_some_and(|call| why.is_some_and(|why| why.contains(call.call.as_str())))
        };
        let call = failed.clone().find(named).or_else(|| failed.next());
        Some(Failure { role: event.role, process: event.process, call, why })
    }
}
