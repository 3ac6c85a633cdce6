//! Fuzzes the command-line builder for Windows.

use handover::fuzzing::{self, Part};

use super::argv::{Parser, argv};
use super::input::Input;

const QUOTE: u16 = b'"' as u16;
const BACKSLASH: u16 = b'\\' as u16;
const BLANKS: [u16; 2] = [b' ' as u16, b'\t' as u16];

/// Checks that a program reads the arguments as they were passed, for all arguments.
pub fn command_line(data: &[u8]) {
    let mut input = Input::new(data);
    let raw = input.byte();
    // The builder rejects a quote in the program's name and a NUL anywhere, because no quoting rule can express them.
    let without = |forbidden: u16, units: Vec<u16>| {
        units.into_iter().filter(|unit| *unit != forbidden).collect::<Vec<_>>()
    };
    let program = without(0, without(QUOTE, input.units()));
    let mut arguments = Vec::new();
    while !input.is_empty() {
        arguments.push(without(0, input.units()));
    }
    let line = line(&program, &arguments);
    let expected: Vec<&[u16]> = std::iter::once(&program).chain(&arguments).map(Vec::as_slice).collect();
    for parser in [Parser::Runtime, Parser::Shell] {
        assert_eq!(argv(&line, parser), expected, "{parser:?} of {:?}", String::from_utf16_lossy(&line));
    }
    check_raw_argument(&program, &arguments, usize::from(raw));
    check_added_characters(&line, &program, &arguments);
}

fn line(program: &[u16], arguments: &[Vec<u16>]) -> Vec<u16> {
    let parts: Vec<_> = arguments.iter().map(|argument| Part::Argument(argument)).collect();
    fuzzing::command_line(program, &parts)
}

/// Passes one argument raw, and checks that it does not change the others. A raw argument with quotes is left out,
/// because it may leave a quote open.
fn check_raw_argument(program: &[u16], arguments: &[Vec<u16>], raw: usize) {
    if raw >= arguments.len() || arguments[raw].contains(&QUOTE) {
        return;
    }
    let parts: Vec<_> = arguments
        .iter()
        .enumerate()
        .map(|(index, text)| if index == raw { Part::Raw(text) } else { Part::Argument(text) })
        .collect();
    let line = fuzzing::command_line(program, &parts);
    let words = arguments[raw].split(|unit| BLANKS.contains(unit)).filter(|word| !word.is_empty());
    let before = std::iter::once(program).chain(arguments[..raw].iter().map(Vec::as_slice));
    let expected: Vec<&[u16]> =
        before.chain(words).chain(arguments[raw + 1..].iter().map(Vec::as_slice)).collect();
    for parser in [Parser::Runtime, Parser::Shell] {
        assert_eq!(argv(&line, parser), expected, "{parser:?} of {:?}", String::from_utf16_lossy(&line));
    }
}

/// Checks that the builder adds only blanks between arguments, quotes around them, and backslashes before quotes.
fn check_added_characters(line: &[u16], program: &[u16], arguments: &[Vec<u16>]) {
    let is_ordinary = |unit: &&u16| ![QUOTE, BACKSLASH].contains(*unit) && !BLANKS.contains(*unit);
    assert!(
        line.iter()
            .filter(is_ordinary)
            .eq(program.iter().chain(arguments.iter().flatten()).filter(is_ordinary))
    );
    let maximum = arguments.iter().map(|argument| 3 + 2 * argument.len()).sum::<usize>();
    assert!(line.len() <= 2 + program.len() + maximum, "{} units", line.len());
}
