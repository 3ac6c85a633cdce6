//! Parses the texts of recorded calls, and fits text into a width.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr;

use super::effects::number;
use super::events::Call;

/// Returns the text after a word in the arguments of a call.
pub(crate) fn text_after<'a>(arguments: &'a str, word: &str) -> Option<&'a str> {
    arguments.split_once(word).map(|(_, rest)| rest)
}

/// Returns the name that a call creates or opens: `name "…"`.
pub(crate) fn name(arguments: &str) -> Option<&str> {
    let name = text_after(arguments, "name \"")?;
    // The name may itself contain quotes.
    name.rfind('"').map(|end| &name[..end]).filter(|name| !name.is_empty())
}

/// Returns the name of a socket that a call binds or connects to, which is the last part of its path.
pub(crate) fn socket_name(call: &Call) -> Option<&str> {
    if !matches!(&*call.call, "bind" | "connect") {
        return None;
    }
    let path = text_after(&call.arguments, "path \"")?;
    let path = &path[..path.rfind('"')?];
    path.rsplit('/').next().filter(|name| !name.is_empty())
}

/// Shortens each path in a call's arguments to its last part, because the folders are not of interest.
pub(crate) fn shorten_paths(arguments: &str) -> String {
    let mut short = String::with_capacity(arguments.len());
    for (index, part) in arguments.split('"').enumerate() {
        if index > 0 {
            short.push('"');
        }
        // This also finds a path in a quoted text that contains escaped quotes.
        let is_path = index > 0 && (part.starts_with('/') || part.get(1..3) == Some(":\\"));
        match part.trim_end_matches('\\').rfind(['/', '\\']).filter(|at| is_path && *at > 0) {
            Some(at) => short.extend(["…", &part[at..]]),
            None => short.push_str(part),
        }
    }
    // Recorded texts have escaped backslashes.
    short.replace("\\\\", "\\")
}

/// Returns all quoted texts.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// Returns the words of a list, without separators.
pub(crate) fn list(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| c.is_whitespace() || ",()=".contains(c));
    // In quoted text, line ends are written as escapes.
    words.map(|word| word.trim_end_matches("\\n").trim_end_matches("\\r")).filter(|word| !word.is_empty())
}

/// Returns the handle values in arguments: the numbers in hex, except for access masks and flags.
pub(crate) fn values(arguments: &str) -> impl Iterator<Item = u64> {
    let mut before = "";
    list(arguments).filter_map(move |word| {
        let after_mask = matches!(before, "access" | "options" | "flags" | "mask");
        before = word;
        if after_mask || !word.starts_with("0x") { None } else { number(word) }
    })
}

/// Returns the kind of object that a call of this name creates or opens.
pub(crate) fn kind_of(call: &str) -> Option<&'static str> {
    let call = call.to_lowercase();
    let kinds = [
        ("token", "token"),
        ("event", "event"),
        ("mutex", "mutex"),
        ("semaphore", "semaphore"),
        ("timer", "timer"),
        ("filemapping", "shared memory"),
        ("memfd", "shared memory"),
        ("pipe", "pipe"),
        ("socket", "socket"),
        ("accept", "socket"),
        ("process", "process"),
        ("fork", "process"),
        ("clone", "process"),
        ("pidfd", "process"),
    ];
    kinds.into_iter().find(|(word, _)| call.contains(word)).map(|(_, kind)| kind)
}

/// Returns a kind with its article.
pub(crate) fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// Writes a small number as a word.
pub(crate) fn count_in_words(number: usize) -> String {
    let words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    words.get(number).map_or_else(|| number.to_string(), |word| (*word).to_owned())
}

/// Formats a time in milliseconds, with enough digits to show the order of events.
pub(crate) fn milliseconds(nanoseconds: u64) -> String {
    format!("{}.{:02}", nanoseconds / 1_000_000, nanoseconds % 1_000_000 / 10_000)
}

/// Escapes the characters that could control a terminal or break a picture.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let controls = |c: char| {
        let directions =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
        // XML does not allow the characters U+FFFE and U+FFFF, even if they are escaped.
        c.is_control() || directions || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    if !text.contains(controls) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().fold(String::new(), |mut plain, c| {
        if controls(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
        plain
    }))
}

/// Returns the width of a text in columns of a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Shortens a text to this width: keeps its beginning and its end, with an ellipsis between them.
pub(crate) fn shorten(text: &str, columns: usize) -> Cow<'_, str> {
    shorten_by(width, text, columns)
}

/// Breaks a text between words into lines of this width. A word that is too long for a line is shortened. After `lines`
/// lines, the rest is replaced by an ellipsis.
pub(crate) fn wrap(text: &str, columns: usize, lines: usize) -> Vec<String> {
    wrap_by(width, text, columns, lines)
}

/// Does the same as [`shorten`], with a custom measure of width.
pub(crate) fn shorten_by(measure: fn(&str) -> usize, text: &str, room: usize) -> Cow<'_, str> {
    if measure(text) <= room {
        return Cow::Borrowed(text);
    }
    let Some(room) = room.checked_sub(measure("…")) else { return Cow::Borrowed("") };
    let start = fitting(measure, text.chars(), room - room / 2);
    let end: String = fitting(measure, text.chars().rev(), room / 2).chars().rev().collect();
    Cow::Owned(format!("{start}…{end}"))
}

/// Returns the first characters that fit.
fn fitting(measure: fn(&str) -> usize, characters: impl Iterator<Item = char>, room: usize) -> String {
    let mut fits = String::new();
    for c in characters {
        fits.push(c);
        if measure(&fits) > room {
            fits.pop();
            break;
        }
    }
    fits
}

/// Whether a line must not be broken after this piece.
fn keeps_next_word(last: &str) -> bool {
    ["=", "process", "Process", "access"].iter().any(|word| last.ends_with(word))
}

/// Does the same as [`wrap`], with a custom measure of width.
pub(crate) fn wrap_by(measure: fn(&str) -> usize, text: &str, room: usize, lines: usize) -> Vec<String> {
    let fits = |line: &str, word: &str| measure(line) + measure(" ") + measure(word) <= room;
    // `=` stays with the result after it, and `process` with its id.
    let mut pieces: Vec<String> = Vec::new();
    for word in text.split_whitespace().map(|word| shorten_by(measure, word, room)) {
        match pieces.last_mut() {
            Some(last) if keeps_next_word(last) && fits(last, &word) => {
                last.extend([" ", &word]);
            }
            _ => pieces.push(word.into_owned()),
        }
    }
    let mut wrapped: Vec<String> = Vec::new();
    for piece in pieces {
        match wrapped.last_mut() {
            Some(line) if fits(line, &piece) => line.extend([" ", &piece]),
            _ => wrapped.push(piece),
        }
    }
    if wrapped.len() > lines {
        wrapped.truncate(lines);
        if let Some(last) = wrapped.last_mut() {
            let left = room.saturating_sub(measure(" …"));
            while measure(last) > left && last.contains(' ') {
                last.truncate(last.rfind(' ').unwrap_or_default());
            }
            *last = format!("{} …", shorten_by(measure, last, left));
        }
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrap_breaks_between_words_and_shorten_keeps_both_ends() {
        assert_eq!(
            wrap("event 0x30, into process 272 = ok", 12, 9),
            ["event 0x30,", "into", "process 272", "= ok"]
        );
        assert_eq!(wrap("event 0x30, into process 272", 12, 2), ["event 0x30,", "into …"]);
        assert_eq!(shorten("a-very-long-name", 9), "a-ve…name");
        assert_eq!(shorten("漢字漢字", 5), "漢…字");
    }

    #[test]
    fn handle_values_names_and_quotes_are_found_in_arguments() {
        assert_eq!(list(r#"28\r\n 29\n,"#).collect::<Vec<_>>(), ["28", "29"]);
        let values = |text| values(text).collect::<Vec<_>>();
        assert_eq!(values("event 0x30, into process 272, access 0x00100000"), [0x30]);
        assert_eq!(values("socket 0x5, 12 bytes, handles 0x3 0x4"), [5, 3, 4]);
        assert_eq!(name(r#"manual reset, name "a "b" c""#), Some(r#"a "b" c"#));
        assert_eq!(quoted(r#"pipe 0x34, "12", "13""#).collect::<Vec<_>>(), ["12", "13"]);
    }

    #[test]
    fn paths_are_shortened_to_their_last_part() {
        for (arguments, expected) in [
            (
                r#"program "/usr/bin/worker", arguments "/x" "a/b""#,
                r#"program "…/worker", arguments "/x" "a/b""#,
            ),
            (r#"program "Z:\\a\\worker.exe", flags 0x1"#, r#"program "…\worker.exe", flags 0x1"#),
            (r#"command line "\"Z:\\a\\b.exe\" child 64""#, r#"command line "\"…\b.exe\" child 64""#),
            (r#"name "x", event 0x30"#, r#"name "x", event 0x30"#),
            ("path \"/unfinished", "path \"/unfinished"),
        ] {
            assert_eq!(shorten_paths(arguments), expected);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain("a\u{1b}[31m\n\u{202e}b"), "a\\u{1b}[31m\\n\\u{202e}b");
        assert_eq!(plain("ä 漢"), "ä 漢");
    }
}
