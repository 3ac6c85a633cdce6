//! The wire format: how a message is encoded in the bytes of the pipe or socket (pure).
//!
//! Each message is one frame. Numbers are little-endian:
//!
//! ```text
//! offset  bytes  contents
//!      0      2  "HO"
//!      2      1  the version of the format, 1
//!      3      1  the type: 0 a message, 1 a call, 2 a reply, 3 a greeting
//!      4      1  the number of objects, at most 253
//!      5      1  how many of them, the last ones, are endpoints of channels
//!      6      2  0; in a greeting, 1 asks for a greeting in return, and 2 says that the endpoint leaves the process;
//!                in other frames with objects on Linux, 4 says that no object is a semaphore
//!      8      4  the length of the table of objects in bytes
//!     12      4  the length of the message in bytes, at most 16 MiB
//!     16      8  the message's number in its direction, counted from 0
//!     24      8  the call's id, in a call and in its reply; otherwise 0
//!     32         the table; for each object:
//!                    its handle value (4 bytes, on Windows only; an endpoint has four, and a socket has 0 there)
//!                    the length of its name (1 byte)
//!                    its name
//!                then, for each socket on Windows, its record (628 bytes)
//!                the message's bytes
//! ```
//!
//! Everything in a frame is untrusted:
//!
//! - Each number has a limit, which is checked before memory is allocated or an object duplicated.
//! - Names must be text, and different from each other.
//! - Handle values must be possible ones, and different from each other.
//! - The table must end where the header says.
//!
//! A frame doesn't contain the kinds of its objects, because the receiver asks the kernel. Only the flag 4 says something
//! about them that the kernel doesn't say on Linux: that each eventfd is an event. There the kernel passes the file
//! descriptors beside the bytes, in the order of the table.

#![allow(clippy::missing_const_for_thread_local, reason = "it is const; on Windows the lint doesn't see it")]

use std::cell::Cell;
use std::str::from_utf8;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::error::{Error, Result};
use crate::handle::{HandleValue, shortened};

/// The maximum number of bytes in one message.
pub(crate) const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The maximum number of objects in one message: the number that Linux passes in one `sendmsg`.
pub(crate) const MAX_OBJECTS: usize = 253;
/// The maximum number of bytes in an object's name.
pub(crate) const MAX_NAME: usize = 255;

/// The version of the format of frames, of handshakes and of the manifest.
pub(crate) const VERSION: u8 = 1;

pub(crate) const MAGIC: [u8; 2] = *b"HO";
/// The length of the record of a socket in bytes: of Winsock's `WSAPROTOCOL_INFOW`.
pub(crate) const RECORD_LENGTH: usize = 628;
const MAX_TABLE: usize = MAX_OBJECTS * (4 + RECORD_LENGTH + 1 + MAX_NAME);
const _: () = assert!(MAX_OBJECTS < 1 << 8 && MAX_TABLE < 1 << 24, "`Content::next` has room for them");

/// The encoded reference to an object in a frame.
pub(crate) trait ObjectRef: Copy + Ord {
    /// The length of the encoding in bytes.
    const LENGTH: usize;
    /// The number of references to the handles of a channel's endpoint.
    const OF_ENDPOINT: usize;
    /// The length of the record that some objects have behind the table's entries, in bytes. Zero if none has one.
    const RECORD: usize;
    /// Whether a thread keeps the memory of a large frame. Windows' heap takes each large block from the kernel and gives it back, so
    /// that each of its pages costs a fault again.
    const KEEPS_LARGE: bool;
    /// Whether the system lets the sender tell events from semaphores ([`NO_SEMAPHORES`]).
    const SENDER_TELLS_EVENTS: bool;

    /// Returns whether the object has a record.
    fn has_record(self) -> bool;

    fn write(self, frame: &mut Vec<u8>);

    /// Decodes a reference from `LENGTH` bytes.
    fn parse(bytes: &[u8]) -> Result<Self, Broken>;
}

/// The reference on Windows.
#[allow(dead_code, reason = "on Linux only tests use it")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HandleRef {
    /// The object's handle value in the weaker process's handle table.
    Handle(HandleValue),
    /// A socket, whose record is behind the table's entries.
    Socket,
}

impl From<HandleValue> for HandleRef {
    fn from(value: HandleValue) -> Self {
        Self::Handle(value)
    }
}

impl ObjectRef for HandleRef {
    const LENGTH: usize = 4;
    const OF_ENDPOINT: usize = 4;
    const RECORD: usize = RECORD_LENGTH;
    const KEEPS_LARGE: bool = true;
    const SENDER_TELLS_EVENTS: bool = false;

    fn has_record(self) -> bool {
        self == Self::Socket
    }

    fn write(self, frame: &mut Vec<u8>) {
        let number = match self {
            Self::Handle(value) => value.get(),
            Self::Socket => 0,
        };
        frame.extend(number.to_le_bytes());
    }

    fn parse(bytes: &[u8]) -> Result<Self, Broken> {
        let invalid_value = Broken::Rule("an object has a value that can't be a handle value");
        let bytes = bytes.try_into().map_err(|_| invalid_value)?;
        match u32::from_le_bytes(bytes) {
            0 => Ok(Self::Socket),
            number => HandleValue::try_from(u64::from(number)).map(Self::Handle).map_err(|_| invalid_value),
        }
    }
}

/// On Linux, nothing: the kernel passes the descriptors beside the frame, in the order of the table.
impl ObjectRef for () {
    const LENGTH: usize = 0;
    const OF_ENDPOINT: usize = 1;
    const RECORD: usize = 0;
    const KEEPS_LARGE: bool = false;
    const SENDER_TELLS_EVENTS: bool = true;

    fn has_record(self) -> bool {
        false
    }

    fn write(self, _frame: &mut Vec<u8>) {}

    fn parse(_bytes: &[u8]) -> Result<Self, Broken> {
        Ok(())
    }
}

/// The reason why a frame can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It breaks this rule.
    Rule(&'static str),
    /// It exceeds this limit of the endpoint.
    Limit(&'static str),
    /// It has this version, which this process doesn't understand.
    Version(u8),
}

impl From<&'static str> for Broken {
    fn from(rule: &'static str) -> Self {
        Self::Rule(rule)
    }
}

impl Broken {
    /// Returns the error for the process that sent the frame.
    pub(crate) fn error(self, pid: u32) -> Error {
        match self {
            Self::Rule(reason) | Self::Limit(reason) => Error::Protocol { pid, reason },
            Self::Version(theirs) => {
                Error::IncompatibleVersion { ours: VERSION.into(), theirs: theirs.into() }
            }
        }
    }
}

/// The purpose of a greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// The sender has received a greeting that asks for this one.
    Answers,
    /// The sender has just got its endpoint, and asks for a greeting in return.
    Asks,
    /// The endpoint leaves the sender's process.
    Leaves,
}

/// The type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FrameType {
    #[default]
    Message,
    /// A message that expects a reply with this id.
    Call(u64),
    /// The reply to the call with this id.
    Reply(u64),
    /// It tells the peer which process holds the sender's endpoint. It has neither objects nor bytes, and its number is that
    /// of the next message.
    Greeting(Greeting),
}

impl FrameType {
    /// Returns the type's number, the flags that belong to it, and the id.
    #[inline]
    pub(crate) fn encode(self) -> (u8, u16, u64) {
        match self {
            Self::Message => (0, 0, 0),
            Self::Call(id) => (1, 0, id),
            Self::Reply(id) => (2, 0, id),
            Self::Greeting(Greeting::Answers) => (3, 0, 0),
            Self::Greeting(Greeting::Asks) => (3, 1, 0),
            Self::Greeting(Greeting::Leaves) => (3, 2, 0),
        }
    }

    fn decode(number: u8, flags: u16, id: u64) -> Option<Self> {
        match (number, flags, id) {
            (0, 0, 0) => Some(Self::Message),
            (1, 0, id) => Some(Self::Call(id)),
            (2, 0, id) => Some(Self::Reply(id)),
            (3, 0, 0) => Some(Self::Greeting(Greeting::Answers)),
            (3, 1, 0) => Some(Self::Greeting(Greeting::Asks)),
            (3, 2, 0) => Some(Self::Greeting(Greeting::Leaves)),
            _ => None,
        }
    }
}

/// The flag of a frame whose sender says that no object is a semaphore. It is set in no greeting.
const NO_SEMAPHORES: u16 = 4;

/// The fields of a frame that describe its message as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Envelope {
    pub(crate) frame_type: FrameType,
    /// The message's number in its direction.
    pub(crate) number: u64,
    /// How many of the objects, the last ones, are endpoints of channels.
    pub(crate) endpoints: usize,
    /// Whether the sender says that no object is a semaphore. It is true of frames with objects alone, and on Linux alone.
    pub(crate) has_no_semaphores: bool,
}

impl Envelope {
    /// Returns the frame's flags.
    pub(crate) fn flags(&self) -> u16 {
        let (_, flags, _) = self.frame_type.encode();
        flags | if self.has_no_semaphores { NO_SEMAPHORES } else { 0 }
    }
}

/// The first part of a frame, which contains the lengths of the other parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Header {
    pub(crate) envelope: Envelope,
    pub(crate) objects: usize,
    /// The length of the table.
    pub(crate) table: usize,
    /// The length of the message's bytes.
    pub(crate) bytes: usize,
}

impl Header {
    /// The length of a header in bytes.
    pub(crate) const LENGTH: usize = 32;

    /// Parses the header at the beginning of the received bytes. Returns `None` if it is incomplete.
    pub(crate) fn parse<P: ObjectRef>(received: &[u8]) -> Result<Option<Self>, Broken> {
        // Checks the bytes as soon as they have arrived: a peer that speaks another protocol may never send a whole
        // header.
        if received.iter().zip(MAGIC).any(|(received, expected)| *received != expected) {
            return Err("its data doesn't begin as a message does".into());
        }
        if let Some(version) = received.get(MAGIC.len()).filter(|version| **version != VERSION) {
            return Err(Broken::Version(*version));
        }
        let Some((header, _)) = received.split_first_chunk::<{ Self::LENGTH }>() else {
            return Ok(None);
        };
        let [_, _, _, frame_type, objects, endpoints, f0, f1, t0, t1, t2, t3, b0, b1, b2, b3, rest @ ..] =
            *header;
        let size = |bytes| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
        let [number, id] =
            [&rest[..8], &rest[8..]].map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
        let flags = u16::from_le_bytes([f0, f1]);
        let has_no_semaphores = P::SENDER_TELLS_EVENTS && flags & NO_SEMAPHORES != 0;
        let flags_of_type = if has_no_semaphores { flags & !NO_SEMAPHORES } else { flags };
        let frame_type = FrameType::decode(frame_type, flags_of_type, id);
        let this = Self {
            envelope: Envelope {
                frame_type: frame_type.ok_or("a message has an unknown type")?,
                number,
                endpoints: usize::from(endpoints),
                has_no_semaphores,
            },
            objects: usize::from(objects),
            table: size([t0, t1, t2, t3]),
            bytes: size([b0, b1, b2, b3]),
        };
        if this.objects > MAX_OBJECTS {
            return Err("a message has more than 253 objects".into());
        }
        if this.envelope.endpoints > this.objects {
            return Err("a message has more endpoints than objects".into());
        }
        if this.bytes > MAX_BYTES {
            return Err("a message has more than 16 MiB".into());
        }
        if matches!(this.envelope.frame_type, FrameType::Greeting(_)) && (this.objects, this.bytes) != (0, 0)
        {
            return Err("a greeting has objects or bytes".into());
        }
        if has_no_semaphores && this.objects == 0 {
            return Err("a message without objects says that none is a semaphore".into());
        }
        // The shortest name is one byte long.
        let refs = this.refs::<P>() * P::LENGTH;
        let records = (this.objects - this.envelope.endpoints) * P::RECORD;
        let (min, max) = (refs + this.objects * 2, refs + this.objects * (1 + MAX_NAME) + records);
        if this.table < min || this.table > max {
            return Err("a message's list of objects can't have the size that its header gives".into());
        }
        Ok(Some(this))
    }

    /// Reads the envelope of a whole message, call or reply without objects. Returns `None` for all other frames, also for
    /// invalid ones: [`parse`](Self::parse) says what they are. Most messages are of this sort, and this costs less.
    #[inline]
    #[allow(dead_code, reason = "not every system needs it")]
    pub(crate) fn of_bytes_alone(frame: &[u8]) -> Option<Envelope> {
        /// The type is the fourth byte.
        const FIRST: u64 = u64::from_le_bytes([MAGIC[0], MAGIC[1], VERSION, 0, 0, 0, 0, 0]);
        const LAST_TYPE: u64 = 2 << 24;
        let (header, bytes) = frame.split_first_chunk::<{ Self::LENGTH }>()?;
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| header[at + index]));
        let (first, lengths, number, id) = (word(0), word(8), word(16), word(24));
        let frame_type = first ^ FIRST;
        // The table has the length zero.
        let is_whole = lengths == (bytes.len() as u64) << 32 && bytes.len() <= MAX_BYTES;
        if !is_whole || frame_type & !(3 << 24) != 0 || frame_type > LAST_TYPE {
            return None;
        }
        let frame_type = FrameType::decode(u8::try_from(frame_type >> 24).ok()?, 0, id)?;
        Some(Envelope { frame_type, number, ..Envelope::default() })
    }

    /// Returns the number of references.
    fn refs<P: ObjectRef>(&self) -> usize {
        self.objects + self.envelope.endpoints * (P::OF_ENDPOINT - 1)
    }

    /// Returns whether the frame is no message.
    #[allow(dead_code, reason = "not every system needs it")]
    pub(crate) fn is_greeting(&self) -> bool {
        matches!(self.envelope.frame_type, FrameType::Greeting(_))
    }

    /// Returns the length of the whole frame in bytes.
    pub(crate) const fn frame_length(&self) -> usize {
        Self::LENGTH + self.table + self.bytes
    }

    /// Returns the encoded header of a message, call or reply without objects. It has at most [`MAX_BYTES`].
    #[inline]
    #[allow(dead_code, reason = "not every system needs it")]
    pub(crate) fn of_bytes(frame_type: FrameType, number: u64, bytes: usize) -> [u8; Self::LENGTH] {
        let (frame_type, flags, id) = frame_type.encode();
        // The lengths of the table and of the bytes. The first is zero.
        let lengths = (bytes as u64) << 32;
        let [f0, f1] = flags.to_le_bytes();
        let first = u64::from_le_bytes([MAGIC[0], MAGIC[1], VERSION, frame_type, 0, 0, f0, f1]);
        let mut header = [0; Self::LENGTH];
        for (to, word) in header.chunks_exact_mut(8).zip([first, lengths, number, id]) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        header
    }

    /// Encodes the header. Its message must have passed [`Table::check`].
    pub(crate) fn encode(&self) -> [u8; Self::LENGTH] {
        let length = |length: usize| u32::try_from(length).expect("checked").to_le_bytes();
        let count = |count: usize| u8::try_from(count).expect("checked");
        let (frame_type, _, id) = self.envelope.frame_type.encode();
        let mut header = [0; Self::LENGTH];
        header[..2].copy_from_slice(&MAGIC);
        header[2] = VERSION;
        header[3] = frame_type;
        header[4] = count(self.objects);
        header[5] = count(self.envelope.endpoints);
        header[6..8].copy_from_slice(&self.envelope.flags().to_le_bytes());
        header[8..12].copy_from_slice(&length(self.table));
        header[12..16].copy_from_slice(&length(self.bytes));
        header[16..24].copy_from_slice(&self.envelope.number.to_le_bytes());
        header[24..].copy_from_slice(&id.to_le_bytes());
        header
    }
}

/// The maximum length of a frame in bytes.
pub(crate) const MAX_FRAME: usize = Header::LENGTH + MAX_TABLE + MAX_BYTES;

/// An iterator over the names in a valid table. Each entry is the object's reference, if the system has one, the length
/// of the name, and the name.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    table: &'a [u8],
    /// The length of the references to an object, and to an endpoint, in bytes.
    ref_lengths: [usize; 2],
    count: usize,
    /// How many of the names, the last ones, are those of endpoints.
    endpoints: usize,
}

impl<'a> Names<'a> {
    /// Returns the next name as bytes. It works before the names are known to be text.
    fn next_bytes(&mut self) -> Option<&'a [u8]> {
        let ref_length = self.ref_lengths[usize::from(self.count <= self.endpoints)];
        self.count = self.count.checked_sub(1)?;
        let (length, rest) = self.table[ref_length..].split_first().expect("the entries are complete");
        let (name, rest) = rest.split_at(usize::from(*length));
        self.table = rest;
        Some(name)
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.next_bytes().map(|name| from_utf8(name).expect("the names were checked"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Names<'_> {}

/// The names of a message that is being built, encoded as in the frame, so that sending doesn't encode them again.
#[derive(Clone, Default)]
pub(crate) struct Table {
    bytes: Vec<u8>,
    count: u32,
    /// The offset of the last entry, and the key of its name.
    last: u32,
    last_key: u64,
    /// Whether some name is not above the one before it in the order of [`is_below`]. Only then can a name be repeated.
    is_unordered: bool,
    /// The first invalid name, and the rule that it breaks.
    invalid_name: Option<Box<(String, &'static str)>>,
}

impl Table {
    /// Adds a name. If the name is invalid, [`check`](Self::check) reports that later.
    #[inline]
    pub(crate) fn push(&mut self, name: &str) {
        let name = name.as_bytes();
        let key = key(name);
        let is_one = if key == LONG { check_name(name).is_ok() } else { is_short_name(key, name.len()) };
        let (Ok(length), true) = (u8::try_from(name.len()), is_one) else { return self.refuse(name) };
        let room = 1 + name.len().max(SHORT);
        if self.bytes.capacity() - self.bytes.len() < room {
            grow(&mut self.bytes, room.max(32));
        }
        let last = || &self.bytes[self.last as usize + 1..];
        self.is_unordered |= !is_above(key, name, self.last_key, last);
        (self.last, self.last_key) = (u32::try_from(self.bytes.len()).unwrap_or(u32::MAX), key);
        self.bytes.push(length);
        if key == LONG {
            self.bytes.extend_from_slice(name);
        } else {
            // Appending eight bytes at once is a single move. Then the excess bytes are removed.
            self.bytes.extend_from_slice(&key.rotate_right(8 * u32::from(length)).to_be_bytes());
            self.bytes.truncate(self.last as usize + 1 + name.len());
        }
        self.count += 1;
    }

    #[cold]
    fn refuse(&mut self, name: &[u8]) {
        let reason = check_name(name).err().unwrap_or(TOO_LONG);
        self.invalid_name
            .get_or_insert_with(|| Box::new((String::from_utf8_lossy(name).into_owned(), reason)));
    }

    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn names(&self) -> Names<'_> {
        Names { table: &self.bytes, ref_lengths: [0; 2], count: self.count(), endpoints: 0 }
    }

    /// Returns the table as encoded in a frame without references.
    #[allow(dead_code, reason = "not every system needs it")]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks that a frame can hold a message with these names and bytes, before anything else is done.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<()> {
        let invalid = |input: String, reason: &str| Err(Error::InvalidInput { input, reason: reason.into() });
        if bytes.len() > MAX_BYTES {
            let input = format!("a message of {} bytes", bytes.len());
            return invalid(input, "is too long; at most 16 MiB fit: send it in parts, or in shared memory");
        }
        if let Some((name, reason)) = self.invalid_name.as_deref() {
            return invalid(
                format!("the name {:?} of an object in a message", shortened(name)),
                &format!("can't be used: {reason}; expected 1 to 255 bytes without NUL"),
            );
        }
        if self.count() > MAX_OBJECTS {
            let input = format!("a message with {} objects", self.count);
            return invalid(input, "has too many; at most 253 fit: send them in several messages");
        }
        if let Some(name) = self.is_unordered.then(|| repeated_name(self.names())).flatten() {
            let name = String::from_utf8_lossy(name);
            return invalid(
                format!("a message with two objects named {:?}", shortened(&name)),
                "is ambiguous; give each object its own name",
            );
        }
        Ok(())
    }
}

/// The largest memory of a frame that a thread keeps for the next message.
pub(crate) const MAX_SPARE: usize = 64 * 1024;

/// The largest memory of a frame that a thread keeps for the next large message, on a system whose allocator doesn't: the frame of a
/// message of 1 MiB, with its table.
#[allow(dead_code, reason = "not every system needs it")]
pub(crate) const MAX_LARGE: usize = 1024 * 1024 + 64 * 1024;

thread_local! {
    /// The memory of a message that was dropped, for the next one that this thread receives.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// The memory of a large message, for the next one that this thread sends or receives.
    static LARGE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Returns empty memory for a large frame. It has no capacity if this thread has none left.
#[allow(dead_code, reason = "not every system needs it")]
pub(crate) fn large_frame() -> Vec<u8> {
    LARGE.try_with(Cell::take).unwrap_or_default()
}

/// Keeps the memory of a large frame for the next one of this thread, unless it is very large.
pub(crate) fn recycle_large(mut frame: Vec<u8>) {
    if (MAX_SPARE + 1..=MAX_LARGE).contains(&frame.capacity()) {
        frame.clear();
        // A thread that is exiting keeps nothing.
        let _ = LARGE.try_with(|large| large.set(frame));
    }
}

/// Returns empty memory for a frame. It has no capacity if this thread has none left.
#[allow(dead_code, reason = "not every system needs it")]
pub(crate) fn spare_frame() -> Vec<u8> {
    SPARE.try_with(Cell::take).unwrap_or_default()
}

/// Keeps the memory of a frame for the next message that this thread receives, unless it is large.
pub(crate) fn recycle_frame(mut frame: Vec<u8>) {
    if (1..=MAX_SPARE).contains(&frame.capacity()) {
        frame.clear();
        // A thread that is exiting keeps nothing.
        let _ = SPARE.try_with(|spare| spare.set(frame));
    }
}

/// The names and bytes of a received message, in their frame.
#[derive(Debug)]
pub(crate) struct Content {
    frame: Vec<u8>,
    /// The length of the table in bytes.
    table: u32,
    // These numbers are small, and a message is moved several times before its receiver has it.
    ref_lengths: [u8; 2],
    count: u8,
    endpoints: u8,
    keeps_large: bool,
    /// The index of the name behind the one that was looked up last, and its offset in the table, in the upper 24 bits.
    /// Most receivers look the names up in their order, and then no search goes through the names before.
    next: AtomicU32,
}

impl Content {
    /// Wraps a frame that [`parse`] has accepted.
    pub(crate) fn new<P: ObjectRef>(header: &Header, frame: Vec<u8>) -> Self {
        let count = |count: usize| u8::try_from(count).expect("checked");
        Self {
            frame,
            table: u32::try_from(header.table).expect("checked"),
            ref_lengths: ref_lengths::<P>().map(|length| u8::try_from(length).expect("it is small")),
            count: count(header.objects),
            endpoints: count(header.envelope.endpoints),
            keeps_large: P::KEEPS_LARGE,
            next: AtomicU32::new(0),
        }
    }

    /// Wraps a frame of bytes alone, of which [`Header::of_bytes_alone`] has read the header.
    #[inline]
    #[allow(dead_code, reason = "not every system needs it")]
    pub(crate) fn of_bytes_alone(frame: Vec<u8>) -> Self {
        // The systems that read such a frame so have an allocator that keeps large memory.
        let (table, ref_lengths, count, endpoints, keeps_large) = (0, [0; 2], 0, 0, false);
        Self { frame, table, ref_lengths, count, endpoints, keeps_large, next: AtomicU32::new(0) }
    }

    pub(crate) fn names(&self) -> Names<'_> {
        Names {
            table: &self.frame[Header::LENGTH..][..self.table as usize],
            ref_lengths: self.ref_lengths.map(usize::from),
            count: self.count.into(),
            endpoints: self.endpoints.into(),
        }
    }

    /// Returns whether the message has no objects.
    #[inline]
    pub(crate) fn is_of_bytes_alone(&self) -> bool {
        self.count == 0
    }

    /// Returns whether the names are these, in this order.
    #[cfg(feature = "serde")]
    pub(crate) fn names_are(&self, mut expected: impl Iterator<Item = &'static str>) -> bool {
        all(self.names(), |name| expected.next().is_some_and(|expected| name == expected.as_bytes()))
    }

    /// Returns the index of a name.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        let next = self.next.load(Relaxed);
        let (index, offset) = (next as usize & 0xff, next as usize >> 8);
        let (count, endpoints) = (usize::from(self.count), usize::from(self.endpoints));
        let ref_length = usize::from(self.ref_lengths[usize::from(count - index <= endpoints)]);
        let table = &self.frame[Header::LENGTH..][..self.table as usize];
        // Behind the last name, there is no other one or a record, in which nothing is looked for.
        if let (true, Some((length, rest))) =
            (index < count, table.get(offset + ref_length..).and_then(<[u8]>::split_first))
        {
            if usize::from(*length) == name.len() && rest.starts_with(name.as_bytes()) {
                self.note_next(index + 1, offset + ref_length + 1 + name.len());
                return Some(index);
            }
        }
        self.search(name, index, offset)
    }

    /// Notes the index of the next name, and its offset in the table.
    fn note_next(&self, index: usize, offset: usize) {
        self.next.store(u32::try_from(offset << 8 | index).unwrap_or(0), Relaxed);
    }

    /// Returns the index of a name. The names from this index on, the first of which has this offset, are looked at first.
    fn search(&self, name: &str, first: usize, offset: usize) -> Option<usize> {
        let mut names = self.names();
        let mut behind = Names { table: &names.table[offset..], count: names.count - first, ..names };
        let name = name.as_bytes();
        let found = std::iter::from_fn(|| behind.next_bytes()).position(|other| other == name);
        let (index, rest) = match found {
            Some(index) => (first + index, behind),
            None => (
                std::iter::from_fn(|| names.next_bytes()).take(first).position(|other| other == name)?,
                names,
            ),
        };
        self.note_next(index + 1, self.table as usize - rest.table.len());
        Some(index)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.frame[Header::LENGTH + self.table as usize..]
    }

    /// Returns the length of the frame.
    pub(crate) fn size(&self) -> usize {
        self.frame.len()
    }

    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        let mut frame = std::mem::take(&mut self.frame);
        frame.drain(..Header::LENGTH + self.table as usize);
        frame
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        let frame = std::mem::take(&mut self.frame);
        if self.keeps_large && frame.capacity() > MAX_SPARE {
            recycle_large(frame);
        } else {
            recycle_frame(frame);
        }
    }
}

/// Returns the length of the references to an object, and to an endpoint, in bytes.
fn ref_lengths<P: ObjectRef>() -> [usize; 2] {
    [P::LENGTH, P::LENGTH * P::OF_ENDPOINT]
}

/// Checks a frame and returns the references to its objects. The frame must be as long as its header says. Afterwards
/// its names are known to be valid and different.
pub(crate) fn parse<P: ObjectRef>(header: &Header, frame: &[u8]) -> Result<Vec<P>, Broken> {
    if frame.len() != header.frame_length() {
        return Err("a message is shorter or longer than its header says".into());
    }
    let table = &frame[Header::LENGTH..][..header.table];
    let mut refs: Vec<P> = Vec::with_capacity(header.refs::<P>());
    let first_endpoint = header.objects - header.envelope.endpoints;
    let (mut rest, mut is_ordered, mut record_count) = (table, true, 0);
    let (mut previous, mut previous_key) = (&[][..], 0);
    for index in 0..header.objects {
        let cut_off = Broken::Rule("a message's list of objects is cut off");
        let ref_count = if index < first_endpoint { 1 } else { P::OF_ENDPOINT };
        let (object_refs, behind) = rest.split_at_checked(P::LENGTH * ref_count).ok_or(cut_off)?;
        let (length, behind) = behind.split_first().ok_or(cut_off)?;
        let (name, behind) = behind.split_at_checked(usize::from(*length)).ok_or(cut_off)?;
        // Without references, one search over the whole table finds a NUL below.
        if P::LENGTH > 0 || name.is_empty() {
            check_name(name)?;
        }
        for index in 0..ref_count {
            let object_ref = P::parse(&object_refs[P::LENGTH * index..][..P::LENGTH])?;
            if object_ref.has_record() && ref_count > 1 {
                return Err("an endpoint has a handle that is a socket".into());
            }
            record_count += usize::from(object_ref.has_record());
            refs.push(object_ref);
        }
        let key = key(name);
        is_ordered &= is_above(key, name, previous_key, || previous);
        (rest, previous, previous_key) = (behind, name, key);
    }
    if rest.len() != record_count * P::RECORD {
        return Err("a message's list of objects is not as long as its objects and their records".into());
    }
    // No length byte is zero any more, so a zero byte belongs to a name.
    if P::LENGTH == 0 && table.contains(&0) {
        return Err(HAS_NUL.into());
    }
    let (count, endpoints) = (header.objects, header.envelope.endpoints);
    let names = Names { table, ref_lengths: ref_lengths::<P>(), count, endpoints };
    // Most names are ASCII. Then the bytes between them are ASCII too, and one check over the whole table is enough.
    if !table.is_ascii() && !all(names, |name| from_utf8(name).is_ok()) {
        return Err("an object has a name that isn't text (UTF-8)".into());
    }
    // The receiver closes each handle value that it takes. A second close of the same value could hit an unrelated
    // object.
    if (!is_ordered && repeated_name(names).is_some()) || (P::LENGTH > 0 && has_repeated_ref(&refs)) {
        return Err("a message lists a name or an object twice".into());
    }
    Ok(refs)
}

/// Returns the records of the objects in a frame that [`parse`] has accepted, and in which it has found these references.
#[allow(dead_code, reason = "not every system needs it")]
pub(crate) fn records<'a, P: ObjectRef>(header: &Header, frame: &'a [u8], refs: &[P]) -> &'a [u8] {
    let length = refs.iter().filter(|object_ref| object_ref.has_record()).count() * P::RECORD;
    &frame[Header::LENGTH + header.table - length..][..length]
}

/// Grows a list by at least `more` elements and to at least four times its length, because most messages have few
/// objects and some have hundreds.
#[cold]
pub(crate) fn grow<T>(list: &mut Vec<T>, more: usize) {
    // Moving to a new block is cheaper than growing in place, because an allocator finds a free block faster.
    let mut larger = Vec::with_capacity(list.len() + more.max(3 * list.len()));
    larger.append(list);
    *list = larger;
}

fn all(mut names: Names<'_>, mut is_valid: impl FnMut(&[u8]) -> bool) -> bool {
    while let Some(name) = names.next_bytes() {
        if !is_valid(name) {
            return false;
        }
    }
    true
}

/// Writes a frame with the references for each name, in the order of the names, and with the records of those that have one.
/// The message must have passed [`Table::check`].
#[allow(dead_code, reason = "not every system needs it")]
pub(crate) fn write<P: ObjectRef>(
    frame: &mut Vec<u8>,
    envelope: Envelope,
    table: &Table,
    refs: impl IntoIterator<Item = P>,
    records: &[u8],
    bytes: &[u8],
) {
    let header = Header { envelope, objects: table.count(), table: 0, bytes: bytes.len() };
    let table_length = table.bytes.len() + header.refs::<P>() * P::LENGTH + records.len();
    let header = Header { table: table_length, ..header };
    frame.clear();
    frame.reserve(header.frame_length());
    frame.extend(header.encode());
    let mut names = table.names();
    let first_endpoint = table.count() - envelope.endpoints;
    let (mut refs, mut index) = (refs.into_iter(), 0);
    while let Some(name) = names.next_bytes() {
        let ref_count = if index < first_endpoint { 1 } else { P::OF_ENDPOINT };
        index += 1;
        for _ in 0..ref_count {
            refs.next().expect("each name has its references").write(frame);
        }
        frame.push(u8::try_from(name.len()).expect("checked"));
        frame.extend(name);
    }
    frame.extend(records);
    frame.extend(bytes);
}

const HAS_NUL: &str = "an object's name contains a NUL";
const TOO_LONG: &str = "an object's name has more than 255 bytes";

fn check_name(name: &[u8]) -> Result<(), &'static str> {
    match name.len() {
        0 => Err("an object's name is empty"),
        1..=MAX_NAME if name.contains(&0) => Err(HAS_NUL),
        1..=MAX_NAME => Ok(()),
        _ => Err(TOO_LONG),
    }
}

/// The maximum length of a name that is compared as a number.
const SHORT: usize = 8;
/// The key of all longer names. It is above all other keys, because no text consists of such bytes.
const LONG: u64 = u64::MAX;

/// Returns the key of a name: a number that identifies a short name without NUL, and has the order of [`is_below`].
#[inline]
fn key(name: &[u8]) -> u64 {
    if name.len() > SHORT {
        return LONG;
    }
    name.iter().fold(0, |key, byte| (key << 8) + u64::from(*byte))
}

/// Returns whether the key belongs to a valid name of this length: one that isn't empty and has no NUL.
#[inline]
fn is_short_name(key: u64, length: usize) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; SHORT]);
    const HIGH: u64 = ONES << 7;
    // The unused bytes are set to 0xff so that they don't count as zero. Only a zero byte makes the subtraction reach
    // its highest bit.
    let key = key + if length < SHORT { u64::MAX << (8 * length) } else { 0 };
    length > 0 && key.wrapping_sub(ONES) & !key & HIGH == 0
}

/// Compares names by length and then by bytes, which for short names is the order of their keys.
fn is_below(one: &[u8], other: &[u8]) -> bool {
    (one.len(), one) < (other.len(), other)
}

/// Returns whether a name is above another name. Both are given with their keys.
#[inline]
fn is_above<'a>(key: u64, name: &[u8], other_key: u64, other: impl FnOnce() -> &'a [u8]) -> bool {
    if (other_key, key) == (LONG, LONG) { is_below(other(), name) } else { other_key < key }
}

/// Hashes a name with FNV-1a.
#[inline]
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Returns the first name that occurs twice. `names` has at most `MAX_OBJECTS` names.
fn repeated_name(mut names: Names<'_>) -> Option<&[u8]> {
    const SLOTS: usize = 512;
    const { assert!(SLOTS > MAX_OBJECTS && MAX_OBJECTS < u8::MAX as usize) };
    let mut before: Vec<&[u8]> = Vec::with_capacity(names.count);
    // A hash table with open addressing. Each slot holds the index of a name, counted from 1. Names that a peer has
    // chosen to have the same hash cost one comparison for each pair, which is cheap at this size.
    let mut slots = [0_u8; SLOTS];
    while let Some(name) = names.next_bytes() {
        let mut slot = hash(name) as usize % SLOTS;
        while slots[slot] != 0 {
            if before[usize::from(slots[slot]) - 1] == name {
                return Some(name);
            }
            slot = (slot + 1) % SLOTS;
        }
        before.push(name);
        slots[slot] = u8::try_from(before.len()).expect("at most 253");
    }
    None
}

fn has_repeated_ref<P: ObjectRef>(refs: &[P]) -> bool {
    // Most tables are filled in their order.
    if refs.windows(2).all(|pair| pair[0] < pair[1]) {
        return false;
    }
    let mut sorted: Vec<P> = refs.iter().copied().filter(|object_ref| !object_ref.has_record()).collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn header_of_bytes_alone_is_that_of_every_message(
            number in any::<u64>(), id in any::<u64>(), bytes in 0..2000_usize
        ) {
            for frame_type in [FrameType::Message, FrameType::Call(id), FrameType::Reply(id)] {
                let envelope = Envelope { frame_type, number, ..Envelope::default() };
                let header = Header { envelope, bytes, ..Header::default() }.encode();
                prop_assert_eq!(Header::of_bytes(frame_type, number, bytes), header);
                let frame = [&header[..], &vec![7; bytes]].concat();
                prop_assert_eq!(Header::of_bytes_alone(&frame), Some(envelope));
            }
        }
    }

    fn kept_capacity<P: ObjectRef>(bytes: usize) -> usize {
        drop(large_frame());
        let mut frame = Vec::new();
        let none: [P; 0] = [];
        write(&mut frame, Envelope::default(), &Table::default(), none, b"", &vec![7; bytes]);
        let header = Header { envelope: Envelope::default(), objects: 0, table: 0, bytes };
        drop(Content::new::<P>(&header, frame));
        large_frame().capacity()
    }

    #[test]
    fn memory_of_a_large_message_is_kept_where_the_allocator_does_not_keep_it() {
        assert!(kept_capacity::<HandleRef>(1 << 20) > 1 << 20);
        assert_eq!(kept_capacity::<HandleRef>(MAX_LARGE), 0, "it is too large");
        assert_eq!(kept_capacity::<HandleRef>(1000), 0, "it is small");
        assert_eq!(kept_capacity::<()>(1 << 20), 0);
    }

    #[derive(Debug, Clone)]
    struct Sample {
        envelope: Envelope,
        objects: Vec<(String, HandleRef)>,
        records: Vec<u8>,
        bytes: Vec<u8>,
    }

    impl Sample {
        fn frame(&self) -> Vec<u8> {
            let mut frame = vec![0xff; 3];
            let table = table(self.objects.iter().map(|(name, _)| name.as_str()));
            table.check(&self.bytes).expect("a sample is valid");
            let first_endpoint = self.objects.len() - self.envelope.endpoints;
            let refs = self.objects.iter().enumerate().flat_map(|(index, (_, first))| {
                let count = if index < first_endpoint { 1 } else { HandleRef::OF_ENDPOINT };
                let count = u32::try_from(count).expect("few");
                // Different from those of all other objects.
                (0..count).map(move |number| match (number, first) {
                    (0, _) | (_, HandleRef::Socket) => *first,
                    (_, HandleRef::Handle(first)) => value(first.get() / 2 + 20_000 * number),
                })
            });
            write(&mut frame, self.envelope, &table, refs, &self.records, &self.bytes);
            frame
        }
    }

    /// Returns records for the sockets among the objects.
    fn records_of(objects: &[(String, HandleRef)]) -> Vec<u8> {
        let sockets = objects.iter().filter(|(_, object)| object.has_record()).count();
        (0..sockets * RECORD_LENGTH).map(|at| u8::try_from(at % 251).expect("it is less")).collect()
    }

    fn table<'a>(names: impl IntoIterator<Item = &'a str>) -> Table {
        let mut table = Table::default();
        names.into_iter().for_each(|name| table.push(name));
        table
    }

    /// The envelope, objects and bytes of a decoded message.
    type Decoded<P> = Result<(Envelope, Vec<(String, P)>, Vec<u8>), Broken>;

    fn content_of(sample: &Sample) -> Content {
        let frame = sample.frame();
        let header = Header::parse::<HandleRef>(&frame).expect("it is valid").expect("it is complete");
        Content::new::<HandleRef>(&header, frame)
    }

    fn decode(frame: &[u8]) -> Decoded<HandleRef> {
        decode_with(frame)
    }

    fn decode_with<P: ObjectRef>(frame: &[u8]) -> Decoded<P> {
        let header = Header::parse::<P>(frame)?.ok_or(Broken::Rule("cut off"))?;
        let refs = parse(&header, frame)?;
        let content = Content::new::<P>(&header, frame.to_vec());
        // Only the first reference of an endpoint is compared; the others are added in `Sample::frame`.
        let first_endpoint = content.names().len() - header.envelope.endpoints;
        let mut refs = refs.into_iter();
        let objects = content.names().map(str::to_owned).enumerate().map(|(index, name)| {
            let first = refs.next().expect("each name has a reference");
            for _ in 1..if index < first_endpoint { 1 } else { P::OF_ENDPOINT } {
                refs.next().expect("an endpoint has more of them");
            }
            (name, first)
        });
        let objects = objects.collect();
        assert!(refs.next().is_none());
        Ok((header.envelope, objects, content.into_bytes()))
    }

    fn value(index: u32) -> HandleRef {
        HandleValue::try_from(4 + 4 * u64::from(index)).expect("a value").into()
    }

    fn samples() -> impl Strategy<Value = Sample> {
        // Miri takes minutes to make large samples.
        let (names, most_objects, most_bytes) =
            if cfg!(miri) { ("[^\\x00]{0,6}", 5, 20) } else { ("[^\\x00]{0,60}", 20, 300) };
        // The value at the end of each name makes the names different.
        let objects = btree_map(0..5000_u32, names, 0..most_objects).prop_map(|objects| {
            objects
                .into_iter()
                .map(|(index, name)| {
                    let object = if index % 5 == 0 { HandleRef::Socket } else { value(index) };
                    (format!("{name}{index}"), object)
                })
                .collect::<Vec<_>>()
        });
        let frame_type = (0..4_u8, any::<u64>()).prop_map(|(which, id)| match which {
            0 => FrameType::Message,
            1 => FrameType::Call(id),
            2 => FrameType::Reply(id),
            _ => FrameType::Greeting(
                [Greeting::Answers, Greeting::Asks, Greeting::Leaves][usize::try_from(id % 3).unwrap_or(0)],
            ),
        });
        let rest = (any::<u64>(), any::<usize>(), objects, vec(any::<u8>(), 0..most_bytes));
        (frame_type, rest).prop_map(|(frame_type, (number, endpoints, mut objects, mut bytes))| {
            if matches!(frame_type, FrameType::Greeting(_)) {
                objects.clear();
                bytes.clear();
            }
            let endpoints = endpoints % (objects.len() + 1);
            let first_endpoint = objects.len() - endpoints;
            for (index, (_, object)) in (0..).zip(&mut objects[first_endpoint..]) {
                if object.has_record() {
                    *object = value(5000 + index);
                }
            }
            let records = records_of(&objects);
            let envelope = Envelope { frame_type, number, endpoints, has_no_semaphores: false };
            Sample { envelope, objects, records, bytes }
        })
    }

    proptest! {
        #[test]
        fn decoded_frame_equals_the_written_message(sample in samples()) {
            let frame = sample.frame();
            let header = Header::parse::<HandleRef>(&frame).expect("it is valid").expect("it is whole");
            prop_assert_eq!(header.objects, sample.objects.len());
            let (envelope, entries, bytes) = decode(&frame).expect("it is valid");
            prop_assert_eq!(envelope, sample.envelope);
            let refs: Vec<HandleRef> = parse(&header, &frame).expect("it is valid");
            prop_assert_eq!(records(&header, &frame, &refs), &sample.records[..]);
            prop_assert_eq!(bytes, sample.bytes);
            prop_assert_eq!(entries, sample.objects);
        }

        /// Each header that the quick way accepts is what the certain way says, and it accepts all that it is for.
        #[test]
        fn quick_way_reads_messages_without_objects_as_the_certain_way(
            (frame_type, flags, id) in (0_u8..5, (0_u16..2, 0_u16..2).prop_map(|(one, four)| one | four << 2), 0_u64..2),
            number in any::<u64>(),
            bytes in vec(any::<u8>(), 0..80),
            changes in vec((0_usize..32, any::<u8>()), 0..2),
        ) {
            let mut frame = Header { bytes: bytes.len(), ..Header::default() }.encode().to_vec();
            frame[3] = frame_type;
            frame[6..8].copy_from_slice(&flags.to_le_bytes());
            frame[16..24].copy_from_slice(&number.to_le_bytes());
            frame[24..32].copy_from_slice(&id.to_le_bytes());
            frame.extend(&bytes);
            changes.iter().for_each(|(at, byte)| frame[*at] = *byte);
            let expected = Header::parse::<()>(&frame).ok().flatten().filter(|header| {
                header.objects == 0
                    && header.frame_length() == frame.len()
                    && !matches!(header.envelope.frame_type, FrameType::Greeting(_))
            });
            prop_assert_eq!(Header::of_bytes_alone(&frame), expected.map(|header| header.envelope));
        }

        #[test]
        fn every_truncated_frame_is_rejected(sample in samples()) {
            let frame = sample.frame();
            for length in 0..frame.len() {
                prop_assert!(decode(&frame[..length]).is_err(), "{length} of {}", frame.len());
            }
            let longer = [&frame[..], &[0]].concat();
            prop_assert!(decode(&longer).is_err());
        }

        #[test]
        fn changed_frame_is_rejected_or_encodes_to_itself(
            (mut frame, changes) in samples().prop_flat_map(|sample| {
                let frame = sample.frame();
                let length = frame.len();
                (Just(frame), vec((0..length, any::<u8>()), 1..8))
            })
        ) {
            for (offset, byte) in changes {
                frame[offset] = byte;
            }
            if let Ok((envelope, entries, bytes)) = decode(&frame) {
                // An accepted frame is the one that its message encodes to, so no two frames mean the same.
                // The other references of endpoints aren't compared.
                if envelope.endpoints == 0 {
                    let header = Header::parse::<HandleRef>(&frame).expect("it is valid").expect("it is whole");
                    let refs: Vec<HandleRef> = parse(&header, &frame).expect("it is valid");
                    let records = records(&header, &frame, &refs).to_vec();
                    prop_assert_eq!(Sample { envelope, objects: entries, records, bytes }.frame(), frame);
                }
            }
        }

        #[test]
        fn names_are_found_in_any_order(sample in samples(), order in vec(any::<u16>(), 0..60)) {
            let content = content_of(&sample);
            let names: Vec<&str> = sample.objects.iter().map(|(name, _)| name.as_str()).collect();
            let at = |number: usize| number % names.len().max(1);
            // First in their order, and then in any, with names that don't exist between them.
            let order = (0..names.len()).chain(order.iter().map(|number| at(usize::from(*number))));
            for (lookup, index) in order.filter(|index| *index < names.len()).enumerate() {
                prop_assert_eq!(content.position(names[index]), Some(index));
                if lookup % 3 == 2 {
                    prop_assert_eq!(content.position(&format!("{} ", names[index])), None);
                }
            }
            prop_assert_eq!(content.position(""), None);
        }

        #[test]
        fn random_bytes_never_panic(noise in vec(any::<u8>(), 0..200)) {
            let _ = decode(&noise);
        }
    }

    fn frame(objects: u8, table: &[u8], bytes: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short").to_le_bytes();
        let mut frame = Vec::from(*b"HO\x01\0");
        frame.extend([objects, 0, 0, 0]);
        frame.extend(length(table));
        frame.extend(length(bytes));
        frame.extend([0; 16]);
        frame.extend(table);
        frame.extend(bytes);
        frame
    }

    #[test]
    fn each_broken_rule_has_its_own_error() {
        let with = |mut frame: Vec<u8>, offset: usize, bytes: &[u8]| {
            frame[offset..offset + bytes.len()].copy_from_slice(bytes);
            frame
        };
        let one = frame(1, b"\x44\0\0\0\x01a", b"go");
        assert_eq!(decode(&one), Ok((Envelope::default(), vec![("a".into(), value(16))], b"go".to_vec())));
        for (frame, part) in [
            (with(one.clone(), 0, b"X"), "doesn't begin"),
            (with(one.clone(), 3, &[4]), "an unknown type"),
            (with(one.clone(), 6, &[1]), "an unknown type"),
            (with(one.clone(), 24, &[1]), "an unknown type"),
            (with(one.clone(), 3, &[3, 1, 0, 3]), "an unknown type"),
            (with(one.clone(), 3, &[3]), "a greeting has objects or bytes"),
            (with(one.clone(), 4, &[254]), "more than 253"),
            (with(one.clone(), 4, &[0]), "can't have the size"),
            (with(one.clone(), 4, &[2]), "can't have the size"),
            (with(one.clone(), 5, &[2]), "more endpoints than objects"),
            (with(one.clone(), 8, &u32::MAX.to_le_bytes()), "can't have the size"),
            (with(one.clone(), 12, &(16 * 1024 * 1024 + 1_u32).to_le_bytes()), "more than 16 MiB"),
            (with(one.clone(), 12, &3_u32.to_le_bytes()), "shorter or longer"),
            (frame(1, b"\xff\xff\xff\xff\x01a", b""), "can't be a handle"),
            (frame(1, b"\xfe\xff\xff\xff\x01a", b""), "can't be a handle"),
            (frame(1, b"\xf4\xff\xff\xff\x01a", b""), "can't be a handle"),
            (frame(1, b"\x44\0\0\0\x02a", b""), "cut off"),
            (frame(1, b"\x44\0\0\0\x01ab", b""), "not as long as its objects"),
            (frame(1, b"\0\0\0\0\x01a", b""), "not as long as its objects"),
            (
                frame(1, &[&b"\0\0\0\0\x01a"[..], &[7; RECORD_LENGTH - 1]].concat(), b""),
                "not as long as its objects",
            ),
            (frame(1, b"\x44\0\0\0\x00a", b""), "name is empty"),
            (frame(1, b"\x44\0\0\0\x01\0", b""), "NUL"),
            (frame(1, b"\x44\0\0\0\x01\xff", b""), "isn't text"),
            // One character, split between two names.
            (frame(2, b"\x44\0\0\0\x01\xc3\x48\0\0\0\x01\xa4", b""), "isn't text"),
            (frame(2, b"\x44\0\0\0\x01a\x48\0\0\0\x01a", b""), "twice"),
            (frame(2, b"\x44\0\0\0\x01a\x44\0\0\0\x01b", b""), "twice"),
        ] {
            assert_rule(&decode(&frame), part);
        }
        for version in [0, 2, u8::MAX] {
            assert_eq!(decode(&with(one.clone(), 2, &[version])), Err(Broken::Version(version)));
        }
    }

    /// Windows has no such flag, because its kernel tells events and semaphores apart.
    #[test]
    fn flag_of_no_semaphores_is_for_frames_with_objects_and_without_handle_values() {
        let frame = |frame_type: FrameType, count: u8, flags: u16| {
            let (number, own, id) = frame_type.encode();
            let mut frame = frame(count, [&b""[..], b"\x01a", b"\x01a\x01b"][usize::from(count)], b"");
            frame[3] = number;
            frame[6..8].copy_from_slice(&(own | flags).to_le_bytes());
            frame[24..32].copy_from_slice(&id.to_le_bytes());
            frame
        };
        let endpoint = |mut frame: Vec<u8>| {
            frame[5] = 1;
            frame
        };
        for frame_type in [FrameType::Message, FrameType::Call(7), FrameType::Reply(8)] {
            for count in [1, 2] {
                for frame in [frame(frame_type, count, 4), endpoint(frame(frame_type, count, 4))] {
                    let header = Header::parse::<()>(&frame).expect("it is valid").expect("it is whole");
                    assert!(header.envelope.has_no_semaphores && header.envelope.frame_type == frame_type);
                    assert_eq!(header.encode(), frame[..Header::LENGTH]);
                    let parsed = Header::parse::<HandleRef>(&frame);
                    assert_rule(&parsed, "an unknown type");
                }
                let header = Header::parse::<()>(&frame(frame_type, count, 0)).expect("it is valid");
                assert!(!header.expect("it is whole").envelope.has_no_semaphores);
                for flags in [1, 2, 3, 5, 6, 7, 8, 12, 0x400, 0x404, u16::MAX] {
                    let parsed = Header::parse::<()>(&frame(frame_type, count, flags));
                    assert_rule(&parsed, "an unknown type");
                }
            }
            let without_objects = frame(frame_type, 0, 4);
            assert_rule(&Header::parse::<()>(&without_objects), "none is a semaphore");
            assert_eq!(Header::of_bytes_alone(&without_objects), None);
        }
        for greeting in [Greeting::Answers, Greeting::Asks, Greeting::Leaves] {
            let frame = frame(FrameType::Greeting(greeting), 0, 4);
            assert_rule(&Header::parse::<()>(&frame), "none is a semaphore");
            assert_rule(&Header::parse::<HandleRef>(&frame), "an unknown type");
        }
    }

    fn assert_rule<T: std::fmt::Debug>(outcome: &Result<T, Broken>, part: &str) {
        let Err(Broken::Rule(rule)) = outcome else { panic!("{part}: {outcome:?}") };
        assert!(rule.contains(part), "{part}: {rule}");
    }

    #[test]
    fn frame_without_handle_values_keeps_the_order() {
        let two = frame(2, b"\x01a\x02bc", b"go");
        let (_, entries, bytes) = decode_with::<()>(&two).expect("it is valid");
        assert_eq!((entries, bytes), (vec![("a".into(), ()), ("bc".into(), ())], b"go".to_vec()));
        let mut written = Vec::new();
        let names = table(["a", "bc"]);
        write(&mut written, Envelope::default(), &names, [(), ()], b"", b"go");
        assert_eq!(written, two);
        assert!(written.capacity() < 2 * two.len(), "no excess capacity");
        let header = Header { objects: 2, table: names.bytes().len(), bytes: 2, ..Header::default() };
        assert_eq!([&header.encode()[..], names.bytes(), b"go"].concat(), two);
        for (frame, part) in [
            (frame(2, b"\x01a\x01a", b""), "twice"),
            (frame(2, b"\x01a\x02b", b""), "cut off"),
            (frame(2, b"\x01\0\x02b", b""), "cut off"),
            (frame(2, b"\x01\0\x01b", b""), "NUL"),
            (frame(2, b"\x01a\x01bc", b""), "not as long as its objects"),
            (frame(1, b"\x44\0\0\0\x01a", b""), "cut off"),
            (frame(2, b"\x01a", b""), "can't have the size"),
        ] {
            assert_rule(&decode_with::<()>(&frame), part);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes")]
    fn repeated_name_is_found_at_every_position() {
        let mut names: Vec<String> = (0..MAX_OBJECTS).map(|number| format!("{number}")).collect();
        let checked = |names: &[String]| table(names.iter().map(String::as_str)).check(b"");
        // A receiver rejects the same names, in case a sender didn't check them.
        let parsed = |names: &[String]| {
            let entries = names
                .iter()
                .flat_map(|name| [&[u8::try_from(name.len()).expect("short")], name.as_bytes()].concat());
            let frame = frame(u8::try_from(names.len()).expect("few"), &entries.collect::<Vec<u8>>(), b"");
            decode_with::<()>(&frame)
        };
        assert!(checked(&names).is_ok() && parsed(&names).is_ok());
        names.reverse();
        assert!(checked(&names).is_ok() && parsed(&names).is_ok());
        for (one, other) in [(0, 252), (0, 1), (100, 101), (251, 252)] {
            let again = names[one].clone();
            let kept = std::mem::replace(&mut names[other], again);
            assert!(checked(&names).is_err(), "{one} and {other}");
            assert_eq!(
                parsed(&names),
                Err("a message lists a name or an object twice".into()),
                "{one} and {other}"
            );
            names[other] = kept;
        }
    }

    #[test]
    fn keys_of_short_names_agree_with_the_checks_of_long_ones() {
        let names: [&[u8]; 12] = [
            b"",
            b"\0",
            b"\x01",
            b"a",
            b"b",
            b"\xff",
            b"\0a",
            b"a\0",
            b"aa",
            b"zzzzzzz\0",
            b"\0zzzzzzz",
            b"zzzzzzzz",
        ];
        for name in names {
            assert_eq!(is_short_name(key(name), name.len()), check_name(name).is_ok(), "{name:?}");
            for other in names.into_iter().filter(|other| check_name(other).is_ok()) {
                let is_valid = check_name(name).is_err() || (key(name) < key(other)) == is_below(name, other);
                assert!(is_valid, "{name:?} and {other:?}");
            }
        }
        assert_eq!(key(b"nine have"), LONG);
        let order = ["b", "nine have", "nine more", "nine or ten", "seventeen of them"];
        assert!(!table(order).is_unordered);
        for (first, second) in
            [("b", "a"), ("b", "b"), ("nine have", "a"), ("nine have", "nine have"), ("nine or", "ni\"e or")]
        {
            assert!(table([first, second]).is_unordered, "{first} and {second}");
        }
    }

    #[test]
    fn hash_is_fnv_1a() {
        // Test vectors of the FNV specification.
        for (name, expected) in [(&b""[..], 0x811c_9dc5), (b"a", 0xe40c_292c), (b"foobar", 0xbf9c_f968)] {
            assert_eq!(hash(name), expected, "{name:?}");
        }
    }

    #[test]
    fn table_grows_only_when_full_and_then_fourfold() {
        for name in ["n", "eight is", "a longer name"] {
            let room = 1 + name.len().max(SHORT);
            for lacking in [0, 1] {
                let mut table = Table { bytes: Vec::with_capacity(200), ..Table::default() };
                let capacity = table.bytes.capacity();
                let length = capacity - room + lacking;
                table.bytes.resize(length, 1);
                table.push(name);
                assert!(table.bytes.ends_with(name.as_bytes()) && table.bytes[length] as usize == name.len());
                let is_enough = table.bytes.capacity() == capacity;
                assert_eq!(is_enough, lacking == 0, "{name}");
                assert!(is_enough || table.bytes.capacity() >= 4 * length, "{name}");
            }
        }
    }

    #[test]
    fn check_enforces_each_limit() {
        let name = |length: usize| "n".repeat(length);
        let checked = |names: &[&str], bytes: &[u8]| table(names.iter().copied()).check(bytes);
        let refused = |names: &[&str], bytes: &[u8]| checked(names, bytes).unwrap_err().to_string();
        assert!(checked(&[], &vec![0; MAX_BYTES]).is_ok());
        assert!(refused(&[], &vec![0; MAX_BYTES + 1]).contains("16 MiB"));
        assert!(checked(&[&name(MAX_NAME)], b"").is_ok());
        assert!(refused(&[&name(MAX_NAME + 1)], b"").contains("255"));
        assert!(refused(&[""], b"").contains("name is empty"));
        assert!(
            refused(&["good", "a\0b", ""], b"").contains(
                "\"a\\0b\" of an object in a message can't be used: an object's name contains a NUL"
            )
        );
        assert!(refused(&["a long name\0"], b"").contains("NUL"));
        assert!(refused(&["a", "b", "a"], b"").contains("two objects named \"a\""));
        assert!(refused(&["a", "a"], b"").contains("two objects named \"a\""));
        let names: Vec<String> = (0..=MAX_OBJECTS).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(checked(&names[1..], b"").is_ok());
        assert!(refused(&names, b"").contains("253"));
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes")]
    fn longest_message_can_be_encoded() {
        let objects: Vec<(String, HandleRef)> = (0..253_u32)
            .map(|number| (format!("{number:0>width$}", width = MAX_NAME), HandleRef::Socket))
            .collect();
        let frame = Sample {
            envelope: Envelope { number: u64::MAX, ..Envelope::default() },
            records: records_of(&objects),
            objects,
            bytes: vec![7; MAX_BYTES],
        }
        .frame();
        assert_eq!(frame.len(), MAX_FRAME);
        assert_eq!(decode(&frame).expect("it is valid").1.len(), 253);
    }
}
