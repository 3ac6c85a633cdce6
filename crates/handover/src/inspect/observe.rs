//! Runs a command and all processes that it starts, reports what they do with handles, and can hold or change them.
//!
//! Not part of the API: `handover check` uses it. Everything here means the same on each system; the system's half makes
//! these reports from its own calls.

#![allow(clippy::missing_const_for_thread_local, reason = "it is const; on Windows the lint doesn't see it")]

use std::cell::Cell;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::handle::HandleValue;

/// The kind of an object, as far as a call shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An event; on Linux an eventfd.
    Event,
    /// A semaphore; on Linux one that `sem_open` maps.
    Semaphore,
    /// A mutex.
    Mutex,
    /// An unnamed pipe.
    Pipe,
    /// A pipe with a name; on Linux a FIFO.
    NamedPipe,
    /// A socket.
    Socket,
    /// Shared memory.
    SharedMemory,
    /// A process.
    Process,
    /// A timer.
    Timer,
    /// Any other kind.
    Other,
}

/// The thing that a call signals or waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// An object, by a handle of the calling process.
    Handle(HandleValue),
    /// An object in memory that the calling process has mapped at this address. On Linux a semaphore is used so, without
    /// a handle.
    Mapped(u64),
}

impl From<HandleValue> for Target {
    fn from(value: HandleValue) -> Self {
        Self::Handle(value)
    }
}

/// The handles that a new process inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inherits {
    /// All inheritable handles of its parent.
    Everything,
    /// Those of a list.
    Listed(Vec<HandleValue>),
    /// None.
    Nothing,
}

/// The effect of a system call on handles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Creates an object. Its handles are in the outcome.
    Create {
        /// The object's kind.
        kind: Kind,
        /// Its name, if it has one.
        name: Option<String>,
        /// Whether a child that inherits all inheritable handles gets the new handle.
        inheritable: bool,
    },
    /// Opens an object by its name, or connects to it. The handle is in the outcome, or is `handle`.
    Open {
        /// The object's kind.
        kind: Kind,
        /// The name.
        name: String,
        /// The rights that the caller asks for, in words.
        access: String,
        /// The handle that the caller had before the call, if the call opens no new one.
        handle: Option<HandleValue>,
    },
    /// Gives an object a name. Without a handle, it is an object that has the other name `from`.
    Publish {
        /// The object's handle.
        handle: Option<HandleValue>,
        /// The object's name before.
        from: Option<String>,
        /// The new name.
        name: String,
    },
    /// Maps an object into memory.
    Map {
        /// The object's handle.
        handle: HandleValue,
    },
    /// Duplicates a handle from one process's table into another one.
    Duplicate {
        /// The process that has the handle.
        from: u32,
        /// The handle's value there.
        value: HandleValue,
        /// The process that gets the duplicate.
        to: u32,
        /// The rights that the caller asks for, in words; `None` if the duplicate has those of the handle.
        access: Option<String>,
    },
    /// Sets whether children inherit these handles.
    SetInheritable {
        /// The handles.
        handles: Vec<HandleValue>,
        /// Whether children inherit them.
        on: bool,
    },
    /// Starts a process.
    Spawn {
        /// The handles that it inherits.
        inherits: Inherits,
    },
    /// Signals an object.
    Signal {
        /// The object.
        target: Target,
    },
    /// Sets an object back to the state before the signal.
    Reset {
        /// The object.
        target: Target,
    },
    /// Signals an object for the threads that wait at this moment only.
    Pulse {
        /// The object.
        target: Target,
    },
    /// Waits until an object is signaled, or a process exits.
    Wait {
        /// The objects.
        targets: Vec<Target>,
        /// The processes.
        processes: Vec<u32>,
        /// The processes of the threads for whose end it waits; on Windows only.
        threads: Vec<u32>,
        /// How long the call waits; `None` waits without limit.
        timeout: Option<Duration>,
    },
    /// Reads bytes.
    Read {
        /// The handle.
        handle: HandleValue,
        /// At most this many bytes.
        length: u64,
        /// Whether the call waits for bytes.
        blocks: bool,
    },
    /// Writes bytes.
    Write {
        /// The handle.
        handle: HandleValue,
        /// The number of bytes.
        length: u64,
    },
    /// Sends handles in a message.
    Send {
        /// The socket or pipe.
        handle: HandleValue,
        /// The handles in the message.
        handles: Vec<HandleValue>,
    },
    /// Receives a message, with handles in the outcome.
    Receive {
        /// The socket or pipe.
        handle: HandleValue,
        /// Whether the call waits for a message.
        blocks: bool,
    },
    /// Closes handles.
    Close {
        /// The handles.
        handles: Vec<HandleValue>,
    },
    /// Opens a process. The handle is in the outcome.
    OpenProcess {
        /// The process.
        process: u32,
        /// The rights that the caller asks for, in words.
        access: String,
    },
    /// Sleeps.
    Sleep {
        /// For how long.
        time: Duration,
    },
}

/// A system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The system's name of the call.
    pub function: &'static str,
    /// Its effect.
    pub action: Action,
}

/// How a call returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded with this number, such as a count of bytes.
    Done(i64),
    /// It opened these handles.
    Opened(Vec<HandleValue>),
    /// It mapped memory at this address.
    Mapped(u64),
    /// A wait ended because an object was signaled or a process exited.
    Signaled,
    /// A wait ended at its timeout, or found nothing to wait for.
    TimedOut,
    /// It failed with this code of the system.
    Failed(i32),
}

/// One step of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A process is about to begin a program. None of its instructions has run.
    Started {
        /// The parent's id.
        parent: u32,
        /// The path of the program.
        program: PathBuf,
        /// The arguments, with the program's own name. On Windows it is one text, the command line.
        arguments: Vec<OsString>,
    },
    /// A process copied itself and hasn't begun a program of its own; on Linux only. `thread` is the copying thread.
    Forked {
        /// The parent's id.
        parent: u32,
    },
    /// The thread is about to make a call.
    Calls(Call),
    /// The thread returned from a call.
    Returned(Call, Outcome),
    /// The process exited.
    Exited {
        /// Its exit status.
        status: ExitStatus,
    },
    /// The calls of this process can't be reported from here on, for this reason.
    Unseen {
        /// The reason.
        reason: &'static str,
    },
}

/// A step, with its process and thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The process id.
    pub process: u32,
    /// The thread id.
    pub thread: u32,
    /// The time since the session began.
    pub at: Duration,
    /// The step.
    pub step: Step,
}

/// The result of [`Session::next`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The next event.
    Event(Event),
    /// No event came before the deadline.
    TimedOut,
    /// All processes of the tree have exited.
    AllExited,
}

/// A change to a handle of a stopped process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Closes it.
    Close,
    /// Puts an object in its place that is no event: on Linux a socket that isn't connected, on Windows a
    /// semaphore to which the handle has no rights.
    Replace,
}

thread_local! {
    /// Whether this thread has a session. The system reports the stops of all processes that a thread traces together.
    static IS_TRACER: Cell<bool> = const { Cell::new(false) };
}

/// Frees the thread for the next session.
#[derive(Debug)]
#[cfg_attr(not(target_pointer_width = "64"), allow(dead_code, reason = "no session can begin"))]
pub(super) struct Turn;

#[cfg_attr(not(target_pointer_width = "64"), allow(dead_code, reason = "no session can begin"))]
impl Turn {
    pub(super) fn begin() -> Result<Self> {
        if IS_TRACER.replace(true) {
            return Err(Error::invalid("this thread", "already has a session; drop that one first"));
        }
        Ok(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        IS_TRACER.set(false);
    }
}

/// A command that runs under observation, with all processes that it starts.
///
/// The thread that starts a session is the tracer, so the session can't be sent to another thread, and a thread has one
/// session at a time. Dropping the session kills every process that is left and waits for it. If this process is
/// killed, the kernel kills them.
#[derive(Debug)]
pub struct Session {
    tracer: super::imp::observe::Tracer,
}

impl Session {
    /// Starts the command. Its first process is stopped before its first instruction, and the first event is its
    /// [`Step::Started`]. Gives up at the deadline.
    ///
    /// # Errors
    ///
    /// Those of [`Audit::run`](super::Audit::run): the command can't be started or traced, a standard stream is a pipe to
    /// this process, or it didn't start before the deadline. On 32-bit machines and on Windows for other processors than
    /// x86-64 always, because no tracer exists there.
    pub fn start(command: Command, deadline: Instant) -> Result<Self> {
        Ok(Self { tracer: super::imp::observe::Tracer::start(command, deadline)? })
    }

    /// Lets the thread of the last event go on, unless it is held, and returns the next event. Its thread is stopped.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the kernel refuses a request. The session should be dropped then.
    pub fn next(&mut self, deadline: Instant) -> Result<Next> {
        self.tracer.next(deadline)
    }

    /// Keeps the thread of the last event stopped until [`release`](Self::release).
    pub fn hold(&mut self) {
        self.tracer.hold();
    }

    /// Lets a held thread go on.
    ///
    /// # Errors
    ///
    /// The errors of [`next`](Self::next).
    pub fn release(&mut self, thread: u32) -> Result<()> {
        self.tracer.release(thread)
    }

    /// Kills a process of the session. Its exit is an event.
    pub fn kill(&mut self, process: u32) {
        self.tracer.kill(process);
    }

    /// Changes a handle of a process.
    ///
    /// On Linux it must be the process of the last event, whose thread does it. The thread first goes on to its next system
    /// call if it isn't at one; until the deadline. On Windows the kernel does it, whatever the process does.
    ///
    /// Returns `None` if this machine's registers aren't known to this crate, so that it can't be done. Otherwise returns
    /// whether the process had the handle.
    ///
    /// # Errors
    ///
    /// - The errors of [`next`](Self::next).
    /// - [`Error::TimedOut`] if the thread made no call before the deadline.
    pub fn change(
        &mut self,
        process: u32,
        value: HandleValue,
        change: Change,
        deadline: Instant,
    ) -> Result<Option<bool>> {
        self.tracer.change(process, value, change, deadline)
    }

    /// Returns the environment of a process that is about to begin its program: its variables, each followed by NUL.
    #[must_use]
    pub fn environment(&self, process: u32) -> Option<String> {
        self.tracer.environment(process)
    }

    /// Returns the standard streams of a process that is about to begin its program.
    #[must_use]
    pub fn streams(&self, process: u32) -> Vec<HandleValue> {
        self.tracer.streams(process)
    }

    /// Returns whether two handles are to one object, or `None` if one of them isn't open. No duplicate is made.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the kernel doesn't answer.
    pub fn is_same(&self, one: (u32, HandleValue), other: (u32, HandleValue)) -> Result<Option<bool>> {
        self.tracer.is_same(one, other)
    }
}

impl Outcome {
    /// Returns the outcome in words.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Done(number) => number.to_string(),
            Self::Opened(handles) => {
                let values: Vec<String> = handles.iter().map(|value| value.get().to_string()).collect();
                values.join(", ")
            }
            Self::Mapped(address) => format!("{address:#x}"),
            Self::Signaled => "signaled".into(),
            Self::TimedOut => "timed out".into(),
            Self::Failed(code) => io::Error::from_raw_os_error(*code).to_string(),
        }
    }
}
