//! What can go wrong, by kinds that a program can match on.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::sys::value::EXPECTED;
use crate::{HandleValue, Kind};

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done.
///
/// Each message says which operation failed on which object, what came, and what to do about it. The error becomes
/// an [`io::Error`] by `?`, with the operating system's code where there is one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed for a reason that has no variant of its own.
    System {
        /// The call, by its name in the documentation.
        call: &'static str,
        /// What it was to be done with or for.
        what: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The deadline passed.
    TimedOut {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
    },
    /// The other process has ended, or is ending.
    PeerGone {
        /// Its id, for the log; by now it may be another process's.
        process: u32,
        /// What it was needed for.
        what: String,
    },
    /// A number that can't be a handle in any process.
    NotAHandle {
        /// The number or text, as it came.
        came: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value that is no open handle of this process.
    NotOpen {
        /// The handle, as it was given or told.
        what: String,
    },
    /// A handle that belongs to somebody else in this process, so that it can't be taken.
    NotYours {
        /// The handle's value.
        value: HandleValue,
        /// Whose it is.
        owner: &'static str,
    },
    /// A handle to an object of another kind than asked for.
    WrongKind {
        /// The handle, as it was given or told.
        what: String,
        /// The kind that was asked for.
        expected: Kind,
        /// The kernel's answer.
        found: Kind,
    },
    /// A handle that lacks the right for what was asked of it.
    MissingRight {
        /// The call that was refused.
        call: &'static str,
        /// What it was asked for.
        what: String,
        /// The right, by its name in the documentation.
        right: &'static str,
    },
    /// There is no such program.
    ProgramNotFound {
        /// The program, as it was given.
        program: String,
        /// Every file that was looked for.
        looked_at: Vec<PathBuf>,
    },
    /// A file that isn't a program but a script for `cmd.exe`, which reads a command line by other rules.
    BatchFile {
        /// The file.
        path: PathBuf,
    },
    /// A socket, which on Windows is more than its handle.
    Socket {
        /// What was to be done with it.
        what: String,
    },
    /// Nothing was handed down to this process by name.
    NothingInherited,
    /// What was handed down was meant for another process, whose environment this one has a copy of.
    NotForThisProcess {
        /// Which process it was meant for.
        meant_for: String,
        /// What this process is instead.
        this: String,
    },
    /// The variable in which a parent says what it hands down holds something else.
    BadManifest {
        /// The variable.
        variable: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing of this name was handed down, or came with the message.
    NoSuchName {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        names: Vec<String>,
    },
    /// The object of this name was taken before.
    AlreadyTaken {
        /// The name.
        name: String,
    },
    /// The other end of a channel was closed, by a process that lives on.
    Closed {
        /// The process that has the other end.
        process: u32,
    },
    /// Something came over a channel that this crate doesn't send. The channel has ended.
    Protocol {
        /// The process that has the other end.
        process: u32,
        /// The rule that it broke.
        why: &'static str,
    },
    /// A send was cut off before, by its deadline or a failure, and nothing can follow half a message.
    CutOff {
        /// The process that has the other end.
        process: u32,
    },
    /// An object of a kind that this end of the channel doesn't let in. It can't be taken, and is closed with its message.
    KindNotAllowed {
        /// The process that sent it.
        process: u32,
        /// The object's name.
        name: String,
        /// The kernel's answer to what it is.
        found: Kind,
    },
    /// This process has no channel to its parent.
    NoChannel,
    /// The name is in use.
    NameTaken {
        /// The name, as it was given.
        name: String,
    },
    /// Nothing has this name.
    NoSuchObject {
        /// The name, as it was given.
        name: String,
        /// The kind of object that was looked for.
        kind: Kind,
    },
    /// An object of another kind has this name.
    NameOfAnotherKind {
        /// The name, as it was given.
        name: String,
        /// The kind of object that was looked for.
        expected: Kind,
    },
    /// A mutex whose owner ended without releasing it: what it protects may be half changed.
    Abandoned,
    /// Another process is the single instance of this name.
    AlreadyRunning {
        /// The name, as it was given.
        name: String,
    },
    /// Nobody listens under this name.
    NobodyListens {
        /// The name, as it was given.
        name: String,
    },
    /// The process that listens under a name didn't let this one in.
    Refused {
        /// The process that listens.
        process: u32,
    },
    /// The process that listens under a name is another user's.
    OtherUser {
        /// The process that listens.
        process: u32,
        /// The user that it runs as.
        user: String,
    },
    /// An argument that no call could do anything with.
    InvalidInput {
        /// The argument.
        what: String,
        /// What is wrong with it, and what is expected.
        why: String,
    },
}

impl Error {
    /// The nearest kind of [`io::Error`], under the name that it has there.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::System { source, .. } => source.kind(),
            Self::TimedOut { .. } => io::ErrorKind::TimedOut,
            Self::PeerGone { .. } => io::ErrorKind::BrokenPipe,
            Self::Closed { .. } | Self::CutOff { .. } => io::ErrorKind::BrokenPipe,
            Self::BadManifest { .. } | Self::Protocol { .. } => io::ErrorKind::InvalidData,
            Self::NothingInherited
            | Self::NoSuchName { .. }
            | Self::NoChannel
            | Self::NobodyListens { .. } => io::ErrorKind::NotFound,
            Self::NotForThisProcess { .. } | Self::KindNotAllowed { .. } | Self::OtherUser { .. } => {
                io::ErrorKind::PermissionDenied
            }
            Self::NameTaken { .. } | Self::AlreadyRunning { .. } => io::ErrorKind::AlreadyExists,
            Self::NoSuchObject { .. } => io::ErrorKind::NotFound,
            Self::NameOfAnotherKind { .. } => io::ErrorKind::InvalidInput,
            Self::Abandoned => io::ErrorKind::Other,
            Self::Refused { .. } => io::ErrorKind::ConnectionRefused,
            Self::NotAHandle { .. }
            | Self::NotOpen { .. }
            | Self::NotYours { .. }
            | Self::WrongKind { .. }
            | Self::BatchFile { .. }
            | Self::Socket { .. }
            | Self::AlreadyTaken { .. }
            | Self::InvalidInput { .. } => io::ErrorKind::InvalidInput,
            Self::MissingRight { .. } => io::ErrorKind::PermissionDenied,
            Self::ProgramNotFound { .. } => io::ErrorKind::NotFound,
        }
    }

    /// The operating system's code, if it gave one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::System { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// A call failed. Of several that can have, the seam knows which it was, and otherwise it was this one.
    pub(crate) fn system(call: &'static str, what: String, source: io::Error) -> Self {
        Self::System { call: crate::sys::failed_call(&source).unwrap_or(call), what, source }
    }

    /// A call on a handle failed: because the handle isn't open, or for another reason.
    pub(crate) fn on_handle(call: &'static str, what: String, source: io::Error) -> Self {
        if crate::sys::handle::is_invalid_handle(&source) {
            return Self::NotOpen { what };
        }
        Self::system(call, what, source)
    }

    pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::InvalidInput { what: what.into(), why: why.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { call, what, source } => write!(f, "{call} failed for {what}: {source}"),
            Self::TimedOut { what, after } => write!(f, "{what} did not come within {after:?}"),
            Self::PeerGone { process, what } => {
                write!(f, "process {process} has ended, so there is no process to {what}")
            }
            Self::NotAHandle { came, why } => write!(
                f,
                "expected the number of a handle, {EXPECTED} in decimal or in hex with 0x; came {came}, which is {why}"
            ),
            Self::NotOpen { what } => write!(
                f,
                "{what} is no open handle: was it closed, or meant for another process?"
            ),
            Self::NotYours { value, owner } => {
                write!(f, "handle {value:#x} can't be taken: it is {owner} of this process")
            }
            Self::WrongKind { what, expected, found } => {
                write!(f, "expected {expected}; {what} refers to {found}")
            }
            Self::MissingRight { call, what, right } => write!(
                f,
                "{call} was refused for {what}: the right {right} is lacking; \
                 whoever opens, shares or may do it has to see to that"
            ),
            Self::ProgramNotFound { program, looked_at } => {
                write!(f, "there is no program {program:?}; looked for ")?;
                match looked_at.as_slice() {
                    [] => f.write_str("it in no folder, because none is searched for such a name"),
                    [first, rest @ ..] => {
                        write!(f, "{}", first.display())?;
                        rest.iter().try_for_each(|path| write!(f, ", {}", path.display()))
                    }
                }
            }
            Self::BatchFile { path } => write!(
                f,
                "{} is a batch file, for which arguments can't be quoted safely; start cmd.exe with it and write the \
                 command line with raw_arg",
                path.display()
            ),
            Self::Socket { what } => write!(
                f,
                "{what} is a socket, and Windows doesn't support a duplicate of its handle; listen or connect in the \
                 other process"
            ),
            Self::NothingInherited => f.write_str(
                "nothing was handed down to this process; its parent has to list objects with Command::inherit",
            ),
            Self::NotForThisProcess { meant_for, this } => write!(
                f,
                "what was handed down is meant for {meant_for}, and this is {this} with a copy of its environment; \
                 whoever has started this process has to hand objects down itself"
            ),
            Self::BadManifest { variable, why } => {
                write!(f, "the variable {variable} {why}; only who starts a process to hand things down should set it")
            }
            Self::NoSuchName { name, names } => {
                write!(f, "no object {name:?} has come; there ")?;
                match names.as_slice() {
                    [] => f.write_str("are none"),
                    [only] => write!(f, "is {only:?}"),
                    names => write!(f, "are {names:?}"),
                }
            }
            Self::AlreadyTaken { name } => write!(f, "the object {name:?} was taken before, and is its taker's"),
            Self::Closed { process } => write!(f, "process {process} has closed its end of the channel"),
            Self::Protocol { process, why } => {
                write!(f, "process {process} broke the rules of the channel, which has ended: {why}")
            }
            Self::CutOff { process } => write!(
                f,
                "the channel to process {process} has ended for sending, because a message was cut off, by its deadline or a failure"
            ),
            Self::KindNotAllowed { process, name, found } => write!(
                f,
                "process {process} sent {found} as {name:?}, and the channel lets no such object in; \
                 Channel::allow lets that kind in"
            ),
            Self::NoChannel => f.write_str(
                "this process has no channel to its parent, which has to start it with Command::channel",
            ),
            Self::NameTaken { name } => write!(
                f,
                "the name {name:?} is in use, by another program of that name or by one that squats on it"
            ),
            Self::NoSuchObject { name, kind } => {
                write!(f, "there is no object of the name {name:?}; expected {kind}: has its maker begun, or ended?")
            }
            Self::NameOfAnotherKind { name, expected } => {
                write!(f, "expected {expected} of the name {name:?}; an object of another kind has it")
            }
            Self::Abandoned => f.write_str(
                "the mutex's owner ended without releasing it, so what it protects may be half changed",
            ),
            Self::AlreadyRunning { name } => write!(f, "{name:?} is running already"),
            Self::NobodyListens { name } => write!(f, "nobody listens under the name {name:?}"),
            Self::Refused { process } => {
                write!(f, "process {process}, which listens under that name, did not let this process in")
            }
            Self::OtherUser { process, user } => write!(
                f,
                "process {process}, which listens under that name, is not this user's but runs as {user}"
            ),
            Self::InvalidInput { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    /// Keeps the operating system's error as it is, so that `raw_os_error` answers; any other becomes the inner error.
    fn from(error: Error) -> Self {
        match error {
            Error::System { source, .. } => source,
            other => Self::new(other.kind(), other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_becomes_an_io_error_with_its_code() {
        let source = || io::Error::from_raw_os_error(5);
        let error = Error::System { call: "OpenProcess", what: "process 4".into(), source: source() };
        assert_eq!(error.raw_os_error(), Some(5));
        assert_eq!(error.kind(), source().kind());
        assert_eq!(io::Error::from(error).raw_os_error(), Some(5));

        let error = Error::TimedOut { what: "the event".into(), after: Duration::from_secs(5) };
        assert_eq!(error.to_string(), "the event did not come within 5s");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_the_system_said_is_its_source() {
        use std::error::Error as _;
        let source = io::Error::from_raw_os_error(5);
        let error = Error::System { call: "OpenProcess", what: "process 4".into(), source };
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(5));
        let error = Error::TimedOut { what: "the event".into(), after: Duration::from_secs(5) };
        assert!(error.source().is_none());
        assert_eq!(error.raw_os_error(), None);
    }
}
