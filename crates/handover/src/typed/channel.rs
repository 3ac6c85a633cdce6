//! `TypedChannel`: a channel whose messages are values.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::{Channel, Message, ReceivedMessage};
use crate::error::Result;

/// A [`Channel`] that sends values of the type `S` and receives values of the type `R`, with objects inside them
/// ([`Carried`](crate::Carried)).
///
/// ```no_run
/// use std::time::Duration;
/// use handover::{Carried, Command, Event, SharedMemory, TypedChannel};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// enum Job {
///     Render { frame: Carried<SharedMemory>, done: Carried<Event> },
///     Stop,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Answer {
///     pixels: u64,
/// }
///
/// let mut child = Command::new("worker").channel().spawn()?;
/// let channel = child.take_channel().expect("the command has a channel");
/// let channel = TypedChannel::<Job, Answer>::new(channel);
/// let frame = SharedMemory::new(4096)?.into();
/// channel.send(&Job::Render { frame, done: Event::manual_reset()?.into() })?;
/// let answer = channel.recv_timeout(Duration::from_secs(5))?;
/// # Ok::<(), handover::Error>(())
/// ```
///
/// The worker has a `TypedChannel<Answer, Job>` of [`Channel::parent`].
///
#[doc = include_str!("../../docs/typed.md")]
pub struct TypedChannel<S, R> {
    channel: Channel,
    types: PhantomData<fn(&S) -> R>,
}

impl<S, R> Clone for TypedChannel<S, R> {
    /// Returns a second owner of the same endpoint.
    fn clone(&self) -> Self {
        Self::new(self.channel.clone())
    }
}

impl<S, R> fmt::Debug for TypedChannel<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedChannel").field(&self.channel).finish()
    }
}

impl<S, R> From<Channel> for TypedChannel<S, R> {
    fn from(channel: Channel) -> Self {
        Self::new(channel)
    }
}

impl<S, R> From<TypedChannel<S, R>> for Channel {
    fn from(channel: TypedChannel<S, R>) -> Self {
        channel.channel
    }
}

impl<S, R> TypedChannel<S, R> {
    /// Sends and receives values over this endpoint from now on.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self { channel, types: PhantomData }
    }

    /// Returns the channel, to wait for it beside other objects, and for [`close`](Channel::close), [`allow`](Channel::allow)
    /// and the others.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Returns the channel, whose messages have no type any more.
    #[must_use]
    pub fn into_channel(self) -> Channel {
        self.channel
    }
}

impl<S: Serialize, R: DeserializeOwned> TypedChannel<S, R> {
    /// Sends a value, waiting while the pipe is full and the peer process doesn't read.
    ///
    /// # Errors
    ///
    /// The errors of [`Message::from_value`] and of [`Channel::send`]. A channel inside the value stays there.
    pub fn send(&self, value: &S) -> Result<()> {
        self.channel.send(Message::from_value(value)?)
    }

    /// Sends a value, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`Message::from_value`] and of [`Channel::send_timeout`]. A channel inside the value stays there.
    pub fn send_timeout(&self, value: &S, timeout: Duration) -> Result<()> {
        self.channel.send_timeout(Message::from_value(value)?, timeout)
    }

    /// Receives the next value, waiting without a limit.
    ///
    /// Prefer [`recv_timeout`](Self::recv_timeout): a peer process can keep running and never send a value.
    ///
    /// # Errors
    ///
    /// The errors of [`Channel::recv`] and of [`ReceivedMessage::into_value`]. After
    /// [`Error::InvalidValue`](crate::Error::InvalidValue), the next call returns the next value.
    pub fn recv(&self) -> Result<R> {
        self.channel.recv()?.into_value()
    }

    /// Receives the next value, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv), and [`Error::TimedOut`](crate::Error::TimedOut).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<R> {
        self.channel.recv_timeout(timeout)?.into_value()
    }

    /// Receives the next value if it has already arrived, and returns `None` otherwise. It never waits.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<R>> {
        self.channel.try_recv()?.map(ReceivedMessage::into_value).transpose()
    }

    /// Sends a value as a [call](Channel::call), and waits for the reply to it, for at most `timeout` in all.
    ///
    /// The peer process receives it with [`recv_request`](Self::recv_request), or, if it has no types, with [`Channel::recv`].
    ///
    /// # Errors
    ///
    /// The errors of [`Message::from_value`], [`Channel::call`] and [`ReceivedMessage::into_value`].
    pub fn call(&self, value: &S, timeout: Duration) -> Result<R> {
        self.channel.call(Message::from_value(value)?, timeout)?.into_value()
    }

    /// Receives the next value, and what replies to it. Waits without a limit.
    ///
    /// ```no_run
    /// # fn run(channel: handover::TypedChannel<u64, String>) -> handover::Result<()> {
    /// let (text, reply) = channel.recv_request()?;
    /// reply.send(&(text.len() as u64))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv). If the value is invalid, its call gets no reply.
    pub fn recv_request(&self) -> Result<(R, TypedReply<S>)> {
        TypedReply::of(self.channel.recv()?)
    }

    /// Receives the next value, and what replies to it, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`recv_request`](Self::recv_request), and [`Error::TimedOut`](crate::Error::TimedOut).
    pub fn recv_request_timeout(&self, timeout: Duration) -> Result<(R, TypedReply<S>)> {
        TypedReply::of(self.channel.recv_timeout(timeout)?)
    }

    /// Receives the next value, and what replies to it, if it has already arrived, and returns `None` otherwise.
    ///
    /// # Errors
    ///
    /// The errors of [`recv_request`](Self::recv_request).
    pub fn try_recv_request(&self) -> Result<Option<(R, TypedReply<S>)>> {
        self.channel.try_recv()?.map(TypedReply::of).transpose()
    }
}

/// What replies to a received value with a value of the type `S`, over the channel that it came from.
///
/// Dropping it sends nothing.
pub struct TypedReply<S> {
    message: ReceivedMessage,
    types: PhantomData<fn(&S)>,
}

impl<S> fmt::Debug for TypedReply<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedReply").field("is_expected", &self.is_expected()).finish_non_exhaustive()
    }
}

impl<S> TypedReply<S> {
    /// Takes the value out of a message.
    pub(crate) fn of<R: DeserializeOwned>(message: ReceivedMessage) -> Result<(R, Self)> {
        let value = message.take_value()?;
        Ok((value, Self { message, types: PhantomData }))
    }

    /// Returns whether the sender waits for a reply, because it sent the value with [`TypedChannel::call`].
    #[must_use]
    pub fn is_expected(&self) -> bool {
        self.message.expects_reply()
    }
}

impl<S: Serialize> TypedReply<S> {
    /// Replies with a value. Waits as [`TypedChannel::send`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Message::from_value`] and of [`ReceivedMessage::reply`].
    pub fn send(&self, value: &S) -> Result<()> {
        self.message.reply(Message::from_value(value)?)
    }

    /// Replies with a value, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send), and [`Error::TimedOut`](crate::Error::TimedOut).
    pub fn send_timeout(&self, value: &S, timeout: Duration) -> Result<()> {
        self.message.reply_timeout(Message::from_value(value)?, timeout)
    }
}
