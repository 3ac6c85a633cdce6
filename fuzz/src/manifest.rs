//! Fuzzes the environment variables that list a process's inherited objects.

use std::ffi::OsString;

use handover::HandleValue;
use handover::fuzzing::{self, Listed};

use super::input::{Input, has_duplicates, value};
use super::number;
use super::os::can_be_handle;

/// Checks an arbitrary manifest, a manifest that a parent writes, or the variables of a service manager, depending on
/// the first byte.
pub fn manifest(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => check_arbitrary(&String::from_utf8_lossy(input.rest())),
        1 => check_parent(&mut input),
        _ => check_service_manager(&mut input),
    }
}

fn check_arbitrary(text: &str) {
    let parsed = fuzzing::parse_manifest(text).ok();
    assert_eq!(parsed, parse_by_description(text), "of {text:?}");
    let Some((meant_for, objects)) = parsed else { return };
    assert!(!meant_for.is_empty() && !meant_for.contains(' '));
    assert!(objects.iter().all(|(name, value)| !name.is_empty() && can_be_handle(value.get().into())));
    assert!(
        !has_duplicates(objects.iter().map(|(name, _)| name))
            && !has_duplicates(objects.iter().map(|(_, value)| value))
    );
    let rewritten = fuzzing::write_manifest((meant_for.clone(), objects.clone()))
        .expect("it is at most as long as the original");
    assert!(rewritten.len() <= text.len(), "{rewritten:?} of {text:?}");
    assert_eq!(
        fuzzing::parse_manifest(&rewritten).expect("it was written by the library"),
        (meant_for, objects)
    );
}

/// Parses a manifest by its description, without the library's parser.
fn parse_by_description(text: &str) -> Option<Listed> {
    let mut words = text.split(' ');
    let (version, meant_for) = (words.next()?, words.next()?);
    let objects: Option<Vec<_>> = words
        .map(|word| {
            let at = word.find('=')?;
            let value =
                HandleValue::try_from(u64::try_from(number::parse_by_description(&word[..at])?).ok()?)
                    .ok()?;
            Some((decode_name(&word.as_bytes()[at + 1..])?, value))
        })
        .collect();
    let objects = objects.filter(|_| version == "1" && !meant_for.is_empty())?;
    let is_duplicate = has_duplicates(objects.iter().map(|(name, _)| name))
        || has_duplicates(objects.iter().map(|(_, value)| value));
    (!is_duplicate).then(|| (meant_for.to_owned(), objects))
}

/// Decodes a name of printable ASCII, in which two hexadecimal digits follow each `%`.
fn decode_name(mut encoded: &[u8]) -> Option<String> {
    let mut bytes = Vec::new();
    while let Some(byte) = encoded.first() {
        let digit = |index: usize| char::from(*encoded.get(index)?).to_digit(16);
        let (byte, length) = match byte {
            b'%' => (u8::try_from(digit(1)? * 16 + digit(2)?).ok()?, 3),
            0x21..=0x7e => (*byte, 1),
            _ => return None,
        };
        bytes.push(byte);
        encoded = &encoded[length..];
    }
    String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
}

fn check_parent(input: &mut Input<'_>) {
    let meant_for = input.number().to_string();
    let mut names = Vec::new();
    while !input.is_empty() {
        names.push(input.text());
    }
    // The builder rejects empty and duplicate names.
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    let objects: Vec<_> = names.into_iter().zip((0..).map(value)).collect();
    let text = fuzzing::write_manifest((meant_for.clone(), objects.clone())).expect("it is short enough");
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
    assert_eq!(fuzzing::parse_manifest(&text).expect("it was written by the library"), (meant_for, objects));
    // A manifest that is cut off in the middle of a name or before an object is an error.
    for length in [text.rfind('%'), text.rfind(' ')].into_iter().flatten() {
        assert!(fuzzing::parse_manifest(&text[..=length]).is_err(), "{:?}", &text[..=length]);
    }
}

fn check_service_manager(input: &mut Input<'_>) {
    let pid = u32::from(input.byte());
    let present = input.byte();
    let mut variable = |bit: u8| (present & bit != 0).then(|| input.text());
    let (meant_for, count, names) = (variable(1), variable(2), variable(4));
    let os = |text: &Option<String>| text.clone().map(OsString::from);
    let Ok(objects) = fuzzing::activated(os(&meant_for), os(&count), os(&names), pid) else {
        // Variables without a process id or a count are ignored, so they cannot be invalid.
        assert!(meant_for.is_some() && count.is_some());
        return;
    };
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<u32>().ok());
    if number(&meant_for) != Some(pid) || count.is_none() {
        assert!(objects.is_empty());
        return;
    }
    assert_eq!(Some(objects.len()), number(&count).map(|count| count as usize));
    let names = names.unwrap_or_default();
    let mut names = names.split(':');
    for (index, (name, value)) in objects.iter().enumerate() {
        assert_eq!(value.get() as usize, 3 + index);
        let listed = names.next().filter(|name| !name.is_empty() && !name.starts_with("handover/"));
        assert_eq!(name, listed.unwrap_or("unknown"));
    }
}
