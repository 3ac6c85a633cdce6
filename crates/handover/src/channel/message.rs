//! `Message`, which is sent, and `ReceivedMessage`, which has arrived.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::KindFilter;
use super::wire::{self, Content, Table};
use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::object::{BorrowedObject, Object};
use crate::sys::handle;
use crate::sys::io::{HasHandle, Owned};
use crate::sys::mutex::Mutex;

/// A message to send: bytes, and objects by name.
///
/// A message borrows its objects, so they stay open until it is sent.
///
/// ```
/// use handover::{Event, Message};
///
/// let ready = Event::manual_reset()?;
/// let message = Message::new(b"go").with("ready", &ready);
/// # Ok::<(), handover::Error>(())
/// ```
///
/// Limits: [`Channel::MAX_BYTES`](crate::Channel::MAX_BYTES), [`Channel::MAX_OBJECTS`](crate::Channel::MAX_OBJECTS),
/// and names of 1 to 255 bytes without NUL, each of them once. A send checks the limits before it does anything else.
#[derive(Clone, Default)]
#[must_use = "a message does nothing until it is sent"]
pub struct Message<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    pub(crate) table: Table,
    /// One object for each name in the table, unless the table has refused a name.
    pub(crate) shares: Vec<BorrowedObject<'a>>,
}

impl<'a> Message<'a> {
    /// Creates a message with these bytes, or this text. It may be empty.
    pub fn new(bytes: impl Into<Self>) -> Self {
        bytes.into()
    }

    /// Adds an object under a name, and returns the message.
    ///
    /// The receiver gets the object with the access of its [`BorrowedObject`]. For an [`Event`](crate::Event) and the
    /// crate's other types, these are the rights to use them. For any other handle, it is the access that the handle
    /// has.
    ///
    /// The receiver gets a handle of its own and closes it. The caller's handle is neither changed nor consumed. On
    /// Windows, sending a socket fails ([`Error::SocketUnsupported`]), because a socket is more than its handle.
    pub fn with(mut self, name: impl AsRef<str>, object: impl Into<BorrowedObject<'a>>) -> Self {
        self.add(name, object);
        self
    }

    /// Adds an object under a name, as [`with`](Self::with) does, to a message that is built step by step.
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

    /// Checks that a frame can hold the message.
    pub(crate) fn check(&self) -> Result<()> {
        self.table.check(&self.bytes)
    }

    /// Returns the objects with their names. The message must have passed [`check`](Self::check).
    pub(crate) fn objects(&self) -> impl Iterator<Item = (&str, &BorrowedObject<'a>)> {
        self.table.names().zip(&self.shares)
    }
}

impl fmt::Debug for Message<'_> {
    /// Shows the number of bytes instead of the bytes, because they may be long or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.table.names().collect();
        f.debug_struct("Message").field("bytes", &self.bytes.len()).field("objects", &names).finish()
    }
}

impl<'a> From<Cow<'a, [u8]>> for Message<'a> {
    fn from(bytes: Cow<'a, [u8]>) -> Self {
        Self { bytes, ..Self::default() }
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Cow::from(bytes).into()
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl From<Vec<u8>> for Message<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Cow::from(bytes).into()
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        text.as_bytes().into()
    }
}

impl From<String> for Message<'_> {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

/// A message that has arrived: its bytes, and its objects, which are taken by name.
///
/// This process owns handles to all of its objects. Dropping the message closes those that were not taken.
pub struct ReceivedMessage {
    content: Content,
    /// One object for each name; `None` once it is taken. One lock covers an object from its check to its owner.
    objects: Mutex<Vec<Option<Owned>>>,
    from: Sender,
}

/// The sender of a message, and the kinds of objects that are accepted from it.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) process: u32,
    pub(crate) allowed: Arc<KindFilter>,
}

impl ReceivedMessage {
    /// Creates a message; `objects` has one object for each name in `content`.
    pub(crate) fn new(content: Content, objects: Vec<Owned>, from: Sender) -> Self {
        let objects = Mutex::new(objects.into_iter().map(Some).collect());
        Self { content, objects, from }
    }

    /// Returns the message's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.content.bytes()
    }

    /// Converts the message into its bytes. Closes the objects that were not taken.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.content.into_bytes()
    }

    /// Returns the names of all objects, taken or not, in the sender's order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.content.names()
    }

    /// Asks the kernel for the kind of the object with this name.
    ///
    /// This works even if the channel doesn't [accept](crate::Channel::allow) that kind.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownName`] if the message has no object with this name; the error lists the available names.
    /// - [`Error::AlreadyTaken`] if the object was taken before.
    pub fn kind(&self, name: &str) -> Result<ObjectKind> {
        let index = self.index(name)?;
        kind_of_object(name, self.objects.lock()[index].as_ref())
    }

    /// Takes the object with this name, as the type that the caller expects. Of several threads that take it at the same
    /// time, one gets it.
    ///
    /// The kernel is asked for the object's kind. If the kind differs from the expected one, or the channel doesn't
    /// [accept](crate::Channel::allow) it, the object stays in the message and is closed with it. The caller owns the
    /// returned object; dropping it closes the handle.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownName`] if the message has no object with this name; the error lists the available names.
    /// - [`Error::AlreadyTaken`] if the object was taken before.
    /// - [`Error::WrongKind`] if the object has another kind.
    /// - [`Error::KindNotAllowed`] if the channel doesn't accept the kind.
    pub fn take<T: Object>(&self, name: &str) -> Result<T> {
        let index = self.index(name)?;
        let mut objects = self.objects.lock();
        let object = &mut objects[index];
        let found = kind_of_object(name, object.as_ref())?;
        if !self.from.allowed.has(&found) {
            return Err(Error::KindNotAllowed { pid: self.from.process, name: name.to_owned(), found });
        }
        match T::KIND {
            Some(expected) if !handle::can_be(&found, &expected) => {
                Err(Error::WrongKind { object: description(name), expected, found })
            }
            _ => {
                if let Some(handle) = object {
                    T::check(HandleValue::of(handle)?, &|| description(name))?;
                }
                object.take().map(T::from_handle).ok_or_else(|| already_taken(name))
            }
        }
    }

    fn index(&self, name: &str) -> Result<usize> {
        self.content.names().position(|other| other == name).ok_or_else(|| {
            let names = self.content.names().map(str::to_owned).collect();
            Error::UnknownName { name: name.to_owned(), available: names }
        })
    }
}

fn description(name: &str) -> String {
    format!("the object {name:?} of the message")
}

fn already_taken(name: &str) -> Error {
    Error::AlreadyTaken { object: description(name) }
}

fn kind_of_object(name: &str, handle: Option<&Owned>) -> Result<ObjectKind> {
    let handle = handle.ok_or_else(|| already_taken(name))?;
    handle::kind_of(handle.handle()).map_err(|source| Error::on_handle(description(name), source))
}

impl fmt::Debug for ReceivedMessage {
    /// Shows the number of bytes instead of the bytes, because they may be long or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { content, from, .. } = self;
        let names: Vec<_> = content.names().collect();
        let mut shown = f.debug_struct("ReceivedMessage");
        shown
            .field("bytes", &content.bytes().len())
            .field("objects", &names)
            .field("from", &from.process)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Event;

    #[test]
    fn messages_are_made_of_bytes_and_of_text() {
        let owned = b"same".to_vec();
        let of_bytes = [Message::new(b"same"), Message::new(&owned[..]), Message::new(&owned)];
        let of_text = [Message::new("same"), Message::new(String::from("same")), "same".into()];
        let of_owned = [Message::new(owned.clone()), Message::new(Cow::Borrowed(&owned[..]))];
        for message in of_bytes.iter().chain(&of_text).chain(&of_owned) {
            assert_eq!(&*message.bytes, b"same");
        }
    }

    #[test]
    fn object_list_grows_at_least_fourfold() -> Result<()> {
        let event = Event::manual_reset()?;
        let mut message = Message::new(b"");
        let mut capacities: Vec<usize> = Vec::new();
        for number in 0..16 {
            message.add(number.to_string(), &event);
            capacities.push(message.shares.capacity());
        }
        assert!(
            capacities[0] >= 4 && capacities[..4].iter().all(|capacity| *capacity == capacities[0]),
            "{capacities:?}"
        );
        capacities.dedup();
        assert!(capacities.windows(2).all(|pair| pair[1] >= 4 * pair[0]), "{capacities:?}");
        Ok(())
    }
}
