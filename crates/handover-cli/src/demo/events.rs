//! The lines of a recording: what each of two processes did and saw, one event a line.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::effects::Effects;

/// What two processes recorded, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    pub(crate) events: Vec<Event>,
}

/// One thing that a process did or saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds since 1970: when a call began, or, of one that waits or receives, when it was over.
    pub time: u64,
    /// The how-manieth of its process, which tells apart what has the same time.
    pub sequence: u64,
    /// The process's id.
    pub process: u32,
    /// Which of the two it is.
    pub role: Role,
    /// What happened.
    pub what: What,
}

/// Which of the two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The one that started the other.
    Parent,
    /// The one that was started.
    Child,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A call to the operating system.
    Call(Call),
    /// The process's own handle table at that moment.
    Table(Vec<Entry>),
    /// The kernel's answer to which objects several processes have in common at that moment.
    Shared(Vec<Common>),
    /// The program began.
    Started(Started),
    /// The program ended.
    Ended {
        /// Its exit code.
        code: i64,
    },
    /// The program failed, for this reason.
    Failed(String),
}

/// A call to the operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its name in the system's documentation.
    pub call: String,
    /// Its arguments, as people read them.
    pub arguments: String,
    /// Its result, or the error.
    pub result: String,
    /// Whether the result is an error.
    #[serde(default)]
    pub failed: bool,
    /// Whether it only asked, and changed nothing.
    #[serde(default)]
    pub asks: bool,
    /// How long it took.
    #[serde(default)]
    pub nanoseconds: u64,
    /// What it did to handle tables.
    #[serde(default)]
    pub effects: Effects,
}

/// One handle in a process's table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub value: u64,
    /// The kind of object that it refers to.
    pub kind: String,
    /// What it may be used for.
    pub access: String,
    /// Whether a child that inherits all gets it.
    pub inheritable: bool,
    /// The object's name.
    pub name: Option<String>,
}

/// An object that several processes have a handle to, by the kernel's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Common {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: Option<String>,
    /// Who has it.
    pub handles: Vec<Holder>,
}

/// A process that has a handle to an object, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process's id.
    pub process: u32,
    /// The handles' numbers there.
    pub values: Vec<u64>,
}

/// What is being shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The program.
    pub program: String,
    /// How the object is given.
    pub strategy: String,
    /// The operating system.
    pub system: String,
}

/// A line that isn't an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl Recording {
    /// All of it, in the order of time.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Reads a recording of one event a line, in whatever order the two processes wrote them; empty lines say nothing.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] for the first line that isn't an event.
    pub fn parse(lines: &str) -> Result<Self, Unreadable> {
        let mut events: Vec<Event> = Vec::new();
        for (index, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let event = serde_json::from_str(line);
            events.push(event.map_err(|error| Unreadable { line: index + 1, why: error.to_string() })?);
        }
        Ok(Self::of(events))
    }

    /// A recording of these events, in whatever order they come.
    #[must_use]
    pub fn of(mut events: Vec<Event>) -> Self {
        events.sort_by_key(|event| (event.time, event.process, event.sequence));
        Self { events }
    }

    /// When the first thing happened, in nanoseconds since 1970.
    pub(crate) fn start(&self) -> u64 {
        self.events.first().map_or(0, |event| event.time)
    }

    /// What is being shown, if the recording says so.
    pub(crate) fn started(&self) -> Option<&Started> {
        self.events.iter().find_map(|event| match &event.what {
            What::Started(started) => Some(started),
            _ => None,
        })
    }

    /// The process that has this role.
    pub(crate) fn process(&self, role: Role) -> Option<u32> {
        self.events.iter().find(|event| event.role == role).map(|event| event.process)
    }
}

impl Role {
    /// The other one.
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
        write!(f, "line {} of the recording is not an event: {}", self.line, self.why)
    }
}

impl std::error::Error for Unreadable {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_line() {
        let good = r#"{"time":1,"sequence":0,"process":2,"role":"parent","what":{"ended":{"code":0}}}"#;
        assert_eq!(Recording::parse(good).map(|recording| recording.events.len()), Ok(1));
        let wrong = Recording::parse(&format!("{good}\n\n{}", good.replace("parent", "uncle")));
        assert_eq!(wrong.map_err(|error| error.line), Err(3));
        assert_eq!(Recording::parse("{").map_err(|error| error.line), Err(1));
        assert_eq!(Recording::parse("").map(|recording| recording.start()), Ok(0));
    }
}
