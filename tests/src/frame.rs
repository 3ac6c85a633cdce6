//! Builds frames from the documentation of the wire format, without the library's code.

use crate::weaker;

/// Returns a frame with this sequence number, these objects (handle value and name) and these bytes.
///
/// # Panics
///
/// Panics if there are more objects, or longer names, than the format's fields can express.
#[must_use]
pub fn frame(number: u64, objects: &[(u32, &[u8])], bytes: &[u8]) -> Vec<u8> {
    let mut table = Vec::new();
    for (value, name) in objects {
        table.extend(weaker::place(*value));
        table.push(u8::try_from(name.len()).expect("a short name"));
        table.extend(*name);
    }
    frame_of(number, u8::try_from(objects.len()).expect("few objects"), &table, bytes)
}

/// Returns a frame with this object table, valid or not.
///
/// # Panics
///
/// Panics if a part is longer than the format's fields can express.
#[must_use]
pub fn frame_of(number: u64, count: u8, table: &[u8], bytes: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("few bytes").to_le_bytes();
    let mut frame = vec![b'H', b'O', 1, 0, count, 0, 0, 0];
    frame.extend(length(table));
    frame.extend(length(bytes));
    frame.extend(number.to_le_bytes());
    frame.extend(0_u64.to_le_bytes());
    frame.extend(table);
    frame.extend(bytes);
    frame
}

/// Replaces bytes of the frame, beginning at index `place`.
///
/// # Panics
///
/// Panics if the frame is too short.
#[must_use]
pub fn with(mut frame: Vec<u8>, place: usize, bytes: &[u8]) -> Vec<u8> {
    frame[place..place + bytes.len()].copy_from_slice(bytes);
    frame
}
