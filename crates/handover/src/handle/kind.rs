//! The kinds of kernel objects, in one table.

use std::fmt;

use super::access_names::{self as rights, Rights};

/// Defines [`ObjectKind`] and the properties of each kind. To add a kind, add a row with all columns.
macro_rules! kinds {
    ($(
        $(#[$doc:meta])*
        $kind:ident: $name:literal, $with_article:literal, $kernel_type:expr, $acceptance:ident, $rights:expr;
    )*) => {
        /// The kind of the kernel object that a handle refers to, as the kernel reports it.
        ///
        /// A table in `handover::os::linux` has the Linux counterpart of each kind.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ObjectKind {
            $($(#[$doc])* $kind,)*
            /// Any other kind, with the kernel's name for it.
            Other(Box<str>),
        }

        impl ObjectKind {
            /// Every kind except [`Other`](Self::Other).
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Returns the kind's name: "event". For [`Other`](Self::Other), returns the kernel's type name.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$kind => $name,)*
                    Self::Other(name) => name,
                }
            }

            fn with_article(&self) -> Option<&'static str> {
                match self {
                    $(Self::$kind => Some($with_article),)*
                    Self::Other(_) => None,
                }
            }

            /// Returns the kind that has this type name in the Windows kernel.
            pub(crate) fn of_kernel_type(name: &str) -> Self {
                $(if $kernel_type == Some(name) {
                    return Self::$kind;
                })*
                // A console in Wine. In Windows it is a file, and no process has a handle to a device object.
                if name == "Device" {
                    return Self::File;
                }
                Self::Other(name.into())
            }

            /// Returns whether a channel accepts the kind by default.
            pub(crate) fn is_accepted_by_default(&self) -> bool {
                match self {
                    $(Self::$kind => matches!(Acceptance::$acceptance, Acceptance::Accepted),)*
                    Self::Other(_) => false,
                }
            }

            /// Returns the documented names of the kind's access rights on Windows.
            pub(crate) fn rights(&self) -> Rights {
                match self {
                    $(Self::$kind => $rights,)*
                    Self::Other(name) => rights::of_other(name),
                }
            }
        }
    };
}

/// Whether a channel accepts a kind by default. A handle to a process, thread, job or token gives control over a
/// process, so a channel accepts these kinds only on request.
enum Acceptance {
    Accepted,
    OnRequest,
}

kinds! {
    // kind: name, with its article, type name of the Windows kernel, acceptance by channels, names of access rights

    /// An event.
    Event: "event", "an event", Some("Event"), Accepted, rights::EVENT;
    /// A mutex. The Windows kernel calls it a mutant.
    Mutex: "mutex", "a mutex", Some("Mutant"), Accepted, rights::MUTEX;
    /// A semaphore.
    Semaphore: "semaphore", "a semaphore", Some("Semaphore"), Accepted, rights::SEMAPHORE;
    /// Shared memory. Win32 calls it a file mapping, and the Windows kernel a section.
    SharedMemory: "shared memory", "shared memory", Some("Section"), Accepted, rights::SECTION;
    /// A waitable timer.
    Timer: "timer", "a timer", Some("Timer"), Accepted, rights::TIMER;
    /// A file, pipe, console or other device; on Windows also a socket whose plain handle is all that is known.
    File: "file", "a file", Some("File"), Accepted, rights::FILE;
    /// A socket. On Windows, one that has arrived as a socket: to the kernel, it is a file.
    Socket: "socket", "a socket", None, Accepted, rights::NONE;
    /// A process.
    Process: "process", "a process", Some("Process"), OnRequest, rights::PROCESS;
    /// A thread.
    Thread: "thread", "a thread", Some("Thread"), OnRequest, rights::THREAD;
    /// A job.
    Job: "job", "a job", Some("Job"), OnRequest, rights::JOB;
    /// An access token.
    Token: "token", "a token", Some("Token"), OnRequest, rights::TOKEN;
}

impl fmt::Display for ObjectKind {
    /// Writes the kind with its article: "an event".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.with_article() {
            Some(with_article) => f.write_str(with_article),
            None => write!(f, "an object of the kernel's type {:?}", self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_writes_the_article() {
        assert_eq!(ObjectKind::Event.to_string(), "an event");
        assert_eq!(ObjectKind::SharedMemory.to_string(), "shared memory");
        assert_eq!(ObjectKind::Other("Key".into()).to_string(), "an object of the kernel's type \"Key\"");
    }

    #[test]
    fn each_kind_has_a_unique_name() {
        for kind in ObjectKind::ALL {
            assert!(kind.to_string().ends_with(kind.name()), "{kind}");
            assert_eq!(
                ObjectKind::ALL.iter().filter(|other| other.name() == kind.name()).count(),
                1,
                "{kind}"
            );
        }
        let renamed = [
            ("Mutant", ObjectKind::Mutex),
            ("Section", ObjectKind::SharedMemory),
            ("Device", ObjectKind::File),
        ];
        for (name, kind) in renamed {
            assert_eq!(ObjectKind::of_kernel_type(name), kind);
        }
        // The kernel's type names are case sensitive.
        assert_eq!(ObjectKind::of_kernel_type("event"), ObjectKind::Other("event".into()));
    }

    #[test]
    fn kinds_that_control_a_process_are_not_accepted_by_default() {
        let on_request: Vec<&str> = ObjectKind::ALL
            .iter()
            .filter(|kind| !kind.is_accepted_by_default())
            .map(ObjectKind::name)
            .collect();
        assert_eq!(on_request, ["process", "thread", "job", "token"]);
        assert!(!ObjectKind::Other("Key".into()).is_accepted_by_default());
    }
}
