//! A channel as a program has it.

use std::sync::Arc;
use std::time::Duration;

use super::imp::{Endpoint, Pair, RESERVED, end_of_child};
use super::{Message, ReceivedMessage, wire};
use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::inherit::Reserved;
use crate::process::Process;
use crate::process::{Child, Command};
use crate::wait::Deadline;

/// One end of a connection to another process, over which messages go both ways: bytes, and objects by name.
///
/// | the other process is | this process calls | the other calls |
/// |---|---|---|
/// | a child | [`Command::channel`](crate::Command::channel), then [`Child::take_channel`](crate::Child::take_channel) | [`Channel::parent`] |
/// | any other of the same user | [`Listener::bind`](crate::Listener::bind), [`accept`](crate::Listener::accept) | [`Channel::connect`] |
///
/// ```no_run
/// use std::time::Duration;
/// use handover::{Command, Event, Message};
///
/// let ready = Event::manual_reset()?;
/// let mut child = Command::new("worker").channel().spawn()?;
/// let channel = child.take_channel().expect("it was asked for");
/// channel.send(Message::new(b"go").with("ready", &ready))?;
/// let answer = channel.recv_timeout(Duration::from_secs(5))?;
/// # Ok::<(), handover::Error>(())
/// ```
///
/// In the child:
///
/// ```no_run
/// use std::time::Duration;
/// use handover::{Channel, Event};
///
/// let channel = Channel::parent()?;
/// let mut message = channel.recv_timeout(Duration::from_secs(5))?;
/// let ready: Event = message.take("ready")?;
/// channel.send(b"done")?;
/// # Ok::<(), handover::Error>(())
/// ```
///
/// # Who owns what
///
/// What is sent is duplicated: the sender keeps its own handle and may close it as soon as the call returns. A
/// message arrives with all its objects, or is an error with none left behind. A message that is never received is
/// closed by the receiver's end when that is dropped, or goes with the process.
///
/// The parent or server is the *stronger* end and duplicates in both directions; it has a handle to the child or
/// client, which has none to it. Objects that the weaker end sends are fetched when the stronger one receives them. So
/// the weaker end, when it is dropped, waits until they are fetched, for at most ten seconds; [`flush`](Self::flush)
/// waits for as long as it is told, and says whether they were. A process that ends by
/// [`exit`](std::process::exit) takes with it what wasn't fetched.
///
/// # Threads
///
/// Clones are the same end, so one thread can send while another receives. If several receive, each message goes to
/// one of them. While a send waits for room in the pipe, it reads what comes and keeps it for the next receive, so two
/// ends that send large messages at the same moment don't wait for each other.
///
/// # Trust
///
/// Whoever has the weaker end can give, and can't take: numbers that it makes up refer to its own handles at most, and
/// what isn't a message ends the channel ([`Error::Protocol`]). Objects of kinds that are power over a process are
/// let in only after [`allow`](Self::allow). Whoever has the stronger end can do all that the weaker process can.
#[derive(Debug, Clone)]
pub struct Channel {
    link: Arc<Endpoint>,
}

impl Channel {
    /// The most bytes of one message: 16 MiB.
    pub const MAX_BYTES: usize = wire::MAX_BYTES;
    /// The most objects of one message: 253.
    pub const MAX_OBJECTS: usize = wire::MAX_OBJECTS;

    pub(crate) fn new(link: Endpoint) -> Self {
        Self { link: Arc::new(link) }
    }

    /// The channel to this process's parent, if it was started with
    /// [`Command::channel`](crate::Command::channel).
    ///
    /// # Errors
    ///
    /// [`Error::NoParentChannel`] if it wasn't; [`Error::AlreadyTaken`] the second time; otherwise as
    /// [`inherited`](crate::inherited).
    pub fn parent() -> Result<Self> {
        let handles = Reserved::take("the channel to the parent", &RESERVED)?;
        end_of_child(handles).map(Self::new)
    }

    /// Sends a message, and waits for as long as the other end doesn't read and the pipe is full.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] for what no message can hold, [`Error::InvalidHandleValue`], [`Error::InvalidHandle`] and
    /// [`Error::SocketUnsupported`] for an object that can't be shared: nothing of the message is sent then, and the channel goes
    /// on. [`Error::ProcessExited`] if the other process has ended, [`Error::Disconnected`] if it has closed its end.
    /// [`Error::Protocol`] and [`Error::PartialSend`] if the channel has ended before.
    pub fn send<'a>(&self, message: impl Into<Message<'a>>) -> Result<()> {
        self.link.send(&message.into(), Deadline::NEVER).map(drop)
    }

    /// Sends a message, for at most this long.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Error::TimedOut`] if the other end didn't read for so long. The message doesn't
    /// arrive. If it was waiting for room in the pipe, a part of it may have been read, so nothing more can be sent
    /// ([`Error::PartialSend`]); what was sent before arrives, and receiving goes on.
    pub fn send_timeout<'a>(&self, message: impl Into<Message<'a>>, timeout: Duration) -> Result<()> {
        if self.link.send(&message.into(), Deadline::after(timeout))? {
            return Ok(());
        }
        Err(Self::timed_out(format!("process {} to read its channel", self.link.process_id()), timeout))
    }

    /// The next message. [`recv_timeout`](Self::recv_timeout) is safer: a process can live and never send one.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessExited`] if the other process has ended, [`Error::Disconnected`] if it has closed its end: both after what
    /// it sent before was received. [`Error::Protocol`] if it was no message; the channel has ended.
    pub fn recv(&self) -> Result<ReceivedMessage> {
        self.recv_timeout(Duration::MAX)
    }

    /// The next message, if it comes within this time.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and [`Error::TimedOut`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<ReceivedMessage> {
        let received = self.link.receive(timeout)?;
        received.ok_or_else(|| {
            Self::timed_out(format!("a message from process {}", self.link.process_id()), timeout)
        })
    }

    /// The next message, if it is there. While another thread is receiving or sending, it may take 40 ms to find out.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<ReceivedMessage>> {
        self.link.receive(Duration::ZERO)
    }

    /// Waits until the other end has its own handles to all objects that were sent so far. It has them at once if
    /// this is the stronger end; a weaker end's are fetched when the messages are received. Bytes aren't waited for.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]; [`Error::ProcessExited`] and [`Error::Disconnected`] if they never will be fetched.
    pub fn flush(&self, timeout: Duration) -> Result<()> {
        if self.link.flush(Deadline::after(timeout))? {
            return Ok(());
        }
        Err(Self::timed_out(
            format!("process {} to receive the objects that were sent", self.link.process_id()),
            timeout,
        ))
    }

    /// Lets in objects of this kind from now on, beside events, mutexes, semaphores, sections, files (which are
    /// pipes, too), timers, and on Linux sockets.
    ///
    /// A handle to a process, thread, token or job is power over a process, and no more than that of its sender; but a
    /// receiver that takes it for its own can be made to use it against itself.
    pub fn allow(&self, kind: ObjectKind) -> &Self {
        self.link.allowed.add(kind);
        self
    }

    /// Lets in objects of these kinds from now on, and no others.
    pub fn allow_only(&self, kinds: impl IntoIterator<Item = ObjectKind>) -> &Self {
        self.link.allowed.replace(kinds.into_iter().collect());
        self
    }

    /// The process that has the other end; `None` if it is a parent that had ended before this process asked.
    ///
    /// The stronger end's can duplicate in both directions, the weaker end's can be waited for.
    #[must_use]
    pub fn peer(&self) -> Option<&Process> {
        self.link.process()
    }

    fn timed_out(waiting_for: String, timeout: Duration) -> Error {
        Error::TimedOut { waiting_for, timeout }
    }
}

impl Command<'_> {
    /// Gives the child a channel to this process: messages that carry objects, both ways, for as long as both processes run.
    ///
    /// [`Child::take_channel`] returns this process's endpoint, and [`Channel::parent`] the child's.
    /// [`status`](Self::status) and [`output`](Self::output), which only wait, close this process's endpoint at once.
    pub fn channel(&mut self) -> &mut Self {
        self.attach(|| Ok(Box::new(Pair::new()?)))
    }
}

impl Child {
    /// Takes this process's endpoint of the channel to the child, if [`Command::channel`] asked for one and it hasn't been
    /// taken.
    ///
    /// A wait for the child closes an endpoint that wasn't taken.
    pub fn take_channel(&mut self) -> Option<Channel> {
        self.take_attached()
    }
}
