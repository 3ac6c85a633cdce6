//! The wire format: how a message stands in the bytes of the pipe.
//!
//! One frame a message, numbers little-endian:
//!
//! ```text
//! offset  bytes  what
//!      0      2  "HO"
//!      2      1  the format's version, 1
//!      3      1  how many objects there are, at most 253
//!      4      4  how many bytes the table of objects has
//!      8      4  how many bytes the message has, at most 16 MiB
//!     12      8  the message's number on this side, from 0 up
//!     20         the table, for each object: its handle's value (4, on Windows alone), how many bytes its name has (1),
//!                the name
//!                the message's bytes
//! ```
//!
//! Nothing of it is believed: each number has its limit, which is checked before anything is allocated or duplicated;
//! names are text, each once; values are such as a table can hold, each once; the table ends where it says. What an
//! object is doesn't stand here, because the receiver asks the kernel. On Linux the descriptors come beside the bytes, in
//! the order of the table.

use std::str::from_utf8;

use crate::error::{Error, Result};
use crate::handle::HandleValue;

/// The most bytes of one message.
pub(crate) const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The most objects of one message: as many as Linux passes in one.
pub(crate) const MAX_OBJECTS: usize = 253;
/// The most bytes of an object's name.
pub(crate) const LONGEST_NAME: usize = 255;

const MAGIC: [u8; 2] = *b"HO";
const VERSION: u8 = 1;
const LONGEST_TABLE: usize = MAX_OBJECTS * (4 + 1 + LONGEST_NAME);

/// What stands in a frame for where an object is.
pub(crate) trait Place: Copy + Ord {
    /// How many bytes it has.
    const LENGTH: usize;

    fn write(self, frame: &mut Vec<u8>);

    /// What the bytes say, which are as many as it has.
    fn parse(bytes: &[u8]) -> Result<Self, Broken>;
}

/// In the weaker process's table.
impl Place for HandleValue {
    const LENGTH: usize = 4;

    fn write(self, frame: &mut Vec<u8>) {
        frame.extend(self.get().to_le_bytes());
    }

    fn parse(bytes: &[u8]) -> Result<Self, Broken> {
        let wrong = "an object has a value that can't be a handle";
        let bytes = bytes.try_into().map_err(|_| wrong)?;
        Self::try_from(u64::from(u32::from_le_bytes(bytes))).map_err(|_| wrong)
    }
}

/// Beside the frame, in its turn.
impl Place for () {
    const LENGTH: usize = 0;

    fn write(self, _frame: &mut Vec<u8>) {}

    fn parse(_bytes: &[u8]) -> Result<Self, Broken> {
        Ok(())
    }
}

/// What is wrong with a frame.
pub(crate) type Broken = &'static str;

/// The part of a frame that says how long the rest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    objects: usize,
    table: usize,
    bytes: usize,
    /// The message's number.
    pub(crate) number: u64,
}

impl Header {
    /// How many bytes it has.
    pub(crate) const LENGTH: usize = 20;

    /// The header at the beginning of what has come; `None` if more has to come first.
    pub(crate) fn parse<P: Place>(came: &[u8]) -> Result<Option<Self>, Broken> {
        // As early as it shows: another protocol may have less to say than a header.
        if came.iter().zip(MAGIC).any(|(came, expected)| *came != expected) {
            return Err("a frame doesn't begin as one");
        }
        if came.get(MAGIC.len()).is_some_and(|version| *version != VERSION) {
            return Err("the frame is of another version of the format");
        }
        let Some((header, _)) = came.split_first_chunk::<{ Self::LENGTH }>() else {
            return Ok(None);
        };
        let [_, _, _, objects, t0, t1, t2, t3, b0, b1, b2, b3, number @ ..] = *header;
        let size = |bytes| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
        let this = Self {
            objects: usize::from(objects),
            table: size([t0, t1, t2, t3]),
            bytes: size([b0, b1, b2, b3]),
            number: u64::from_le_bytes(number),
        };
        if this.objects > MAX_OBJECTS {
            return Err("a message with more than 253 objects");
        }
        if this.bytes > MAX_BYTES {
            return Err("a message with more than 16 MiB");
        }
        // The shortest name has one byte.
        let (least, most) = (this.objects * (P::LENGTH + 2), this.objects * (P::LENGTH + 1 + LONGEST_NAME));
        if this.table < least || this.table > most {
            return Err("the table of objects can't have the size that it claims");
        }
        Ok(Some(this))
    }

    /// How many bytes the whole frame has.
    pub(crate) const fn frame_length(&self) -> usize {
        Self::LENGTH + self.table + self.bytes
    }
}

/// The most bytes that a frame can have.
pub(crate) const LONGEST_FRAME: usize = Header::LENGTH + LONGEST_TABLE + MAX_BYTES;

/// The names in a table, whose entries are whole: each behind its length, and behind the place of its object if there is
/// one.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    table: &'a [u8],
    /// How many bytes a place has.
    gap: usize,
    count: usize,
}

impl<'a> Names<'a> {
    /// The next one's bytes; text is what is told of them once they were looked at.
    fn next_bytes(&mut self) -> Option<&'a [u8]> {
        self.count = self.count.checked_sub(1)?;
        let (length, rest) = self.table[self.gap..].split_first().expect("the entries are whole");
        let (name, rest) = rest.split_at(usize::from(*length));
        self.table = rest;
        Some(name)
    }
}

impl<'a> Iterator for Names<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.next_bytes().map(|name| from_utf8(name).expect("it was text"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Names<'_> {}

/// The names of a message that is being made: as they will stand in the frame, so that nobody goes through them again.
#[derive(Clone, Default)]
pub(crate) struct Table {
    bytes: Vec<u8>,
    count: u32,
    /// Where the last entry begins, and its name's key.
    last: u32,
    last_key: u64,
    /// Whether a name isn't above the one in front of it; then it may come twice.
    is_unordered: bool,
    /// The first name that can't be one, and why.
    wrong: Option<Box<(String, Broken)>>,
}

impl Table {
    /// Adds a name; if it can't be one, [checking](Self::check) says so.
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
            // All eight of them, which is one move, and then what is too much goes away.
            self.bytes.extend_from_slice(&key.rotate_right(8 * u32::from(length)).to_be_bytes());
            self.bytes.truncate(self.last as usize + 1 + name.len());
        }
        self.count += 1;
    }

    #[cold]
    fn refuse(&mut self, name: &[u8]) {
        let why = check_name(name).err().unwrap_or(TOO_LONG);
        self.wrong.get_or_insert_with(|| Box::new((String::from_utf8_lossy(name).into_owned(), why)));
    }

    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn names(&self) -> Names<'_> {
        Names { table: &self.bytes, gap: 0, count: self.count() }
    }

    /// As it stands in a frame without places.
    #[allow(dead_code, reason = "not every system needs it")]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Refuses a message with these names and bytes that no frame can hold, before anything is done for it.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<()> {
        let invalid = |what: String, why: &str| Err(Error::InvalidInput { input: what, reason: why.into() });
        if bytes.len() > MAX_BYTES {
            let what = format!("a message of {} bytes", bytes.len());
            return invalid(what, "is too long; at most 16 MiB fit: send it in parts, or in shared memory");
        }
        if let Some((name, why)) = self.wrong.as_deref() {
            return invalid(
                format!("the object {name:?} of a message"),
                &format!("has an invalid name: {why}"),
            );
        }
        if self.count() > MAX_OBJECTS {
            let what = format!("a message with {} objects", self.count);
            return invalid(what, "has too many; at most 253 fit: send them in several messages");
        }
        if self.is_unordered && repeat(self.names()) {
            let why = "has two objects with the same name; the receiver couldn't tell them apart";
            return invalid("a message".into(), why);
        }
        Ok(())
    }
}

/// A message's names and bytes, in the frame that they came in.
pub(crate) struct Content {
    frame: Vec<u8>,
    /// How many bytes the table has.
    table: usize,
    gap: usize,
    count: usize,
}

impl Content {
    /// Of a frame that [`parse`] has found to be right.
    pub(crate) fn new<P: Place>(header: &Header, frame: Vec<u8>) -> Self {
        Self { frame, table: header.table, gap: P::LENGTH, count: header.objects }
    }

    pub(crate) fn names(&self) -> Names<'_> {
        let table = &self.frame[Header::LENGTH..][..self.table];
        Names { table, gap: self.gap, count: self.count }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.frame[Header::LENGTH + self.table..]
    }

    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.frame.drain(..Header::LENGTH + self.table);
        self.frame
    }
}

/// Where the objects of a frame are; the frame must be as long as its header says. After this, its names are known to be
/// names, each once.
pub(crate) fn parse<P: Place>(header: &Header, frame: &[u8]) -> Result<Vec<P>, Broken> {
    if frame.len() != header.frame_length() {
        return Err("a frame is shorter or longer than it claims");
    }
    let table = &frame[Header::LENGTH..][..header.table];
    let mut places: Vec<P> = Vec::with_capacity(header.objects);
    let (mut rest, mut is_ordered) = (table, true);
    let (mut previous, mut previous_key) = (&[][..], 0);
    for _ in 0..header.objects {
        let cut_off = "the table of objects is cut off";
        let (place, behind) = rest.split_at_checked(P::LENGTH).ok_or(cut_off)?;
        let (length, behind) = behind.split_first().ok_or(cut_off)?;
        let (name, behind) = behind.split_at_checked(usize::from(*length)).ok_or(cut_off)?;
        // Without places, all at once below.
        if P::LENGTH > 0 || name.is_empty() {
            check_name(name)?;
        }
        places.push(P::parse(place)?);
        let key = key(name);
        is_ordered &= is_above(key, name, previous_key, || previous);
        (rest, previous, previous_key) = (behind, name, key);
    }
    if !rest.is_empty() {
        return Err("the table of objects is longer than its objects");
    }
    // No length is zero any more.
    if P::LENGTH == 0 && table.contains(&0) {
        return Err(HAS_NUL);
    }
    let names = Names { table, gap: P::LENGTH, count: header.objects };
    // Most names are, and then so is what stands between them.
    if !table.is_ascii() && !all(names, |name| from_utf8(name).is_ok()) {
        return Err("an object has a name that isn't text");
    }
    // Each value is closed by whoever takes it; twice would close a stranger.
    if (!is_ordered && repeat(names)) || (P::LENGTH > 0 && places_repeat(&places)) {
        return Err("a message has an object twice");
    }
    Ok(places)
}

/// Makes room for so many more, and more than double of it: most messages have few objects, and some have hundreds.
#[cold]
pub(crate) fn grow<T>(list: &mut Vec<T>, more: usize) {
    // An allocator has a block at hand sooner than it makes one larger.
    let mut larger = Vec::with_capacity(list.len() + more.max(3 * list.len()));
    larger.append(list);
    *list = larger;
}

fn all(mut names: Names<'_>, is_so: impl Fn(&[u8]) -> bool) -> bool {
    while let Some(name) = names.next_bytes() {
        if !is_so(name) {
            return false;
        }
    }
    true
}

/// A frame's header, for a message that was [checked](Table::check).
pub(crate) fn header(number: u64, objects: usize, table: usize, bytes: usize) -> [u8; Header::LENGTH] {
    let length = |length: usize| u32::try_from(length).expect("checked").to_le_bytes();
    let mut header = [0; Header::LENGTH];
    header[..2].copy_from_slice(&MAGIC);
    header[2] = VERSION;
    header[3] = u8::try_from(objects).expect("checked");
    header[4..8].copy_from_slice(&length(table));
    header[8..12].copy_from_slice(&length(bytes));
    header[12..].copy_from_slice(&number.to_le_bytes());
    header
}

/// Writes a frame, with a place for each name. The message was [checked](Table::check).
#[allow(dead_code, reason = "not every system needs it")]
pub(crate) fn write<P: Place>(
    frame: &mut Vec<u8>,
    number: u64,
    table: &Table,
    places: impl IntoIterator<Item = P>,
    bytes: &[u8],
) {
    let table_length = table.bytes.len() + table.count() * P::LENGTH;
    frame.clear();
    frame.reserve(Header::LENGTH + table_length + bytes.len());
    frame.extend(header(number, table.count(), table_length, bytes.len()));
    let mut names = table.names();
    for place in places {
        let name = names.next_bytes().expect("as many places as names");
        place.write(frame);
        frame.push(u8::try_from(name.len()).expect("checked"));
        frame.extend(name);
    }
    frame.extend(bytes);
}

const HAS_NUL: Broken = "an object's name contains a NUL";
const TOO_LONG: Broken = "an object's name has more than 255 bytes";

fn check_name(name: &[u8]) -> Result<(), Broken> {
    match name.len() {
        0 => Err("an object without a name"),
        1..=LONGEST_NAME if name.contains(&0) => Err(HAS_NUL),
        1..=LONGEST_NAME => Ok(()),
        _ => Err(TOO_LONG),
    }
}

/// How many bytes the names have that are compared as numbers.
const SHORT: usize = 8;
/// Stands for a longer one, and is above all of them: no text consists of such bytes.
const LONG: u64 = u64::MAX;

/// A short name without NUL as a number, which stands for it alone, in the order of [`is_below`].
#[inline]
fn key(name: &[u8]) -> u64 {
    if name.len() > SHORT {
        return LONG;
    }
    name.iter().fold(0, |key, byte| (key << 8) + u64::from(*byte))
}

/// Whether as many bytes, of which this is the key, are a name: some, and none of them NUL.
#[inline]
fn is_short_name(key: u64, length: usize) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; SHORT]);
    const HIGH: u64 = ONES << 7;
    // Bytes that aren't there aren't zero here. What is subtracted reaches a byte's highest bit only if it was zero.
    let key = key + if length < SHORT { u64::MAX << (8 * length) } else { 0 };
    length > 0 && key.wrapping_sub(ONES) & !key & HIGH == 0
}

/// An order of names in which those that are numbered come as they are counted.
fn is_below(one: &[u8], other: &[u8]) -> bool {
    (one.len(), one) < (other.len(), other)
}

/// Whether a name of this key is above another, of which the same is known.
#[inline]
fn is_above<'a>(key: u64, name: &[u8], other_key: u64, other: impl FnOnce() -> &'a [u8]) -> bool {
    if (other_key, key) == (LONG, LONG) { is_below(other(), name) } else { other_key < key }
}

/// FNV-1a.
#[inline]
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Whether a name comes twice among those, which are no more than a message can have.
fn repeat(mut names: Names<'_>) -> bool {
    const SLOTS: usize = 512;
    const { assert!(SLOTS > MAX_OBJECTS && MAX_OBJECTS < u8::MAX as usize) };
    let mut before: Vec<&[u8]> = Vec::with_capacity(names.count);
    // The number of each name, counted from 1, in the slot that its hash says, or in the next one that is free. Names
    // that were made to have one hash cost a comparison with each other, which are few.
    let mut slots = [0_u8; SLOTS];
    while let Some(name) = names.next_bytes() {
        let mut slot = hash(name) as usize % SLOTS;
        while slots[slot] != 0 {
            if before[usize::from(slots[slot]) - 1] == name {
                return true;
            }
            slot = (slot + 1) % SLOTS;
        }
        before.push(name);
        slots[slot] = u8::try_from(before.len()).expect("so few");
    }
    false
}

fn places_repeat<P: Place>(places: &[P]) -> bool {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[derive(Debug, Clone)]
    struct Sample {
        number: u64,
        objects: Vec<(String, HandleValue)>,
        bytes: Vec<u8>,
    }

    impl Sample {
        fn frame(&self) -> Vec<u8> {
            let mut frame = vec![0xff; 3];
            let table = table(self.objects.iter().map(|(name, _)| name.as_str()));
            table.check(&self.bytes).expect("a sample is valid");
            write(&mut frame, self.number, &table, self.objects.iter().map(|(_, value)| *value), &self.bytes);
            frame
        }
    }

    fn table<'a>(names: impl IntoIterator<Item = &'a str>) -> Table {
        let mut table = Table::default();
        names.into_iter().for_each(|name| table.push(name));
        table
    }

    /// A message's number, objects and bytes.
    type Decoded<P> = Result<(u64, Vec<(String, P)>, Vec<u8>), Broken>;

    fn decode(frame: &[u8]) -> Decoded<HandleValue> {
        decode_with(frame)
    }

    fn decode_with<P: Place>(frame: &[u8]) -> Decoded<P> {
        let header = Header::parse::<P>(frame)?.ok_or("cut off")?;
        let places = parse(&header, frame)?;
        let content = Content::new::<P>(&header, frame.to_vec());
        assert_eq!(content.names().len(), places.len());
        let objects = content.names().map(str::to_owned).zip(places).collect();
        Ok((header.number, objects, content.into_bytes()))
    }

    fn value(index: u32) -> HandleValue {
        HandleValue::try_from(4 + 4 * u64::from(index)).expect("a value")
    }

    fn samples() -> impl Strategy<Value = Sample> {
        // Names by value, so that neither comes twice; a name is made unlike the others by the value at its end.
        let objects = btree_map(0..5000_u32, "[^\\x00]{0,60}", 0..20).prop_map(|objects| {
            objects.into_iter().map(|(index, name)| (format!("{name}{index}"), value(index))).collect()
        });
        (any::<u64>(), objects, vec(any::<u8>(), 0..300)).prop_map(|(number, objects, bytes)| Sample {
            number,
            objects,
            bytes,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sample in samples()) {
            let frame = sample.frame();
            let header = Header::parse::<HandleValue>(&frame).expect("it is valid").expect("it is whole");
            prop_assert_eq!(header.objects, sample.objects.len());
            let (number, entries, bytes) = decode(&frame).expect("it is valid");
            prop_assert_eq!(number, sample.number);
            prop_assert_eq!(bytes, sample.bytes);
            prop_assert_eq!(entries, sample.objects);
        }

        #[test]
        fn every_prefix_is_an_error(sample in samples()) {
            let frame = sample.frame();
            for length in 0..frame.len() {
                prop_assert!(decode(&frame[..length]).is_err(), "{length} of {}", frame.len());
            }
            let longer = [&frame[..], &[0]].concat();
            prop_assert!(decode(&longer).is_err());
        }

        #[test]
        fn anything_else_is_an_error_or_a_message_within_the_limits(
            (mut frame, changes) in samples().prop_flat_map(|sample| {
                let frame = sample.frame();
                let length = frame.len();
                (Just(frame), vec((0..length, any::<u8>()), 1..8))
            })
        ) {
            for (place, byte) in changes {
                frame[place] = byte;
            }
            if let Ok((number, entries, bytes)) = decode(&frame) {
                // What is accepted is what would be written: no two frames mean the same.
                prop_assert_eq!(Sample { number, objects: entries, bytes }.frame(), frame);
            }
        }

        #[test]
        fn noise_never_panics(noise in vec(any::<u8>(), 0..200)) {
            let _ = decode(&noise);
        }
    }

    fn frame(objects: u8, table: &[u8], bytes: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short").to_le_bytes();
        let mut frame = Vec::from(*b"HO\x01");
        frame.push(objects);
        frame.extend(length(table));
        frame.extend(length(bytes));
        frame.extend([0; 8]);
        frame.extend(table);
        frame.extend(bytes);
        frame
    }

    #[test]
    fn each_rule_has_its_refusal() {
        let with = |mut frame: Vec<u8>, place: usize, bytes: &[u8]| {
            frame[place..place + bytes.len()].copy_from_slice(bytes);
            frame
        };
        let one = frame(1, b"\x44\0\0\0\x01a", b"go");
        assert_eq!(decode(&one), Ok((0, vec![("a".into(), value(16))], b"go".to_vec())));
        for (frame, part) in [
            (with(one.clone(), 0, b"X"), "doesn't begin"),
            (with(one.clone(), 2, &[2]), "another version"),
            (with(one.clone(), 3, &[254]), "more than 253"),
            (with(one.clone(), 3, &[0]), "can't have the size"),
            (with(one.clone(), 3, &[2]), "can't have the size"),
            (with(one.clone(), 4, &u32::MAX.to_le_bytes()), "can't have the size"),
            (with(one.clone(), 8, &(16 * 1024 * 1024 + 1_u32).to_le_bytes()), "more than 16 MiB"),
            (with(one.clone(), 8, &3_u32.to_le_bytes()), "shorter or longer"),
            (frame(1, b"\xff\xff\xff\xff\x01a", b""), "can't be a handle"),
            (frame(1, b"\xfe\xff\xff\xff\x01a", b""), "can't be a handle"),
            (frame(1, b"\xf4\xff\xff\xff\x01a", b""), "can't be a handle"),
            (frame(1, b"\x44\0\0\0\x02a", b""), "cut off"),
            (frame(1, b"\x44\0\0\0\x01ab", b""), "longer than its objects"),
            (frame(1, b"\x44\0\0\0\x00a", b""), "without a name"),
            (frame(1, b"\x44\0\0\0\x01\0", b""), "NUL"),
            (frame(1, b"\x44\0\0\0\x01\xff", b""), "isn't text"),
            // One letter in two halves.
            (frame(2, b"\x44\0\0\0\x01\xc3\x48\0\0\0\x01\xa4", b""), "isn't text"),
            (frame(2, b"\x44\0\0\0\x01a\x48\0\0\0\x01a", b""), "twice"),
            (frame(2, b"\x44\0\0\0\x01a\x44\0\0\0\x01b", b""), "twice"),
        ] {
            let why = decode(&frame).expect_err(part);
            assert!(why.contains(part), "{part}: {why}");
        }
    }

    #[test]
    fn without_values_the_order_says_which_is_which() {
        let two = frame(2, b"\x01a\x02bc", b"go");
        let (_, entries, bytes) = decode_with::<()>(&two).expect("it is valid");
        assert_eq!((entries, bytes), (vec![("a".into(), ()), ("bc".into(), ())], b"go".to_vec()));
        let mut written = Vec::new();
        let names = table(["a", "bc"]);
        write(&mut written, 0, &names, [(), ()], b"go");
        assert_eq!(written, two);
        assert!(written.capacity() < 2 * two.len(), "only the room that it needs");
        assert_eq!([&header(0, 2, names.bytes().len(), 2)[..], names.bytes(), b"go"].concat(), two);
        for (frame, part) in [
            (frame(2, b"\x01a\x01a", b""), "twice"),
            (frame(2, b"\x01a\x02b", b""), "cut off"),
            (frame(2, b"\x01\0\x02b", b""), "cut off"),
            (frame(2, b"\x01\0\x01b", b""), "NUL"),
            (frame(2, b"\x01a\x01bc", b""), "longer than its objects"),
            (frame(1, b"\x44\0\0\0\x01a", b""), "cut off"),
            (frame(2, b"\x01a", b""), "can't have the size"),
        ] {
            let why = decode_with::<()>(&frame).expect_err(part);
            assert!(why.contains(part), "{part}: {why}");
        }
    }

    #[test]
    fn a_name_that_comes_twice_is_found_wherever_it_is() {
        let mut names: Vec<String> = (0..MAX_OBJECTS).map(|number| format!("{number}")).collect();
        let checked = |names: &[String]| table(names.iter().map(String::as_str)).check(b"");
        // What was written without a look is refused by who reads it.
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
            assert_eq!(parsed(&names), Err("a message has an object twice"), "{one} and {other}");
            names[other] = kept;
        }
    }

    #[test]
    fn short_names_are_checked_and_ordered_as_others_are() {
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
                let is_so = check_name(name).is_err() || (key(name) < key(other)) == is_below(name, other);
                assert!(is_so, "{name:?} and {other:?}");
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
    fn names_are_looked_through_for_one_that_comes_twice_by_their_hash() {
        // As the hash's own page has it.
        for (name, expected) in [(&b""[..], 0x811c_9dc5), (b"a", 0xe40c_292c), (b"foobar", 0xbf9c_f968)] {
            assert_eq!(hash(name), expected, "{name:?}");
        }
    }

    #[test]
    fn room_is_made_when_there_is_too_little_and_for_several() {
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
    fn the_limits_hold_for_who_sends() {
        let name = |length: usize| "n".repeat(length);
        let checked = |names: &[&str], bytes: &[u8]| table(names.iter().copied()).check(bytes);
        let refused = |names: &[&str], bytes: &[u8]| checked(names, bytes).unwrap_err().to_string();
        assert!(checked(&[], &vec![0; MAX_BYTES]).is_ok());
        assert!(refused(&[], &vec![0; MAX_BYTES + 1]).contains("16 MiB"));
        assert!(checked(&[&name(LONGEST_NAME)], b"").is_ok());
        assert!(refused(&[&name(LONGEST_NAME + 1)], b"").contains("255"));
        assert!(refused(&[""], b"").contains("without a name"));
        assert!(
            refused(&["good", "a\0b", ""], b"")
                .contains("\"a\\0b\" of a message has an invalid name: an object's name contains a NUL")
        );
        assert!(refused(&["a long name\0"], b"").contains("NUL"));
        assert!(refused(&["a", "b", "a"], b"").contains("two objects with the same name"));
        assert!(refused(&["a", "a"], b"").contains("two objects with the same name"));
        let names: Vec<String> = (0..=MAX_OBJECTS).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(checked(&names[1..], b"").is_ok());
        assert!(refused(&names, b"").contains("253"));
    }

    #[test]
    fn the_longest_message_fits() {
        let objects: Vec<(String, HandleValue)> = (0..253_u32)
            .map(|number| (format!("{number:0>width$}", width = LONGEST_NAME), value(number)))
            .collect();
        let frame = Sample { number: u64::MAX, objects, bytes: vec![7; MAX_BYTES] }.frame();
        assert_eq!(frame.len(), LONGEST_FRAME);
        assert_eq!(decode(&frame).expect("it is valid").1.len(), 253);
    }
}
