//! The variables in which a process is told what it has inherited.

use std::ffi::OsString;

use handover::HandleValue;
use handover::fuzzing::{self, Listed};

use super::input::{Input, repeats, value};
use super::number;
use super::os::can_be_handle;

/// A manifest as anybody may write it, one as a parent writes it, or the variables of a service manager.
pub fn manifest(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => any(&String::from_utf8_lossy(input.rest())),
        1 => of_a_parent(&mut input),
        _ => of_a_manager(&mut input),
    }
}

fn any(text: &str) {
    let parsed = fuzzing::parse_manifest(text).ok();
    assert_eq!(parsed, described(text), "of {text:?}");
    let Some((meant_for, objects)) = parsed else { return };
    assert!(!meant_for.is_empty() && !meant_for.contains(' '));
    assert!(objects.iter().all(|(name, value)| !name.is_empty() && can_be_handle(value.get().into())));
    assert!(
        !repeats(objects.iter().map(|(name, _)| name)) && !repeats(objects.iter().map(|(_, value)| value))
    );
    let again =
        fuzzing::write_manifest((meant_for.clone(), objects.clone())).expect("it is no longer than it was");
    assert!(again.len() <= text.len(), "{again:?} of {text:?}");
    assert_eq!(
        fuzzing::parse_manifest(&again).expect("it is written as a parent does"),
        (meant_for, objects)
    );
}

/// What a manifest says by its description, and by no line of the library's.
fn described(text: &str) -> Option<Listed> {
    let mut words = text.split(' ');
    let (version, meant_for) = (words.next()?, words.next()?);
    let objects: Option<Vec<_>> = words
        .map(|word| {
            let at = word.find('=')?;
            let value = HandleValue::try_from(u64::try_from(number::described(&word[..at])?).ok()?).ok()?;
            Some((name(&word.as_bytes()[at + 1..])?, value))
        })
        .collect();
    let objects = objects.filter(|_| version == "1" && !meant_for.is_empty())?;
    let twice =
        repeats(objects.iter().map(|(name, _)| name)) || repeats(objects.iter().map(|(_, value)| value));
    (!twice).then(|| (meant_for.to_owned(), objects))
}

/// A name in printable ASCII, with two digits in hex behind each `%`.
fn name(mut encoded: &[u8]) -> Option<String> {
    let mut bytes = Vec::new();
    while let Some(byte) = encoded.first() {
        let digit = |place: usize| char::from(*encoded.get(place)?).to_digit(16);
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

fn of_a_parent(input: &mut Input<'_>) {
    let meant_for = input.number().to_string();
    let mut names = Vec::new();
    while !input.is_empty() {
        names.push(input.text());
    }
    // The builder lets no more in.
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    let objects: Vec<_> = names.into_iter().zip((0..).map(value)).collect();
    let text = fuzzing::write_manifest((meant_for.clone(), objects.clone())).expect("it is short");
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
    assert_eq!(fuzzing::parse_manifest(&text).expect("it was written"), (meant_for, objects));
    // Cut off in the middle of a name, and before an object.
    for length in [text.rfind('%'), text.rfind(' ')].into_iter().flatten() {
        assert!(fuzzing::parse_manifest(&text[..=length]).is_err(), "{:?}", &text[..=length]);
    }
}

fn of_a_manager(input: &mut Input<'_>) {
    let this = u32::from(input.byte());
    let has = input.byte();
    let mut variable = |bit: u8| (has & bit != 0).then(|| input.text());
    let (meant_for, count, names) = (variable(1), variable(2), variable(4));
    let os = |text: &Option<String>| text.clone().map(OsString::from);
    let Ok(objects) = fuzzing::activated(os(&meant_for), os(&count), os(&names), this) else {
        // Only what is there can be wrong.
        assert!(meant_for.is_some() && count.is_some());
        return;
    };
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<u32>().ok());
    if number(&meant_for) != Some(this) || count.is_none() {
        assert!(objects.is_empty());
        return;
    }
    assert_eq!(Some(objects.len()), number(&count).map(|count| count as usize));
    let names = names.unwrap_or_default();
    let mut names = names.split(':');
    for (place, (name, value)) in objects.iter().enumerate() {
        assert_eq!(value.get() as usize, 3 + place);
        let said = names.next().filter(|name| !name.is_empty() && !name.starts_with("handover/"));
        assert_eq!(name, said.unwrap_or("unknown"));
    }
}
