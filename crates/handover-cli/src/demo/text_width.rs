//! Words in a recording: what they mean, and how they fit into a width.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr;

use super::effects::number;
use super::events::Call;

/// What stands after a word in the arguments of a call.
pub(crate) fn after<'a>(arguments: &'a str, word: &str) -> Option<&'a str> {
    arguments.split_once(word).map(|(_, rest)| rest)
}

/// The name that a call gives or asks for: `name "…"`.
pub(crate) fn name(arguments: &str) -> Option<&str> {
    let name = after(arguments, "name \"")?;
    // A name may have quotes itself.
    name.rfind('"').map(|end| &name[..end]).filter(|name| !name.is_empty())
}

/// The name of a socket that a call makes or looks for: the end of its path.
pub(crate) fn place(call: &Call) -> Option<&str> {
    if !matches!(&*call.call, "bind" | "connect") {
        return None;
    }
    let path = after(&call.arguments, "path \"")?;
    let path = &path[..path.rfind('"')?];
    path.rsplit('/').next().filter(|name| !name.is_empty())
}

/// A call's arguments with of each path only its end: where a program lies is nobody's story.
pub(crate) fn brief(arguments: &str) -> String {
    let mut brief = String::with_capacity(arguments.len());
    for (place, part) in arguments.split('"').enumerate() {
        if place > 0 {
            brief.push('"');
        }
        // Also in a text that has quotes itself, which are written with a sign in front.
        let is_path = place > 0 && (part.starts_with('/') || part.get(1..3) == Some(":\\"));
        match part.trim_end_matches('\\').rfind(['/', '\\']).filter(|at| is_path && *at > 0) {
            Some(at) => brief.extend(["…", &part[at..]]),
            None => brief.push_str(part),
        }
    }
    // What is written out in quotes is meant once.
    brief.replace("\\\\", "\\")
}

/// All that stands in quotes.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// The words of a list, without what stands between them.
pub(crate) fn list(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| c.is_whitespace() || ",()=".contains(c));
    // Text in quotes has the end of its line written out.
    words.map(|word| word.trim_end_matches("\\n").trim_end_matches("\\r")).filter(|word| !word.is_empty())
}

/// The handles that arguments name: what is written in hex and isn't an access mask.
pub(crate) fn values(arguments: &str) -> impl Iterator<Item = u64> {
    let mut before = "";
    list(arguments).filter_map(move |word| {
        let after_mask = matches!(before, "access" | "options" | "flags" | "mask");
        before = word;
        if after_mask || !word.starts_with("0x") { None } else { number(word) }
    })
}

/// The kind of object that a call by this name makes or opens.
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

/// A kind with its article.
pub(crate) fn a(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// One of a few small numbers, as a word.
pub(crate) fn count(number: usize) -> String {
    let words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    words.get(number).map_or_else(|| number.to_string(), |word| (*word).to_owned())
}

/// Time in ms, with as many digits as order needs.
pub(crate) fn milliseconds(nanoseconds: u64) -> String {
    format!("{}.{:02}", nanoseconds / 1_000_000, nanoseconds % 1_000_000 / 10_000)
}

/// Text that can't do anything to a terminal or a picture: what controls either is shown instead of done.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let controls = |c: char| {
        let directions =
            matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
        // XML has no place for the last three, however they are written.
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

/// How many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text, or as much of its two ends as fits with a sign between them that something is missing.
pub(crate) fn shorten(text: &str, columns: usize) -> Cow<'_, str> {
    shorten_by(width, text, columns)
}

/// The text in lines of this width, broken between words, so never in a number. A word that is too long for a line is
/// shortened; `lines` are enough, and what is more is left out with a sign that it is.
pub(crate) fn wrap(text: &str, columns: usize, lines: usize) -> Vec<String> {
    wrap_by(width, text, columns, lines)
}

/// The same as [`shorten`], for room that is measured in another way than in columns.
pub(crate) fn shorten_by(measure: fn(&str) -> usize, text: &str, room: usize) -> Cow<'_, str> {
    if measure(text) <= room {
        return Cow::Borrowed(text);
    }
    let Some(room) = room.checked_sub(measure("…")) else { return Cow::Borrowed("") };
    let start = fitting(measure, text.chars(), room - room / 2);
    let end: String = fitting(measure, text.chars().rev(), room / 2).chars().rev().collect();
    Cow::Owned(format!("{start}…{end}"))
}

/// As many of these characters as fit.
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

/// Whether what comes next belongs to this.
fn is_led(last: &str) -> bool {
    ["=", "process", "Process", "access"].iter().any(|word| last.ends_with(word))
}

/// The same as [`wrap`], for room that is measured in another way than in columns.
pub(crate) fn wrap_by(measure: fn(&str) -> usize, text: &str, room: usize, lines: usize) -> Vec<String> {
    let fits = |line: &str, word: &str| measure(line) + measure(" ") + measure(word) <= room;
    // A result stays with its sign, and a process with its number.
    let mut pieces: Vec<String> = Vec::new();
    for word in text.split_whitespace().map(|word| shorten_by(measure, word, room)) {
        match pieces.last_mut() {
            Some(last) if is_led(last) && fits(last, &word) => {
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
    fn a_number_is_never_broken() {
        assert_eq!(
            wrap("event 0x30, into process 272 = ok", 12, 9),
            ["event 0x30,", "into", "process 272", "= ok"]
        );
        assert_eq!(wrap("event 0x30, into process 272", 12, 2), ["event 0x30,", "into …"]);
        assert_eq!(shorten("a-very-long-name", 9), "a-ve…name");
        assert_eq!(shorten("漢字漢字", 5), "漢…字");
    }

    #[test]
    fn handles_are_found_in_arguments() {
        assert_eq!(list(r#"28\r\n 29\n,"#).collect::<Vec<_>>(), ["28", "29"]);
        let values = |text| values(text).collect::<Vec<_>>();
        assert_eq!(values("event 0x30, into process 272, access 0x00100000"), [0x30]);
        assert_eq!(values("socket 0x5, 12 bytes, handles 0x3 0x4"), [5, 3, 4]);
        assert_eq!(name(r#"manual reset, name "a "b" c""#), Some(r#"a "b" c"#));
        assert_eq!(quoted(r#"pipe 0x34, "12", "13""#).collect::<Vec<_>>(), ["12", "13"]);
    }

    #[test]
    fn of_a_path_its_end_is_shown() {
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
            assert_eq!(brief(arguments), expected);
        }
    }

    #[test]
    fn what_controls_is_shown() {
        assert_eq!(plain("a\u{1b}[31m\n\u{202e}b"), "a\\u{1b}[31m\\n\\u{202e}b");
        assert_eq!(plain("ä 漢"), "ä 漢");
    }
}
