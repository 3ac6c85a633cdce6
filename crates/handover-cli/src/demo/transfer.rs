//! Finds how an object and its handle value got into the other process, and why a demonstration failed.

use super::effects::number;
use super::events::{Call, EventData, Role};
use super::object_history::{History, Object, is_of_process};
use super::replay::{Handle, Origin};
use super::text_width;

/// The way in which the other process got its handle. The fields are indices of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// The process inherited the handle. The event is the call that started the process.
    Inherited(Option<usize>),
    /// The giver duplicated the handle into the receiver with this call.
    Duplicated(usize),
    /// The receiver duplicated the handle out of the giver with this call.
    Taken(usize),
    /// The receiver got the handle in a message.
    Message { sent: Option<usize>, received: usize },
    /// The receiver opened the object by its name with this call.
    Named(usize),
    /// The recording does not show it.
    Unknown,
}

/// A handle value that one process passed to the other as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PassedValue {
    pub(crate) handle: usize,
    /// The value as it was written.
    pub(crate) text: String,
    /// The call that sent the value.
    pub(crate) sent: usize,
    /// The call that received the value.
    pub(crate) received: Option<usize>,
}

/// The first failure in a recording.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure<'a> {
    pub(crate) role: Role,
    pub(crate) process: u32,
    /// The call that failed.
    pub(crate) call: Option<usize>,
    /// The program's error message.
    pub(crate) reason: Option<&'a str>,
}

impl<'a> History<'a> {
    /// Returns the first handle of the giver, the process that had the object first. Returns the first handle of the
    /// receiver, with the way in which the receiver got it.
    pub(crate) fn giver_and_receiver(&self, object: &Object) -> (Option<usize>, Option<(usize, Transfer)>) {
        let given = object.handles.first().copied();
        let process = given.map(|handle| self.handles[handle].process);
        let taken = object.handles.iter().find(|handle| Some(self.handles[**handle].process) != process);
        (given, taken.map(|taken| (*taken, self.transfer(*taken))))
    }

    fn transfer(&self, handle: usize) -> Transfer {
        let handle = &self.handles[handle];
        let call = self.call(handle.opened);
        match handle.origin {
            Origin::Before => Transfer::Inherited(None),
            Origin::Copied { .. }
                if call.is_some_and(is_of_process) && !self.is_own(handle.opened, handle.process) =>
            {
                Transfer::Inherited(Some(handle.opened))
            }
            Origin::Copied { .. } if self.is_own(handle.opened, handle.process) => {
                Transfer::Taken(handle.opened)
            }
            Origin::Copied { .. } => Transfer::Duplicated(handle.opened),
            Origin::Received { sent, .. } => Transfer::Message { sent: Some(sent), received: handle.opened },
            Origin::Named { .. } => Transfer::Named(handle.opened),
            Origin::Opened if call.is_some_and(|call| call.call.contains("recv")) => {
                Transfer::Message { sent: None, received: handle.opened }
            }
            Origin::Opened | Origin::Seen => Transfer::Unknown,
        }
    }

    fn is_own(&self, event: usize, process: u32) -> bool {
        self.events()[event].process == process
    }

    /// Returns the values of tracked handles that were passed as text to the process that owns the handle.
    pub(crate) fn passed_values(&self) -> Vec<PassedValue> {
        let mut passed: Vec<PassedValue> = Vec::new();
        for (sent, event) in self.events().iter().enumerate() {
            let Some(call) = self.call(sent) else { continue };
            for word in text_width::quoted(&call.arguments).flat_map(text_width::list) {
                let Some(value) = number(word) else { continue };
                let is_in_receiver = |handle: &usize| {
                    let of = &self.handles[*handle];
                    of.process != event.process && of.value == value && self.is_live(*handle, sent)
                };
                let mut handles = self.objects.iter().flat_map(|object| object.handles.iter().copied());
                let Some(handle) = handles.find(is_in_receiver) else { continue };
                if passed.iter().all(|passed| passed.handle != handle) {
                    let received = self.receiver_of(word, sent, self.handles[handle].process);
                    passed.push(PassedValue { handle, text: word.to_owned(), sent, received });
                }
            }
        }
        passed
    }

    /// Returns the first call of this process after the sending event that contains the same word.
    fn receiver_of(&self, word: &str, sent: usize, process: u32) -> Option<usize> {
        let has = |text| text_width::quoted(text).flat_map(text_width::list).any(|other| other == word);
        (sent + 1..self.events().len()).find(|event| {
            self.is_own(*event, process)
                && self.call(*event).is_some_and(|call| has(&call.arguments) || has(&call.result))
        })
    }

    /// Returns the message that the giver sends to the process after it has put the handle there: the call that sends
    /// the message, and the call that receives it.
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
        // The receiving call can have several names, so it is found by the number of received bytes.
        let received = format!("{length} bytes");
        let received = later.find(|event| {
            self.is_own(*event, process)
                && self.call(*event).is_some_and(|call| call.result.starts_with(&received))
        });
        Some((sent, received))
    }

    /// Returns a name that both processes used in a call, with the call of the giver and the call of the receiver.
    pub(crate) fn common_name(&self, object: &Object) -> Option<(&'a str, usize, usize)> {
        let (Some(given), Some((taken, _))) = self.giver_and_receiver(object) else { return None };
        let [given, taken] = [given, taken].map(|handle| self.handles[handle].process);
        let named = |process: u32| {
            let own = (0..self.events().len()).filter(move |event| self.is_own(*event, process));
            let name =
                |call: &'a Call| text_width::name(&call.arguments).or_else(|| text_width::socket_name(call));
            own.filter_map(move |event| Some((event, name(self.call(event)?)?)))
        };
        named(given).find_map(|(created, name)| {
            let opened = named(taken).find(|(_, opened)| *opened == name);
            opened.map(|(opened, _)| (name, created, opened))
        })
    }

    /// Returns the first failure, if a program reported an error or exited with a code other than 0.
    pub(crate) fn failure(&self) -> Option<Failure<'a>> {
        let (index, event) = self.events().iter().enumerate().find(|(_, event)| match &event.data {
            EventData::Failed(_) => true,
            EventData::Exited { code } => *code != 0,
            _ => false,
        })?;
        let reason = match &event.data {
            EventData::Failed(reason) => Some(reason.as_str()),
            _ => None,
        };
        let before = (0..index).rev().filter(|call| self.is_own(*call, event.process));
        let mut failed = before.filter(|call| self.call(*call).is_some_and(|call| call.failed));
        // If the error message names a call, that call is the cause. A later failed call may be part of the cleanup.
        let named = |event: &usize| {
            self.call(*event)
                .is_some_and(|call| reason.is_some_and(|reason| reason.contains(call.call.as_str())))
        };
        let call = failed.clone().find(named).or_else(|| failed.next());
        Some(Failure { role: event.role, process: event.process, call, reason })
    }
}
