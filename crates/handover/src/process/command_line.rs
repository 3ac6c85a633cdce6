//! Writes a Windows command line: one text, which the started program splits into arguments.
//!
//! The quoting follows the rules of the C runtime and of `CommandLineToArgvW`
//! ([Parsing C command-line arguments](https://learn.microsoft.com/cpp/c-language/parsing-c-command-line-arguments)):
//! a backslash is literal, except in a run of backslashes that a quote follows.

pub(crate) const QUOTE: u16 = b'"' as u16;
const BACKSLASH: u16 = b'\\' as u16;
const SPACE: u16 = b' ' as u16;
const TAB: u16 = b'\t' as u16;

/// The maximum length that `CreateProcessW` accepts, in UTF-16 units, including the NUL.
pub(crate) const LONGEST: usize = 32_767;

/// Appends the program's name. It must not contain a quote, because the rules offer no way to escape one in it.
pub(crate) fn push_program(line: &mut Vec<u16>, program: &[u16]) {
    // The name is always quoted: without quotes, "C:\Program Files" could start C:\Program.
    line.push(QUOTE);
    line.extend_from_slice(program);
    line.push(QUOTE);
}

/// Appends an argument, quoted where necessary, so that the program reads back exactly this text.
pub(crate) fn push_argument(line: &mut Vec<u16>, argument: &[u16]) {
    line.push(SPACE);
    let quoted = argument.is_empty() || argument.iter().any(|unit| matches!(*unit, SPACE | TAB));
    if quoted {
        line.push(QUOTE);
    }
    let mut backslashes = 0;
    for &unit in argument {
        match unit {
            BACKSLASH => backslashes += 1,
            QUOTE => {
                // Backslashes before a quote must be doubled, and one more escapes the quote.
                line.extend(std::iter::repeat_n(BACKSLASH, backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        line.push(unit);
    }
    if quoted {
        line.extend(std::iter::repeat_n(BACKSLASH, backslashes));
        line.push(QUOTE);
    }
}

/// Appends text unchanged. The caller has quoted it, or it is for a program with its own quoting rules.
pub(crate) fn push_raw(line: &mut Vec<u16>, text: &[u16]) {
    line.push(SPACE);
    line.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(argument: &str) -> String {
        let mut line = Vec::new();
        push_argument(&mut line, &argument.encode_utf16().collect::<Vec<_>>());
        String::from_utf16_lossy(&line)
    }

    #[test]
    fn push_argument_quotes_only_where_necessary() {
        for (argument, expected) in [
            ("", r#" """#),
            ("68", " 68"),
            ("two words", r#" "two words""#),
            ("tab\there", " \"tab\there\""),
            (r"C:\a\b", r" C:\a\b"),
            (r"C:\a b\", r#" "C:\a b\\""#),
            (r"C:\a\", r" C:\a\"),
            (r#"say "hi""#, r#" "say \"hi\"""#),
            (r#"\""#, r#" \\\""#),
            (r#"\\"x y"#, r#" "\\\\\"x y""#),
            (r"\\server\share", r" \\server\share"),
            ("Ärger 🦀", " \"Ärger 🦀\""),
        ] {
            assert_eq!(quoted(argument), expected, "{argument:?}");
        }
    }

    #[test]
    fn push_raw_appends_the_text_unchanged() {
        let mut line = Vec::new();
        push_raw(&mut line, &r#"/c "a" b"#.encode_utf16().collect::<Vec<_>>());
        assert_eq!(String::from_utf16_lossy(&line), r#" /c "a" b"#);
    }

    #[test]
    fn push_program_always_quotes() {
        let mut line = Vec::new();
        push_program(&mut line, &"a.exe".encode_utf16().collect::<Vec<_>>());
        assert_eq!(String::from_utf16_lossy(&line), "\"a.exe\"");
    }
}
