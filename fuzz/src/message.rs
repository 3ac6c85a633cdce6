//! Fuzzes messages that a program may build.

use handover::HandleValue;
use handover::fuzzing;

use super::input::{Input, has_duplicates, value};

/// Writes a message into a frame of one system and reads it back, unchanged and with one byte changed.
pub fn message(data: &[u8]) {
    let mut input = Input::new(data);
    let number = input.number();
    let with_values = number % 2 == 0;
    let (at, byte) = (usize::from(input.byte()), input.byte());
    // Many objects are tried rarely, because they take the time of ten messages with few.
    let numbered = match input.byte() {
        many @ 0xfc.. => usize::from(many),
        few => usize::from(few % 8),
    };
    let mut names: Vec<String> =
        (0..input.byte() % 16).map_while(|_| (!input.is_empty()).then(|| input.text())).collect();
    names.extend((0..numbered).map(|number| number.to_string()));
    let fits = names.len() <= 253
        && names.iter().all(|name| (1..=255).contains(&name.len()) && !name.contains('\0'))
        && !has_duplicates(names.iter());
    // Each seventh object is a socket, which has a record instead of a handle value.
    let has_value = |index| with_values && index % 7 != 3;
    let values = (0..).map(|index| if has_value(index) { vec![value(index)] } else { Vec::new() });
    let objects: Vec<(String, Vec<HandleValue>)> = names.into_iter().zip(values).collect();
    let sockets =
        if with_values { objects.iter().filter(|(_, values)| values.is_empty()).count() } else { 0 };
    let records = vec![input.byte(); sockets * 628];
    let envelope = fuzzing::Envelope::of_message(number);
    let written = fuzzing::write_frame(envelope, &objects, &records, input.rest(), with_values);
    assert_eq!(written.is_ok(), fits, "{objects:?}");
    let Ok(mut frame) = written else { return };
    assert_eq!(fuzzing::frame_length(&frame, with_values), Ok(Some(frame.len())));
    let message = (envelope, objects, records, input.rest().to_vec());
    assert_eq!(fuzzing::parse_frame(&frame, with_values).as_ref(), Ok(&message));
    let at = at % frame.len();
    let original = std::mem::replace(&mut frame[at], byte);
    match fuzzing::parse_frame(&frame, with_values) {
        Ok(other) => assert_eq!(other == message, original == byte, "byte {at} of {frame:x?}"),
        Err(_) => assert_ne!(original, byte),
    }
}
