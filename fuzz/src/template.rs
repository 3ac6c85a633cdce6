//! Fuzzes text with placeholders for handle values.

use handover::{HandleValue, fuzzing};

use super::input::{Input, value};

/// Checks an arbitrary text, and a text that is composed of placeholders and plain text.
pub fn template(data: &[u8]) {
    check_arbitrary(&String::from_utf8_lossy(data));
    let mut input = Input::new(data);
    let (mut text, mut expected) = (String::new(), String::new());
    while !input.is_empty() {
        if input.byte() % 2 == 0 {
            let plain = input.text();
            text.push_str(&plain.replace('{', "{{").replace('}', "}}"));
            expected.push_str(&plain);
        } else {
            let name = input.text().replace(['{', '}'], "");
            text.push_str(&format!("{{{name}}}"));
            expected.push_str(&value_of(&name).to_string());
        }
    }
    assert_eq!(fuzzing::fill(&text, |name| Some(value_of(name))).ok(), Some(expected), "of {text:?}");
}

fn value_of(name: &str) -> HandleValue {
    value(name.len())
}

fn check_arbitrary(text: &str) {
    let requested = std::cell::RefCell::new(Vec::new());
    let filled = fuzzing::fill(text, |name| {
        requested.borrow_mut().push(name.to_owned());
        Some(value_of(name))
    });
    let requested = requested.into_inner();
    if !text.contains(['{', '}']) {
        assert_eq!((filled.ok().as_deref(), requested.len()), (Some(text), 0));
        return;
    }
    assert!(requested.iter().all(|name| !name.contains('}') && text.contains(name)), "{text:?}");
    // An unknown name is an error.
    let without = fuzzing::fill(text, |_| None);
    assert_eq!(without.is_ok(), filled.is_ok() && requested.is_empty(), "{text:?}");
    let Ok(filled) = filled else { return };
    // Only braces and names are removed, and only handle values are inserted.
    let braces = text.chars().filter(|character| matches!(character, '{' | '}')).count();
    let names: usize = requested.iter().map(|name| name.len()).sum();
    let numbers: usize = requested.iter().map(|name| value_of(name).to_string().len()).sum();
    let in_names =
        requested.iter().flat_map(|name| name.chars()).filter(|character| *character == '{').count();
    let left = filled.chars().filter(|character| matches!(character, '{' | '}')).count();
    assert_eq!(braces, 2 * requested.len() + in_names + 2 * left, "{text:?}");
    assert_eq!(filled.len() + names + 2 * requested.len() + left, text.len() + numbers, "{text:?}");
}
