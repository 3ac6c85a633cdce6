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
//!     20         the table, for each object: its handle's value (4), how many bytes its name has (1), the name
//!                the message's bytes
//! ```
//!
//! Nothing of it is believed: each number has its limit, which is checked before anything is allocated or duplicated;
//! names are text, each once; values are such as a table can hold, each once; the table ends where it says. What an
//! object is doesn't stand here, because the receiver asks the kernel.

use std::collections::BTreeSet;

use crate::{Error, HandleValue, Result};

/// The most bytes of one message.
pub(crate) const MOST_BYTES: usize = 16 * 1024 * 1024;
/// The most objects of one message: as many as Linux passes in one.
pub(crate) const MOST_OBJECTS: usize = 253;
/// The most bytes of an object's name.
pub(crate) const LONGEST_NAME: usize = 255;

const MAGIC: [u8; 2] = *b"HO";
const VERSION: u8 = 1;
const VALUE: usize = 4;
const LONGEST_TABLE: usize = MOST_OBJECTS * (VALUE + 1 + LONGEST_NAME);

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
    pub(crate) fn parse(came: &[u8]) -> Result<Option<Self>, Broken> {
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
        let (least, most) = (this.objects * (VALUE + 2), this.objects * (VALUE + 1 + LONGEST_NAME));
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

/// An object as it stands in a frame.
pub(crate) type Entry = (Box<str>, HandleValue);

/// The objects and the bytes of a frame, which must be as long as its header says.
pub(crate) fn parse<'a>(header: &Header, frame: &'a [u8]) -> Result<(Vec<Entry>, &'a [u8]), Broken> {
    if frame.len() != header.frame_length() {
        return Err("a frame is shorter or longer than it claims");
    }
    let (mut table, bytes) = frame[Header::LENGTH..].split_at(header.table);
    let mut entries: Vec<Entry> = Vec::with_capacity(header.objects);
    for _ in 0..header.objects {
        let cut_off = "the table of objects is cut off";
        let (value, rest) = table.split_first_chunk::<VALUE>().ok_or(cut_off)?;
        let (length, rest) = rest.split_first().ok_or(cut_off)?;
        let (name, rest) = rest.split_at_checked(usize::from(*length)).ok_or(cut_off)?;
        table = rest;
        let value = HandleValue::try_from(u64::from(u32::from_le_bytes(*value)))
            .map_err(|_| "an object has a value that can't be a handle")?;
        let name = std::str::from_utf8(name).map_err(|_| "an object has a name that isn't text")?;
        check_name(name)?;
        entries.push((name.into(), value));
    }
    if !table.is_empty() {
        return Err("the table of objects is longer than its objects");
    }
    // Each value is closed by whoever takes it; twice would close a stranger.
    if repeats(entries.iter().map(|(name, _)| &**name)) || repeats(entries.iter().map(|(_, value)| *value)) {
        return Err("a message has an object twice");
    }
    Ok((entries, bytes))
}

/// Writes a frame. What is in it was checked by [`check`].
pub(crate) fn write<'a>(
    frame: &mut Vec<u8>,
    number: u64,
    objects: impl ExactSizeIterator<Item = (&'a str, HandleValue)> + Clone,
    bytes: &[u8],
) {
    let table: usize = objects.clone().map(|(name, _)| VALUE + 1 + name.len()).sum();
    frame.clear();
    frame.reserve(Header::LENGTH + table + bytes.len());
    frame.extend(MAGIC);
    frame.push(VERSION);
    frame.push(u8::try_from(objects.len()).expect("checked"));
    frame.extend(u32::try_from(table).expect("checked").to_le_bytes());
    frame.extend(u32::try_from(bytes.len()).expect("checked").to_le_bytes());
    frame.extend(number.to_le_bytes());
    for (name, value) in objects {
        frame.extend(value.get().to_le_bytes());
        frame.push(u8::try_from(name.len()).expect("checked"));
        frame.extend(name.as_bytes());
    }
    frame.extend(bytes);
}

/// Refuses a message that no frame can hold, before anything is done for it.
pub(crate) fn check<'a>(names: impl ExactSizeIterator<Item = &'a str> + Clone, bytes: &[u8]) -> Result<()> {
    let invalid = |what: String, why: &str| Err(Error::InvalidInput { what, why: why.into() });
    if bytes.len() > MOST_BYTES {
        let what = format!("a message of {} bytes", bytes.len());
        return invalid(what, "at most 16 MiB fit; send it in parts, or a section that holds it");
    }
    if names.len() > MOST_OBJECTS {
        let what = format!("a message with {} objects", names.len());
        return invalid(what, "at most 253 fit; send them in several messages");
    }
    for name in names.clone() {
        if let Err(why) = check_name(name) {
            return invalid(format!("the object {name:?} of a message"), why);
        }
    }
    if repeats(names) {
        return invalid(
            "a message".into(),
            "has two objects of one name; the receiver couldn't tell them apart",
        );
    }
    Ok(())
}

/// How many bytes a listener's answer to a client has.
pub(crate) const ANSWER: usize = 24;

/// What a listener answers to a client: where in the client's own table its end of the channel is, and a number that
/// the ledger behind it has too.
pub(crate) fn answer(values: [HandleValue; 3], nonce: u64) -> [u8; ANSWER] {
    let mut answer = [0; ANSWER];
    answer[..2].copy_from_slice(&MAGIC);
    answer[2] = VERSION;
    for (place, value) in answer[4..].chunks_exact_mut(VALUE).zip(values) {
        place.copy_from_slice(&value.get().to_le_bytes());
    }
    answer[NONCE..].copy_from_slice(&nonce.to_le_bytes());
    answer
}

/// Where the number stands in a listener's answer.
const NONCE: usize = 16;

/// The values and the number of a listener's answer.
pub(crate) fn parse_answer(answer: &[u8]) -> Result<([HandleValue; 3], u64), Broken> {
    let wrong = "the listener's answer is none";
    let Some([VERSION, 0, values @ ..]) = answer.strip_prefix(&MAGIC) else { return Err(wrong) };
    if answer.len() != ANSWER {
        return Err(wrong);
    }
    let value = |place: usize| {
        let bytes = values[place * VALUE..][..VALUE].try_into().map_err(|_| wrong)?;
        HandleValue::try_from(u64::from(u32::from_le_bytes(bytes))).map_err(|_| wrong)
    };
    let values = [value(0)?, value(1)?, value(2)?];
    if repeats(values.iter()) {
        return Err(wrong);
    }
    let nonce = answer[NONCE..].try_into().map_err(|_| wrong)?;
    Ok((values, u64::from_le_bytes(nonce)))
}

fn check_name(name: &str) -> Result<(), Broken> {
    match name.len() {
        0 => Err("an object without a name"),
        1..=LONGEST_NAME if name.contains('\0') => Err("an object's name has a NUL in it"),
        1..=LONGEST_NAME => Ok(()),
        _ => Err("an object's name has more than 255 bytes"),
    }
}

fn repeats<T: Ord>(items: impl ExactSizeIterator<Item = T>) -> bool {
    // Most messages have one object, and most of the rest none.
    if items.len() < 2 {
        return false;
    }
    let mut seen = BTreeSet::new();
    !items.into_iter().all(|item| seen.insert(item))
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
            check(objects.clone().map(|(name, _)| name), &self.bytes).expect("a sample is valid");
            write(&mut frame, self.number, objects, &self.bytes);
            frame
        }
    }

    fn decode(frame: &[u8]) -> Result<(u64, Vec<Entry>, Vec<u8>), Broken> {
        let header = Header::parse(frame)?.ok_or("cut off")?;
        let (entries, bytes) = parse(&header, frame)?;
        Ok((header.number, entries, bytes.to_vec()))
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
            let header = Header::parse(&frame).expect("it is valid").expect("it is whole");
            prop_assert_eq!(header.has_objects(), !sample.objects.is_empty());
            let (number, entries, bytes) = decode(&frame).expect("it is valid");
            prop_assert_eq!(number, sample.number);
            prop_assert_eq!(bytes, sample.bytes);
            let entries: Vec<_> =
                entries.into_iter().map(|(name, value)| (String::from(name), value)).collect();
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
                let objects: Vec<_> =
                    entries.into_iter().map(|(name, value)| (String::from(name), value)).collect();
                prop_assert_eq!(Sample { number, objects, bytes }.frame(), frame);
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
            (frame(1, b"\0\0\0\0\x01a", b""), "can't be a handle"),
            (frame(1, b"\xff\xff\xff\xff\x01a", b""), "can't be a handle"),
            (frame(1, b"\xfe\xff\xff\xff\x01a", b""), "can't be a handle"),
            (frame(1, b"\xf4\xff\xff\xff\x01a", b""), "can't be a handle"),
            (frame(1, b"\x45\0\0\0\x01a", b""), "can't be a handle"),
            (frame(1, b"\x44\0\0\0\x02a", b""), "cut off"),
            (frame(1, b"\x44\0\0\0\x01ab", b""), "longer than its objects"),
            (frame(1, b"\x44\0\0\0\x00a", b""), "without a name"),
            (frame(1, b"\x44\0\0\0\x01\0", b""), "NUL"),
            (frame(1, b"\x44\0\0\0\x01\xff", b""), "isn't text"),
            (frame(2, b"\x44\0\0\0\x01a\x48\0\0\0\x01a", b""), "twice"),
            (frame(2, b"\x44\0\0\0\x01a\x44\0\0\0\x01b", b""), "twice"),
        ] {
            let why = decode(&frame).expect_err(part);
            assert!(why.contains(part), "{part}: {why}");
        }
    }

    #[test]
    fn a_listeners_answer_is_read_and_nothing_else() {
        let values = [value(1), value(2), value(70_000)];
        let right = answer(values, 0x1234_5678_9abc_def0);
        assert_eq!(parse_answer(&right), Ok((values, 0x1234_5678_9abc_def0)));
        for length in 0..ANSWER {
            assert!(parse_answer(&right[..length]).is_err());
        }
        assert!(parse_answer(&[&right[..], &[0]].concat()).is_err());
        // What says which format it is, and the lowest and highest byte of each value.
        for place in [0, 1, 2, 3, 4, 7, 8, 11, 12, 15] {
            let mut wrong = right;
            wrong[place] = 0xff;
            assert!(parse_answer(&wrong).is_err(), "{place}");
        }
        assert!(parse_answer(&answer([value(1), value(2), value(1)], 0)).is_err());
    }

    #[test]
    fn the_limits_hold_for_who_sends() {
        let name = |length: usize| "n".repeat(length);
        let refused =
            |names: &[&str], bytes: &[u8]| check(names.iter().copied(), bytes).unwrap_err().to_string();
        assert!(check([].into_iter(), &vec![0; MOST_BYTES]).is_ok());
        assert!(refused(&[], &vec![0; MOST_BYTES + 1]).contains("16 MiB"));
        assert!(check([name(LONGEST_NAME).as_str()].into_iter(), b"").is_ok());
        assert!(refused(&[&name(LONGEST_NAME + 1)], b"").contains("255"));
        assert!(refused(&[""], b"").contains("without a name"));
        assert!(refused(&["a\0b"], b"").contains("NUL"));
        assert!(refused(&["a", "b", "a"], b"").contains("two objects of one name"));
        let names: Vec<String> = (0..=MOST_OBJECTS).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(check(names[1..].iter().copied(), b"").is_ok());
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
