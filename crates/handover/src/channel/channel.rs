//! `Channel`, the public type: one endpoint of a connection over which messages carry objects.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::imp::{Endpoint, Pair, RESERVED, endpoint_of_child};
use super::{Message, ReceivedMessage, wire};
use crate::error::{Error, ProcessName, Result};
use crate::handle::ObjectKind;
use crate::inherit::Reserved;
use crate::process::Process;
use crate::process::{Child, Command};
use crate::sys::io::BorrowedHandle;
use crate::sys::wait::{Target, readable};
use crate::wait::sealed::ReadyCheck;
use crate::wait::set::Memberships;
use crate::wait::{self, Deadline, Member, Waitable};

/// An endpoint of a connection to another process, which carries messages in both directions.
///
/// A message carries bytes, and objects by name.
///
/// | the peer process is | this process calls | the peer process calls |
/// |---|---|---|
/// | a child | [`Command::channel`](crate::Command::channel), then [`Child::take_channel`](crate::Child::take_channel) | [`Channel::parent`] |
/// | any other process of the same user | [`Listener::bind`](crate::Listener::bind), [`accept`](crate::Listener::accept) | [`Channel::connect`] |
///
/// ```no_run
/// use std::time::Duration;
/// use handover::{Command, Event, Message};
///
/// let ready = Event::manual_reset()?;
/// let mut child = Command::new("worker").channel().spawn()?;
/// let channel = child.take_channel().expect("the command has a channel");
/// channel.send(Message::new(b"go").with("ready", &ready))?;
/// let answer = channel.recv_timeout(Duration::from_secs(5))?;
/// # Ok::<(), handover::Error>(())
/// ```
///
/// A pool of workers that receive jobs over channels:
/// [`examples/worker_pool.rs`](https://docs.rs/crate/handover/latest/source/examples/worker_pool.rs).
///
/// In the child:
///
/// ```no_run
/// use std::time::Duration;
/// use handover::{Channel, Event};
///
/// let channel = Channel::parent()?;
/// let message = channel.recv_timeout(Duration::from_secs(5))?;
/// let ready: Event = message.take("ready")?;
/// channel.send(b"done")?;
/// # Ok::<(), handover::Error>(())
/// ```
///
/// # Who owns what
///
/// A message holds duplicates of the objects. The sender keeps its own handles and may close them as soon as the call
/// returns. The receiver owns the objects that a message brings. A message arrives with all its objects; otherwise
/// receiving fails and leaks no handles. The objects of a message that is never received are closed when the receiving
/// endpoint is dropped, or when its process exits.
///
/// One endpoint is the *stronger* one: the endpoint of the parent, or of the server that listens. On Windows only the
/// stronger process can duplicate handles into the other process and out of it. When it sends, it puts the duplicates
/// into the weaker process. When the weaker process sends, it keeps the duplicates itself, and the stronger process
/// fetches them when it receives the message. Therefore:
///
/// - Dropping the weaker endpoint waits until its objects are fetched, for at most ten seconds.
/// - [`flush`](Self::flush) waits for the same, and fails if its timeout passes first.
/// - If the weaker process calls [`exit`](std::process::exit) earlier, the objects that were not fetched are lost.
///
/// On Linux the kernel holds the objects in transit, so neither endpoint waits for the other.
///
/// # Threads
///
/// Clones share one endpoint, so one thread can send while another receives. If several threads receive, each message
/// goes to one of them. [`close`](Self::close) ends the waits of all of them.
///
/// While a send waits for space in the pipe, it reads incoming messages and keeps them for the next receive, until it has
/// kept as much as the largest message holds (on Linux, of messages with objects, also no more than 64). So two processes can send [`MAX_BYTES`](Self::MAX_BYTES) to each other
/// at the same moment. If both send more than that before either receives, both wait: [`send`](Self::send) without
/// end, [`send_timeout`](Self::send_timeout) until its timeout.
///
/// # Many channels
///
/// A channel can be waited for beside other objects, with [`wait_any`](crate::wait_any) or a
/// [`WaitSet`](crate::WaitSet), and [`readiness`](Self::readiness) serves event loops of other libraries.
///
/// # Trust
///
/// The process at the weaker endpoint can send objects, but can't duplicate any out of the peer process. If it sends an
/// invented handle value, that value can only refer to one of its own handles. Data that is not a valid message closes
/// the channel ([`Error::Protocol`]). Objects that give power over a process, such as process handles, are accepted
/// only after [`allow`](Self::allow). On Windows the process at the stronger endpoint has full control over the weaker
/// process.
#[derive(Clone)]
pub struct Channel {
    endpoint: Arc<Endpoint>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("peer", &self.endpoint.process_id()).finish_non_exhaustive()
    }
}

impl Channel {
    /// The maximum number of bytes in one message: 16 MiB.
    pub const MAX_BYTES: usize = wire::MAX_BYTES;
    /// The maximum number of objects in one message: 253.
    pub const MAX_OBJECTS: usize = wire::MAX_OBJECTS;

    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint: Arc::new(endpoint) }
    }

    /// Returns the channel to the parent, if it started this process with
    /// [`Command::channel`](crate::Command::channel).
    ///
    /// The caller owns this process's endpoint. Dropping the last clone closes it.
    ///
    /// # Errors
    ///
    /// - [`Error::NoParentChannel`] if the parent gave this process no channel.
    /// - [`Error::AlreadyTaken`] if this was called before.
    /// - The errors of [`inherited`](crate::inherited).
    pub fn parent() -> Result<Self> {
        let handles = Reserved::take("the channel to the parent", &RESERVED)?;
        endpoint_of_child(handles).map(Self::new)
    }

    /// Sends a message, waiting while the pipe is full and the peer process doesn't read.
    ///
    /// It waits without end if the peer waits in `send` too, and both have sent more than [`MAX_BYTES`](Self::MAX_BYTES)
    /// that the other one hasn't received.
    ///
    /// The caller's handles stay open and unchanged. The receiver gets handles of its own.
    ///
    /// # Errors
    ///
    /// These errors concern one message. Nothing of it is sent, and the channel stays usable:
    ///
    /// - [`Error::InvalidInput`] if the message breaks a limit of [`Message`].
    /// - [`Error::InvalidHandleValue`], [`Error::InvalidHandle`] and [`Error::SocketUnsupported`] if an object can't be
    ///   sent.
    ///
    /// After these errors nothing more can be sent:
    ///
    /// - [`Error::ProcessExited`] if the peer process has exited.
    /// - [`Error::Disconnected`] if the peer process has closed its endpoint.
    /// - [`Error::Protocol`] if the peer process has broken the protocol.
    /// - [`Error::PartialSend`] if an earlier send was interrupted.
    pub fn send<'a>(&self, message: impl Into<Message<'a>>) -> Result<()> {
        self.endpoint.send(&message.into(), Deadline::NEVER).map(drop)
    }

    /// Sends a message, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send), and [`Error::TimedOut`] if the peer process didn't read in time. That
    /// message is not delivered. If a part of it was already written, nothing more can be sent
    /// ([`Error::PartialSend`]). Messages that were sent earlier still arrive, and receiving still works.
    pub fn send_timeout<'a>(&self, message: impl Into<Message<'a>>, timeout: Duration) -> Result<()> {
        if self.endpoint.send(&message.into(), Deadline::after(timeout))? {
            return Ok(());
        }
        Err(Self::timed_out(
            format!("{} to read its channel", ProcessName(self.endpoint.process_id())),
            timeout,
        ))
    }

    /// Receives the next message, waiting without a limit.
    ///
    /// Prefer [`recv_timeout`](Self::recv_timeout): a peer process can keep running and never send a message.
    ///
    /// # Errors
    ///
    /// - [`Error::ProcessExited`] if the peer process has exited.
    /// - [`Error::Disconnected`] if the peer process has closed its endpoint.
    /// - [`Error::Protocol`] if the received data is not a valid message. The channel is closed.
    ///
    /// The first two are returned only after all messages that were sent before have been received.
    pub fn recv(&self) -> Result<ReceivedMessage> {
        self.recv_timeout(Duration::MAX)
    }

    /// Receives the next message, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv), and [`Error::TimedOut`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<ReceivedMessage> {
        let received = self.endpoint.receive(timeout)?;
        received.ok_or_else(|| {
            Self::timed_out(format!("a message from {}", ProcessName(self.endpoint.process_id())), timeout)
        })
    }

    /// Receives the next message if it has already arrived, and returns `None` otherwise.
    ///
    /// It never waits, also while other threads receive or send.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<ReceivedMessage>> {
        self.endpoint.receive(Duration::ZERO)
    }

    /// Waits until the peer process owns handles to all objects that were sent before.
    ///
    /// At the stronger endpoint this returns at once, because a send already puts the handles into the weaker process.
    /// At the weaker endpoint it waits until the stronger one has received the messages that carry objects. It doesn't
    /// wait for messages without objects. On Linux the kernel holds the objects in transit, so this returns at once.
    ///
    /// # Errors
    ///
    /// - [`Error::TimedOut`].
    /// - [`Error::ProcessExited`] and [`Error::Disconnected`] if the peer process can no longer fetch the objects.
    pub fn flush(&self, timeout: Duration) -> Result<()> {
        if self.endpoint.flush(Deadline::after(timeout))? {
            return Ok(());
        }
        Err(Self::timed_out(
            format!("{} to receive the objects that were sent", ProcessName(self.endpoint.process_id())),
            timeout,
        ))
    }

    /// Accepts objects of this kind from now on, in addition to those accepted already.
    ///
    /// A new channel accepts events, mutexes, semaphores, shared memory, files (which include pipes), timers, and on
    /// Linux sockets.
    ///
    /// A handle to a process, thread, token or job gives power over a process. A hostile
    /// sender can send a handle to the receiver's own process, for example, and a receiver that then ends "the sender's
    /// process" ends itself.
    pub fn allow(&self, kind: ObjectKind) -> &Self {
        self.endpoint.allowed.add(kind);
        self
    }

    /// Accepts objects of these kinds from now on, and rejects all others.
    ///
    /// A host for an untrusted plug-in:
    /// [`examples/plugin_host.rs`](https://docs.rs/crate/handover/latest/source/examples/plugin_host.rs).
    pub fn allow_only(&self, kinds: impl IntoIterator<Item = ObjectKind>) -> &Self {
        self.endpoint.allowed.replace(kinds.into_iter().collect());
        self
    }

    /// Returns the peer process, or `None` if the peer is the parent process, and had exited before this process called
    /// [`Channel::parent`].
    ///
    /// At the stronger endpoint, the returned process can be used to duplicate in both directions. At the weaker
    /// endpoint, it can be waited for.
    #[must_use]
    pub fn peer(&self) -> Option<&Process> {
        self.endpoint.process()
    }

    /// Closes this endpoint for all its clones.
    ///
    /// Waits and calls on every clone, in this thread and in others, end with [`Error::Disconnected`], which names this
    /// process. The peer process receives what was sent before, and then sees the end. If this ends a send in the middle of
    /// a message, the peer can get [`Error::Protocol`] instead. Without this call, the endpoint is
    /// closed when the last clone is dropped.
    pub fn close(&self) {
        self.endpoint.close();
    }

    /// Returns the handle that says whether there is something to receive, for an event loop: on Linux a descriptor that is
    /// readable then, for epoll, mio or tokio's `AsyncFd`; on Windows an event that is set then, for
    /// [`WaitForMultipleObjects`](https://learn.microsoft.com/windows/win32/api/synchapi/nf-synchapi-waitformultipleobjects).
    ///
    /// After it says so, call [`try_recv`](Self::try_recv) until it returns `None` or an error. It can return `None` at once,
    /// if only a part of a message has arrived. The peer's exit, the end of the connection and [`close`](Self::close) are
    /// errors to receive, so the handle says so then too. The channel owns the handle. Only wait for it: reading from it or
    /// resetting it loses messages.
    ///
    /// [`wait_any`](crate::wait_any) waits for the channel itself, beside other objects.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no resources for it.
    pub fn readiness(&self) -> Result<BorrowedHandle<'_>> {
        self.endpoint.watch()
    }

    fn timed_out(waiting_for: String, timeout: Duration) -> Error {
        Error::TimedOut { waiting_for, timeout }
    }
}

impl wait::sealed::Sealed for Channel {
    fn target(&self) -> Result<Target<'_>> {
        self.readiness().map(readable)
    }

    fn member(&self) -> Result<Member> {
        self.endpoint.member()
    }

    fn joined(&self) -> Result<()> {
        self.endpoint.publish_to_new()
    }

    fn memberships(&self) -> &Memberships {
        &self.endpoint.memberships
    }

    fn ready_check(&self) -> Option<Weak<dyn ReadyCheck>> {
        let endpoint: Arc<dyn ReadyCheck> = self.endpoint.clone();
        Some(Arc::downgrade(&endpoint))
    }
}

impl ReadyCheck for Endpoint {
    fn is_ready(&self) -> bool {
        self.has_next()
    }
}

impl Waitable for Channel {}

impl Command<'_> {
    /// Gives the child a channel to this process: messages that carry objects, both ways, for as long as both processes
    /// run.
    ///
    /// This process gets its endpoint from [`Child::take_channel`]. The child gets its own from [`Channel::parent`].
    ///
    /// With [`status`](Self::status) and [`output`](Self::output) there is no [`Child`] to take the endpoint from, so
    /// they close this process's endpoint as soon as the child runs.
    pub fn channel(&mut self) -> &mut Self {
        self.attach(|| Ok(Box::new(Pair::new()?)))
    }
}

impl Child {
    /// Takes this process's endpoint of the channel to the child, if [`Command::channel`] asked for one and it hasn't
    /// been taken.
    ///
    /// A wait for the child closes an endpoint that wasn't taken.
    ///
    /// A pool of workers:
    /// [`examples/worker_pool.rs`](https://docs.rs/crate/handover/latest/source/examples/worker_pool.rs).
    pub fn take_channel(&mut self) -> Option<Channel> {
        self.take_attached()
    }
}
