//! The format of a recording: the events of two processes, one line of JSON each.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::effects::Effects;

/// The events of two processes, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    pub(crate) events: Vec<Event>,
}

/// An event in one of the two processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The time in nanoseconds since 1970. A call has the time of its start; a call that waits or receives has the time
    /// of its return.
    pub time: u64,
    /// The event's index in its process. It orders events with the same time.
    pub sequence: u64,
    /// The process id.
    pub process: u32,
    /// The role of the process.
    pub role: Role,
    /// The kind of the event, with its details.
    pub data: EventData,
}

/// The role of a process in the demonstration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The process that started the other one.
    Parent,
    /// The process that was started.
    Child,
}

/// The kind of an event, with its details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventData {
    /// A system call.
    Call(Call),
    /// The process's own handle table at this time.
    Table(Vec<Entry>),
    /// The objects that several processes share at this time, according to the kernel.
    Shared(Vec<Common>),
    /// The program started.
    Started(Started),
    /// The program exited.
    Exited {
        /// Its exit code.
        code: i64,
    },
    /// The program failed, with this error message.
    Failed(String),
}

/// A system call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The name of the call in the system's documentation.
    pub call: String,
    /// The arguments, written for people.
    pub arguments: String,
    /// The result or the error, written for people.
    pub result: String,
    /// Whether the result is an error.
    #[serde(default)]
    pub failed: bool,
    /// Whether the call only queried something and changed nothing.
    #[serde(default)]
    pub query: bool,
    /// The duration of the call.
    #[serde(default)]
    pub nanoseconds: u64,
    /// The changes to handle tables.
    #[serde(default)]
    pub effects: Effects,
    /// Whether this is the moment at which a wait begins, so the call has no result yet.
    #[serde(skip)]
    pub pending: bool,
    /// Whether the call is shown even if it concerns no shared object.
    #[serde(skip)]
    pub always_shown: bool,
}

/// One handle in a process's table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The handle value.
    pub value: u64,
    /// The kind of the object.
    pub kind: String,
    /// The access rights, written for people.
    pub access: String,
    /// Whether the handle is inheritable.
    pub inheritable: bool,
    /// The object's name, if it has one.
    pub name: Option<String>,
}

/// An object to which several processes have handles, according to the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Common {
    /// The object's kind.
    pub kind: String,
    /// The object's name, if it has one.
    pub name: Option<String>,
    /// The processes that have handles to the object.
    pub handles: Vec<Holder>,
}

/// A process that has one or more handles to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process id.
    pub process: u32,
    /// The handle values in this process.
    pub values: Vec<u64>,
}

/// The description of the demonstration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The name of the program.
    pub program: String,
    /// The strategy that the program demonstrates.
    pub strategy: String,
    /// The name of the operating system.
    pub system: String,
}

/// The error for a line that is not an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The number of the line, starting from 1.
    pub line: usize,
    /// The parser's error message.
    pub reason: String,
}

impl Recording {
    /// Returns all events, in the order of time.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Parses a recording with one event per line. The lines may be in any order; empty lines are ignored.
    ///
    /// # Errors
    ///
    /// Returns [`Unreadable`] for the first line that is not an event.
    pub fn parse(lines: &str) -> Result<Self, Unreadable> {
        let mut events: Vec<Event> = Vec::new();
        for (index, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let event = serde_json::from_str(line);
            events.push(event.map_err(|error| Unreadable { line: index + 1, reason: error.to_string() })?);
        }
        Ok(Self::of(events))
    }

    /// Creates a recording from events in any order.
    #[must_use]
    pub fn of(mut events: Vec<Event>) -> Self {
        events.sort_by_key(|event| (event.time, event.process, event.sequence));
        Self { events }
    }

    /// Returns the time of the first event, in nanoseconds since 1970.
    pub(crate) fn start(&self) -> u64 {
        self.events.first().map_or(0, |event| event.time)
    }

    /// Returns the description of the demonstration, if the recording has one.
    pub(crate) fn started(&self) -> Option<&Started> {
        self.events.iter().find_map(|event| match &event.data {
            EventData::Started(started) => Some(started),
            _ => None,
        })
    }

    /// Returns the id of the process with this role, if the process recorded an event.
    pub(crate) fn process(&self, role: Role) -> Option<u32> {
        self.events.iter().find(|event| event.role == role).map(|event| event.process)
    }
}

impl Role {
    /// Returns the other role.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Parent => Self::Child,
            Self::Child => Self::Parent,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Parent => "parent",
            Self::Child => "child",
        })
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the recording is not an event: {}", self.line, self.reason)
    }
}

impl std::error::Error for Unreadable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_error_has_the_line_number() {
        let good = r#"{"time":1,"sequence":0,"process":2,"role":"parent","data":{"exited":{"code":0}}}"#;
        assert_eq!(Recording::parse(good).map(|recording| recording.events.len()), Ok(1));
        let wrong = Recording::parse(&format!("{good}\n\n{}", good.replace("parent", "uncle")));
        assert_eq!(wrong.map_err(|error| error.line), Err(3));
        assert_eq!(Recording::parse("{").map_err(|error| error.line), Err(1));
        assert_eq!(Recording::parse("").map(|recording| recording.start()), Ok(0));
    }
}
