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

use std::ops::Range;
use std::str::from_utf8;

use crate::{Error, HandleValue, Result};

/// The most bytes of one message.
pub(crate) const MOST_BYTES: usize = 16 * 1024 * 1024;
/// The most objects of one message: as many as Linux passes in one.
pub(crate) const MOST_OBJECTS: usize = 253;
/// The most bytes of an object's name.
pub(crate) const LONGEST_NAME: usize = 255;

const MAGIC: [u8; 2] = *b"HO";
const VERSION: u8 = 1;
const LONGEST_TABLE: usize = MOST_OBJECTS * (4 + 1 + LONGEST_NAME);

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
        if this.objects > MOST_OBJECTS {
            return Err("a message with more than 253 objects");
        }
        if this.bytes > MOST_BYTES {
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

    pub(crate) const fn has_objects(&self) -> bool {
        self.objects != 0
    }
}

/// The most bytes that a frame can have.
pub(crate) const LONGEST_FRAME: usize = Header::LENGTH + LONGEST_TABLE + MOST_BYTES;

/// The names of a message's objects, as they stand in the frame's table: an allocation for each would be the dearest part
/// of a message with many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    table: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl Names {
    /// From a table, and where in it the names are.
    fn new(table: &[u8], ranges: Vec<Range<usize>>) -> Result<Self, Broken> {
        // Most names are, and then so is what stands between them.
        let is_text = table.is_ascii() || ranges.iter().all(|range| from_utf8(&table[range.clone()]).is_ok());
        if is_text {
            Ok(Self { table: table.to_vec(), ranges })
        } else {
            Err("an object has a name that isn't text")
        }
    }

    fn at(&self, place: usize) -> &[u8] {
        &self.table[self.ranges[place].clone()]
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        (0..self.ranges.len()).map(|place| from_utf8(self.at(place)).expect("it was text"))
    }
}

/// What a frame has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed<'a, P> {
    pub(crate) names: Names,
    /// Where the object of each name is.
    pub(crate) places: Vec<P>,
    pub(crate) bytes: &'a [u8],
}

/// The objects and the bytes of a frame, which must be as long as its header says.
pub(crate) fn parse<'a, P: Place>(header: &Header, frame: &'a [u8]) -> Result<Parsed<'a, P>, Broken> {
    if frame.len() != header.frame_length() {
        return Err("a frame is shorter or longer than it claims");
    }
    let (table, bytes) = frame[Header::LENGTH..].split_at(header.table);
    let mut ranges = Vec::with_capacity(header.objects);
    let mut places: Vec<P> = Vec::with_capacity(header.objects);
    let mut at = 0;
    for _ in 0..header.objects {
        let cut_off = "the table of objects is cut off";
        let (place, rest) = table[at..].split_at_checked(P::LENGTH).ok_or(cut_off)?;
        let (length, rest) = rest.split_first().ok_or(cut_off)?;
        let name = rest.get(..usize::from(*length)).ok_or(cut_off)?;
        check_name(name)?;
        places.push(P::parse(place)?);
        at += P::LENGTH + 1;
        ranges.push(at..at + name.len());
        at += name.len();
    }
    if at != table.len() {
        return Err("the table of objects is longer than its objects");
    }
    let names = Names::new(table, ranges)?;
    // Each value is closed by whoever takes it; twice would close a stranger.
    if names_repeat(header.objects, |place| names.at(place)) || (P::LENGTH > 0 && places_repeat(&places)) {
        return Err("a message has an object twice");
    }
    Ok(Parsed { names, places, bytes })
}

/// Writes a frame. What is in it was checked by [`check`].
pub(crate) fn write<'a, P: Place>(
    frame: &mut Vec<u8>,
    number: u64,
    objects: impl ExactSizeIterator<Item = (&'a str, P)> + Clone,
    bytes: &[u8],
) {
    let table: usize = objects.clone().map(|(name, _)| P::LENGTH + 1 + name.len()).sum();
    frame.clear();
    frame.reserve(Header::LENGTH + table + bytes.len());
    frame.extend(MAGIC);
    frame.push(VERSION);
    frame.push(u8::try_from(objects.len()).expect("checked"));
    frame.extend(u32::try_from(table).expect("checked").to_le_bytes());
    frame.extend(u32::try_from(bytes.len()).expect("checked").to_le_bytes());
    frame.extend(number.to_le_bytes());
    for (name, place) in objects {
        place.write(frame);
        frame.push(u8::try_from(name.len()).expect("checked"));
        frame.extend(name.as_bytes());
    }
    frame.extend(bytes);
}

/// Refuses a message that no frame can hold, before anything is done for it.
pub(crate) fn check<'a>(count: usize, name_at: impl Fn(usize) -> &'a str, bytes: &[u8]) -> Result<()> {
    let invalid = |what: String, why: &str| Err(Error::InvalidInput { what, why: why.into() });
    if bytes.len() > MOST_BYTES {
        let what = format!("a message of {} bytes", bytes.len());
        return invalid(what, "at most 16 MiB fit; send it in parts, or a section that holds it");
    }
    if count > MOST_OBJECTS {
        let what = format!("a message with {count} objects");
        return invalid(what, "at most 253 fit; send them in several messages");
    }
    for name in (0..count).map(&name_at) {
        if let Err(why) = check_name(name.as_bytes()) {
            return invalid(format!("the object {name:?} of a message"), why);
        }
    }
    if names_repeat(count, |place| name_at(place).as_bytes()) {
        return invalid(
            "a message".into(),
            "has two objects of one name; the receiver couldn't tell them apart",
        );
    }
    Ok(())
}

fn check_name(name: &[u8]) -> Result<(), Broken> {
    match name.len() {
        0 => Err("an object without a name"),
        1..=LONGEST_NAME if name.contains(&0) => Err("an object's name has a NUL in it"),
        1..=LONGEST_NAME => Ok(()),
        _ => Err("an object's name has more than 255 bytes"),
    }
}

/// Whether a name comes twice among so many, which are no more than a message can have.
fn names_repeat<'a>(count: usize, name_at: impl Fn(usize) -> &'a [u8]) -> bool {
    const SLOTS: usize = 512;
    const { assert!(SLOTS > MOST_OBJECTS && MOST_OBJECTS < u8::MAX as usize) };
    // Most messages have one object, and most of the rest none. Where there are many, their names are often numbered.
    let is_less = |one: &[u8], other: &[u8]| (one.len(), one) < (other.len(), other);
    if (1..count).all(|place| is_less(name_at(place - 1), name_at(place))) {
        return false;
    }
    // The number of each name, counted from 1, in the slot that its hash says, or in the next one that is free. Names
    // that were made to have one hash cost a comparison with each other, which are few.
    let mut slots = [0_u8; SLOTS];
    for (place, number) in (0..count).zip(1..) {
        let name = name_at(place);
        let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let mut slot = name.iter().copied().fold(0x811c_9dc5, hash) as usize % SLOTS;
        while slots[slot] != 0 {
            if name_at(usize::from(slots[slot]) - 1) == name {
                return true;
            }
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = number;
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
            let objects = self.objects.iter().map(|(name, value)| (name.as_str(), *value));
            check(self.objects.len(), |place| &self.objects[place].0, &self.bytes)
                .expect("a sample is valid");
            write(&mut frame, self.number, objects, &self.bytes);
            frame
        }
    }

    /// A message's number, objects and bytes.
    type Decoded<P> = Result<(u64, Vec<(String, P)>, Vec<u8>), Broken>;

    fn decode(frame: &[u8]) -> Decoded<HandleValue> {
        decode_with(frame)
    }

    fn decode_with<P: Place>(frame: &[u8]) -> Decoded<P> {
        let header = Header::parse::<P>(frame)?.ok_or("cut off")?;
        let Parsed { names, places, bytes } = parse(&header, frame)?;
        let names = names.iter().map(str::to_owned);
        Ok((header.number, names.zip(places).collect(), bytes.to_vec()))
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
            prop_assert_eq!(header.has_objects(), !sample.objects.is_empty());
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
        write(&mut written, 0, [("a", ()), ("bc", ())].into_iter(), b"go");
        assert_eq!(written, two);
        for (frame, part) in [
            (frame(2, b"\x01a\x01a", b""), "twice"),
            (frame(2, b"\x01a\x02b", b""), "cut off"),
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
        let mut names: Vec<String> = (0..MOST_OBJECTS).map(|number| format!("{number}")).collect();
        assert!(!names_repeat(names.len(), |place| names[place].as_bytes()));
        names.reverse();
        assert!(!names_repeat(names.len(), |place| names[place].as_bytes()));
        for (one, other) in [(0, 252), (0, 1), (100, 101), (251, 252)] {
            let again = names[one].clone();
            let kept = std::mem::replace(&mut names[other], again);
            assert!(names_repeat(names.len(), |place| names[place].as_bytes()), "{one} and {other}");
            names[other] = kept;
        }
    }

    #[test]
    fn the_limits_hold_for_who_sends() {
        let name = |length: usize| "n".repeat(length);
        let checked = |names: &[&str], bytes: &[u8]| check(names.len(), |place| names[place], bytes);
        let refused = |names: &[&str], bytes: &[u8]| checked(names, bytes).unwrap_err().to_string();
        assert!(checked(&[], &vec![0; MOST_BYTES]).is_ok());
        assert!(refused(&[], &vec![0; MOST_BYTES + 1]).contains("16 MiB"));
        assert!(checked(&[&name(LONGEST_NAME)], b"").is_ok());
        assert!(refused(&[&name(LONGEST_NAME + 1)], b"").contains("255"));
        assert!(refused(&[""], b"").contains("without a name"));
        assert!(refused(&["a\0b"], b"").contains("NUL"));
        assert!(refused(&["a", "b", "a"], b"").contains("two objects of one name"));
        let names: Vec<String> = (0..=MOST_OBJECTS).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(checked(&names[1..], b"").is_ok());
        assert!(refused(&names, b"").contains("253"));
    }

    #[test]
    fn the_longest_message_fits() {
        let objects: Vec<(String, HandleValue)> = (0..253_u32)
            .map(|number| (format!("{number:0>width$}", width = LONGEST_NAME), value(number)))
            .collect();
        let frame = Sample { number: u64::MAX, objects, bytes: vec![7; MOST_BYTES] }.frame();
        assert_eq!(frame.len(), LONGEST_FRAME);
        assert_eq!(decode(&frame).expect("it is valid").1.len(), 253);
    }
}
