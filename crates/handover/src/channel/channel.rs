//! `Channel`, the public type: one endpoint of a connection over which messages carry objects.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::calls::Want;
use super::imp::{Endpoint, Pair, RESERVED, endpoint_of_child};
use super::message::{Arrived, Call, Refused, Sender};
use super::wire::FrameType;
use super::{Limits, Message, ReceivedMessage, travel, wire};
use crate::error::{Error, ProcessName, Result};
use crate::handle::ObjectKind;
use crate::inherit::Reserved;
use crate::process::command::Command;
use crate::process::{Attachment, Child, OpenAttachment, Process};
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
/// kept as much as the largest message holds. On Linux each message counts for some 200 bytes more than it holds, and of
/// messages with objects no more than 64 are kept. So two processes can send [`MAX_BYTES`](Self::MAX_BYTES) to each other
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
    pub(crate) endpoint: Arc<Endpoint>,
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
        let handles = Reserved::take_of_parent("the channel to the parent", &RESERVED)?;
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
        self.deliver(message.into(), FrameType::Message, Duration::MAX)
    }

    /// Sends a message, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send), and [`Error::TimedOut`] if the peer process didn't read in time. That
    /// message is not delivered. If a part of it was already written, nothing more can be sent
    /// ([`Error::PartialSend`]). Messages that were sent earlier still arrive, and receiving still works.
    pub fn send_timeout<'a>(&self, message: impl Into<Message<'a>>, timeout: Duration) -> Result<()> {
        self.deliver(message.into(), FrameType::Message, timeout)
    }

    /// Sends a message as a frame of this type.
    pub(super) fn deliver(
        &self,
        message: Message<'_>,
        frame_type: FrameType,
        timeout: Duration,
    ) -> Result<()> {
        if message.channels.is_empty() {
            return self.deliver_beside(&message, &[], frame_type, timeout);
        }
        travel::deliver(message, |message, travellers| {
            self.deliver_beside(message, travellers, frame_type, timeout)
        })
    }

    /// Sends a message, and endpoints that leave this process.
    #[inline]
    fn deliver_beside(
        &self,
        message: &Message<'_>,
        travellers: &[&Arc<Endpoint>],
        frame_type: FrameType,
        timeout: Duration,
    ) -> Result<()> {
        if self.endpoint.send(message, travellers, frame_type, Deadline::after(timeout))? {
            return Ok(());
        }
        let waiting_for = format!("{} to read its channel", ProcessName(self.endpoint.process_id()));
        Err(Error::TimedOut { waiting_for, timeout })
    }

    /// Sends a message as a call, and waits for the reply to it, for at most `timeout` in all.
    ///
    /// The peer process receives the message like any other, and answers it with
    /// [`ReceivedMessage::reply`](crate::ReceivedMessage::reply). The reply goes to this call alone: neither to
    /// [`recv`](Self::recv) nor to another call, even if it comes too late.
    ///
    /// ```no_run
    /// # let channel = handover::Channel::parent()?;
    /// use std::time::Duration;
    ///
    /// let reply = channel.call("how far?", Duration::from_secs(5))?;
    /// println!("{}", String::from_utf8_lossy(reply.bytes()));
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// Several threads can call at once, over one channel and its clones. The peer process can call too. Messages that
    /// arrive meanwhile are kept for the next receive, as long as they aren't more than the largest message holds, or 64
    /// with objects. Then the call reads on once some of them were received.
    ///
    /// # Errors
    ///
    /// - [`Error::TimedOut`]. A reply that comes later is dropped, and its objects are closed. The channel stays usable, unless
    ///   only a part of the message could be sent ([`send_timeout`](Self::send_timeout)).
    /// - The errors of [`send`](Self::send) and [`recv`](Self::recv).
    pub fn call<'a>(&self, message: impl Into<Message<'a>>, timeout: Duration) -> Result<ReceivedMessage> {
        let deadline = Deadline::after(timeout);
        let call = self.endpoint.begin_call();
        self.deliver(message.into(), FrameType::Call(call.id), timeout)?;
        let arrived = self.endpoint.receive(Want::Reply(call.id), deadline.left())?;
        drop(call);
        let arrived = arrived.ok_or_else(|| {
            let waiting_for = format!("a reply from {}", ProcessName(self.endpoint.process_id()));
            Error::TimedOut { waiting_for, timeout }
        })?;
        self.received(arrived)
    }

    /// Receives the next message, waiting without a limit.
    ///
    /// Prefer [`recv_timeout`](Self::recv_timeout): a peer process can keep running and never send a message.
    ///
    /// # Errors
    ///
    /// - [`Error::ProcessExited`] if the peer process has exited.
    /// - [`Error::Disconnected`] if the peer process has closed its endpoint.
    /// - [`Error::Protocol`] if the received data is not a valid message, or exceeds a [limit](Self::set_limits). The channel
    ///   is closed.
    /// - [`Error::IncompatibleVersion`] if the peer process uses another version of the format. The channel is closed.
    /// - [`Error::KindNotAllowed`] if the message has an object of a kind that this endpoint doesn't
    ///   [accept](Self::allow). All objects of the message are closed, and the next call returns the next message.
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
        match self.endpoint.receive(Want::Message, timeout)? {
            Some(arrived) => self.received(arrived),
            None => {
                let waiting_for = format!("a message from {}", ProcessName(self.endpoint.process_id()));
                Err(Error::TimedOut { waiting_for, timeout })
            }
        }
    }

    /// Receives the next message if it has already arrived, and returns `None` otherwise.
    ///
    /// It never waits, also while other threads receive or send.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<ReceivedMessage>> {
        let arrived = self.endpoint.receive(Want::Message, Duration::ZERO)?;
        arrived.map(|arrived| self.received(arrived)).transpose()
    }

    /// Checks a message and its objects, which this process owns by now.
    #[inline]
    pub(crate) fn received(&self, arrived: Arrived) -> Result<ReceivedMessage> {
        if arrived.content.is_of_bytes_alone() {
            let from = Sender {
                process: self.endpoint.process_id(),
                allowed: None,
                carrier: None,
                call: self.call_of(&arrived),
            };
            return Ok(ReceivedMessage::of_bytes_alone(arrived.content, from));
        }
        self.received_objects(arrived)
    }

    /// Returns the call that a message is, if its sender waits for a reply.
    #[inline]
    fn call_of(&self, arrived: &Arrived) -> Option<Call> {
        match arrived.envelope.frame_type {
            FrameType::Call(id) => {
                Some(Call { id, endpoint: Arc::downgrade(&self.endpoint), has_reply: AtomicBool::new(false) })
            }
            _ => None,
        }
    }

    fn received_objects(&self, arrived: Arrived) -> Result<ReceivedMessage> {
        let call = self.call_of(&arrived);
        let Arrived { envelope, content, objects, limits } = arrived;
        let objects = objects.map_err(|lost| self.endpoint.lost(lost))?;
        let allowed = Some(Arc::clone(&self.endpoint.allowed));
        let carrier = if envelope.endpoints > 0 { self.endpoint.carrier() } else { None };
        let from = Sender { process: self.endpoint.process_id(), allowed, carrier, call };
        ReceivedMessage::admit((envelope, content, limits), objects, from).map_err(|refused| match refused {
            Refused::Failed(error) => error,
            Refused::Broken(broken) => self.endpoint.protocol_error(broken),
        })
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
        let waiting_for =
            format!("{} to receive the objects that were sent", ProcessName(self.endpoint.process_id()));
        Err(Error::TimedOut { waiting_for, timeout })
    }

    /// Accepts objects of this kind from now on, in addition to those accepted already.
    ///
    /// A new channel accepts events, mutexes, semaphores, shared memory, files (which include pipes), timers, and sockets.
    /// But on Windows, the stronger process (the parent, the server) accepts sockets only after it has called this, or
    /// [`allow_only`](Self::allow_only), with [`ObjectKind::Socket`]. Winsock believes the record that comes with a socket: a
    /// hostile child could name another socket of this process, which would then have two owners. So allow it only to a
    /// process that you trust as this one.
    ///
    /// A handle to a process, thread, token or job gives power over a process. A hostile
    /// sender can send a handle to the receiver's own process, for example, and a receiver that then ends "the sender's
    /// process" ends itself.
    pub fn allow(&self, kind: ObjectKind) -> &Self {
        self.endpoint.allowed.add(kind);
        self.endpoint.show_allowed();
        self
    }

    /// Accepts objects of these kinds from now on, and rejects all others.
    ///
    /// A host for an untrusted plug-in:
    /// [`examples/plugin_host.rs`](https://docs.rs/crate/handover/latest/source/examples/plugin_host.rs).
    pub fn allow_only(&self, kinds: impl IntoIterator<Item = ObjectKind>) -> &Self {
        self.endpoint.allowed.replace(kinds.into_iter().collect());
        self.endpoint.show_allowed();
        self
    }

    /// Sets how much the peer may send from now on. Earlier limits no longer hold.
    ///
    /// A message that exceeds a limit ends the channel with [`Error::Protocol`], which names the limit.
    pub fn set_limits(&self, limits: Limits) -> &Self {
        self.endpoint.set_limits(limits);
        self
    }

    /// Returns the process that has the other endpoint now, if it is known.
    ///
    /// It is `None` if the peer is the parent process, and had exited before this process called [`Channel::parent`]. If an
    /// endpoint of the channel has [travelled](Self::pair), it can also be `None`. On Linux that ends when both processes have
    /// received something after that, because the system names only the process that created an endpoint. On Windows the peer
    /// is known at once, but no longer after a second move. It is also `None` for a child that another spawner starts
    /// (`os::linux::InheritExt`), until the child has opened its endpoint and this process has received something.
    ///
    /// At the stronger endpoint, the returned process can be used to duplicate in both directions. At the weaker
    /// endpoint, it can be waited for.
    #[must_use]
    pub fn peer(&self) -> Option<Process> {
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
}

impl ReceivedMessage {
    /// Returns whether the sender waits for a reply to this message, because it sent it with
    /// [`Channel::call`](crate::Channel::call).
    #[must_use]
    pub fn expects_reply(&self) -> bool {
        self.from.call.as_ref().is_some_and(|call| !call.has_reply.load(Relaxed))
    }

    /// Replies to a message that was sent with [`Channel::call`](crate::Channel::call), over the channel that it came from.
    /// Waits as [`Channel::send`](crate::Channel::send) does.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidInput`] if the message isn't a call, or was replied to.
    /// - [`Error::Disconnected`], with this process's id, if the channel was dropped.
    /// - The errors of [`Channel::send`](crate::Channel::send). After those that concern the message alone, it can be replied
    ///   to again.
    pub fn reply<'a>(&self, message: impl Into<Message<'a>>) -> Result<()> {
        self.reply_timeout(message, Duration::MAX)
    }

    /// Replies as [`reply`](Self::reply) does, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`reply`](Self::reply), and [`Error::TimedOut`].
    pub fn reply_timeout<'a>(&self, message: impl Into<Message<'a>>, timeout: Duration) -> Result<()> {
        let mut reply = Reply::begin(&self.from)?;
        Channel { endpoint: Arc::clone(&reply.endpoint) }.deliver(
            message.into(),
            FrameType::Reply(reply.id()),
            timeout,
        )?;
        reply.keep();
        Ok(())
    }

    /// Begins to reply over this channel, from which the message must have come.
    #[cfg(feature = "_async")]
    pub(crate) fn begin_reply(&self, channel: &Channel) -> Result<Reply<'_>> {
        let reply = Reply::begin(&self.from)?;
        if Arc::ptr_eq(&reply.endpoint, &channel.endpoint) {
            return Ok(reply);
        }
        let reason = "can't be sent over this channel; reply over the one that the message came from";
        Err(Error::invalid(REPLY, reason))
    }
}

const REPLY: &str = "the reply to a message";

/// A reply that is being sent. If it is dropped before it was sent, the message can be replied to again.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    call: &'a Call,
    endpoint: Arc<Endpoint>,
    is_kept: bool,
}

impl<'a> Reply<'a> {
    fn begin(from: &'a Sender) -> Result<Self> {
        let refused = |reason| Err(Error::invalid(REPLY, reason));
        let Some(call) = &from.call else {
            return refused(
                "has no receiver: the message was sent with send, not with call; answer with send too",
            );
        };
        let endpoint = call.endpoint.upgrade().ok_or(Error::Disconnected { pid: std::process::id() })?;
        if call.has_reply.swap(true, Relaxed) {
            return refused("can't be sent: the message was replied to before, and each call gets one reply");
        }
        Ok(Self { call, endpoint, is_kept: false })
    }

    /// Returns the id of the call.
    pub(crate) fn id(&self) -> u64 {
        self.call.id
    }

    /// Notes that the reply is sent.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.call.has_reply.store(false, Relaxed);
        }
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

/// A new channel for each child.
#[derive(Debug)]
struct NewPair;

impl OpenAttachment for NewPair {
    fn name(&self) -> Option<&str> {
        None
    }

    fn open(&self) -> Result<Box<dyn Attachment>> {
        Ok(Box::new(Pair::new()?))
    }
}

impl Command<'_> {
    /// Gives the child a channel to this process: messages that carry objects, both ways, for as long as both processes
    /// run.
    ///
    /// This process gets its endpoint from [`Child::take_channel`]. The child gets its own from [`Channel::parent`].
    ///
    /// With [`status`](Self::status) and [`output`](Self::output) there is no [`Child`] to take the endpoint from, so
    /// they close this process's endpoint as soon as the child runs.
    pub fn channel(&mut self) -> &mut Self {
        if self.attachments.iter().any(|attachment| attachment.name().is_none()) {
            return self;
        }
        self.attach(NewPair)
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
