//! How a program on Windows takes its command line apart, written from Microsoft's descriptions:
//! [of the C runtime](https://learn.microsoft.com/cpp/c-language/parsing-c-command-line-arguments) and
//! [of `CommandLineToArgvW`](https://learn.microsoft.com/windows/win32/api/shellapi/nf-shellapi-commandlinetoargvw).
//! It shares nothing with the code that writes command lines.

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parser {
    /// "Within a quoted string, a pair of double quotation marks is interpreted as a single escaped double quotation
    /// mark."
    Runtime,
    /// Which doesn't say so.
    Shell,
}

/// The program's name and the arguments.
pub(crate) fn argv(line: &[u16], parser: Parser) -> Vec<Vec<u16>> {
    let at = |place: usize| line.get(place).and_then(|unit| char::from_u32(u32::from(*unit)));
    let is_blank = |place: usize| matches!(at(place), Some(' ' | '\t'));
    let mut arguments = Vec::new();
    let mut argument = Vec::new();
    let mut place = 0;
    let mut is_quoted = false;
    // The first is a file's name: quotes stand around what has blanks in it, and a backslash is only that.
    while place < line.len() && (is_quoted || !is_blank(place)) {
        if at(place) == Some('"') {
            is_quoted = !is_quoted;
            if !is_quoted && parser == Parser::Shell {
                place += 1;
                break;
            }
        } else {
            argument.push(line[place]);
        }
        place += 1;
    }
    arguments.push(argument);
    loop {
        while is_blank(place) {
            place += 1;
        }
        if place >= line.len() {
            return arguments;
        }
        let mut argument = Vec::new();
        let mut is_quoted = false;
        while place < line.len() && (is_quoted || !is_blank(place)) {
            let backslashes = line[place..].iter().take_while(|unit| **unit == u16::from(b'\\')).count();
            place += backslashes;
            if at(place) != Some('"') {
                // Backslashes are themselves unless a quote follows.
                argument.extend(std::iter::repeat_n(u16::from(b'\\'), backslashes));
                if backslashes == 0 {
                    argument.push(line[place]);
                    place += 1;
                }
                continue;
            }
            argument.extend(std::iter::repeat_n(u16::from(b'\\'), backslashes / 2));
            place += 1;
            if backslashes % 2 == 1 {
                argument.push(u16::from(b'"'));
            } else if is_quoted && parser == Parser::Runtime && at(place) == Some('"') {
                argument.push(u16::from(b'"'));
                place += 1;
            } else {
                is_quoted = !is_quoted;
            }
        }
        arguments.push(argument);
    }
}

/// The descriptions' own examples.
pub fn argv_reads_as_it_is_described() {
    let read = |line: &str, parser| {
        let line: Vec<u16> = format!("program {line}").encode_utf16().collect();
        let arguments = argv(&line, parser);
        arguments[1..].iter().map(|argument| String::from_utf16_lossy(argument)).collect::<Vec<_>>()
    };
    for (line, expected) in [
        (r#""a b c" d e"#, &["a b c", "d", "e"][..]),
        (r#""ab\"c" "\\" d"#, &["ab\"c", "\\", "d"]),
        (r#"a\\\b d"e f"g h"#, &[r"a\\\b", "de fg", "h"]),
        (r#"a\\\"b c d"#, &[r#"a\"b"#, "c", "d"]),
        (r#"a\\\\"b c" d e"#, &[r"a\\b c", "d", "e"]),
        (r#""abc" d e"#, &["abc", "d", "e"]),
        (r#""" """#, &["", ""]),
        ("", &[]),
    ] {
        assert_eq!(read(line, Parser::Runtime), expected, "{line}");
        assert_eq!(read(line, Parser::Shell), expected, "{line}");
    }
    // Where only one of them has a rule.
    assert_eq!(read(r#"a"b"" c d"#, Parser::Runtime), [r#"ab" c d"#]);
    assert_eq!(read(r#"a"b"" c d"#, Parser::Shell), ["ab c d"]);
}
