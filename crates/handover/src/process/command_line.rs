//! The command line: one text, which the program takes apart again.
//!
//! The rules are those of the C runtime and of `CommandLineToArgvW`
//! ([Parsing C command-line arguments](https://learn.microsoft.com/cpp/c-language/parsing-c-command-line-arguments)):
//! a backslash means itself, except in a run that ends at a quote.

pub(crate) const QUOTE: u16 = b'"' as u16;
const BACKSLASH: u16 = b'\\' as u16;
const SPACE: u16 = b' ' as u16;
const TAB: u16 = b'\t' as u16;

/// The most units that `CreateProcessW` takes, with the NUL at the end.
pub(crate) const LONGEST: usize = 32_767;

/// Appends the program's name. It can't hold quotes, because no rule would let them through.
pub(crate) fn push_program(line: &mut Vec<u16>, program: &[u16]) {
    // Quoted always: without quotes, "C:\Program Files" could start C:\Program.
    line.push(QUOTE);
    line.extend_from_slice(program);
    line.push(QUOTE);
}

/// Appends an argument, so that the program reads it back as it is.
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
                // Those before a quote count double, and one more makes the quote mean itself.
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

/// Appends text that is quoted already, or is for a program with rules of its own.
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
    fn an_argument_is_quoted_where_it_has_to_be() {
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
    fn raw_text_is_left_alone() {
        let mut line = Vec::new();
        push_raw(&mut line, &r#"/c "a" b"#.encode_utf16().collect::<Vec<_>>());
        assert_eq!(String::from_utf16_lossy(&line), r#" /c "a" b"#);
    }

    #[test]
    fn a_program_is_always_quoted() {
        let mut line = Vec::new();
        push_program(&mut line, &"a.exe".encode_utf16().collect::<Vec<_>>());
        assert_eq!(String::from_utf16_lossy(&line), "\"a.exe\"");
    }
}
