//! Arguments of a program on Windows.

use handover::fuzzing::{self, Part};

use super::argv::{Parser, argv};
use super::input::Input;

const QUOTE: u16 = b'"' as u16;
const BACKSLASH: u16 = b'\\' as u16;
const BLANKS: [u16; 2] = [b' ' as u16, b'\t' as u16];

/// Whatever the arguments are, the program reads them as they were.
pub fn command_line(data: &[u8]) {
    let mut input = Input::new(data);
    let raw = input.byte();
    // What the builder refuses: no rule brings a quote through in the program's name, nor a NUL anywhere.
    let has_no = |forbidden: u16, units: Vec<u16>| {
        units.into_iter().filter(|unit| *unit != forbidden).collect::<Vec<_>>()
    };
    let program = has_no(0, has_no(QUOTE, input.units()));
    let mut arguments = Vec::new();
    while !input.is_empty() {
        arguments.push(has_no(0, input.units()));
    }
    let line = line(&program, &arguments);
    let expected: Vec<&[u16]> = std::iter::once(&program).chain(&arguments).map(Vec::as_slice).collect();
    for parser in [Parser::Runtime, Parser::Shell] {
        assert_eq!(argv(&line, parser), expected, "{parser:?} of {:?}", String::from_utf16_lossy(&line));
    }
    in_the_middle(&program, &arguments, usize::from(raw));
    with_nothing_else(&line, &program, &arguments);
}

fn line(program: &[u16], arguments: &[Vec<u16>]) -> Vec<u16> {
    let parts: Vec<_> = arguments.iter().map(|argument| Part::Argument(argument)).collect();
    fuzzing::command_line(program, &parts)
}

/// One of them is left alone, and changes nothing for those around it if it leaves no quote open.
fn in_the_middle(program: &[u16], arguments: &[Vec<u16>], raw: usize) {
    if raw >= arguments.len() || arguments[raw].contains(&QUOTE) {
        return;
    }
    let parts: Vec<_> = arguments
        .iter()
        .enumerate()
        .map(|(place, text)| if place == raw { Part::Raw(text) } else { Part::Argument(text) })
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

/// Nothing is added but blanks between, quotes around, and backslashes before quotes.
fn with_nothing_else(line: &[u16], program: &[u16], arguments: &[Vec<u16>]) {
    let is_letter = |unit: &&u16| ![QUOTE, BACKSLASH].contains(*unit) && !BLANKS.contains(*unit);
    assert!(
        line.iter().filter(is_letter).eq(program.iter().chain(arguments.iter().flatten()).filter(is_letter))
    );
    let most = arguments.iter().map(|argument| 3 + 2 * argument.len()).sum::<usize>();
    assert!(line.len() <= 2 + program.len() + most, "{} units", line.len());
}
