//! `Message`, which is sent, and `ReceivedMessage`, which has arrived.

#![allow(clippy::missing_const_for_thread_local, reason = "it is const; on Windows the lint doesn't see it")]

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use super::imp::{Carrier, Endpoint, HANDLES, Lost};
use super::traveller::Traveller;
use super::wire::{self, Broken, Content, Envelope, Table};
use super::{KindFilter, Limits};
use crate::error::{Error, Result};
use crate::handle::{HandleValue, ObjectKind};
use crate::object::{BorrowedObject, Object, expected_instead_of};
use crate::sys::handle;
use crate::sys::io::{HasHandle, Owned};
use crate::sys::memory::size_of_section;
use crate::sys::mutex::Mutex;
use crate::sys::owned_handle::recycle_list;

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
    pub(crate) shares: Vec<Share<'a>>,
    /// Endpoints that the message moves.
    pub(crate) channels: Vec<Traveller>,
}

/// An object of a message.
#[derive(Clone)]
pub(crate) enum Share<'a> {
    Borrowed(BorrowedObject<'a>),
    /// The object of a value, which may not live as long as the message.
    #[cfg(feature = "serde")]
    Kept(Arc<dyn Kept>),
}

/// An object that a message keeps open.
#[cfg(feature = "serde")]
pub(crate) trait Kept: Send + Sync {
    fn share(&self) -> BorrowedObject<'_>;
}

impl Share<'_> {
    #[inline]
    pub(crate) fn object(&self) -> BorrowedObject<'_> {
        match self {
            Self::Borrowed(object) => *object,
            #[cfg(feature = "serde")]
            Self::Kept(object) => object.share(),
        }
    }
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
    /// The receiver gets a handle of its own and closes it. The caller's handle is neither changed nor consumed, and may be
    /// closed as soon as the message is sent.
    ///
    /// A socket is sent as a `TcpListener`, `TcpStream` or `UdpSocket`. Both processes then have it, with its queue of
    /// connections and its unread data, until the last of them closes it.
    ///
    /// On Windows a socket is more than its handle. So:
    ///
    /// - A plain handle that is a socket's can't be sent ([`Error::SocketUnsupported`]).
    /// - The stronger process (the parent, the server) accepts sockets only if it has allowed them
    ///   ([`Channel::allow`](crate::Channel::allow)), and if Winsock may open it with the right to duplicate handles into it.
    ///   Otherwise the send fails.
    /// - Once Winsock has duplicated a socket, only the receiver can close the duplicate. If the send fails later, because a
    ///   timeout passes or the receiver closes the channel, the receiver's process has the socket open until it exits.
    ///
    /// [`WSADuplicateSocket`](https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsaduplicatesocketw)
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
        self.push(name.as_ref(), Share::Borrowed(object.into()));
        self
    }

    pub(crate) fn push(&mut self, name: &str, share: Share<'a>) {
        self.table.push(name);
        if self.shares.len() == self.shares.capacity() {
            wire::grow(&mut self.shares, 4);
        }
        self.shares.push(share);
    }

    /// Checks that a frame can hold the message.
    pub(crate) fn check(&self) -> Result<()> {
        self.table.check(&self.bytes)
    }

    /// Returns whether the message has objects that are all known to be no semaphores. Endpoints, which are sent behind
    /// them, are never one.
    #[allow(dead_code, reason = "on Windows the kernel tells events and semaphores apart")]
    #[inline]
    pub(crate) fn has_no_semaphores(&self) -> bool {
        !self.shares.is_empty() && self.shares.iter().all(|share| share.object().is_no_semaphore())
    }

    /// Returns the objects with their names. The message must have passed [`check`](Self::check).
    pub(crate) fn objects(&self) -> impl Iterator<Item = (&str, BorrowedObject<'_>)> {
        self.table.names().zip(self.shares.iter().map(Share::object))
    }
}

impl fmt::Debug for Message<'_> {
    /// Shows the number of bytes instead of the bytes, because they may be long or secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels = self.channels.iter().map(Traveller::name);
        let names: Vec<_> = self.table.names().chain(channels).collect();
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

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        text.as_bytes().into()
    }
}

impl From<String> for Message<'_> {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

/// A complete message that no caller has received yet.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) envelope: Envelope,
    pub(crate) content: Content,
    /// One object for each name, or the reason why they are lost.
    pub(crate) objects: Result<Vec<Owned>, Lost>,
    /// The limits of the endpoint that received it.
    pub(crate) limits: Limits,
}

impl Arrived {
    /// Returns the number of handles that it owns.
    pub(crate) fn objects(&self) -> usize {
        self.objects.as_ref().map_or(0, Vec::len)
    }
}

/// A message that has arrived: its bytes, and its objects, which are taken by name.
///
/// This process owns handles to all of its objects. Dropping the message closes those that were not taken.
pub struct ReceivedMessage {
    content: Content,
    /// One object for each name; `None` once it is taken. One lock covers an object from its check to its owner.
    pub(crate) objects: Mutex<Objects>,
    pub(crate) from: Sender,
}

/// The objects of a message. Dropping it closes them, and keeps the memory of the list for the next message of the thread.
#[derive(Debug)]
pub(crate) struct Objects(Vec<Option<Received>>);

thread_local! {
    static SPARE: Cell<Vec<Option<Received>>> = const { Cell::new(Vec::new()) };
}

impl Objects {
    fn with_capacity(count: usize) -> Self {
        if count == 0 {
            return Self(Vec::new());
        }
        // A thread that is exiting has none any more.
        let mut list = SPARE.try_with(Cell::take).unwrap_or_default();
        list.reserve_exact(count);
        Self(list)
    }
}

impl Deref for Objects {
    type Target = Vec<Option<Received>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Objects {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.0.clear();
        if self.0.capacity() > 0 {
            let list = std::mem::take(&mut self.0);
            let _ = SPARE.try_with(|spare| spare.set(list));
        }
    }
}

/// An object that has arrived.
#[derive(Debug)]
pub(crate) struct Received {
    pub(super) handle: Owned,
    /// Its kind, which the channel accepts. `None` if it wasn't found out when the object arrived: because that costs more, and
    /// every kind that the object can be of is accepted; or because this process had no free descriptor to ask.
    kind: Option<ObjectKind>,
    /// The other handles, if it is an endpoint of a channel.
    pub(super) of_endpoint: Option<Vec<Owned>>,
}

impl Received {
    /// Puts an endpoint back whose kinds were checked.
    pub(super) fn of_endpoint(handles: [Owned; HANDLES]) -> Self {
        let mut handles = Vec::from(handles);
        Self { handle: handles.remove(0), kind: None, of_endpoint: Some(handles) }
    }

    /// Returns the object's kind. Fails if the channel doesn't accept it.
    fn kind(&self, name: &str, from: &Sender) -> Result<Cow<'_, ObjectKind>> {
        match &self.kind {
            Some(kind) => Ok(Cow::Borrowed(kind)),
            None => from.accepted_kind(|| name, &self.handle).map(Cow::Owned),
        }
    }

    /// Checks that the object can be taken as this type.
    #[inline]
    fn check<T: Object>(&self, name: &str, from: &Sender) -> Result<()> {
        // Most objects are what their receivers expect. In each caller, the expected kind is a constant.
        let is_expected =
            matches!((&self.kind, &T::KIND), (Some(found), Some(expected)) if found == expected);
        if !is_expected || self.of_endpoint.is_some() {
            self.check_kind::<T>(name, from)?;
        }
        T::check(HandleValue::of(&self.handle)?, &|| description(name))
    }

    /// Checks that the object belongs to no endpoint, and has a kind that the type can own.
    #[cold]
    fn check_kind<T: Object>(&self, name: &str, from: &Sender) -> Result<()> {
        if self.of_endpoint.is_some() {
            return Err(Error::invalid(
                description(name),
                "is an endpoint of a channel; take it with take_channel",
            ));
        }
        let found = self.kind(name, from)?;
        match expected_instead_of(T::KIND, &found) {
            Some(expected) => {
                Err(Error::WrongKind { object: description(name), expected, found: found.into_owned() })
            }
            None => Ok(()),
        }
    }

    /// Converts it into an object of this type. If that fails, it is closed.
    #[cfg(feature = "serde")]
    pub(crate) fn into_object<T: Object>(self, name: &str, from: &Sender) -> Result<T> {
        self.check::<T>(name, from)?;
        Ok(T::from_handle(self.handle))
    }
}

/// The sender of a message.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) process: u32,
    /// The kinds of objects that are accepted from it. `None` if the message has no objects.
    pub(crate) allowed: Option<Arc<KindFilter>>,
    /// Its process, if the message brings endpoints.
    pub(crate) carrier: Option<Carrier>,
    /// The call, if the sender waits for a reply.
    pub(crate) call: Option<Call>,
}

impl Sender {
    /// Returns what it takes to check the sender's objects.
    #[cfg(feature = "serde")]
    pub(crate) fn without_call(&self) -> Self {
        let Self { process, allowed, carrier, .. } = self;
        Self { process: *process, allowed: allowed.clone(), carrier: carrier.clone(), call: None }
    }

    /// Checks that the channel accepts an object that has just arrived, as cheaply as the system allows. Returns the object's
    /// kind if that had to be found out. It is always found out if it matters whether the object is memory.
    ///
    /// `accepted` are kinds that the channel accepts: those of the object before, because most objects of a message are alike.
    /// If `is_no_semaphore`, the sender says that the object is no semaphore, which is believed of an eventfd alone.
    fn kind_on_arrival<'n>(
        &self,
        name: impl Fn() -> &'n str,
        handle: &Owned,
        is_memory_limited: bool,
        is_no_semaphore: bool,
        accepted: &mut &'static [ObjectKind],
    ) -> Result<Option<ObjectKind>> {
        let possible = handle::possible_kinds(handle.handle(), is_no_semaphore).unwrap_or_default();
        let is_exact = is_memory_limited && possible.contains(&ObjectKind::SharedMemory);
        // All objects of a kind have the same list.
        let is_accepted =
            || std::ptr::eq(possible, *accepted) || possible.iter().all(|kind| self.allows(kind));
        if !possible.is_empty() && !is_exact && is_accepted() {
            *accepted = possible;
            return Ok(if let [kind] = possible { Some(kind.clone()) } else { None });
        }
        if let [found] = possible {
            return Err(self.refused(name(), found.clone()));
        }
        match self.accepted_kind(name, handle) {
            Err(error) if !is_memory_limited && error.raw_os_error().is_some_and(handle::is_out_of_room) => {
                Ok(None)
            }
            kind => kind.map(Some),
        }
    }

    /// Asks the kernel for an object's kind. Fails if the channel doesn't accept it.
    fn accepted_kind<'n>(&self, name: impl Fn() -> &'n str, handle: &Owned) -> Result<ObjectKind> {
        let kind =
            handle::kind_of_owned(handle).map_err(|source| Error::on_handle(description(name()), source))?;
        if self.allows(&kind) { Ok(kind) } else { Err(self.refused(name(), kind)) }
    }

    /// Returns whether the channel accepts objects of this kind.
    fn allows(&self, kind: &ObjectKind) -> bool {
        self.allowed.as_ref().is_some_and(|allowed| allowed.has(kind))
    }

    /// Returns the error for an object of a kind that the channel doesn't accept.
    fn refused(&self, name: &str, found: ObjectKind) -> Error {
        Error::KindNotAllowed { pid: self.process, name: name.to_owned(), found }
    }
}

/// A call whose reply is still to be sent.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: u64,
    pub(crate) endpoint: Weak<Endpoint>,
    pub(crate) has_reply: AtomicBool,
}

/// The reason why a message is not returned to its receiver.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It fails alone.
    Failed(Error),
    /// Its sender broke a rule.
    Broken(Broken),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl ReceivedMessage {
    /// Returns a message that has no objects.
    #[inline]
    pub(crate) fn of_bytes_alone(content: Content, from: Sender) -> Self {
        Self { content, objects: Mutex::new(Objects(Vec::new())), from }
    }

    /// Checks the kinds of a message's objects and the size of its shared memory. If it is refused, its objects are closed.
    pub(crate) fn admit(
        (envelope, content, limits): (Envelope, Content, Limits),
        mut handles: Vec<Owned>,
        from: Sender,
    ) -> Result<Self, Refused> {
        let mut shared_memory: u64 = 0;
        let mut received = Objects::with_capacity(content.names().len());
        let first_endpoint = content.names().len() - envelope.endpoints;
        let mut objects = handles.drain(..);
        let mut accepted: &[ObjectKind] = &[];
        for index in 0..content.names().len() {
            let handle = objects.next().expect("each name has an object");
            let name = || content.names().nth(index).expect("each object has a name");
            let kind = from.kind_on_arrival(
                name,
                &handle,
                limits.are_for_shared_memory(),
                envelope.has_no_semaphores,
                &mut accepted,
            )?;
            let of_endpoint =
                (index >= first_endpoint).then(|| objects.by_ref().take(HANDLES - 1).collect::<Vec<_>>());
            if limits.are_for_shared_memory() && kind == Some(ObjectKind::SharedMemory) {
                // If the size can't be found out, it may be any.
                let size = size_of_section(handle.handle()).unwrap_or(usize::MAX);
                shared_memory = shared_memory.saturating_add(size as u64);
            }
            received.push(Some(Received { handle, kind, of_endpoint }));
        }
        drop(objects);
        recycle_list(handles);
        limits.check_shared_memory(shared_memory).map_err(Refused::Broken)?;
        Ok(Self { content, objects: Mutex::new(received), from })
    }

    #[cfg(feature = "serde")]
    pub(crate) fn content(&self) -> &Content {
        &self.content
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

    /// Returns the kind of the object with this name, as the kernel reports it.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownName`] if the message has no object with this name; the error lists the available names.
    /// - [`Error::AlreadyTaken`] if the object was taken before.
    pub fn kind(&self, name: &str) -> Result<ObjectKind> {
        let index = self.index(name)?;
        let objects = self.objects.lock();
        let object = objects[index].as_ref().ok_or_else(|| already_taken(name))?;
        object.kind(name, &self.from).map(Cow::into_owned)
    }

    /// Takes the object with this name, as the type that the caller expects. Of several threads that take it at the same
    /// time, one gets it.
    ///
    /// If the kind that the kernel reports differs from the expected one, the object stays in the message and is closed
    /// with it. The caller owns the returned object; dropping it closes the handle.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownName`] if the message has no object with this name; the error lists the available names.
    /// - [`Error::AlreadyTaken`] if the object was taken before.
    /// - [`Error::WrongKind`] if the object has another kind.
    /// - [`Error::InvalidInput`] if it is an endpoint of a channel, for [`take_channel`](Self::take_channel).
    pub fn take<T: Object>(&self, name: &str) -> Result<T> {
        let index = self.index(name)?;
        let mut objects = self.objects.lock();
        let object = &mut objects[index];
        let received = object.as_ref().ok_or_else(|| already_taken(name))?;
        received.check::<T>(name, &self.from)?;
        let object = object.take().expect("it is there");
        Ok(T::from_handle(object.handle))
    }

    #[inline]
    pub(super) fn index(&self, name: &str) -> Result<usize> {
        self.content.position(name).ok_or_else(|| self.unknown_name(name))
    }

    #[cold]
    fn unknown_name(&self, name: &str) -> Error {
        let names = self.content.names().map(str::to_owned).collect();
        Error::UnknownName { name: name.to_owned(), available: names }
    }
}

pub(super) fn description(name: &str) -> String {
    format!("the object {name:?} of the message")
}

pub(super) fn already_taken(name: &str) -> Error {
    Error::AlreadyTaken { object: description(name) }
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
        let text = String::from("same");
        let of_text = [Message::new("same"), Message::new(&text), Message::new(text.clone()), "same".into()];
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
