//! Text that is safe to print on a terminal.

use std::fmt::{self, Write};

/// Shows a value with escapes in place of characters that control a terminal, or that change the direction of text. The
/// names of files and objects can contain them.
#[cfg_attr(not(feature = "inspect"), allow(dead_code, reason = "only `inspect` uses it"))]
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

/// A writer that escapes these characters in all that is written.
pub(crate) struct Escaping<'a, W: Write + ?Sized>(pub(crate) &'a mut W);

impl<W: Write + ?Sized> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_invisible) {
            let (plain, found) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut characters = found.chars();
            if let Some(character) = characters.next() {
                write!(self.0, "{}", character.escape_default())?;
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_shows_no_character_that_controls_a_terminal() {
        for (text, expected) in [
            ("plain ä🦀", "plain ä🦀"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("a\nb\t", "a\\nb\\t"),
            ("\u{9b}\u{202e}", "\\u{9b}\\u{202e}"),
            ("", ""),
        ] {
            assert_eq!(Escaped(text).to_string(), expected);
        }
    }
}
