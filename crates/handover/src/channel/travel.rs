//! Endpoints that travel: in a message, or with a child.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "_async")]
use super::imp::Progress;
use super::imp::{self, ENDPOINT_NAMES, Endpoint, HANDLES};
use super::message::{Received, Sender, already_taken, description};
use super::traveller::{Traveller, describe};
use super::{Channel, Message, ReceivedMessage};
use crate::error::{Error, Result, Returned};
use crate::inherit::{Inherited, Reserved};
use crate::object::BorrowedObject;
use crate::process::command::Command;
use crate::process::{Attachment, OpenAttachment, Process};
use crate::sys::io::{HasHandle, Owned};
use crate::sys::mutex::Mutex;
use crate::sys::rights::Rights;

impl Channel {
    /// Creates a channel whose endpoints are both in this process, so that one of them or both can be given away: in a
    /// message ([`Message::with_channel`]) or to a child ([`Command::inherit_channel`]).
    ///
    /// Each process owns the endpoint that it gets. Dropping the last clone closes it.
    ///
    /// ```no_run
    /// use handover::{Channel, Message};
    ///
    /// # let worker = Channel::parent()?;
    /// let (ours, theirs) = Channel::pair()?;
    /// worker.send(Message::new("your results go here").with_channel("results", theirs))?;
    /// let result = ours.recv_timeout(std::time::Duration::from_secs(5))?;
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// The worker:
    ///
    /// ```no_run
    /// # let channel = handover::Channel::parent()?;
    /// let message = channel.recv_timeout(std::time::Duration::from_secs(5))?;
    /// let results = message.take_channel("results")?;
    /// results.send("42")?;
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    #[doc = include_str!("../../docs/travel.md")]
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no resources for it.
    ///
    /// [socketpair(2)](https://man7.org/linux/man-pages/man2/socketpair.2.html)
    #[doc(alias = "socketpair")]
    pub fn pair() -> Result<(Self, Self)> {
        imp::pair().map(|(one, other)| (Self::new(one), Self::new(other)))
    }

    /// Lets the endpoint leave this process, which can't use it any more.
    fn depart(&self, name: &str) -> Result<()> {
        let describe = || describe(name);
        if Arc::strong_count(&self.endpoint) > 1 {
            return Err(Error::invalid(
                describe(),
                "has clones in use, which would lose their endpoint; drop them first",
            ));
        }
        self.endpoint.depart(&describe)
    }
}

impl Message<'_> {
    /// Moves an endpoint of a channel into the message under a name, and returns the message.
    ///
    /// The receiver takes it with [`ReceivedMessage::take_channel`]. It counts as an object of the message.
    ///
    /// If the send fails, [`Error::take_channel`] gives the endpoint back. It refuses an endpoint that has clones, or that
    /// has received messages which only this process could read any more.
    pub fn with_channel(mut self, name: impl Into<String>, channel: Channel) -> Self {
        self.add_channel(name, channel);
        self
    }

    /// Moves an endpoint into the message, as [`with_channel`](Self::with_channel) does, which is built step by step.
    pub fn add_channel(&mut self, name: impl Into<String>, channel: Channel) -> &mut Self {
        self.channels.push(Traveller::new(name.into(), channel));
        self
    }
}

/// Sends a message with endpoints by a function that gets the message and the endpoints. If it fails, the error gives them
/// back.
pub(super) fn deliver(
    mut message: Message<'_>,
    send: impl FnOnce(&Message<'_>, &[&Arc<Endpoint>]) -> Result<()>,
) -> Result<()> {
    let mut channels = std::mem::take(&mut message.channels);
    for traveller in &channels {
        message.table.push(&traveller.name);
    }
    let sent = depart_and_send(&message, &mut channels, send, |()| true);
    sent.map_err(|source| with_channels(channels, source))
}

/// Adds the endpoints of a message to the error for which it was not sent, except for those that return to their slots.
fn with_channels(travellers: Vec<Traveller>, source: Error) -> Error {
    let mut returned = Vec::new();
    for mut traveller in travellers {
        traveller.return_to_slot();
        returned
            .extend(traveller.channel.take().map(|channel| (std::mem::take(&mut traveller.name), channel)));
    }
    if returned.is_empty() {
        return source;
    }
    Error::NotSent { source: Box::new(source), returned: Returned(Box::new(returned)) }
}

/// Begins to send a message by a function that gets it and its endpoints, without waiting. If it can't begin yet, the
/// message keeps the endpoints. If it fails, the error gives them back.
#[cfg(feature = "_async")]
pub(super) fn begin(
    message: &mut Message<'_>,
    begin: impl FnOnce(&Message<'_>, &[&Arc<Endpoint>]) -> Result<Progress>,
) -> Result<Progress> {
    if message.channels.is_empty() {
        return begin(message, &[]);
    }
    let mut channels = std::mem::take(&mut message.channels);
    let table = message.table.clone();
    for traveller in &channels {
        message.table.push(&traveller.name);
    }
    match depart_and_send(message, &mut channels, begin, |progress| *progress == Progress::Done) {
        Ok(Progress::Done) => Ok(Progress::Done),
        progress => {
            (message.table, message.channels) = (table, channels);
            progress.map_err(|error| not_sent(message, error))
        }
    }
}

/// Adds the endpoints of a message to the error for which it was not sent.
#[cfg(feature = "_async")]
pub(crate) fn not_sent(message: &mut Message<'_>, source: Error) -> Error {
    with_channels(std::mem::take(&mut message.channels), source)
}

/// Sends the message. If it is sent, the endpoints are closed here; otherwise they stay.
fn depart_and_send<T>(
    message: &Message<'_>,
    channels: &mut [Traveller],
    send: impl FnOnce(&Message<'_>, &[&Arc<Endpoint>]) -> Result<T>,
    is_sent: impl FnOnce(&T) -> bool,
) -> Result<T> {
    message.check()?;
    channels.iter_mut().try_for_each(Traveller::leave_slot)?;
    let mut departed = Vec::with_capacity(channels.len());
    let mut depart = || {
        for traveller in &*channels {
            let channel = traveller.channel.as_ref().expect("it has left its slot");
            channel.depart(&traveller.name)?;
            departed.push(&channel.endpoint);
        }
        Ok(())
    };
    let sent = depart().and_then(|()| send(message, &departed));
    if sent.as_ref().is_ok_and(is_sent) {
        channels.iter_mut().for_each(|traveller| traveller.channel = None);
    } else {
        departed.iter().for_each(|endpoint| endpoint.stay());
        channels.iter_mut().for_each(Traveller::return_to_slot);
    }
    sent
}

impl Error {
    /// Takes back an endpoint that was to travel in a message, which was not sent ([`Error::NotSent`]). Returns `None` for
    /// any other error, and if the endpoint was taken before.
    pub fn take_channel(&mut self, name: &str) -> Option<Channel> {
        let Self::NotSent { returned, .. } = self else { return None };
        let channels: &mut Vec<(String, Channel)> = returned.0.downcast_mut()?;
        let index = channels.iter().position(|(other, _)| other == name)?;
        Some(channels.swap_remove(index).1)
    }
}

impl ReceivedMessage {
    /// Takes the endpoint of a channel that the message brings under this name. The caller owns it; dropping the last clone
    /// closes it.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownName`] if the message has no object with this name; the error lists the available names.
    /// - [`Error::AlreadyTaken`] if it was taken before.
    /// - [`Error::InvalidInput`] if it is no endpoint of a channel. It stays in the message.
    pub fn take_channel(&self, name: &str) -> Result<Channel> {
        let index = self.index(name)?;
        let mut objects = self.objects.lock();
        let object = &mut objects[index];
        let received = object.take().ok_or_else(|| already_taken(name))?;
        received.into_channel(name, &self.from).map_err(|failed| {
            let (error, received) = *failed;
            *object = Some(received);
            error
        })
    }
}

impl Received {
    /// Opens the endpoint that has arrived. If that fails, it is returned.
    pub(crate) fn into_channel(self, name: &str, from: &Sender) -> Result<Channel, Box<(Error, Self)>> {
        let Self { handle, of_endpoint: Some(others), .. } = self else {
            let reason = "is no endpoint of a channel; take it with take";
            return Err(Box::new((Error::invalid(description(name), reason), self)));
        };
        let handles = std::iter::once(handle).chain(others).collect::<Vec<_>>();
        let handles = handles.try_into().expect("the message was checked");
        imp::arrive(handles, from.carrier.clone(), || description(name))
            .map(Channel::new)
            .map_err(|(error, handles)| Box::new((error, Self::of_endpoint(handles))))
    }
}

impl Inherited {
    /// Takes the endpoint of a channel that the parent gave this process under this name
    /// ([`Command::inherit_channel`]). The caller owns it; dropping the last clone closes it.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownName`] if the parent gave no endpoint with this name; the error lists those that it gave.
    /// - [`Error::AlreadyTaken`] if it was taken before.
    pub fn take_channel(&self, name: &str) -> Result<Channel> {
        let object = format!("the inherited channel {name:?}");
        let names = ENDPOINT_NAMES.map(|prefix| format!("{prefix}{name}"));
        let handles = Reserved::take(&object, &names, |names| {
            let available = names.filter_map(|other| other.strip_prefix(ENDPOINT_NAMES[0]));
            Error::UnknownName { name: name.to_owned(), available: available.map(str::to_owned).collect() }
        })?;
        imp::arrive_inherited(handles, || object.clone()).map(Channel::new)
    }
}

/// An endpoint that a command gives to its child.
#[derive(Debug)]
struct Given {
    name: String,
    /// `None` once a child has it.
    channel: Arc<Mutex<Option<Channel>>>,
}

/// An endpoint that a child is about to get.
#[derive(Debug)]
struct Leaving {
    name: String,
    slot: Arc<Mutex<Option<Channel>>>,
    handles: [(Arc<Owned>, Rights); HANDLES],
    /// `None` once the child has it.
    channel: Option<Channel>,
}

impl OpenAttachment for Given {
    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn open(&self) -> Result<Box<dyn Attachment>> {
        let mut slot = self.channel.lock();
        let Some(channel) = slot.take() else {
            return Err(Error::invalid(
                format!("the channel {:?} to give away", self.name),
                "was given to an earlier child of the command; add another one with inherit_channel",
            ));
        };
        if let Err(error) = channel.depart(&self.name) {
            *slot = Some(channel);
            return Err(error);
        }
        let name = self.name.clone();
        match channel.endpoint.handles() {
            Ok(handles) => Ok(Box::new(Leaving {
                name,
                slot: Arc::clone(&self.channel),
                handles,
                channel: Some(channel),
            })),
            Err(error) => {
                channel.endpoint.stay();
                *slot = Some(channel);
                Err(error)
            }
        }
    }
}

impl Attachment for Leaving {
    fn handles(&self) -> Vec<(String, BorrowedObject<'_>)> {
        let names = ENDPOINT_NAMES.map(|prefix| format!("{prefix}{}", self.name));
        let objects =
            self.handles.iter().map(|(handle, rights)| BorrowedObject::typed(handle.handle(), *rights));
        names.into_iter().zip(objects).collect()
    }

    fn attach(mut self: Box<Self>, child: &Process) -> Option<Box<dyn Any + Send + Sync>> {
        let channel = self.channel.take()?;
        channel.endpoint.departed_to(child);
        None
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // The spawn has failed.
        if let Some(channel) = self.channel.take() {
            channel.endpoint.stay();
            *self.slot.lock() = Some(channel);
        }
    }
}

impl Command<'_> {
    /// Gives the child an endpoint of a channel, under a name. The child takes it with [`Inherited::take_channel`].
    ///
    /// One child gets it, and owns it then. If the spawn fails, the command keeps the endpoint for the next spawn; dropping
    /// the command closes it.
    ///
    /// ```no_run
    /// use handover::{Channel, Command};
    ///
    /// let (ours, theirs) = Channel::pair()?;
    /// let child = Command::new("worker").inherit_channel("results", theirs).spawn()?;
    /// # Ok::<(), handover::Error>(())
    /// ```
    ///
    /// The spawn fails with [`Error::InvalidInput`] if the endpoint has clones, or has received messages that only this
    /// process can read.
    pub fn inherit_channel(&mut self, name: impl Into<String>, channel: Channel) -> &mut Self {
        let channel = Arc::new(Mutex::new(Some(channel)));
        self.attach(Given { name: name.into(), channel })
    }
}

impl fmt::Debug for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels = self.0.downcast_ref::<Vec<(String, Channel)>>();
        f.debug_list().entries(channels.into_iter().flatten().map(|(name, _)| name)).finish()
    }
}

const _: () = assert!(HANDLES == ENDPOINT_NAMES.len());
