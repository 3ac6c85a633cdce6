//! Tests how recordings are shown: real ones of all strategies on both systems, and shuffled, hostile and partial ones.
//!
//! `UPDATE_EXPECT=1 cargo test -p handover-cli` updates the snapshots.

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use handover_cli::demo::{Recording, summary, svg, text};
use roxmltree::{Document, Node};
use unicode_width::UnicodeWidthStr;

const RECORDINGS: [&str; 9] = [
    "linux-channel",
    "linux-duplication",
    "linux-inheritance",
    "linux-naming",
    "windows-channel",
    "windows-duplication",
    "windows-duplication-failed",
    "windows-inheritance",
    "windows-naming",
];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn lines(name: &str) -> String {
    fs::read_to_string(data().join(name).with_extension("jsonl")).expect("a recording")
}

fn recording(lines: &str) -> Recording {
    Recording::parse(lines).expect("valid events")
}

#[test]
fn output_matches_the_snapshots() {
    for name in RECORDINGS {
        let recording = recording(&lines(name));
        for (width, styled, all, kind) in
            [(80, false, false, "80.txt"), (120, false, false, "120.txt"), (120, true, false, "120.ansi")]
        {
            let file = data().join("told").join(format!("{name}.{kind}"));
            expect_file![file].assert_eq(&text(&recording, width, styled, all));
        }
        expect_file![data().join("told").join(format!("{name}.svg"))].assert_eq(&svg(&recording));
    }
    let all = text(&recording(&lines("windows-duplication")), 80, false, true);
    expect_file![data().join("told/windows-duplication.all.txt")].assert_eq(&all);
}

/// The summary must name the handle values in both processes, and the calls that passed the object.
#[test]
fn summary_names_the_handles_and_calls() {
    let expected = [
        ("linux-channel", &["0x3 in process 2311", "0x4 in process 2312", "sendmsg", "recvmsg"][..]),
        ("linux-duplication", &["0x3 in process 2301", "0x4 in process 2302", "sendmsg", "recvmsg"]),
        ("linux-inheritance", &["0x3 in process 2301", "0x3 in process 2302", "clone+execve", "as 3."]),
        ("linux-naming", &["handover-demo.2321", "bind", "connect", "recvmsg"]),
        ("windows-channel", &["0x24 in process 564", "0x10 in process 572", "DuplicateHandle", "WriteFile"]),
        (
            "windows-duplication",
            &["One event, two handles", "DuplicateHandle", "WriteFile wrote 16 (decimal for 0x10)"],
        ),
        ("windows-duplication-failed", &["Access is denied", "had not received the object"]),
        ("windows-inheritance", &["CreateProcessW", "as 64 (decimal for 0x40)", "closed afterwards"]),
        ("windows-naming", &["No handle was passed", "handover-demo.464", "CreateEventW", "OpenEventW"]),
    ];
    for (name, parts) in expected {
        let summary = summary(&recording(&lines(name)));
        for part in parts {
            assert!(summary.contains(part), "the summary of {name} lacks {part:?}: {summary}");
        }
    }
}

#[test]
fn streams_and_queries_are_hidden_without_all() {
    let recording = recording(&lines("windows-duplication"));
    for hidden in ["CreateNamedPipeW", "NtQueryObject", "GetStdHandle", "CloseHandle(handle 0x50)"] {
        assert!(!text(&recording, 120, false, false).contains(hidden), "{hidden}");
        assert!(text(&recording, 120, false, true).contains(hidden), "{hidden}");
    }
}

#[test]
fn lines_fit_the_width_and_styles_do_not_change_the_text() {
    for name in RECORDINGS {
        for lines in [lines(name), hostile(&lines(name))] {
            let recording = recording(&lines);
            for width in [40, 41, 60, 79, 80, 99, 100, 101, 120, 200] {
                for all in [false, true] {
                    let plain = text(&recording, width, false, all);
                    for line in plain.lines() {
                        assert!(line.width() <= width, "{name} at {width}: {line}");
                        assert!(!line.contains(|c: char| c.is_control()), "{name}: {line:?}");
                    }
                    let styled = text(&recording, width, true, all);
                    let stripped: Vec<_> =
                        styled.lines().map(|line| unstyled(line).trim_end().to_owned()).collect();
                    assert_eq!(stripped, plain.lines().collect::<Vec<_>>(), "{name} at {width}");
                }
            }
        }
    }
}

#[test]
fn picture_is_xml_with_texts_inside_that_do_not_overlap() {
    for name in RECORDINGS {
        for lines in [lines(name), hostile(&lines(name)), many_objects(&lines(name))] {
            let picture = svg(&recording(&lines));
            let document = Document::parse(&picture).expect("a picture that is XML");
            let root = document.root_element();
            let has = |name| root.children().any(|node: Node<'_, '_>| node.has_tag_name(name));
            assert!(has("title") && has("desc"));
            for outside in ["href", "<script", "<image", "url(", "@import"] {
                assert!(!picture.contains(outside), "{name} has {outside}");
            }
            let size: Vec<f64> = root.attribute("viewBox").expect("a size").split(' ').map(number).collect();
            let texts: Vec<_> =
                root.descendants().filter(|node| node.has_tag_name("text")).map(text_and_box).collect();
            for (index, (words, [left, top, right, bottom])) in texts.iter().enumerate() {
                let inside = *left >= 0.0 && *top >= 0.0 && *right <= size[2] && *bottom <= size[3];
                assert!(inside, "{name}: {words:?} at {left} to {right} of {}", size[2]);
                for (others, [l, t, r, b]) in &texts[..index] {
                    let apart = right <= l || r <= left || bottom <= t || b <= top;
                    assert!(apart, "{name}: {words:?} overlaps {others:?}");
                }
            }
        }
    }
}

#[test]
fn any_order_and_any_part_of_a_recording_can_be_shown() {
    for name in RECORDINGS {
        let lines = lines(name);
        let whole = recording(&lines);
        let mut shuffled: Vec<_> = lines.lines().collect();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for round in 0..60 {
            for index in (1..shuffled.len()).rev() {
                let other = next(&mut random) % (index as u64 + 1);
                shuffled.swap(index, usize::try_from(other).expect("an index"));
            }
            // Lines in another order are the same recording.
            assert_eq!(recording(&shuffled.join("\n")), whole);
            // Lines with other times, and parts of a recording, are different recordings, but can be shown too.
            let part = shuffled.len() - round % shuffled.len();
            let mixed: Vec<_> = shuffled[..part]
                .iter()
                .map(|line| at(line, next(&mut random) % 50))
                .chain(shuffled[..round % 5].iter().map(|line| at(line, 60)))
                .collect();
            let recording = recording(&mixed.join("\n"));
            for width in [0, 80, 120] {
                assert!(!text(&recording, width, false, round % 2 == 0).is_empty());
            }
            let picture = svg(&recording);
            assert!(Document::parse(&picture).is_ok(), "{picture}");
        }
    }
    for nothing in ["", "\n\n"] {
        let recording = recording(nothing);
        assert!(Document::parse(&svg(&recording)).is_ok());
        assert!(!text(&recording, 80, false, false).is_empty() && !summary(&recording).is_empty());
    }
}

#[test]
fn answer_of_the_kernel_overrides_the_calls() {
    let lines = lines("linux-duplication");
    // The call that sent the message was not recorded.
    let lost: String =
        lines.lines().filter(|line| !line.contains("sendmsg")).map(|line| format!("{line}\n")).collect();
    assert!(summary(&recording(&lost)).contains("0x3 in process 2301 and 0x4 in process 2302"));
    // According to the kernel, the child's handle is 0x9, and 0x4 refers to another object.
    let other = lines.replace(r#"{"process": 2302, "values": [4]}"#, r#"{"process": 2302, "values": [9]}"#);
    let summary = summary(&recording(&other));
    assert!(summary.contains("0x9 in process 2302") && !summary.contains("0x4 in process 2302"), "{summary}");
}

/// A call is recorded when it returns. Its effect on the other process may be recorded there before that.
#[test]
fn effects_may_be_recorded_before_their_cause() {
    let early = [
        ("windows-inheritance", "CreateProcessW", "\"role\": \"child\", \"data\": {\"table\""),
        ("linux-inheritance", "clone+execve", "\"role\": \"child\", \"data\": {\"table\""),
        ("linux-duplication", "sendmsg", "recvmsg"),
    ];
    for (name, cause, effect) in early {
        let lines = lines(name);
        let time = |line: &str| -> u64 {
            let digits: String =
                line.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
            digits.parse().expect("a time")
        };
        let first = lines.lines().find(|line| line.contains(cause)).map(time).expect("the cause");
        let effect = lines.lines().find(|line| line.contains(effect)).expect("the effect");
        let moved = lines.replace(effect, &at(effect, first - 1));
        assert_ne!(moved, lines);
        // Compares the tables, with the access rights from the early table, and the summary.
        let tables_and_summary = |lines: &str| {
            let text = text(&recording(lines), 120, false, false);
            text.split_once("according to the kernel").map(|(_, rest)| rest.to_owned()).expect("tables")
        };
        assert_eq!(tables_and_summary(&moved), tables_and_summary(&lines), "{name}");
        assert!(Document::parse(&svg(&recording(&moved))).is_ok());
    }
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

fn at(line: &str, time: u64) -> String {
    let (_, rest) = line.split_once(',').expect("a time, and more");
    format!("{{\"time\": {time},{rest}")
}

/// Replaces names and texts in a recording with texts that try to break the output.
fn hostile(lines: &str) -> String {
    let bad = r#"<&>' \" ]]> &lt; </text> \u001b[31m\u0000\u202e\ufffe 漢字 "#;
    let long = format!("{}{}", "W".repeat(300), "漢".repeat(200));
    lines
        .replace("handover-demo.", &format!("{bad}{long}."))
        .replace("manual reset", bad)
        .replace("\"kind\": \"event\"", &format!("\"kind\": \"{bad}{long}\""))
        .replace("EVENT_ALL_ACCESS", &long)
        .replace("Access is denied", &format!("{bad}{long}"))
        .replace("SetEvent", &format!("SetEvent{long}"))
        .replace("\"system\": \"", &format!("\"system\": \"{bad}{long}"))
}

/// Adds shared objects to a recording, more than a picture can show, with the largest handle values.
fn many_objects(lines: &str) -> String {
    let Some((before, after)) = lines.split_once("\"shared\": [") else { return lines.to_owned() };
    let of = |lines: &str| -> u32 {
        let (_, rest) = lines.split_once("\"process\": ").expect("a process");
        rest.split(',').next().and_then(|process| process.parse().ok()).expect("its id")
    };
    let (parent, child) = (of(before), of(lines.lines().last().unwrap_or_default()));
    let object = |value: u64| {
        let of = |process, value| format!(r#"{{"process":{process},"values":[{value}]}}"#);
        let handles = format!("{},{}", of(parent, value), of(child, value - 1000));
        format!(r#"{{"kind":"semaphore","name":"n{value}","handles":[{handles}]}},"#)
    };
    let more: String = (0..12).map(|index| object(u64::MAX - index)).collect();
    format!("{before}\"shared\": [{more}{after}")
}

fn unstyled(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    first + &pieces.filter_map(|piece| piece.split_once('m')).map(|(_, text)| text).collect::<String>()
}

fn number(text: &str) -> f64 {
    text.parse().expect("a number")
}

/// Returns a text of the picture and its estimated box: left, top, right and bottom.
fn text_and_box(node: Node<'_, '_>) -> (String, [f64; 4]) {
    let words: String = node.descendants().filter_map(|node| node.is_text().then(|| node.text())?).collect();
    let words = words.trim().to_owned();
    let attribute = |name| node.attribute(name).unwrap_or("0");
    let class = attribute("class");
    let size = match class {
        _ if class.contains("title") => 17.0,
        _ if class.contains("small") => 11.0,
        _ if class.contains("mono") => 12.0,
        _ => 13.0,
    };
    // The width of a letter relative to the font size: exact for the monospace font, an average for the other one.
    let each = if class.contains("mono") { 0.605 } else { 0.53 };
    let columns = u32::try_from(words.width()).expect("a short text");
    let (x, y, width) = (number(attribute("x")), number(attribute("y")), f64::from(columns) * each * size);
    let left = match attribute("text-anchor") {
        "middle" => x - width / 2.0,
        "end" => x - width,
        _ => x,
    };
    (words, [left, y - size * 0.75, left + width, y + size * 0.2])
}
