//! The kinds of kernel objects.

use std::fmt;

/// What kind of kernel object a handle refers to, by the kernel's own answer.
///
/// The names are Win32's; where the kernel uses another ("Mutant" for a mutex), the conversion is here.
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
    /// A file. For the kernel that is also a pipe, a socket, a console and any other device.
    File,
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
    /// The kind for which the kernel has this name.
    #[cfg(any(windows, test))]
    pub(crate) fn from_type_name(name: &str) -> Self {
        match name {
            "Event" => Self::Event,
            "Mutant" => Self::Mutex,
            "Semaphore" => Self::Semaphore,
            "Section" => Self::Section,
            "Timer" => Self::Timer,
            "File" => Self::File,
            "Process" => Self::Process,
            "Thread" => Self::Thread,
            "Job" => Self::Job,
            "Token" => Self::Token,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for Kind {
    /// The kind with its article: "an event".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Event => "an event",
            Self::Mutex => "a mutex",
            Self::Semaphore => "a semaphore",
            Self::Section => "a section",
            Self::Timer => "a timer",
            Self::File => "a file",
            Self::Process => "a process",
            Self::Thread => "a thread",
            Self::Job => "a job",
            Self::Token => "a token",
            Self::Other(name) => return write!(f, "an object of the kernel's type {name:?}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_names_are_translated() {
        assert_eq!(Kind::from_type_name("Event"), Kind::Event);
        assert_eq!(Kind::from_type_name("Mutant"), Kind::Mutex);
        assert_eq!(Kind::from_type_name("event"), Kind::Other("event".into()));
        assert_eq!(Kind::from_type_name("Key").to_string(), "an object of the kernel's type \"Key\"");
    }
}
