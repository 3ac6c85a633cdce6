//! Tests of the program `handover`, run as its users run it.

mod os;

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use expect_test::expect_file;
use handover::{Child, Command, Event, Inherited, Process, Semaphore, SharedMemory, Stdio};
use handover_tests::{Ended, begun, left_out, role, run, table, tests, this_program, waits};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            help_texts_match_the_snapshot,
            wrong_usage_explains_itself_and_exits_with_2,
            table_prints_columns,
            table_prints_json,
            table_filters_and_sorts,
            table_summary_counts_each_kind,
            shared_prints_text_and_json,
            missing_process_is_an_error_with_its_id,
            process_of_another_user_is_denied_with_advice,
            run_passes_the_listed_objects_and_no_others,
            run_replaces_names_in_braces_and_keeps_other_braces,
            run_sets_an_event_after_the_command_has_started,
            run_exits_with_the_code_of_the_command,
            run_exits_with_127_if_the_command_is_not_found,
            run_exits_with_126_if_the_command_cannot_be_started,
            run_empties_a_file_only_if_all_options_are_valid,
            run_exits_with_125_if_an_object_cannot_be_created,
            run_kills_the_command_at_the_timeout,
            run_ends_the_whole_tree_at_the_timeout,
            signals_are_left_to_the_command,
            ignored_sigchld_is_no_obstacle,
            run_rejects_duplicate_names,
            messages_have_no_control_characters,
            demo_shows_each_strategy,
            demo_prints_json,
            demo_draws_a_picture,
            demo_reports_that_its_parent_was_killed,
            completions_contain_the_commands,
            closed_output_is_not_a_failure,
            color_follows_its_option_and_the_terminal,
        ],
        tests![waits, prints_its_handles, exits_with, waits_for_ready, never_exits, has_a_child, sets_ready],
    )
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_handover"))
}

fn handover(arguments: &[&str]) -> Ended {
    run(&program(), arguments, SOON)
}

/// Runs `handover run` with this program in a role.
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

/// A waiting process that inherited an event, shared memory, a semaphore and a file.
struct Known {
    child: Child,
    _event: Event,
    _memory: SharedMemory,
}

fn known() -> Known {
    let (event, memory) = (Event::manual_reset().unwrap(), SharedMemory::new(4096).unwrap());
    let semaphore = Semaphore::new(1).unwrap();
    let file = File::open(this_program()).unwrap();
    let mut command = Command::new(this_program());
    command.args(role("waits", &[])).inherit("event", &event).inherit("shared memory", &memory);
    let child = begun(command.inherit("semaphore", &semaphore).inherit("file", &file));
    drop(command);
    Known { child, _event: event, _memory: memory }
}

/// Returns the output with the handle values and the process id of this run replaced by placeholders.
fn normalized(text: &str, known: &Known) -> String {
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
    // Only beside the word: an access mask can contain the digits of an id.
    let text = text.replace(&format!("process {}:", known.child.id()), "process <child>:");
    // How many handles a new process has depends on the system's version.
    text.replace(&format!("of {} handles", table::of(known.child.id()).len()), "of <all> handles")
}

fn help_texts_match_the_snapshot() {
    let mut all = String::new();
    for words in [
        &["--help"][..],
        &["demo", "--help"],
        &["table", "--help"],
        &["shared", "--help"],
        &["audit", "--help"],
        &["check", "--help"],
        &["new", "--help"],
        &["run", "--help"],
        &["completions", "--help"],
    ] {
        let help =
            handover(words).expect_code(0).out.replace("\r\n", "\n").replace("handover.exe", "handover");
        all += &format!("$ handover {}\n{help}\n", words.join(" "));
    }
    expect_file!["snapshots/help.txt"].assert_eq(&all);
}

fn wrong_usage_explains_itself_and_exits_with_2() {
    for (words, part) in [
        (&[][..], "Usage: handover"),
        (&["table"], "<PID>"),
        (&["table", "me"], "expected a process id, in decimal or in hex with 0x"),
        (&["table", "0x+1"], "expected a process id"),
        (&["table", "+1"], "expected a process id"),
        (&["table", "1", "--sort", "size"], "possible values: value, kind, access, name"),
        (&["run", "--event", "ready"], "<COMMAND>"),
        (&["run", "--file", "config", "--", "x"], "expected NAME=VALUE"),
        (&["run", "--shared-memory", "s=many", "--", "x"], "expected a whole number from 0 to "),
        (
            &["run", "--semaphore", "s=-1", "--", "x"],
            "expected a whole number from 0 to 4294967295, but \"-1\" came",
        ),
        (&["run", "--file", "f=", "--", "x"], "has no value"),
        (&["run", "--event", "", "--", "x"], "the name of an object is empty"),
        (&["run", "--event", "a{b", "--", "x"], "contains a brace"),
        (&["run", "--set", "ready", "--", "x"], "no object is named \"ready\""),
        (&["run", "--timeout", "-1", "--", "x"], "expected a number of seconds above 0"),
        (&["run", "--timeout=1e30", "--", "x"], "expected a number of seconds above 0"),
        (&["audit", "--timeout", "0", "--", "x"], "expected a number of seconds above 0"),
        (&["check", "naming", "--timeout", "soon", "--", "x"], "expected a number of seconds above 0"),
        (&["demo", "telepathy"], "possible values: inheritance, duplication, naming, channel"),
        (&["--color", "sometimes", "demo"], "possible values: auto, always, never"),
    ] {
        handover(words).expect_code(2).expect_text(part);
    }
}

fn table_prints_columns() {
    let known = known();
    let id = known.child.id().to_string();
    let kinds = ["--kind", "event", "--kind", "shared memory", "--kind", "semaphore"];
    let ended = handover(&[&["table", &id, "--inheritable"][..], &kinds].concat()).expect_code(0);
    os::expect_table(&normalized(&ended.out, &known));
}

fn handles(words: &[&str]) -> Vec<Value> {
    let ended = handover(words).expect_code(0);
    let value: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(value["count"], value["handles"].as_array().unwrap().len());
    value["handles"].as_array().unwrap().clone()
}

fn table_prints_json() {
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
        let object_name = handle["name"].as_str().unwrap_or_default();
        if name == "file" {
            let stem = this_program().file_stem().unwrap().to_string_lossy().into_owned();
            assert!(object_name.contains(&stem), "{object_name}");
        }
    }
}

fn table_filters_and_sorts() {
    let known = known();
    let id = known.child.id().to_string();
    let values = |words: &[&str]| -> Vec<u64> {
        let all = [&["table", &id, "--json"], words].concat();
        handles(&all).iter().map(|handle| handle["value"].as_u64().unwrap()).collect()
    };
    let given: Vec<u64> = known.child.inherited_handles().map(|(_, value)| value.get().into()).collect();
    // A new process can also have semaphores that the system created.
    assert_eq!(values(&["--kind", "SEMAPHORE", "--inheritable"]), [given[2]]);
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
    let none = handover(&["table", &id, "--kind", "unicorn"]).expect_code(0).expect_text("0 of ");
    assert!(
        none.err.contains("there is no kind \"unicorn\"") && none.err.contains("semaphore"),
        "{}",
        none.err
    );
    let none = handover(&["table", &id, "--kind", "job"]).expect_code(0);
    assert_eq!(none.err, "");
}

fn table_summary_counts_each_kind() {
    let known = known();
    let id = known.child.id().to_string();
    let ended = handover(&["table", &id, "--summary"]).expect_code(0);
    let count = table::of(known.child.id()).len();
    assert!(ended.out.starts_with(&format!("{count} handles of process {id}: ")), "{}", ended.out);
    let semaphores = handles(&["table", &id, "--json", "--kind", "semaphore"]).len();
    assert!(semaphores > 0);
    let part = format!("{semaphores} semaphore");
    assert!(ended.out.contains(&part) && ended.out.lines().count() == 1, "{}", ended.out);
    let ended = handover(&["table", &id, "--summary", "--json"]).expect_code(0);
    let value: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&value["count"], &value["kinds"]["semaphore"]), (&json!(count), &json!(semaphores)));
    assert!(value.get("handles").is_none());
}

fn shared_prints_text_and_json() {
    let known = known();
    let (id, this) = (known.child.id().to_string(), std::process::id().to_string());
    let ended = handover(&["shared", &id, &this, "--json"]).expect_code(0);
    let value: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(value["incomplete"], json!([]));
    let objects = value["objects"].as_array().unwrap();
    for name in ["event", "shared memory"] {
        let mut of_kind = objects.iter().filter(|object| object["kind"] == name);
        let value_in_child = known.child.inherited_handles().find(|(other, _)| *other == name).unwrap().1;
        let object = of_kind.next().unwrap();
        assert_eq!(
            object["handles"][0],
            json!({ "process": known.child.id(), "values": [value_in_child.get()] })
        );
        assert_eq!(object["handles"][1]["process"], std::process::id());
        assert!(of_kind.next().is_none());
    }
    // This process has closed the semaphore, so the two no longer share it.
    assert!(objects.iter().all(|object| object["kind"] != "semaphore"));
    let ended = handover(&["shared", &id, &this]).expect_code(0);
    let count = format!("processes {id} and {this} share {} objects", objects.len());
    assert!(ended.out.trim_end().ends_with(&count), "{}", ended.out);
    assert!(ended.out.contains("event") && ended.out.starts_with("KIND"), "{}", ended.out);
    handover(&["shared", &id, &id]).expect_code(2).expect_text("was given twice");
}

fn missing_process_is_an_error_with_its_id() {
    let this = std::process::id().to_string();
    for words in
        [&["table", "0x7ffffff0"][..], &["shared", &this, "2147483632"], &["shared", "2147483632", &this]]
    {
        let ended = handover(words)
            .expect_code(1)
            .expect_text("error: cannot open the process by its id: no process has the id 2147483632");
        assert_eq!(ended.out, "");
    }
}

fn process_of_another_user_is_denied_with_advice() {
    os::process_of_another_user_is_denied(&program());
}

/// Prints the names of its inherited objects, its number of leaked handles, and its arguments.
fn prints_its_handles(arguments: &[String]) {
    let inherited: Inherited = handover::inherited().unwrap();
    let mut names = inherited.names();
    names.sort_unstable();
    println!("names {}", names.join(" "));
    println!("leaked {}", handover::leaked_handles().unwrap().len());
    println!("arguments {}", arguments.join(" "));
}

fn run_passes_the_listed_objects_and_no_others() {
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
    let ended = run_role(&options, "prints_its_handles", &["{ready}"]).expect_code(0);
    let out = ended.out.replace("\r\n", "\n");
    assert!(out.starts_with("names config late memory next ready slots\nleaked 0\n"), "{out}");
    for (name, kind) in [
        ("ready", "an event"),
        ("slots", "a semaphore"),
        ("memory", "shared memory"),
        ("late", "a timer"),
        ("config", "a file"),
    ] {
        let before = format!("{kind}, {name:?}, as handle value ");
        let (_, shown) = ended.err.split_once(&before).unwrap_or_else(|| panic!("{}", ended.err));
        let value: u32 = shown.split(' ').next().unwrap().parse().unwrap();
        assert!(shown.starts_with(&format!("{value} ({value:#x})")), "{}", ended.err);
    }
    let quiet = run_role(&["--quiet", "--event", "ready"], "prints_its_handles", &[]).expect_code(0);
    assert_eq!(quiet.err, "");
}

fn run_replaces_names_in_braces_and_keeps_other_braces() {
    let words = ["{ready}", "--event={ready}", "{print}", "{}", "{{ready}}", "a}b"];
    let ended = run_role(&["--event", "ready"], "prints_its_handles", &words).expect_code(0);
    let (_, value) = ended.err.split_once("as handle value ").unwrap();
    let (value, _) = value.split_once(' ').unwrap();
    let expected = format!("arguments {value} --event={value} {{print}} {{}} {{{value}}} a}}b");
    assert_eq!(ended.out.lines().last(), Some(&*expected));
}

fn waits_for_ready(_: &[String]) {
    let ready: Event = handover::inherited().unwrap().take("ready").unwrap();
    ready.wait_timeout(Duration::from_secs(20)).unwrap();
    println!("ready is set");
}

fn sets_ready(arguments: &[String]) {
    Event::open_named(arguments[0].as_str()).unwrap().set().unwrap();
}

fn run_sets_an_event_after_the_command_has_started() {
    run_role(&["--event", "ready", "--set", "ready"], "waits_for_ready", &[])
        .expect_code(0)
        .expect_text("ready is set");
    // An existing event with this name is opened.
    let name = format!("handover-cli-test.{}", std::process::id());
    let event = Event::create_named(name.as_str(), handover::ResetMode::Manual).unwrap();
    let option = format!("ready={name}");
    event.set().unwrap();
    run_role(&["--event", &option], "waits_for_ready", &[]).expect_code(0).expect_text("already existed");
    drop(event);
    // Without one, the program creates the event, and others can open it while the command runs.
    run_role(&["--event", &option, "--set", "ready"], "waits_for_ready", &[]).expect_code(0);
    run_role(&["--event", &option], "sets_ready", &[&name]).expect_code(0);
}

fn exits_with(arguments: &[String]) {
    std::process::exit(arguments[0].parse().unwrap());
}

fn run_exits_with_the_code_of_the_command() {
    for code in ["0", "1", "7", "125"] {
        run_role(&[], "exits_with", &[code]).expect_code(code.parse().unwrap());
    }
    os::expect_exit_codes_passed_on(|code| run_role(&[], "exits_with", &[code]));
}

fn run_exits_with_127_if_the_command_is_not_found() {
    handover(&["run", "--", "handover-no-such-program"])
        .expect_code(127)
        .expect_text("program \"handover-no-such-program\" not found in the folders of PATH");
}

fn run_exits_with_126_if_the_command_cannot_be_started() {
    let folder = std::env::temp_dir().join(format!("handover-cli-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let file = os::not_a_program(&folder);
    let ended = handover(&["run", "--", file.to_str().unwrap()]);
    std::fs::remove_dir_all(&folder).unwrap();
    ended.expect_code(126);
}

fn run_empties_a_file_only_if_all_options_are_valid() {
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
    run_role(&["--write", &option], "exits_with", &["0"]).expect_code(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
    std::fs::remove_file(&file).unwrap();
}

fn run_exits_with_125_if_an_object_cannot_be_created() {
    let ended = handover(&["run", "--file", "config=no-such-file", "--", "x"]).expect_code(125);
    assert!(ended.err.contains("\"config\"") && ended.err.contains("no-such-file"), "{}", ended.err);
    handover(&["run", "--shared-memory", "s=0", "--", "x"]).expect_code(125).expect_text("the object \"s\"");
    os::fifo_is_rejected(&program());
    let mut option = OsString::from("config=no-such-file-");
    option.push(os::not_unicode());
    let words = ["run".into(), "--file".into(), option, "--".into(), "x".into()];
    run(&program(), words, SOON).expect_code(125).expect_text("cannot open the file \"no-such-file-");
}

fn never_exits(_: &[String]) {
    println!("{}", std::process::id());
    std::thread::sleep(Duration::from_secs(100));
}

/// Starts this program again, which never exits, and waits for it.
fn has_a_child(_: &[String]) {
    let mut command = std::process::Command::new(this_program());
    command.args(role("never_exits", &[])).status().unwrap();
}

fn run_ends_the_whole_tree_at_the_timeout() {
    // The output ends when the last process that has it exits.
    let ended = run_role(&["--timeout", "1"], "has_a_child", &[]).expect_code(124);
    ended.expect_text("the processes that it started were killed").expect_within(Duration::from_secs(20));
    os::detached_processes_are_ended_at_the_timeout(&program());
}

fn messages_have_no_control_characters() {
    let name = "\u{1b}[31mred\u{7}";
    let option = format!("f=/no/such/{name}");
    for words in [
        &["run", "--", name][..],
        &["audit", "--", name],
        &["run", "--file", &option, "--", "x"],
        &["audit", "--output", &format!("/no/such/folder/{name}"), "--", "hostname"],
        &["run", "--event", &format!("{name}=x"), "--event", &format!("{name}=y"), "--", "x"],
        &["table", name],
        &["demo", name],
    ] {
        let ended = handover(words);
        let texts = format!("{}{}", ended.out, ended.err);
        let is_raw = |character: char| character.is_control() && character != '\n' && character != '\r';
        assert!(ended.code != Some(0) && !texts.contains(is_raw), "{words:?}: {texts:?}");
    }
}

fn signals_are_left_to_the_command() {
    os::signals_are_left_to_the_command(&program());
}

fn ignored_sigchld_is_no_obstacle() {
    os::ignored_sigchld_is_no_obstacle(&program());
}

fn run_kills_the_command_at_the_timeout() {
    let ended = run_role(&["--timeout", "1"], "never_exits", &[])
        .expect_code(124)
        .expect_text("timed out after 1 s: waiting for process");
    let id = ended.out.trim_end().parse().unwrap();
    assert!(table::ends_within(id, 1000));
    assert!(ended.after < Duration::from_secs(30));
}

fn run_rejects_duplicate_names() {
    let words = ["run", "--event", "a", "--semaphore", "a=1", "--", "x"];
    handover(&words).expect_code(2).expect_text("two objects are named \"a\"");
    handover(&["run", "--semaphore", "a=1", "--set", "a", "--", "x"])
        .expect_code(2)
        .expect_text("is not an event");
}

const STRATEGIES: [&str; 4] = ["inheritance", "duplication", "naming", "channel"];

fn demo_shows_each_strategy() {
    for (strategy, calls) in std::iter::zip(STRATEGIES, os::CALLS) {
        let ended = handover(&["demo", strategy]).expect_code(0);
        // Lines break at any space, so the text is compared with single spaces.
        let words = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in calls.iter().chain(&[
            "refer to the same object",
            "returned \"signaled\", because both handles refer to one object",
            "exits with code 0",
        ]) {
            assert!(words.contains(part), "{strategy} lacks {part}: {}", ended.out);
        }
        assert!(!ended.out.contains('\u{1b}'), "escape codes are only for terminals");
        let all = handover(&["demo", strategy, "--all"]).expect_code(0);
        assert!(all.out.contains(os::QUERY) && !ended.out.contains(os::QUERY), "{}", all.out);
    }
    let default = handover(&["demo"]).expect_code(0).out;
    assert!(default.starts_with("Inheritance on "), "{default}");
}

fn demo_prints_json() {
    for strategy in STRATEGIES {
        let ended = handover(&["demo", strategy, "--json"]).expect_code(0);
        let lines: Vec<Value> =
            ended.out.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
        assert!(lines.iter().map(|line| line["time"].as_u64().unwrap()).is_sorted());
        let of = |role: &str, kind: &str| {
            let found: Vec<&Value> = lines
                .iter()
                .filter(|line| line["role"] == role && !line["data"][kind].is_null())
                .map(|line| &line["data"][kind])
                .collect();
            found
        };
        for role in ["parent", "child"] {
            assert_eq!(of(role, "started")[0]["strategy"], strategy);
            assert_eq!(of(role, "exited"), [&json!({ "code": 0 })]);
            let calls = of(role, "call");
            assert!(calls.iter().all(|call| call["call"].is_string() && call["effects"].is_string()));
            // Both processes close their handle to the event.
            assert!(calls.iter().any(|call| call["effects"].as_str().unwrap().starts_with('-')), "{calls:?}");
        }
        let calls = of("parent", "call");
        assert!(
            calls.iter().any(|call| call["query"] == true) && calls.iter().any(|call| call["query"] == false)
        );
        let shared = of("parent", "shared")[0].as_array().unwrap();
        let event = shared.iter().find(|object| object["kind"] == "event").expect("the event is shared");
        let processes: Vec<&Value> =
            event["handles"].as_array().unwrap().iter().map(|holder| &holder["process"]).collect();
        assert_ne!(processes[0], processes[1]);
    }
}

fn demo_draws_a_picture() {
    let file = std::env::temp_dir().join(format!("handover-cli-{}.svg", std::process::id()));
    for strategy in STRATEGIES {
        let ended = handover(&["demo", strategy, "--svg", file.to_str().unwrap()]).expect_code(0);
        assert_eq!(ended.out, "");
        let picture = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let document = roxmltree::Document::parse(&picture).expect("the picture is XML");
        assert_eq!(document.root_element().tag_name().name(), "svg");
        assert!(picture.contains("SetEvent") || picture.contains("write"), "{picture}");
        // The picture doesn't contain the program's folder.
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

fn demo_reports_that_its_parent_was_killed() {
    if table::is_wine() {
        left_out(
            "under Wine, a process that is killed while it creates a child leaves a child that never starts",
        );
        return;
    }
    // Beside busy programs, some of them may be over before they are looked at.
    const ATTEMPTS: u32 = 50;
    for _ in 0..ATTEMPTS {
        let mut command = Command::new(program());
        command.args(["demo", "naming"]).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().unwrap();
        // The parent is in the middle of the demonstration when it has a child, for a fraction of a second.
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut is_killed = false;
        while !is_killed && child.exit_status().unwrap().is_none() && Instant::now() < deadline {
            for parent in table::children_of(child.id()) {
                if !table::children_of(parent).is_empty() {
                    // It may be over by now.
                    is_killed |= Process::open(parent).is_ok_and(|parent| parent.kill().is_ok());
                }
            }
        }
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(1), "{message}");
            assert!(message.contains("the parent was stopped"), "{message}");
            return;
        }
    }
    panic!("no parent was killed before it had finished");
}

fn completions_contain_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ended = handover(&["completions", shell]).expect_code(0);
        for word in ["table", "shared", "audit", "demo", "--inheritable"] {
            assert!(ended.out.contains(word.trim_start_matches("--")), "{shell}: {word}");
        }
        assert!(!ended.out.contains("role"), "{shell}: the hidden subcommand is offered");
    }
}

fn closed_output_is_not_a_failure() {
    let mut command = Command::new(program());
    let mut child =
        command.args(["completions", "zsh"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stderr, b"");
}

fn color_follows_its_option_and_the_terminal() {
    let is_colored = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(program());
        command.args(arguments).envs(variables.iter().copied()).stdout(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout.contains(&0x1b)
    };
    // Standard output is a pipe in all cases.
    for (arguments, variables, expected) in [
        (&["demo"][..], &[][..], false),
        (&["demo", "--color", "auto"], &[], false),
        (&["demo", "--color", "always"], &[], true),
        (&["--color=always", "demo"], &[("NO_COLOR", "1")], true),
        (&["demo"], &[("CLICOLOR_FORCE", "1")], true),
        (&["demo", "--color", "never"], &[("CLICOLOR_FORCE", "1")], false),
        (&["demo", "--help"], &[], false),
        (&["demo", "--color", "always", "--help"], &[], true),
        (&["demo", "--help", "--color=always"], &[], true),
        (&["--color=never", "demo", "--help"], &[("CLICOLOR_FORCE", "1")], false),
    ] {
        assert_eq!(is_colored(arguments, variables), expected, "{arguments:?} with {variables:?}");
    }
}
