//! Text with the numbers of handles in it.

use handover::{HandleValue, fuzzing};

use super::input::{Input, value};

/// Any text, and one that was made of names and what stands between them.
pub fn template(data: &[u8]) {
    any(&String::from_utf8_lossy(data));
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
            expected.push_str(&number_of(&name).to_string());
        }
    }
    assert_eq!(fuzzing::fill(&text, |name| Some(number_of(name))).ok(), Some(expected), "of {text:?}");
}

fn number_of(name: &str) -> HandleValue {
    value(name.len())
}

fn any(text: &str) {
    let asked = std::cell::RefCell::new(Vec::new());
    let filled = fuzzing::fill(text, |name| {
        asked.borrow_mut().push(name.to_owned());
        Some(number_of(name))
    });
    let asked = asked.into_inner();
    if !text.contains(['{', '}']) {
        assert_eq!((filled.ok().as_deref(), asked.len()), (Some(text), 0));
        return;
    }
    assert!(asked.iter().all(|name| !name.contains('}') && text.contains(name)), "{text:?}");
    // What isn't there is an error, wherever it is asked for.
    let without = fuzzing::fill(text, |_| None);
    assert_eq!(without.is_ok(), filled.is_ok() && asked.is_empty(), "{text:?}");
    let Ok(filled) = filled else { return };
    // Nothing but braces and names is gone, and nothing but numbers has come.
    let braces = text.chars().filter(|letter| matches!(letter, '{' | '}')).count();
    let names: usize = asked.iter().map(|name| name.len()).sum();
    let numbers: usize = asked.iter().map(|name| number_of(name).to_string().len()).sum();
    let in_names = asked.iter().flat_map(|name| name.chars()).filter(|letter| *letter == '{').count();
    let left = filled.chars().filter(|letter| matches!(letter, '{' | '}')).count();
    assert_eq!(braces, 2 * asked.len() + in_names + 2 * left, "{text:?}");
    assert_eq!(filled.len() + names + 2 * asked.len() + left, text.len() + numbers, "{text:?}");
}
