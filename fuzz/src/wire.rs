//! Fuzzes frames and answers that a hostile peer may send.

use handover::HandleValue;
use handover::fuzzing::{self, Message};

use super::input::has_duplicates;
use super::os::can_be_handle;

const HEADER: usize = 32;
const MAX_OBJECTS: usize = 253;
const MAX_NAME_LENGTH: usize = 255;
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The length of a socket's record.
const RECORD: usize = 628;

/// Checks arbitrary bytes as a frame of each system, and as the answer of a listener on Windows.
pub fn wire(data: &[u8]) {
    for with_values in [true, false] {
        check_frame(data, with_values);
    }
    check_answer(data);
}

fn check_frame(data: &[u8], with_values: bool) {
    let expected = parse_by_description(data, with_values);
    let parsed = fuzzing::parse_frame(data, with_values).ok();
    let fields = |(envelope, objects, records, bytes): &Message| {
        (envelope.fields(), objects.clone(), records.clone(), bytes.clone())
    };
    assert_eq!(parsed.as_ref().map(fields), expected, "of {data:x?}");
    match fuzzing::frame_length(data, with_values) {
        Ok(Some(length)) => {
            assert!(
                (HEADER..=HEADER + MAX_OBJECTS * (5 + RECORD + MAX_NAME_LENGTH) + MAX_BYTES)
                    .contains(&length)
            );
            assert_eq!(fuzzing::frame_length(&data[..HEADER], with_values), Ok(Some(length)));
            assert!(expected.is_none() || length == data.len());
            // The first of several frames has the same meaning on its own.
            if length < data.len() {
                check_frame(&data[..length], with_values);
            }
        }
        Ok(None) => assert!(data.len() < HEADER && expected.is_none()),
        Err(_) => assert!(expected.is_none()),
    }
    let Some((envelope, objects, records, bytes)) = parsed else { return };
    // No other frame has the same meaning.
    let written =
        fuzzing::write_frame(envelope, &objects, &records, &bytes, with_values).expect("it was accepted");
    assert_eq!(written, data);
    for length in 0..data.len() {
        assert!(fuzzing::parse_frame(&data[..length], with_values).is_err(), "{length} bytes of {data:x?}");
    }
    assert!(fuzzing::parse_frame(&[data, &[0]].concat(), with_values).is_err());
}

/// The number of the type, the flags, the number of endpoints, the message's number, and a call's id.
type Fields = (u8, u16, usize, u64, u64);

/// The names and handle values of objects.
type Objects = Vec<(String, Vec<HandleValue>)>;

/// Parses a frame by the format's description, without the library's parser.
fn parse_by_description(frame: &[u8], with_values: bool) -> Option<(Fields, Objects, Vec<u8>, Vec<u8>)> {
    let number = |at: usize, length: usize| {
        let bytes = frame.get(at..at + length)?;
        Some(bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    // In 64 bits on each machine, so that the sum can't overflow.
    let (table, length) = (number(8, 4)?, number(12, 4)?);
    let count = usize::from(*frame.get(4)?);
    let fields = (
        *frame.get(3)?,
        u16::try_from(number(6, 2)?).ok()?,
        usize::from(*frame.get(5)?),
        number(16, 8)?,
        number(24, 8)?,
    );
    // Without handle values, a frame with objects may say by a flag that none of them is a semaphore.
    let says_no_semaphores = !with_values && count > 0 && fields.1 == 4;
    let is_typed = match fields {
        (0, 4, _, _, 0) | (1 | 2, 4, ..) => says_no_semaphores,
        (0, 0, _, _, 0) | (1 | 2, 0, ..) => true,
        (3, 0..=2, _, _, 0) => count == 0 && length == 0,
        _ => false,
    };
    if !is_typed || fields.2 > count {
        return None;
    }
    let has_magic = frame.starts_with(b"HO\x01");
    let is_whole = frame.len() as u64 == HEADER as u64 + table + length;
    if !has_magic || count > MAX_OBJECTS || length > MAX_BYTES as u64 || !is_whole {
        return None;
    }
    let table = usize::try_from(table).ok()?;
    let mut objects = Objects::new();
    let (mut at, mut records) = (HEADER, 0);
    for index in 0..count {
        let mut values = Vec::new();
        let value_count = match with_values {
            false => 0,
            true if index < count - fields.2 => 1,
            true => 4,
        };
        for _ in 0..value_count {
            let raw = number(at, 4)?;
            at += 4;
            // An object without a handle value is a socket.
            if raw == 0 && value_count == 1 {
                records += RECORD;
                continue;
            }
            // The format is that of Windows, where no handle has the value 0.
            if raw == 0 || !can_be_handle(u128::from(raw)) {
                return None;
            }
            values.push(HandleValue::try_from(raw).expect("it can be a handle value"));
        }
        let length = usize::from(*frame.get(at)?);
        let name = frame.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if name.is_empty() || name.contains(&0) {
            return None;
        }
        objects.push((String::from_utf8(name.to_vec()).ok()?, values));
    }
    let records = frame.get(at..at + records)?.to_vec();
    at += records.len();
    let is_complete = at == HEADER + table;
    let is_duplicate = has_duplicates(objects.iter().map(|(name, _)| name))
        || (with_values && has_duplicates(objects.iter().flat_map(|(_, values)| values)));
    (is_complete && !is_duplicate).then(|| (fields, objects, records, frame[at..].to_vec()))
}

fn check_answer(data: &[u8]) {
    let Ok((values, nonce)) = fuzzing::parse_answer(data) else { return };
    assert_eq!(fuzzing::write_answer(values, nonce), data);
    assert!(!has_duplicates(values.iter()));
    assert!(values.iter().all(|value| can_be_handle(value.get().into())));
    assert!(fuzzing::parse_answer(&data[1..]).is_err());
}
