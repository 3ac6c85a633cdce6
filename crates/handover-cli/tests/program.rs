//! The program as its users run it.

mod os;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use expect_test::expect_file;
use handover::{Child, Command, Event, Inherited, Semaphore, SharedMemory, Stdio};
use handover_tests::{Ended, begun, left_out, role, run, table, tests, this_program, until, waits};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            the_help_is_as_it_was,
            wrong_usage_is_said_and_is_2,
            a_table_as_text,
            a_table_as_json,
            a_table_is_filtered_and_sorted,
            the_sum_of_each_kind_is_told,
            what_two_have_in_common_as_text_and_json,
            a_process_that_is_not_there_is_said,
            another_users_process_is_refused,
            a_command_gets_what_is_listed_and_nothing_else,
            numbers_are_filled_in_and_other_braces_stay,
            an_event_is_set_once_the_command_runs,
            the_exit_code_is_the_commands,
            a_command_that_is_not_there_is_127,
            a_command_that_can_not_be_started_is_126,
            a_file_to_write_is_emptied_only_for_a_command,
            an_object_that_can_not_be_made_is_125,
            a_command_that_does_not_end_is_ended,
            two_objects_of_one_name_are_wrong_usage,
            each_strategy_is_shown_live,
            a_demonstration_as_json,
            a_picture_is_drawn,
            a_demonstration_that_is_killed_says_so,
            completions_know_the_commands,
            a_reader_that_has_had_enough_is_no_failure,
        ],
        tests![waits, says_what_it_has, ends_with, waits_for_ready, never_ends, sets_ready],
    )
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_handover"))
}

fn handover(arguments: &[&str]) -> Ended {
    run(&program(), arguments, SOON)
}

/// `handover run` of this program in a role.
fn run_role(options: &[&str], name: &str, arguments: &[&str]) -> Ended {
    let this = this_program().into_os_string().into_string().unwrap();
    let role = role(name, arguments).into_iter().map(|word| word.into_string().unwrap());
    let words: Vec<String> = ["run"]
        .iter()
        .chain(options)
        .map(|word| (*word).to_owned())
        .chain(["--".into(), this])
        .chain(role)
        .collect();
    handover(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A process with an event, a section, a semaphore and a file that it was given, and which waits.
struct Known {
    child: Child,
    _event: Event,
    _section: SharedMemory,
}

fn known() -> Known {
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(4096).unwrap());
    let semaphore = Semaphore::new(1).unwrap();
    let file = File::open(this_program()).unwrap();
    let mut command = Command::new(this_program());
    command.args(role("waits", &[])).inherit("event", &event).inherit("shared memory", &section);
    let child = begun(command.inherit("semaphore", &semaphore).inherit("file", &file));
    drop(command);
    Known { child, _event: event, _section: section }
}

/// What the program has said, with the values, ids and paths of this run replaced by words.
fn told(text: &str, known: &Known) -> String {
    let mut text = text.replace("\r\n", "\n");
    for (name, value) in known.child.inherited_handles() {
        let value = format!("{value:#x}");
        text = text
            .lines()
            .map(|line| match line.strip_prefix(&value) {
                Some(rest) if rest.starts_with(' ') => {
                    format!("<{name}>{rest}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
    }
    text = text.replace(&known.child.id().to_string(), "<child>");
    text.replace(&std::process::id().to_string(), "<test>")
}

fn the_help_is_as_it_was() {
    let mut all = String::new();
    for words in [
        &["--help"][..],
        &["demo", "--help"],
        &["table", "--help"],
        &["shared", "--help"],
        &["audit", "--help"],
        &["run", "--help"],
        &["completions", "--help"],
    ] {
        let help =
            handover(words).expect_code(0).out.replace("\r\n", "\n").replace("handover.exe", "handover");
        all += &format!("$ handover {}\n{help}\n", words.join(" "));
    }
    expect_file!["snapshots/help.txt"].assert_eq(&all);
}

fn wrong_usage_is_said_and_is_2() {
    for (words, part) in [
        (&[][..], "Usage: handover"),
        (&["table"], "<PID>"),
        (&["table", "me"], "expected a process's id, in decimal or in hex with 0x"),
        (&["table", "0x+1"], "expected a process's id"),
        (&["table", "+1"], "expected a process's id"),
        (&["table", "1", "--sort", "size"], "possible values: value, kind, access, name"),
        (&["run", "--event", "ready"], "<COMMAND>"),
        (&["run", "--file", "config", "--", "x"], "expected NAME=VALUE"),
        (&["run", "--shared-memory", "s=many", "--", "x"], "invalid digit"),
        (&["run", "--file", "f=", "--", "x"], "has no value"),
        (&["run", "--event", "", "--", "x"], "the name is empty"),
        (&["run", "--event", "a{b", "--", "x"], "holds a brace"),
        (&["run", "--set", "ready", "--", "x"], "nothing of this name is given"),
        (&["run", "--timeout=-1", "--", "x"], "not negative"),
        (&["demo", "telepathy"], "possible values: inheritance, duplication, naming, channel"),
    ] {
        handover(words).expect_code(2).expect_text(part);
    }
}

fn a_table_as_text() {
    let known = known();
    let id = known.child.id().to_string();
    let kinds = ["--kind", "event", "--kind", "shared memory", "--kind", "semaphore"];
    let ended = handover(&[&["table", &id, "--inheritable"][..], &kinds].concat()).expect_code(0);
    os::expect_table(&told(&ended.out, &known));
}

fn handles(words: &[&str]) -> Vec<Value> {
    let ended = handover(words).expect_code(0);
    let value: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(value["count"], value["handles"].as_array().unwrap().len());
    value["handles"].as_array().unwrap().clone()
}

fn a_table_as_json() {
    let known = known();
    let id = known.child.id().to_string();
    let handles = handles(&["table", &id, "--json"]);
    assert_eq!(handles.len(), table::of(known.child.id()).len());
    for (name, value) in known.child.inherited_handles() {
        let handle = handles.iter().find(|handle| handle["value"] == value.get()).unwrap();
        assert_eq!(handle["kind"], name);
        assert_eq!((&handle["inheritable"], &handle["protected"]), (&json!(true), &json!(false)));
        assert_eq!(handle["access"], table::entry(known.child.id(), value.get()).unwrap().access);
        assert!(handle["rights"].as_str().is_some_and(|rights| !rights.is_empty()));
        let told = handle["name"].as_str().unwrap_or_default();
        if name == "file" {
            let stem = this_program().file_stem().unwrap().to_string_lossy().into_owned();
            assert!(told.contains(&stem), "{told}");
        }
    }
}

fn a_table_is_filtered_and_sorted() {
    let known = known();
    let id = known.child.id().to_string();
    let values = |words: &[&str]| -> Vec<u64> {
        let all = [&["table", &id, "--json"], words].concat();
        handles(&all).iter().map(|handle| handle["value"].as_u64().unwrap()).collect()
    };
    let given: Vec<u64> = known.child.inherited_handles().map(|(_, value)| value.get().into()).collect();
    assert_eq!(values(&["--kind", "SEMAPHORE"]), [given[2]]);
    let stem = this_program().file_stem().unwrap().to_string_lossy().to_uppercase();
    let by_name = values(&["--name", &stem, "--inheritable"]);
    assert_eq!(by_name, [given[3]]);
    let sorted = values(&["--sort", "kind"]);
    let all = handles(&["table", &id, "--json"]);
    let kind = |value: &u64| {
        all.iter().find(|handle| handle["value"] == *value).unwrap()["kind"].as_str().unwrap().to_owned()
    };
    assert!(sorted.iter().map(kind).is_sorted());
    assert_eq!(sorted.len(), all.len());
    let none = handover(&["table", &id, "--kind", "unicorn"]).expect_code(0).expect_text("0 handles of the ");
    assert!(
        none.err.contains("no kind is called \"unicorn\"") && none.err.contains("semaphore"),
        "{}",
        none.err
    );
    let none = handover(&["table", &id, "--kind", "job"]).expect_code(0);
    assert_eq!(none.err, "");
}

fn the_sum_of_each_kind_is_told() {
    let known = known();
    let id = known.child.id().to_string();
    let ended = handover(&["table", &id, "--summary"]).expect_code(0);
    let count = table::of(known.child.id()).len();
    assert!(ended.out.starts_with(&format!("{count} handles of process {id}: ")), "{}", ended.out);
    assert!(ended.out.contains("1 semaphore") && ended.out.lines().count() == 1, "{}", ended.out);
    let ended = handover(&["table", &id, "--summary", "--json"]).expect_code(0);
    let value: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&value["count"], &value["kinds"]["semaphore"]), (&json!(count), &json!(1)));
    assert!(value.get("handles").is_none());
}

fn what_two_have_in_common_as_text_and_json() {
    let known = known();
    let (id, this) = (known.child.id().to_string(), std::process::id().to_string());
    let ended = handover(&["shared", &id, &this, "--json"]).expect_code(0);
    let value: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(value["incomplete"], json!([]));
    let objects = value["objects"].as_array().unwrap();
    for name in ["event", "shared memory"] {
        let mut of_kind = objects.iter().filter(|object| object["kind"] == name);
        let there = known.child.inherited_handles().find(|(other, _)| *other == name).unwrap().1;
        let object = of_kind.next().unwrap();
        assert_eq!(object["handles"][0], json!({ "process": known.child.id(), "values": [there.get()] }));
        assert_eq!(object["handles"][1]["process"], std::process::id());
        assert!(of_kind.next().is_none());
    }
    // The semaphore is closed here by now.
    assert!(objects.iter().all(|object| object["kind"] != "semaphore"));
    let ended = handover(&["shared", &id, &this]).expect_code(0);
    let count = format!("processes {id} and {this} have {} objects in common", objects.len());
    assert!(ended.out.trim_end().ends_with(&count), "{}", ended.out);
    assert!(ended.out.contains("event") && ended.out.starts_with("KIND"), "{}", ended.out);
    handover(&["shared", &id, &id]).expect_code(2).expect_text("came the same one twice");
}

fn a_process_that_is_not_there_is_said() {
    let this = std::process::id().to_string();
    for words in
        [&["table", "0x7ffffff0"][..], &["shared", &this, "2147483632"], &["shared", "2147483632", &this]]
    {
        let ended = handover(words).expect_code(1).expect_text("error: there is no process 2147483632");
        assert_eq!(ended.out, "");
    }
}

fn another_users_process_is_refused() {
    os::another_users_process_is_refused(&program());
}

/// Says which handles it has beside its streams, and what it was given by name.
fn says_what_it_has(arguments: &[String]) {
    let inherited: Inherited = handover::inherited().unwrap();
    let mut names = inherited.names();
    names.sort_unstable();
    println!("names {}", names.join(" "));
    println!("unlisted {}", handover::leaked_handles().unwrap().len());
    println!("arguments {}", arguments.join(" "));
}

fn a_command_gets_what_is_listed_and_nothing_else() {
    let leak = Event::manual_reset().unwrap();
    table::make_inheritable(&leak);
    let file = format!("config={}", this_program().display());
    let options = [
        "--event",
        "ready",
        "--auto-event",
        "next",
        "--semaphore",
        "slots=3",
        "--shared-memory",
        "memory=4096",
        "--timer",
        "late=5",
        "--file",
        &file,
    ];
    let ended = run_role(&options, "says_what_it_has", &["{ready}"]).expect_code(0);
    let out = ended.out.replace("\r\n", "\n");
    assert!(out.starts_with("names config late memory next ready slots\nunlisted 0\n"), "{out}");
    for (name, kind) in [
        ("ready", "an event"),
        ("slots", "a semaphore"),
        ("memory", "shared memory"),
        ("late", "a timer"),
        ("config", "a file"),
    ] {
        assert!(ended.err.contains(&format!("{kind}, {name:?}, as handle 0x")), "{}", ended.err);
    }
    let quiet = run_role(&["--quiet", "--event", "ready"], "says_what_it_has", &[]).expect_code(0);
    assert_eq!(quiet.err, "");
}

fn numbers_are_filled_in_and_other_braces_stay() {
    let words = ["{ready}", "--event={ready}", "{print}", "{}", "{{ready}}", "a}b"];
    let ended = run_role(&["--event", "ready"], "says_what_it_has", &words).expect_code(0);
    let (_, value) = ended.err.trim_end().rsplit_once('(').unwrap();
    let value = value.trim_end_matches(')');
    let expected = format!("arguments {value} --event={value} {{print}} {{}} {{{value}}} a}}b");
    assert_eq!(ended.out.lines().last(), Some(&*expected));
}

fn waits_for_ready(_: &[String]) {
    let ready: Event = handover::inherited().unwrap().take("ready").unwrap();
    ready.wait_timeout(Duration::from_secs(20)).unwrap();
    println!("it came");
}

fn sets_ready(arguments: &[String]) {
    Event::open_named(arguments[0].as_str()).unwrap().set().unwrap();
}

fn an_event_is_set_once_the_command_runs() {
    run_role(&["--event", "ready", "--set", "ready"], "waits_for_ready", &[])
        .expect_code(0)
        .expect_text("it came");
    // The event of this name, which another process has made.
    let name = format!("handover-cli-test.{}", std::process::id());
    let event = Event::create_named(name.as_str(), handover::ResetMode::Manual).unwrap();
    let option = format!("ready={name}");
    event.set().unwrap();
    run_role(&["--event", &option], "waits_for_ready", &[]).expect_code(0).expect_text("was there");
    drop(event);
    // Made by the program, and open to others as long as the command runs.
    run_role(&["--event", &option, "--set", "ready"], "waits_for_ready", &[]).expect_code(0);
    run_role(&["--event", &option], "sets_ready", &[&name]).expect_code(0);
}

fn ends_with(arguments: &[String]) {
    std::process::exit(arguments[0].parse().unwrap());
}

fn the_exit_code_is_the_commands() {
    for code in ["0", "1", "7", "125"] {
        run_role(&[], "ends_with", &[code]).expect_code(code.parse().unwrap());
    }
    os::exit_codes_are_passed_on(|code| run_role(&[], "ends_with", &[code]));
}

fn a_command_that_is_not_there_is_127() {
    handover(&["run", "--", "handover-no-such-program"]).expect_code(127).expect_text("not found");
}

fn a_command_that_can_not_be_started_is_126() {
    let folder = std::env::temp_dir().join(format!("handover-cli-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let file = os::not_a_program(&folder);
    let ended = handover(&["run", "--", file.to_str().unwrap()]);
    std::fs::remove_dir_all(&folder).unwrap();
    ended.expect_code(126);
}

fn a_file_to_write_is_emptied_only_for_a_command() {
    let file = std::env::temp_dir().join(format!("handover-cli-kept-{}", std::process::id()));
    std::fs::write(&file, "kept").unwrap();
    let option = format!("log={}", file.display());
    for (wrong, code) in [
        (&["--set", "nope"][..], 2),
        (&["--event", "log"], 2),
        (&["--set", "log"], 2),
        (&["--file", "other=no-such-file"], 125),
        (&["--shared-memory", "s=0"], 125),
    ] {
        handover(&[&["run", "--write", &option], wrong, &["--", "x"]].concat()).expect_code(code);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept", "{wrong:?}");
    }
    run_role(&["--write", &option], "ends_with", &["0"]).expect_code(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
    std::fs::remove_file(&file).unwrap();
}

fn an_object_that_can_not_be_made_is_125() {
    let ended = handover(&["run", "--file", "config=no-such-file", "--", "x"]).expect_code(125);
    assert!(ended.err.contains("\"config\"") && ended.err.contains("no-such-file"), "{}", ended.err);
    handover(&["run", "--shared-memory", "s=0", "--", "x"]).expect_code(125).expect_text("the object \"s\"");
    os::a_file_that_waits_is_refused(&program());
}

fn never_ends(_: &[String]) {
    println!("{}", std::process::id());
    std::thread::sleep(Duration::from_secs(100));
}

fn a_command_that_does_not_end_is_ended() {
    let ended =
        run_role(&["--timeout", "1"], "never_ends", &[]).expect_code(124).expect_text("didn't end within 1s");
    let id = ended.out.trim_end().parse().unwrap();
    assert!(table::ends_within(id, 1000));
    assert!(ended.after < Duration::from_secs(30));
}

fn two_objects_of_one_name_are_wrong_usage() {
    let words = ["run", "--event", "a", "--semaphore", "a=1", "--", "x"];
    handover(&words).expect_code(2).expect_text("two objects have the name \"a\"");
    handover(&["run", "--semaphore", "a=1", "--set", "a", "--", "x"])
        .expect_code(2)
        .expect_text("it is no event");
}

const STRATEGIES: [&str; 4] = ["inheritance", "duplication", "naming", "channel"];

fn each_strategy_is_shown_live() {
    for (strategy, calls) in std::iter::zip(STRATEGIES, os::CALLS) {
        let ended = handover(&["demo", strategy]).expect_code(0);
        // A sentence can be broken anywhere.
        let words = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in calls.iter().chain(&[
            "refer to the same object",
            "through two handles they use one object",
            "ends with code 0",
        ]) {
            assert!(words.contains(part), "{strategy} lacks {part}: {}", ended.out);
        }
        assert!(!ended.out.contains('\u{1b}'), "styles are for terminals");
        let all = handover(&["demo", strategy, "--all"]).expect_code(0);
        assert!(all.out.contains(os::ASKS) && !ended.out.contains(os::ASKS), "{}", all.out);
    }
    let usual = handover(&["demo"]).expect_code(0).out;
    assert!(usual.starts_with("Inheritance on "), "{usual}");
}

fn a_demonstration_as_json() {
    for strategy in STRATEGIES {
        let ended = handover(&["demo", strategy, "--json"]).expect_code(0);
        let lines: Vec<Value> =
            ended.out.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
        assert!(lines.iter().map(|line| line["time"].as_u64().unwrap()).is_sorted());
        let of = |role: &str, what: &str| {
            let found: Vec<&Value> = lines
                .iter()
                .filter(|line| line["role"] == role && !line["what"][what].is_null())
                .map(|line| &line["what"][what])
                .collect();
            found
        };
        for role in ["parent", "child"] {
            assert_eq!(of(role, "started")[0]["strategy"], strategy);
            assert_eq!(of(role, "ended"), [&json!({ "code": 0 })]);
            let calls = of(role, "call");
            assert!(calls.iter().all(|call| call["call"].is_string() && call["effects"].is_string()));
            // Each has closed its handle to the event.
            assert!(calls.iter().any(|call| call["effects"].as_str().unwrap().starts_with('-')), "{calls:?}");
        }
        let calls = of("parent", "call");
        assert!(
            calls.iter().any(|call| call["asks"] == true) && calls.iter().any(|call| call["asks"] == false)
        );
        let shared = of("parent", "shared")[0].as_array().unwrap();
        let event = shared.iter().find(|object| object["kind"] == "event").expect("the event is shared");
        let processes: Vec<&Value> =
            event["handles"].as_array().unwrap().iter().map(|holder| &holder["process"]).collect();
        assert_ne!(processes[0], processes[1]);
    }
}

fn a_picture_is_drawn() {
    let file = std::env::temp_dir().join(format!("handover-cli-{}.svg", std::process::id()));
    for strategy in STRATEGIES {
        let ended = handover(&["demo", strategy, "--svg", file.to_str().unwrap()]).expect_code(0);
        assert_eq!(ended.out, "");
        let picture = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let document = roxmltree::Document::parse(&picture).expect("it is XML");
        assert_eq!(document.root_element().tag_name().name(), "svg");
        assert!(picture.contains("SetEvent") || picture.contains("write"), "{picture}");
        // Where the program lies is nobody's story.
        assert!(!picture.contains(env!("CARGO_MANIFEST_DIR")));
        let folder = program().parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        assert!(
            !picture.contains(&format!("{folder}/handover"))
                && !picture.contains(&format!("{folder}\\handover"))
        );
    }
    let nowhere = std::env::temp_dir().join("no-such-folder").join("picture.svg");
    handover(&["demo", "--svg", nowhere.to_str().unwrap()]).expect_code(1).expect_text("picture.svg");
}

fn a_demonstration_that_is_killed_says_so() {
    if table::is_wine() {
        left_out(
            "under Wine, a process that is killed while it creates another leaves one that never begins",
        );
        return;
    }
    let mut command = Command::new(program());
    command.args(["demo", "naming"]).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().unwrap();
    // The parent is at work when its own child is there.
    let parents = || table::children_of(child.id());
    let is_at_work = |parent: &u32| !table::children_of(*parent).is_empty();
    until("the parent is at work", || parents().iter().any(is_at_work));
    for parent in parents() {
        table::kill(parent);
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the parent ended with"), "{said}");
}

fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ended = handover(&["completions", shell]).expect_code(0);
        for word in ["table", "shared", "audit", "demo", "--inheritable"] {
            assert!(ended.out.contains(word.trim_start_matches("--")), "{shell}: {word}");
        }
    }
}

fn a_reader_that_has_had_enough_is_no_failure() {
    let mut command = Command::new(program());
    let mut child =
        command.args(["completions", "zsh"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, b"");
}
