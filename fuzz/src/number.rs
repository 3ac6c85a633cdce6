//! Fuzzes handle values and process identities.

use handover::{HandleValue, ProcessIdentity, fuzzing};

use super::input::Input;
use super::os::{can_be_handle, is_descriptor, is_handle};

/// Checks a number, a text and a line that may hold a handle value, and a text that may be a process identity.
pub fn number(data: &[u8]) {
    let number = Input::new(data).number();
    for number in [number, number >> 32] {
        assert_eq!(fuzzing::objection_to_handle(number).is_none(), is_handle(number.into()), "{number:#x}");
        assert_eq!(
            fuzzing::objection_to_descriptor(number).is_none(),
            is_descriptor(number.into()),
            "{number:#x}"
        );
        let value = HandleValue::try_from(number).map(|value| u64::from(value.get())).ok();
        assert_eq!(value, Some(number).filter(|number| can_be_handle((*number).into())));
        // On a 32-bit machine, larger numbers aren't a `usize`.
        if let Ok(number) = usize::try_from(number) {
            assert_eq!(HandleValue::try_from(number).is_ok(), value.is_some());
        }
    }
    let text = String::from_utf8_lossy(data);
    check_text(&text);
    check_line(data);
    check_identity(&text);
}

fn check_text(text: &str) {
    let parsed = text.parse::<HandleValue>();
    let expected = parse_by_description(text);
    match &parsed {
        Ok(value) => {
            assert_eq!(Some(u128::from(value.get())), expected, "of {text:?}");
            assert_eq!(value.to_string().parse::<HandleValue>().ok(), Some(*value));
            assert_eq!(format!("{value:#x}").parse::<HandleValue>().ok(), Some(*value));
        }
        Err(error) => {
            assert_eq!(expected, None, "of {text:?}");
            assert!(text.len() < 50 || error.to_string().len() < 1000, "{error}");
        }
    }
}

/// Parses a handle value by its description, without the library's parser: decimal digits, or `0x` and hexadecimal
/// digits, of a number that can be a handle value.
pub(crate) fn parse_by_description(text: &str) -> Option<u128> {
    let (digits, radix) = match text.get(..2) {
        Some("0x" | "0X") => (&text[2..], 16),
        _ => (text, 10),
    };
    let mut number = 0_u128;
    for letter in digits.chars() {
        // Saturates, because all larger numbers are invalid too.
        number = (number * u128::from(radix) + u128::from(letter.to_digit(radix)?)).min(u64::MAX.into());
    }
    (!digits.is_empty() && can_be_handle(number)).then_some(number)
}

fn check_line(line: &[u8]) {
    let value = fuzzing::value_of_line(line);
    let text = std::str::from_utf8(line).ok();
    let text =
        text.and_then(|text| text.strip_suffix('\n')).map(|text| text.strip_suffix('\r').unwrap_or(text));
    assert_eq!(
        value.ok().map(|value| value.get().into()),
        text.and_then(parse_by_description),
        "of {line:x?}"
    );
}

fn check_identity(text: &str) {
    let Ok(identity) = text.parse::<ProcessIdentity>() else { return };
    assert_eq!(identity.to_string().parse::<ProcessIdentity>().ok(), Some(identity));
    let (id, created) = text.split_once('@').expect("a parsed identity contains `@`");
    assert!(
        id.bytes().all(|byte| byte.is_ascii_digit()) && created.bytes().all(|byte| byte.is_ascii_hexdigit())
    );
}
