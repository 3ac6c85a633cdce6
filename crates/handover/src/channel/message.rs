//! What is sent, and what has arrived.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::KindFilter;
use super::wire::{self, Content, Table};
use crate::error::{Error, Result};
use crate::handle::ObjectKind;
use crate::object::{BorrowedObject, Object};
use crate::sys::handle;
use crate::sys::io::{HasHandle, Owned};

/// A message to be sent: bytes, and objects by name.
///
/// It borrows what it names, so an object can't be closed before it is sent.
///
/// ```
/// use handover::{Event, Message};
///
/// let ready = Event::manual_reset()?;
/// let message = Message::new(b"go").with("ready", &ready);
/// # Ok::<(), handover::Error>(())
/// ```
///
/// Limits: [`Channel::MAX_BYTES`](crate::Channel::MAX_BYTES),
/// [`Channel::MAX_OBJECTS`](crate::Channel::MAX_OBJECTS), names of 1 to 255 bytes without NUL, each once. Sending
/// checks them before anything is done.
#[derive(Clone, Default)]
#[must_use = "a message does nothing until it is sent"]
pub struct Message<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    pub(crate) table: Table,
    /// As many as names, if none of those is refused.
    pub(crate) shares: Vec<BorrowedObject<'a>>,
}

impl<'a> Message<'a> {
    /// A message of these bytes, which may be none.
    pub fn new(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { bytes: bytes.into(), ..Self::default() }
    }

    /// Adds an object, with the access of its [`BorrowedObject`]: an [`Event`](crate::Event) travels with the rights to use
    /// it, any other handle with the access that it has.
    ///
    /// The receiver gets a handle of its own; the one here is neither changed nor used up. On Windows, where a socket is
    /// more than its handle, one is refused when the message is sent ([`Error::SocketUnsupported`]).
    pub fn with(mut self, name: impl AsRef<str>, object: impl Into<BorrowedObject<'a>>) -> Self {
        self.add(name, object);
        self
    }

    /// The same, for a message that isn't made at once.
    ///
    /// ```
    /// use handover::{Event, Message};
    ///
    /// let workers = [Event::manual_reset()?, Event::manual_reset()?];
    /// let mut message = Message::new(b"all");
    /// for (number, worker) in workers.iter().enumerate() {
    ///     message.add(format!("worker {number}"), worker);
    /// }
    /// # Ok::<(), handover::Error>(())
    /// ```
    pub fn add(&mut self, name: impl AsRef<str>, object: impl Into<BorrowedObject<'a>>) -> &mut Self {
        self.table.push(name.as_ref());
        if self.shares.len() == self.shares.capacity() {
            wire::grow(&mut self.shares, 4);
        }
        self.shares.push(object.into());
        self
    }

    /// Refuses what no frame can hold.
    pub(crate) fn check(&self) -> Result<()> {
        self.table.check(&self.bytes)
    }

    /// The objects with their names, of a message that was [checked](Self::check).
    pub(crate) fn objects(&self) -> impl Iterator<Item = (&str, &BorrowedObject<'a>)> {
        self.table.names().zip(&self.shares)
    }
}

impl fmt::Debug for Message<'_> {
    /// The number of bytes, not the bytes: they may be many, and secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.table.names().collect();
        f.debug_struct("Message").field("bytes", &self.bytes.len()).field("objects", &names).finish()
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::new(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::new(bytes)
    }
}

impl From<Vec<u8>> for Message<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(text.as_bytes())
    }
}

/// A message that has arrived: its bytes, and its objects to take by name.
///
/// All of its objects are here and are this process's own; those that aren't taken are closed when this is dropped.
pub struct ReceivedMessage {
    content: Content,
    /// The object of each name; `None` once it is taken.
    objects: Vec<Option<Owned>>,
    from: Sender,
}

/// Whom a message came from, and what is let in from there.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) process: u32,
    pub(crate) allowed: Arc<KindFilter>,
}

impl ReceivedMessage {
    /// As many objects as names.
    pub(crate) fn new(content: Content, objects: Vec<Owned>, from: Sender) -> Self {
        let objects = objects.into_iter().map(Some).collect();
        Self { content, objects, from }
    }

    /// The message's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.content.bytes()
    }

    /// The message's bytes, as they were received. Objects that weren't taken are closed.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.content.into_bytes()
    }

    /// The names of the objects in the sender's order, taken or not.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.content.names()
    }

    /// The kernel's answer to what the object of this name is, whether or not the channel lets it in.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownName`] with the names that there are, [`Error::AlreadyTaken`].
    pub fn kind(&self, name: &str) -> Result<ObjectKind> {
        let place = self.place(name)?;
        match &self.objects[place] {
            Some(handle) => kind_of(name, handle),
            None => Err(Error::AlreadyTaken { name: name.to_owned() }),
        }
    }

    /// Takes the object of this name, as the type that is expected. The kernel is asked what it is. If it is of another
    /// kind, or of one that the channel doesn't [let in](crate::Channel::allow), it stays, and is closed with the
    /// message. The caller owns the result, which closes the handle when it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownName`] with the names that there are, [`Error::AlreadyTaken`], [`Error::WrongKind`],
    /// [`Error::KindNotAllowed`].
    pub fn take<T: Object>(&mut self, name: &str) -> Result<T> {
        let found = self.kind(name)?;
        if !self.from.allowed.has(&found) {
            return Err(Error::KindNotAllowed { pid: self.from.process, name: name.to_owned(), found });
        }
        match T::KIND {
            Some(expected) if expected != found => {
                Err(Error::WrongKind { object: described(name), expected, found })
            }
            _ => {
                let place = self.place(name)?;
                let taken = || Error::AlreadyTaken { name: name.to_owned() };
                self.objects[place].take().map(T::from_handle).ok_or_else(taken)
            }
        }
    }

    fn place(&self, name: &str) -> Result<usize> {
        self.content.names().position(|other| other == name).ok_or_else(|| {
            let names = self.content.names().map(str::to_owned).collect();
            Error::UnknownName { name: name.to_owned(), available: names }
        })
    }
}

fn described(name: &str) -> String {
    format!("the object {name:?} of the message")
}

fn kind_of(name: &str, handle: &Owned) -> Result<ObjectKind> {
    handle::kind_of(handle.handle()).map_err(|source| Error::on_handle(described(name), source))
}

impl fmt::Debug for ReceivedMessage {
    /// The number of bytes, not the bytes: they may be many, and secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { content, objects, from } = self;
        let objects: Vec<_> = content.names().zip(objects).collect();
        let mut shown = f.debug_struct("Received");
        shown
            .field("bytes", &content.bytes().len())
            .field("objects", &objects)
            .field("from", &from.process)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Event;

    #[test]
    fn room_is_made_for_a_few_objects_and_then_for_more_than_double() -> Result<()> {
        let event = Event::manual_reset()?;
        let mut message = Message::new(b"");
        let mut rooms: Vec<usize> = Vec::new();
        for number in 0..16 {
            message.add(number.to_string(), &event);
            rooms.push(message.shares.capacity());
        }
        assert!(rooms[0] >= 4 && rooms[..4].iter().all(|room| *room == rooms[0]), "{rooms:?}");
        rooms.dedup();
        assert!(rooms.windows(2).all(|pair| pair[1] >= 4 * pair[0]), "{rooms:?}");
        Ok(())
    }
}
