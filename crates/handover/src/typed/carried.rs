//! `Carried`: an object inside a value.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::scope;
use crate::channel::Channel;
use crate::channel::message::Kept;
use crate::error::{Error, Result};
use crate::object::{BorrowedObject, Object};
use crate::sys::mutex::Mutex;

/// An object inside a value, which travels with the value in a typed message.
///
/// It can be anywhere in a type that serde can serialize: in a field, an `Option`, a list, a map, an enum.
///
/// ```
/// use handover::{Carried, Event, Message, SharedMemory};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// enum Job {
///     Render { frame: Carried<SharedMemory>, done: Carried<Event> },
///     Stop,
/// }
///
/// let frame = SharedMemory::new(4096)?.into();
/// let job = Job::Render { frame, done: Event::manual_reset()?.into() };
/// let message = Message::from_value(&job)?;
/// # Ok::<(), handover::Error>(())
/// ```
///
/// The sender keeps its object, and may use and drop it as soon as the message is sent. The receiver gets a handle of
/// its own, and owns it; dropping the value closes it. The receiver gets the same access as with
/// [`Message::with`](crate::Message::with).
///
/// A [`Channel`] is moved instead: when the message is sent, it leaves the value. If the send fails, it stays there.
///
/// Only [`Message::from_value`](crate::Message::from_value), [`TypedChannel`](crate::TypedChannel) and the functions
/// beside them can serialize it, and only their counterparts can deserialize it. Anywhere else, it is an error.
pub struct Carried<T: Carry> {
    place: T::Place,
}

/// A type whose objects can be [`Carried`]: each [`Object`], such as an event, shared memory, a file or a socket;
/// and a [`Channel`].
///
/// Other crates can't implement it.
pub trait Carry: sealed::Carry {}

impl<T> Carry for T
where
    T: Object + Send + Sync + 'static,
    for<'a> BorrowedObject<'a>: From<&'a T>,
{
}

impl Carry for Channel {}

mod sealed {
    use std::fmt;
    use std::sync::Arc;

    use super::super::scope::Sending;
    use crate::channel::message::{Received, Sender};
    use crate::channel::traveller::Slot;
    use crate::error::Result;

    /// A channel, until a message with it is sent.
    #[derive(Debug)]
    pub struct ChannelPlace(pub(super) Arc<Slot>);

    pub trait Carry: Sized {
        /// Holds the object, for the value and for a message that is made of it.
        type Place: Send + Sync;

        fn into_place(self) -> Self::Place;

        #[allow(private_interfaces, reason = "other crates can't call it")]
        fn add(place: &Self::Place, sending: &mut Sending) -> Result<u32, &'static str>;

        #[allow(private_interfaces, reason = "other crates can't call it")]
        fn receive(received: Received, name: &str, from: &Sender) -> Result<Self>;

        fn fmt(place: &Self::Place, f: &mut fmt::Formatter<'_>) -> fmt::Result;
    }
}

impl<T> Kept for T
where
    T: Send + Sync,
    for<'a> BorrowedObject<'a>: From<&'a T>,
{
    fn share(&self) -> BorrowedObject<'_> {
        self.into()
    }
}

#[allow(private_interfaces, reason = "other crates can't call it")]
impl<T> sealed::Carry for T
where
    T: Object + Send + Sync + 'static,
    for<'a> BorrowedObject<'a>: From<&'a T>,
{
    // The message keeps the object open, because a `Serialize` implementation may serialize an object that it then drops.
    type Place = Arc<T>;

    fn into_place(self) -> Arc<T> {
        Arc::new(self)
    }

    fn add(place: &Arc<T>, sending: &mut scope::Sending) -> Result<u32, &'static str> {
        sending.add_object(place)
    }

    fn receive(
        received: crate::channel::message::Received,
        name: &str,
        from: &crate::channel::message::Sender,
    ) -> Result<Self> {
        received.into_object(name, from)
    }

    fn fmt(place: &Arc<T>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handle = BorrowedObject::from(&**place);
        f.debug_tuple("Carried").field(&handle).finish()
    }
}

#[allow(private_interfaces, reason = "other crates can't call it")]
impl sealed::Carry for Channel {
    type Place = sealed::ChannelPlace;

    fn into_place(self) -> sealed::ChannelPlace {
        sealed::ChannelPlace(Arc::new(Mutex::new(Some(self))))
    }

    fn add(place: &sealed::ChannelPlace, sending: &mut scope::Sending) -> Result<u32, &'static str> {
        sending.add_channel(&place.0)
    }

    fn receive(
        received: crate::channel::message::Received,
        name: &str,
        from: &crate::channel::message::Sender,
    ) -> Result<Self> {
        received.into_channel(name, from).map_err(|failed| failed.0)
    }

    fn fmt(place: &sealed::ChannelPlace, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = format!("{:?}", *place.0.lock());
        f.debug_tuple("Carried").field(&format_args!("{shown}")).finish()
    }
}

impl<T: Carry> Carried<T> {
    /// Puts an object into a value.
    pub fn new(object: T) -> Self {
        Self { place: object.into_place() }
    }
}

impl<T: Carry> From<T> for Carried<T> {
    fn from(object: T) -> Self {
        Self::new(object)
    }
}

impl<T: Object + sealed::Carry<Place = Arc<T>> + Carry> Carried<T> {
    /// Returns the object.
    ///
    /// # Panics
    ///
    /// Panics if a message still needs the object. The compiler excludes that, except in a `Serialize` implementation that
    /// serializes a `Carried` of its own and then calls this.
    #[must_use]
    pub fn into_inner(self) -> T {
        Arc::try_unwrap(self.place).ok().expect("no message needs the object any more")
    }
}

impl<T: Object + sealed::Carry<Place = Arc<T>> + Carry> Deref for Carried<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.place
    }
}

impl Carried<Channel> {
    /// Returns the channel.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyTaken`] if it was sent, or [taken](Self::take).
    pub fn into_inner(self) -> Result<Channel> {
        self.take()
    }

    /// Takes the channel out of the value.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyTaken`] if it was sent, or taken before.
    pub fn take(&self) -> Result<Channel> {
        let taken = self.place.0.lock().take();
        taken.ok_or_else(|| Error::AlreadyTaken { object: "the channel of the value".into() })
    }
}

impl<T: Carry> fmt::Debug for Carried<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(&self.place, f)
    }
}

impl<T: Carry> Serialize for Carried<T> {
    /// Adds the object to the message that this thread is encoding, and writes its index in the message.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = scope::add(|sending| T::add(&self.place, sending)).map_err(S::Error::custom)?;
        serializer.serialize_u32(index)
    }
}

impl<'de, T: Carry> Deserialize<'de> for Carried<T> {
    /// Reads an index, and takes the object with that index out of the message that this thread is decoding.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        scope::take(index, T::receive).map(Self::new).map_err(D::Error::custom)
    }
}
