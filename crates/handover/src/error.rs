//! The crate's error type, with one variant for each failure that a program can handle.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::handle::escaped::Escaping;
use crate::handle::range::{EXPECTED, PSEUDO_HANDLE};
use crate::handle::{HandleValue, InvalidIdentity, InvalidValue, ObjectKind, ProcessIdentity};
use crate::sys::SysError;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why an operation failed.
///
/// Each message says which operation failed, on which object, and what to do about it. The `?` operator converts the
/// error into an [`io::Error`] that keeps the operating system's code, if the system gave one.
///
/// `{:?}` writes the same message as `{}`, because `main` prints the error that it returns with `{:?}`, and so do
/// [`unwrap`](Result::unwrap) and [`expect`](Result::expect). `{:#?}` writes the variant with its fields.
#[non_exhaustive]
pub enum Error {
    /// A system call failed for a reason that has no variant of its own.
    #[non_exhaustive]
    System {
        /// The call, by its documented name.
        call: &'static str,
        /// The object or the operation that the call was made for.
        context: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// The timeout passed before the awaited event.
    #[non_exhaustive]
    TimedOut {
        /// The event that did not happen in time.
        waiting_for: String,
        /// The timeout.
        timeout: Duration,
    },
    /// The other process has exited or is exiting.
    #[non_exhaustive]
    ProcessExited {
        /// Its process id, for logs. The system may have given it to another process by now.
        pid: u32,
        /// The operation that needed the process.
        context: String,
    },
    /// A number or text that can't be a handle value in any process.
    #[non_exhaustive]
    InvalidHandleValue {
        /// The number or text.
        input: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A handle value under which this process has no open handle.
    #[non_exhaustive]
    InvalidHandle {
        /// The handle.
        object: String,
    },
    /// A handle that other code of this process owns, so it can't be adopted.
    #[non_exhaustive]
    HandleInUse {
        /// The handle's value.
        value: HandleValue,
        /// The owner.
        owner: &'static str,
    },
    /// The object has another kind than the requested type.
    #[non_exhaustive]
    WrongKind {
        /// The object.
        object: String,
        /// The kind of the requested type.
        expected: ObjectKind,
        /// The kind that the kernel reports.
        found: ObjectKind,
    },
    /// The handle lacks the access right that the call needs.
    #[non_exhaustive]
    AccessDenied {
        /// The refused call, by its documented name.
        call: &'static str,
        /// The object.
        object: String,
        /// The missing right, by its documented name.
        right: &'static str,
    },
    /// No program of this name was found.
    #[non_exhaustive]
    ProgramNotFound {
        /// The program, as the caller gave it.
        program: String,
        /// Each file that was tried.
        searched: Vec<PathBuf>,
    },
    /// The program's file was found, but can't be started.
    #[non_exhaustive]
    CannotExecute {
        /// The file.
        program: String,
        /// The reason: the file that was found, and the obstacle.
        reason: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// The program is a batch file. It was not started, because the quoting rules of `cmd.exe` make its arguments
    /// unsafe.
    #[non_exhaustive]
    BatchFile {
        /// The file.
        path: PathBuf,
    },
    /// A socket where only a handle can be shared. On Windows a socket is more than its handle, whose duplicate other processes
    /// can't use. So it is listed for a child, or sent in a message, as a `TcpListener`, `TcpStream`, `UdpSocket`,
    /// `BorrowedSocket` or `OwnedSocket`, and can be neither a standard stream nor duplicated by its handle's value.
    #[non_exhaustive]
    SocketUnsupported {
        /// The socket.
        object: String,
    },
    /// This process inherited no objects by name: no parent listed any for it.
    #[non_exhaustive]
    NothingInherited,
    /// The list of inherited objects in the environment, the manifest, was written for another process. This process
    /// only has a copy of that process's environment.
    #[non_exhaustive]
    ManifestMismatch {
        /// The environment variable.
        name: &'static str,
        /// The process that the manifest was written for.
        expected: String,
        /// This process.
        found: String,
    },
    /// The environment variable with the list of inherited objects is malformed.
    #[non_exhaustive]
    InvalidManifest {
        /// The environment variable.
        name: &'static str,
        /// The mistake, and the way to mend it.
        reason: &'static str,
    },
    /// The parent or the message has no object with this name.
    #[non_exhaustive]
    UnknownName {
        /// The requested name.
        name: String,
        /// The names that exist.
        available: Vec<String>,
    },
    /// The object has already been taken.
    #[non_exhaustive]
    AlreadyTaken {
        /// A description of the object, such as `the object "ready"`.
        object: String,
    },
    /// The peer process closed its endpoint of the channel. The process may still be running.
    #[non_exhaustive]
    Disconnected {
        /// The peer's process id.
        pid: u32,
    },
    /// The peer sent data that breaks the channel's protocol. The channel can't be used any more.
    #[non_exhaustive]
    Protocol {
        /// The peer's process id.
        pid: u32,
        /// The rule that it broke.
        reason: &'static str,
    },
    /// The other process uses a version of handover whose format this process doesn't understand.
    ///
    /// Both processes get this error at their first contact: of a channel and its listener, and of the list that a child
    /// inherits. Only the child gets the last one.
    #[non_exhaustive]
    IncompatibleVersion {
        /// The version of the format that this process understands.
        ours: u32,
        /// The version that the other process uses.
        theirs: u32,
    },
    /// A message with endpoints of channels was not sent. [`take_channel`](Error::take_channel) gives them back.
    #[non_exhaustive]
    NotSent {
        /// The reason.
        source: Box<Self>,
        /// The endpoints, for `take_channel`.
        returned: Returned,
    },
    /// An earlier send was interrupted in the middle of a message, so nothing more can be sent.
    #[non_exhaustive]
    PartialSend {
        /// The peer's process id.
        pid: u32,
    },
    /// A received message has an object of a kind that this endpoint does not accept. All objects of the message are closed.
    #[non_exhaustive]
    KindNotAllowed {
        /// The peer's process id.
        pid: u32,
        /// The object's name in the message.
        name: String,
        /// The kind that the kernel reports.
        found: ObjectKind,
    },
    /// A received message is no value of the expected type (feature `serde`). All objects of the message are closed, and the
    /// channel stays usable.
    #[non_exhaustive]
    InvalidValue {
        /// The peer's process id.
        pid: u32,
        /// The expected type.
        expected: &'static str,
        /// The rule that the message breaks.
        reason: String,
    },
    /// This process was started without a channel to its parent.
    #[non_exhaustive]
    NoParentChannel,
    /// The name is already in use, so nothing can be created under it. The calls that create return this error
    /// for an object of any kind.
    #[non_exhaustive]
    NameInUse {
        /// The name.
        name: String,
    },
    /// No object has this name.
    #[non_exhaustive]
    ObjectNotFound {
        /// The name.
        name: String,
        /// The requested kind.
        expected: ObjectKind,
    },
    /// An object of another kind has this name, so it can't be opened as the requested type.
    #[non_exhaustive]
    NameKindMismatch {
        /// The name.
        name: String,
        /// The requested kind.
        expected: ObjectKind,
        /// The kind of the object that has the name. `None` on Windows, which doesn't report it.
        found: Option<ObjectKind>,
    },
    /// The mutex's last owner exited without releasing it, so the data that it protects may be inconsistent.
    #[non_exhaustive]
    Abandoned,
    /// Another instance of the program is running.
    #[non_exhaustive]
    AlreadyRunning {
        /// The instance's name.
        name: String,
    },
    /// No process listens under this name.
    #[non_exhaustive]
    NoListener {
        /// The name.
        name: String,
    },
    /// The listening process refused the connection.
    #[non_exhaustive]
    ConnectionRefused {
        /// The listener's process id.
        pid: u32,
    },
    /// The listening process runs as another user.
    #[non_exhaustive]
    OtherUser {
        /// The listener's process id.
        pid: u32,
        /// The user that it runs as.
        user: String,
        /// The name that it serves.
        name: String,
    },
    /// An argument that the call can't accept.
    #[non_exhaustive]
    InvalidInput {
        /// The argument.
        input: String,
        /// The rule that it breaks.
        reason: String,
    },
}

impl Error {
    /// Returns the nearest [`io::ErrorKind`].
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::System { source, .. } | Self::CannotExecute { source, .. } => source.kind(),
            Self::TimedOut { .. } => io::ErrorKind::TimedOut,
            Self::ProcessExited { .. } | Self::Disconnected { .. } | Self::PartialSend { .. } => {
                io::ErrorKind::BrokenPipe
            }
            Self::InvalidManifest { .. } | Self::Protocol { .. } | Self::InvalidValue { .. } => {
                io::ErrorKind::InvalidData
            }
            Self::NothingInherited
            | Self::UnknownName { .. }
            | Self::NoParentChannel
            | Self::NoListener { .. }
            | Self::ObjectNotFound { .. }
            | Self::ProgramNotFound { .. } => io::ErrorKind::NotFound,
            Self::ManifestMismatch { .. }
            | Self::KindNotAllowed { .. }
            | Self::OtherUser { .. }
            | Self::AccessDenied { .. } => io::ErrorKind::PermissionDenied,
            Self::NameInUse { .. } | Self::AlreadyRunning { .. } => io::ErrorKind::AlreadyExists,
            Self::IncompatibleVersion { .. } => io::ErrorKind::Unsupported,
            Self::NotSent { source, .. } => source.kind(),
            Self::Abandoned => io::ErrorKind::Other,
            Self::ConnectionRefused { .. } => io::ErrorKind::ConnectionRefused,
            Self::InvalidHandleValue { .. }
            | Self::InvalidHandle { .. }
            | Self::HandleInUse { .. }
            | Self::WrongKind { .. }
            | Self::BatchFile { .. }
            | Self::SocketUnsupported { .. }
            | Self::AlreadyTaken { .. }
            | Self::NameKindMismatch { .. }
            | Self::InvalidInput { .. } => io::ErrorKind::InvalidInput,
        }
    }

    /// Returns the operating system's error code, if the system gave one.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        match self {
            Self::System { source, .. } | Self::CannotExecute { source, .. } => source.raw_os_error(),
            Self::ProgramNotFound { .. } => Some(NO_FILE),
            Self::NotSent { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// Creates the error of a failed system call. `context` is a noun phrase for the object or the operation.
    pub(crate) fn system(context: impl Into<String>, error: SysError) -> Self {
        let SysError { call, source } = error;
        Self::System { call, context: context.into(), source }
    }

    /// Creates the error of a failed system call on a handle: [`InvalidHandle`](Self::InvalidHandle) if the handle
    /// isn't open, otherwise [`system`](Self::system).
    pub(crate) fn on_handle(object: impl Into<String>, error: SysError) -> Self {
        if crate::sys::handle::is_invalid_handle(&error) {
            return Self::InvalidHandle { object: object.into() };
        }
        Self::system(object, error)
    }

    /// Creates the error of an invalid argument. `reason` is a predicate: "is empty".
    pub(crate) fn invalid(input: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidInput { input: input.into(), reason: reason.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_to(&mut Escaping(f))
    }
}

impl Error {
    fn write_to(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        match self {
            Self::System { call, context, source } => write!(f, "{call} failed for {context}: {source}"),
            Self::TimedOut { waiting_for, timeout } => {
                write!(f, "timed out after {}: waiting for {waiting_for}", Rounded(*timeout))
            }
            Self::ProcessExited { pid, context } if context == OPEN_BY_ID => {
                write!(f, "cannot {context}: no process has the id {pid}; it may have exited, so check the id")
            }
            Self::ProcessExited { pid, context } => {
                write!(f, "cannot {context}: {} has exited", ProcessName(*pid))
            }
            Self::InvalidHandleValue { input, reason: MISSING } => write!(
                f,
                "{input} is missing; expected a handle value: {EXPECTED}, in decimal or in hex with 0x"
            ),
            // A text is quoted in the input, a number isn't.
            Self::InvalidHandleValue { input, reason } if input.contains('"') => write!(
                f,
                "{input} is not a handle value ({reason}); expected {EXPECTED}, in decimal or in hex with 0x"
            ),
            Self::InvalidHandleValue { input, reason } => {
                write!(f, "{input} is not a handle value ({reason}); expected {EXPECTED}")?;
                if reason.contains(PSEUDO_HANDLE) {
                    f.write_str("; a duplicate of the pseudo handle has one (try_clone_to_owned)")?;
                }
                Ok(())
            }
            Self::InvalidHandle { object } => write!(
                f,
                "{object} is not open; check whether it was closed already, or whether the value belongs to a handle of \
                 another process"
            ),
            Self::HandleInUse { value, owner } => write!(
                f,
                "cannot adopt handle {}: it is {owner} of this process; use it through std::io instead",
                value.for_people()
            ),
            Self::WrongKind { object, expected, found } => {
                write!(f, "{object} is {found}; expected {expected}")
            }
            Self::AccessDenied { call, object, right } => {
                write!(f, "{call} was denied for {object}: ")?;
                if right.starts_with(TO_TRACE) {
                    write!(
                        f,
                        "this process lacks the right {right}; run this process as the other one's user, or as root with \
                         CAP_SYS_PTRACE, or let the other process send its objects on a channel"
                    )
                } else {
                    write!(f, "the handle lacks the right {right}; open or share it with that right")
                }
            }
            Self::ProgramNotFound { program, searched } => {
                write!(f, "program {program:?} not found")?;
                let is_path = Path::new(program).parent().is_some_and(|folder| folder != Path::new(""));
                let tried: Vec<&Path> = match is_path {
                    true => searched.iter().map(PathBuf::as_path).collect(),
                    false => searched.iter().filter_map(|file| file.parent()).collect(),
                };
                // `PATH` often lists a folder twice, and on Windows two files are tried in each folder.
                let mut distinct: Vec<&Path> = Vec::with_capacity(tried.len());
                for path in tried {
                    if !distinct.contains(&path) {
                        distinct.push(path);
                    }
                }
                match (distinct.as_slice(), is_path) {
                    ([], _) => f.write_str(": PATH has no absolute path of a folder; give the program's path"),
                    ([file], true) if *file == Path::new(program) => {
                        f.write_str(": there is no file at this path; check the path")
                    }
                    (files, true) => write!(f, ": there is no file {}; check the path", Listing(files, " or ")),
                    (folders, false) => {
                        write!(f, " in {}; install it, or give its path", Listing(folders, ", "))
                    }
                }
            }
            Self::CannotExecute { program, reason, source } => {
                write!(f, "cannot start {program:?} ({source}): it {reason}")
            }
            Self::BatchFile { path } => write!(
                f,
                "{path:?} is a batch file, whose arguments can't be quoted safely; start cmd.exe and pass the command \
                 line with raw_arg"
            ),
            Self::SocketUnsupported { object } => write!(
                f,
                "{object} is a socket, whose handle alone can't be duplicated on Windows; list it with Command::inherit or send it in a \
                 message, as a TcpListener, TcpStream, UdpSocket or BorrowedSocket"
            ),
            Self::NothingInherited => f.write_str(
                "this process inherited no listed objects; its parent must list them with Command::inherit",
            ),
            Self::ManifestMismatch { name, expected, found } => {
                let advice = match *name {
                    LISTEN_PID => "to pass sockets to this process, the service manager must start it directly",
                    _ => "to pass objects to this process, its parent must list them with Command::inherit",
                };
                write!(
                    f,
                    "this process inherited no objects: the environment variable {name} was written for {expected}, and \
                     this is {found}, which only has a copy of it; {advice}"
                )
            }
            Self::InvalidManifest { name, reason } => write!(
                f,
                "the environment variable {name}, from which the inherited objects are taken, is invalid: it {reason}"
            ),
            Self::UnknownName { name, available } => {
                write!(f, "no object is named {name:?}; ")?;
                match available.as_slice() {
                    [] => f.write_str("there are no objects, so let the sender add it"),
                    names => write!(f, "use a name that the sender gave: {}", Listing(names, ", ")),
                }
            }
            Self::AlreadyTaken { object } => write!(
                f,
                "{object} has already been taken; each object can be taken once, so keep the object that the first call \
                 returned"
            ),
            // A channel of `Channel::pair` can have both endpoints in this process.
            Self::Disconnected { pid } if *pid == std::process::id() => f.write_str(
                "this process has closed the channel: it called Channel::close, or dropped one of the endpoints; no more \
                 messages can be sent or received",
            ),
            Self::Disconnected { pid } => write!(
                f,
                "{} has closed its endpoint of the channel: it dropped its Channel or returned from main; it must keep \
                 the Channel for as long as it is to send or to receive",
                ProcessName(*pid)
            ),
            Self::Protocol { pid, reason } => {
                let advice = if reason.contains("(Limits::") {
                    "let it send less, or raise the limit (set_limits)"
                } else {
                    "check that both programs use the same version of handover"
                };
                write!(
                    f,
                    "{} broke the channel's protocol, so the channel is closed: {reason}; {advice}",
                    ProcessName(*pid)
                )
            }
            Self::IncompatibleVersion { ours, theirs } => write!(
                f,
                "the other process uses version {theirs} of handover's format, and this one understands version {ours}; \
                 build both programs with the same version of handover"
            ),
            Self::NotSent { source, .. } => {
                source.write_to(f)?;
                f.write_str("; the message's channels were not sent (Error::take_channel returns them)")
            }
            Self::PartialSend { pid } => write!(
                f,
                "cannot send to {}: an earlier message was interrupted by its timeout or by an error, and a channel \
                 can't continue after a part of a message; connect again, or start the child again",
                ProcessName(*pid)
            ),
            Self::KindNotAllowed { pid, name, found } => write!(
                f,
                "{} sent {found} as {name:?}, which this channel does not accept; call Channel::allow to accept that \
                 kind",
                ProcessName(*pid)
            ),
            Self::InvalidValue { pid, expected, reason } => write!(
                f,
                "{} sent a message that is no {expected}: {reason}; check that both programs use the same definition of the type",
                ProcessName(*pid)
            ),
            Self::NoParentChannel => f.write_str(
                "this process has no channel to its parent; the parent must start it with Command::channel",
            ),
            Self::NameInUse { name } => write!(
                f,
                "the name {name:?} is already in use; choose another name, or let the process that uses it release it"
            ),
            Self::ObjectNotFound { name, expected } => write!(
                f,
                "no {} has the name {name:?}; check that the process that creates it is running and still has it open",
                expected.name()
            ),
            Self::NameKindMismatch { name, expected, found } => {
                match found {
                    Some(found) => write!(f, "the name {name:?} belongs to {found}")?,
                    None => write!(f, "the name {name:?} belongs to an object of another kind")?,
                }
                write!(f, "; expected {expected}: open it as its own type, or choose another name")
            }
            Self::Abandoned => f.write_str(
                "the mutex was abandoned: its owner exited without releasing it, so the protected data may be \
                 inconsistent; check the data before you use it",
            ),
            Self::AlreadyRunning { name } => write!(f, "another instance of {name:?} is already running"),
            Self::NoListener { name } => {
                write!(f, "no process listens under the name {name:?}; check whether the server is running")
            }
            Self::ConnectionRefused { pid } => write!(
                f,
                "{} refused the connection, or dropped its Listener before it accepted this process; check which \
                 clients it accepts, or try again",
                ProcessName(*pid)
            ),
            Self::OtherUser { pid, user, name } => write!(
                f,
                "{} of user {user} serves the name {name:?}; only processes of your own user are trusted, so run both \
                 programs as one user, or choose another name",
                ProcessName(*pid)
            ),
            Self::InvalidInput { input, reason } => write!(f, "{input} {reason}"),
        }
    }
}

/// Writes `{:?}` as [`Display`](fmt::Display) does, and `{:#?}` as the derived implementation would.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Lists each variant with all its fields; the compiler rejects an incomplete list.
        macro_rules! structure {
            ($($variant:ident { $($field:ident),* })*) => {
                match self {
                    $(Self::$variant { $($field),* } => {
                        f.debug_struct(stringify!($variant))$(.field(stringify!($field), $field))*.finish()
                    })*
                }
            };
        }
        if !f.alternate() {
            return fmt::Display::fmt(self, f);
        }
        structure! {
            System { call, context, source }
            TimedOut { waiting_for, timeout }
            ProcessExited { pid, context }
            InvalidHandleValue { input, reason }
            InvalidHandle { object }
            HandleInUse { value, owner }
            WrongKind { object, expected, found }
            AccessDenied { call, object, right }
            ProgramNotFound { program, searched }
            CannotExecute { program, reason, source }
            BatchFile { path }
            SocketUnsupported { object }
            NothingInherited {}
            ManifestMismatch { name, expected, found }
            InvalidManifest { name, reason }
            UnknownName { name, available }
            AlreadyTaken { object }
            Disconnected { pid }
            Protocol { pid, reason }
            IncompatibleVersion { ours, theirs }
            NotSent { source, returned }
            PartialSend { pid }
            KindNotAllowed { pid, name, found }
            InvalidValue { pid, expected, reason }
            NoParentChannel {}
            NameInUse { name }
            ObjectNotFound { name, expected }
            NameKindMismatch { name, expected, found }
            Abandoned {}
            AlreadyRunning { name }
            NoListener { name }
            ConnectionRefused { pid }
            OtherUser { pid, user, name }
            InvalidInput { input, reason }
        }
    }
}

/// The variable with which a service manager says for which process its descriptors are.
pub(crate) const LISTEN_PID: &str = "LISTEN_PID";

/// The system's code for a file that doesn't exist: `ENOENT` on Linux, `ERROR_FILE_NOT_FOUND` on Windows.
const NO_FILE: i32 = 2;

/// The context of [`Error::ProcessExited`] for an id that no process has. Such a process may never have existed.
pub(crate) const OPEN_BY_ID: &str = "open the process by its id";

/// The reason in [`Error::InvalidHandleValue`] if no text is there to read.
pub(crate) const MISSING: &str = "missing";

/// The beginning of the right in [`Error::AccessDenied`] if this process may not trace another one on Linux.
pub(crate) const TO_TRACE: &str = "to trace";

/// Values that an operation didn't take, which the module of the operation knows.
pub struct Returned(pub(crate) Box<dyn std::any::Any + Send + Sync>);

/// A process in a message. The kernel gives the id 0 to a process that this process's PID namespace doesn't show, and the
/// holder of an endpoint that travels isn't known.
pub(crate) struct ProcessName(pub(crate) u32);

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("the peer process (whose id isn't known)"),
            pid => write!(f, "process {pid}"),
        }
    }
}

/// Quoted texts with a separator.
struct Listing<'a, T>(&'a [T], &'a str);

impl<T: fmt::Debug> fmt::Display for Listing<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(texts, separator) = self;
        texts.iter().enumerate().try_for_each(|(index, text)| {
            f.write_str(if index == 0 { "" } else { separator })?;
            write!(f, "{text:?}")
        })
    }
}

/// A duration, rounded for messages: in milliseconds below ten seconds, otherwise in seconds with one decimal. Whole
/// seconds are written without decimals.
struct Rounded(Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanoseconds) = (self.0.as_secs(), self.0.subsec_nanos());
        match (seconds, nanoseconds.div_ceil(1_000_000)) {
            (_, 0) => write!(f, "{seconds} s"),
            (_, 1000) => write!(f, "{} s", seconds.saturating_add(1)),
            (..10, milliseconds) => write!(f, "{} ms", seconds * 1000 + u64::from(milliseconds)),
            // Without floating-point numbers, whose formatting is much code.
            _ => {
                let tenths = (nanoseconds + 50_000_000) / 100_000_000;
                write!(f, "{}.{} s", seconds.saturating_add(u64::from(tenths / 10)), tenths % 10)
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } | Self::CannotExecute { source, .. } => Some(source),
            Self::NotSent { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    /// Keeps the operating system's error, so that `raw_os_error` works; any other error becomes the inner error.
    ///
    /// A program that isn't found becomes the error that std's `Command` returns for it.
    fn from(error: Error) -> Self {
        match error {
            Error::System { source, .. } | Error::CannotExecute { source, .. } => source,
            Error::ProgramNotFound { .. } => Self::from_raw_os_error(NO_FILE),
            other => Self::new(other.kind(), other),
        }
    }
}

impl From<InvalidValue> for Error {
    fn from(InvalidValue { input, reason }: InvalidValue) -> Self {
        Self::InvalidHandleValue { input, reason }
    }
}

impl From<InvalidIdentity> for Error {
    fn from(InvalidIdentity { input }: InvalidIdentity) -> Self {
        Self::invalid(
            format!("{input:?}"),
            "is not a process identity; expected the process id, @, and the creation time in hex",
        )
    }
}

impl TryFrom<u64> for HandleValue {
    type Error = Error;

    fn try_from(number: u64) -> Result<Self> {
        Ok(Self::new(number)?)
    }
}

impl TryFrom<usize> for HandleValue {
    type Error = Error;

    fn try_from(number: usize) -> Result<Self> {
        // In a 32-bit process, INVALID_HANDLE_VALUE has 32 bits set instead of 64. The check refuses both.
        Self::try_from(number as u64)
    }
}

impl FromStr for HandleValue {
    type Err = Error;

    /// Parses decimal digits, or hex digits after `0x`.
    fn from_str(text: &str) -> Result<Self> {
        Ok(Self::parse(text)?)
    }
}

impl FromStr for ProcessIdentity {
    type Err = Error;

    /// Parses the text that `Display` writes.
    fn from_str(text: &str) -> Result<Self> {
        Ok(Self::parse(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access_denied() -> Error {
        let source = io::Error::from_raw_os_error(5);
        Error::System { call: "OpenProcess", context: "process 4".into(), source }
    }

    fn timed_out() -> Error {
        Error::TimedOut { waiting_for: "the event".into(), timeout: Duration::from_secs(5) }
    }

    #[test]
    fn conversion_to_io_error_keeps_the_code() {
        assert_eq!(access_denied().raw_os_error(), Some(5));
        assert_eq!(access_denied().kind(), io::Error::from_raw_os_error(5).kind());
        assert_eq!(io::Error::from(access_denied()).raw_os_error(), Some(5));

        assert_eq!(timed_out().to_string(), "timed out after 5 s: waiting for the event");
        assert_eq!(io::Error::from(timed_out()).kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn durations_are_rounded_for_people() {
        let shown = |nanoseconds| Rounded(Duration::from_nanos(nanoseconds)).to_string();
        let times = [0, 1, 1_199_999_620, 300_000_000, 5_000_000_000, 12_345_678_901, 90_000_000_000];
        assert_eq!(times.map(shown), ["0 s", "1 ms", "1200 ms", "300 ms", "5 s", "12.3 s", "90 s"]);
    }

    #[test]
    fn source_is_the_system_error() {
        use std::error::Error as _;
        let error = access_denied();
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(5));
        assert!(timed_out().source().is_none());
        assert_eq!(timed_out().raw_os_error(), None);
    }

    #[test]
    fn message_has_no_control_characters() {
        let name = "\u{1b}]0;title\u{7}\n";
        let error = Error::InvalidInput { input: format!("the name {name}"), reason: name.into() };
        let missing = Error::System {
            call: "open",
            context: name.into(),
            source: io::Error::other(format!("no file {name}")),
        };
        for text in [error.to_string(), format!("{error:?}"), missing.to_string()] {
            assert!(!text.contains(char::is_control) && text.contains("title"), "{text:?}");
        }
    }

    #[test]
    fn debug_writes_the_message_and_alternate_debug_the_fields() {
        let error = Error::NameInUse { name: "ready".into() };
        assert_eq!(format!("{error:?}"), error.to_string());
        assert_eq!(format!("{error:#?}"), "NameInUse {\n    name: \"ready\",\n}");
        assert_eq!(format!("{:#?}", Error::NothingInherited), "NothingInherited");
    }

    #[test]
    fn program_not_found_lists_each_folder_once() {
        let missing = |program: &str, searched: &[&str]| {
            let searched = searched.iter().map(PathBuf::from).collect();
            Error::ProgramNotFound { program: program.into(), searched }.to_string()
        };
        assert_eq!(
            missing("worker", &["/b/worker.exe", "/b/worker", "/a/worker", "/b/worker"]),
            "program \"worker\" not found in \"/b\", \"/a\"; install it, or give its path"
        );
        assert_eq!(
            missing("./worker", &["/a/worker.exe", "/a/worker"]),
            "program \"./worker\" not found: there is no file \"/a/worker.exe\" or \"/a/worker\"; check the path"
        );
        assert_eq!(
            missing("/a/worker", &["/a/worker"]),
            "program \"/a/worker\" not found: there is no file at this path; check the path"
        );
        assert!(missing("worker", &[]).contains("PATH has no absolute path"));
    }

    #[test]
    fn invalid_handle_values_are_explained_by_their_source() {
        let message =
            |input: &str, reason| Error::InvalidHandleValue { input: input.into(), reason }.to_string();
        let of_text = message("the argument 1, \"x\",", "not a number");
        assert!(of_text.ends_with("in decimal or in hex with 0x"), "{of_text}");
        let of_number = message("2147483648", "negative as a 32-bit number");
        assert!(of_number.ends_with(EXPECTED), "{of_number}");
        let pseudo = message("18446744073709551615", "a pseudo handle");
        assert!(
            pseudo.ends_with("a duplicate of the pseudo handle has one (try_clone_to_owned)"),
            "{pseudo}"
        );
    }

    #[test]
    fn process_of_another_namespace_has_no_number() {
        let error = Error::Disconnected { pid: 0 }.to_string();
        assert!(error.starts_with("the peer process (whose id isn't known) has closed"), "{error}");
        assert!(Error::Disconnected { pid: 7 }.to_string().starts_with("process 7 has closed"));
    }

    #[test]
    fn exceeded_limit_isnt_blamed_on_the_version() {
        let message = |reason| Error::Protocol { pid: 7, reason }.to_string();
        let of_limit = message("a message has more bytes than this endpoint accepts (Limits::bytes)");
        assert!(of_limit.ends_with("let it send less, or raise the limit (set_limits)"), "{of_limit}");
        let of_rule = message("a header is too short");
        assert!(of_rule.ends_with("use the same version of handover"), "{of_rule}");
    }
}
