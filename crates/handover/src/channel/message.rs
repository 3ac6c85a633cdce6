//! What is sent, and what has arrived.

use std::borrow::Cow;
use std::fmt;
use std::os::windows::io::OwnedHandle;

use crate::{Error, Kind, Object, Result, Share};

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
/// Limits: [`Channel::MOST_BYTES`](crate::Channel::MOST_BYTES),
/// [`Channel::MOST_OBJECTS`](crate::Channel::MOST_OBJECTS), names of 1 to 255 bytes without NUL, each once. Sending
/// checks them before anything is done.
#[derive(Debug, Clone, Default)]
#[must_use = "a message does nothing until it is sent"]
pub struct Message<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) objects: Vec<(Cow<'a, str>, Share<'a>)>,
}

impl<'a> Message<'a> {
    /// A message of these bytes, which may be none.
    pub fn new(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { bytes: bytes.into(), objects: Vec::new() }
    }

    /// Adds an object, with the access of its [`Share`]: an [`Event`](crate::Event) travels with the rights to use
    /// it, `event.only(…)` with fewer, any other handle with the access that it has.
    ///
    /// The receiver gets a handle of its own; the one here is neither changed nor used up. A socket is refused when
    /// the message is sent ([`Error::Socket`]): on Windows it is more than its handle.
    pub fn with(mut self, name: impl Into<Cow<'a, str>>, object: impl Into<Share<'a>>) -> Self {
        self.objects.push((name.into(), object.into()));
        self
    }

    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.objects.iter().map(|(name, _)| &**name)
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
pub struct Received {
    bytes: Vec<u8>,
    objects: Vec<Arrived>,
}

/// An object that has arrived.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) name: Box<str>,
    pub(super) kind: Kind,
    /// `None` once it is taken.
    pub(super) handle: Option<OwnedHandle>,
}

impl Received {
    pub(super) fn new(bytes: Vec<u8>, objects: Vec<Arrived>) -> Self {
        Self { bytes, objects }
    }

    /// The message's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The message's bytes, as they were received. Objects that weren't taken are closed.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The names of the objects in the sender's order, taken or not, and the kernel's answer to what they are.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = (&str, &Kind)> {
        self.objects.iter().map(|object| (&*object.name, &object.kind))
    }

    /// Takes the object of this name, as the type that is expected. If it is of another kind, it stays and can be
    /// taken as another. The caller owns the result, which closes the handle when it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchName`] with the names that there are, [`Error::AlreadyTaken`], [`Error::WrongKind`].
    pub fn take<T: Object>(&mut self, name: &str) -> Result<T> {
        let Some(object) = self.objects.iter_mut().find(|object| &*object.name == name) else {
            let names = self.objects.iter().map(|object| object.name.clone().into()).collect();
            return Err(Error::NoSuchName { name: name.to_owned(), names });
        };
        match T::KIND {
            Some(expected) if expected != object.kind && object.handle.is_some() => {
                let what = format!("the object {name:?} of the message");
                Err(Error::WrongKind { what, expected, found: object.kind.clone() })
            }
            _ => match object.handle.take() {
                Some(handle) => Ok(T::from_handle(handle)),
                None => Err(Error::AlreadyTaken { name: name.to_owned() }),
            },
        }
    }
}

impl fmt::Debug for Received {
    /// The number of bytes, not the bytes: they may be many, and secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, objects } = self;
        f.debug_struct("Received").field("bytes", &bytes.len()).field("objects", objects).finish()
    }
}
