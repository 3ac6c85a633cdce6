//! Checks of pairs of programs, for the tests of each system.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use handover::{Channel, Command, Event, HandleValue, Message, ResetMode};
use handover_tests::{Ended, adopt, foreign, left_out, role, run, this_program};
use serde_json::Value;

pub(super) const SOON: Duration = Duration::from_secs(120);
/// How many pairs are checked at the same time. They mostly wait.
const AT_ONCE: usize = 3;

pub(super) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_handover"))
}

pub(super) fn check(options: &[&str], command: &[String]) -> Ended {
    let words = options.iter().map(|word| (*word).to_owned()).chain(["--".to_owned()]);
    run(&program(), ["check".to_owned()].into_iter().chain(words).chain(command.iter().cloned()), SOON)
}

/// The result of a check: the exit code, and the names of the requirements and remarks.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) code: Option<i32>,
    pub(super) fails: Vec<String>,
    pub(super) open: Vec<String>,
    pub(super) remarks: Vec<String>,
    pub(super) why: String,
    pub(super) whole: Value,
}

pub(super) fn judged(strategy: &str, timeout: &str, command: &[String]) -> Judged {
    let ended = check(&[strategy, "--json", "--timeout", timeout], command);
    let whole: Value =
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {command:?}: {ended:#?}"));
    let list = |name: &str| whole[name].as_array().cloned().unwrap_or_else(|| panic!("no {name}: {whole:#}"));
    let with = |verdict: &str| {
        let requirements = list("requirements");
        let of = requirements.iter().filter(|requirement| requirement["verdict"] == verdict);
        of.map(|requirement| text(&requirement["id"])).collect::<Vec<_>>()
    };
    let first = list("requirements").into_iter().find(|requirement| requirement["verdict"] == "fails");
    Judged {
        code: ended.code,
        fails: with("fails"),
        open: with("not judged"),
        remarks: list("remarks").iter().map(|remark| text(&remark["id"])).collect(),
        why: first.map(|requirement| text(&requirement["why"])).unwrap_or_default(),
        whole,
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

pub(super) fn in_c(pair: &str) -> Vec<String> {
    vec![foreign("pair").into_os_string().into_string().unwrap(), pair.to_owned()]
}

/// Runs a function for each item, several at a time.
pub(super) fn for_each<T: Send>(items: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    let items = Mutex::new(items.into_iter().collect::<VecDeque<T>>());
    let next = || items.lock().unwrap().pop_front();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(item) = next() {
                    work(item);
                }
            });
        }
    });
}

#[track_caller]
pub(super) fn assert_holds(strategy: &str, command: &[String]) {
    let judged = judged(strategy, "30", command);
    let is_right = judged.code == Some(0) && judged.fails.is_empty();
    assert!(is_right, "{strategy}: {command:?}: {judged:#?}");
    assert!(judged.open.is_empty(), "{strategy}: {command:?}: {judged:#?}");
    assert_eq!(judged.whole["holds"], true);
}

pub(super) fn right_pairs_of_the_library_hold() {
    let this = this_program().into_os_string().into_string().unwrap();
    for_each(["inheritance", "duplication", "naming"], |strategy| {
        let words = role("shares", &[strategy]).into_iter().map(|word| word.into_string().unwrap());
        let command: Vec<String> = std::iter::once(this.clone()).chain(words).collect();
        assert_holds(strategy, &command);
    });
}

const NAME: &str = "handover-check-pair";
const WAIT: Duration = Duration::from_secs(20);

/// The parent of a pair in Rust.
pub(super) fn shares(arguments: &[String]) {
    let strategy = arguments[0].as_str();
    let name = format!("{NAME}.{}", std::process::id());
    let event = match strategy {
        "naming" => Event::create_named(&name, ResetMode::Manual).unwrap(),
        _ => Event::manual_reset().unwrap(),
    };
    let mut command = Command::new(this_program());
    command.args(role("acquires", &[strategy]));
    let mut child = match strategy {
        "inheritance" => command.inherit("event", &event).arg_handle("{event}").spawn(),
        "duplication" => command.channel().spawn(),
        _ => command.arg(&name).spawn(),
    }
    .unwrap();
    if let Some(channel) = child.take_channel() {
        channel.send(Message::default().with("event", &event)).unwrap();
    }
    event.set().unwrap();
    assert!(child.wait_timeout(WAIT).unwrap().success());
    drop(event);
}

/// The child of a pair in Rust.
pub(super) fn acquires(arguments: &[String]) {
    let event: Event = match arguments[0].as_str() {
        "inheritance" => adopt(arguments[1].parse::<HandleValue>().unwrap()).unwrap(),
        "duplication" => Channel::parent().unwrap().recv_timeout(WAIT).unwrap().take("event").unwrap(),
        _ => Event::open_named(arguments[1].as_str()).unwrap(),
    };
    event.wait_timeout(WAIT).unwrap();
    drop(event);
}

pub(super) fn the_exercises_hold() {
    references_hold(&[
        ("inheritance", "inheritance-parent"),
        ("duplication", "duplication-parent"),
        ("naming", "naming-parent"),
    ]);
}

pub(super) fn the_levels_hold() {
    references_hold(&[
        ("two-children", "two-children-parent"),
        // The parent doesn't know when its grandchild begins.
        ("grandchild", "grandchild-parent --delay 2000"),
        ("unrelated", "unrelated-launcher"),
        ("pipe", "pipe-parent"),
        ("least-access", "least-access-parent"),
        ("abandonment", "abandonment-parent"),
    ]);
}

/// Checks reference programs, each with its arguments. They stand beside the program `handover`.
pub(super) fn references_hold(programs: &[(&str, &str)]) {
    let folder = program().parent().unwrap().to_owned();
    for_each(programs, |(exercise, words)| {
        let mut words = words.split(' ');
        let name = words.next().unwrap_or_default();
        let path = folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
        if path.exists() {
            let path = path.into_os_string().into_string().unwrap();
            let command: Vec<String> = std::iter::once(path).chain(words.map(str::to_owned)).collect();
            assert_holds(exercise, &command);
        } else {
            left_out(&format!("{name}, which was not built; cargo build -p exercises builds it"));
        }
    });
}

/// A wrong pair: the strategy, its name, the requirements that fail, and a part of the reason for the first one.
pub(super) type Wrong = (&'static str, &'static str, &'static [&'static str], &'static str);

pub(super) const NO_SUCCESS: &str = "reports success";

/// Wrong pairs whose processes never exit. Their check lasts as long as its time limit.
const ENDLESS: [&str; 2] = ["leaves-a-process", "pipe-never-closed"];

pub(super) fn assert_fails(command: &[String], (strategy, pair, fails, why): Wrong) {
    let is_endless = ENDLESS.contains(&pair);
    let timeout = if is_endless { "4" } else { "20" };
    let judged = judged(strategy, timeout, command);
    assert_eq!(judged.fails, fails, "{strategy}, {pair}: {judged:#?}");
    assert!(judged.why.contains(why), "{strategy}, {pair}: {:?} lacks {why:?}", judged.why);
    let code = if is_endless { 3 } else { 1 };
    assert_eq!(judged.code, Some(code), "{strategy}, {pair}: {judged:#?}");
    assert_eq!(judged.whole["holds"], false);
}

/// Compares the verdicts in a section of the page with those of the tests.
pub(super) fn assert_page_shows(section: &str, all: &[Wrong]) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/checks.md");
    let page = std::fs::read_to_string(page).unwrap();
    let begin = page.find(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("no section {section:?}"));
    let section = page[begin + 1..].split("\n## ").next().unwrap_or_default();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    for (strategy, pair, fails, _) in all {
        let name = format!("`{pair}`");
        let verdict = fails.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
        let is_shown = rows.iter().any(|row| row[0] == name && row[1] == *strategy && row[3] == verdict);
        assert!(is_shown, "docs/checks.md has no row: | {name} | {strategy} | … | {verdict} |");
    }
    let wrong = rows.iter().filter(|row| row.len() == 4).count();
    assert_eq!(wrong, all.len(), "docs/checks.md has rows of pairs that no test checks");
}
