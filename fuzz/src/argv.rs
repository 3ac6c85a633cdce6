//! Splits a command line into arguments as a program on Windows does, written from Microsoft's descriptions
//! [of the C runtime](https://learn.microsoft.com/cpp/c-language/parsing-c-command-line-arguments) and
//! [of `CommandLineToArgvW`](https://learn.microsoft.com/windows/win32/api/shellapi/nf-shellapi-commandlinetoargvw).
//! It shares no code with the library's command-line builder.

/// One of the two parsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parser {
    /// The C runtime's: "Within a quoted string, a pair of double quotation marks is interpreted as a single escaped
    /// double quotation mark."
    Runtime,
    /// `CommandLineToArgvW`, whose description lacks that rule.
    Shell,
}

/// Returns the program's name and the arguments of a command line.
pub(crate) fn argv(line: &[u16], parser: Parser) -> Vec<Vec<u16>> {
    let at = |index: usize| line.get(index).and_then(|unit| char::from_u32(u32::from(*unit)));
    let is_blank = |index: usize| matches!(at(index), Some(' ' | '\t'));
    let mut arguments = Vec::new();
    let mut argument = Vec::new();
    let mut index = 0;
    let mut is_quoted = false;
    // The first argument is a file name: quotes enclose blanks, and a backslash has no special meaning.
    while index < line.len() && (is_quoted || !is_blank(index)) {
        if at(index) == Some('"') {
            is_quoted = !is_quoted;
            if !is_quoted && parser == Parser::Shell {
                index += 1;
                break;
            }
        } else {
            argument.push(line[index]);
        }
        index += 1;
    }
    arguments.push(argument);
    loop {
        while is_blank(index) {
            index += 1;
        }
        if index >= line.len() {
            return arguments;
        }
        let mut argument = Vec::new();
        let mut is_quoted = false;
        while index < line.len() && (is_quoted || !is_blank(index)) {
            let backslashes = line[index..].iter().take_while(|unit| **unit == u16::from(b'\\')).count();
            index += backslashes;
            if at(index) != Some('"') {
                // Backslashes are literal unless a quote follows.
                argument.extend(std::iter::repeat_n(u16::from(b'\\'), backslashes));
                if backslashes == 0 {
                    argument.push(line[index]);
                    index += 1;
                }
                continue;
            }
            argument.extend(std::iter::repeat_n(u16::from(b'\\'), backslashes / 2));
            index += 1;
            if backslashes % 2 == 1 {
                argument.push(u16::from(b'"'));
            } else if is_quoted && parser == Parser::Runtime && at(index) == Some('"') {
                argument.push(u16::from(b'"'));
                index += 1;
            } else {
                is_quoted = !is_quoted;
            }
        }
        arguments.push(argument);
    }
}

/// Checks both parsers with the examples of the descriptions.
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
    // Only the C runtime has a rule for two quotes within a quoted string.
    assert_eq!(read(r#"a"b"" c d"#, Parser::Runtime), [r#"ab" c d"#]);
    assert_eq!(read(r#"a"b"" c d"#, Parser::Shell), ["ab c d"]);
}
