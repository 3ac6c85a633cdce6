//! The kinds of kernel objects.

use std::fmt;

/// What kind of kernel object a handle refers to, by the kernel's own answer.
///
/// The names are Win32's. What stands for each on Linux is in the table of the [crate's page](crate#linux).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An event.
    Event,
    /// A mutex; the kernel calls it a mutant.
    Mutex,
    /// A semaphore.
    Semaphore,
    /// A section: memory that processes share; Win32 calls it a file mapping.
    Section,
    /// A waitable timer.
    Timer,
    /// A file. For the kernel that is also a pipe, a console and any other device, and on Windows a socket.
    File,
    /// A socket, on Linux.
    Socket,
    /// A process.
    Process,
    /// A thread.
    Thread,
    /// A job.
    Job,
    /// An access token.
    Token,
    /// Any other kind, by the kernel's name for it.
    Other(Box<str>),
}

impl Kind {
    /// The kind in a word: "event". For [`Other`](Self::Other), the kernel's own.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Event => "event",
            Self::Mutex => "mutex",
            Self::Semaphore => "semaphore",
            Self::Section => "section",
            Self::Timer => "timer",
            Self::File => "file",
            Self::Socket => "socket",
            Self::Process => "process",
            Self::Thread => "thread",
            Self::Job => "job",
            Self::Token => "token",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Kind {
    /// The kind with its article: "an event".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(name) => write!(f, "an object of the kernel's type {name:?}"),
            Self::Event => f.write_str("an event"),
            _ => write!(f, "a {}", self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_article() {
        assert_eq!(Kind::Event.to_string(), "an event");
        assert_eq!(Kind::Section.to_string(), "a section");
        assert_eq!(Kind::Other("Job".into()).to_string(), "an object of the kernel's type \"Job\"");
    }
}
