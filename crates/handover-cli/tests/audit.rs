//! Tests of `handover audit`, run as its users run it.

#[allow(dead_code, reason = "the other test program uses the rest")]
mod os;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use handover::Event;
use handover_tests::{Ended, role, run, table, tests, this_program};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            program_without_leaks_passes,
            leak_of_the_caller_is_found_in_the_command,
            own_does_not_pass_on_leaks_of_the_caller,
            leak_of_the_command_is_found_in_its_child,
            own_finds_leaks_of_the_command,
            listed_handle_is_not_a_leak,
            allow_accepts_a_kind,
            allow_accepts_a_part_of_a_name,
            exits_with_3_if_only_the_command_fails,
            exits_with_1_if_a_handle_leaks_and_the_command_fails,
            exits_with_127_if_the_command_is_not_found,
            exits_with_126_if_the_command_cannot_be_started,
            timeout_kills_all_processes_and_exits_with_124,
            output_writes_the_report_to_a_file,
            exits_with_1_for_a_leak_even_if_output_is_closed,
            verbose_prints_each_process_when_it_starts,
            wrong_usage_exits_with_2,
        ],
        tests![
            exits,
            exits_with,
            prints_its_id,
            leaks_to_a_child,
            lists_an_event_for_a_child,
            leaks_and_fails,
            starts_a_sleeping_child,
            sleeps,
        ],
    )
}

fn handover(arguments: &[&str]) -> Ended {
    run(&PathBuf::from(env!("CARGO_BIN_EXE_handover")), arguments, SOON)
}

/// Runs `handover audit` with this program in a role. std starts it, so it inherits every inheritable handle of this
/// process.
fn audit(options: &[&str], name: &str, arguments: &[&str]) -> Ended {
    let this = this_program().into_os_string().into_string().unwrap();
    let role: Vec<String> =
        role(name, arguments).into_iter().map(|word| word.into_string().unwrap()).collect();
    let mut words = vec!["audit"];
    words.extend(options);
    words.extend(["--", &this]);
    words.extend(role.iter().map(String::as_str));
    handover(&words)
}

/// Makes all handles of this process uninheritable, so that its children inherit only the handles that a test chooses.
fn begin_clean() {
    table::keep_what_came();
    table::keep_streams();
}

/// Returns an event with an inheritable handle, which leaks into every child that std starts.
fn leaking() -> Event {
    let event = Event::manual_reset().unwrap();
    table::make_inheritable(&event);
    event
}

/// Splits the output into the words that the command printed, and the report in JSON.
fn parts(ended: &Ended) -> (Vec<String>, Value) {
    let at = ended.out.find('{').unwrap_or_else(|| panic!("no JSON: {ended:#?}"));
    let (text, json) = ended.out.split_at(at);
    let value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {ended:#?}"));
    (text.split_whitespace().map(str::to_owned).collect(), value)
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value:#}"))
}

/// Returns the inherited handles of a process in the report that have this origin.
fn with_origin<'a>(process: &'a Value, origin: &str) -> Vec<&'a Value> {
    array(&process["inherited"]).iter().filter(|handle| handle["origin"] == origin).collect()
}

fn prints_its_id(_: &[String]) {
    println!("{}", std::process::id());
}

fn exits(_: &[String]) {}

fn program_without_leaks_passes() {
    begin_clean();
    let text = audit(&[], "exits", &[]).expect_code(0);
    assert_eq!(text.err, "");
    assert!(text.out.contains("inherited: ") && text.out.contains(" in 1 process\n"), "{}", text.out);
    assert!(text.out.ends_with("result: no leaks\n"), "{}", text.out);
    assert!(!text.out.contains("PROCESS"), "{}", text.out);

    let ended = audit(&["--json"], "prints_its_id", &[]).expect_code(0);
    let (words, value) = parts(&ended);
    let this = this_program().into_os_string().into_string().unwrap();
    assert_eq!(value["command"][0], this);
    assert_eq!(array(&value["command"]).len(), 1 + role("prints_its_id", &[]).len());
    assert_eq!((&value["exit_code"], &value["leaks"]), (&json!(0), &json!(0)));
    let [process] = array(&value["processes"]) else { panic!("{value:#}") };
    assert_eq!(process["process"].to_string(), words[0]);
    // Its parent is the auditing program, which has exited.
    assert!(process["parent"].as_u64().is_some_and(|id| id > 0 && id != u64::from(std::process::id())));
    let program = PathBuf::from(process["program"].as_str().unwrap());
    assert_eq!(program.canonicalize().unwrap(), this_program().canonicalize().unwrap());
    assert!(process.get("incomplete").is_none());
    assert_eq!(with_origin(process, "stream").len(), 3, "{value:#}");
    for handle in array(&process["inherited"]) {
        for key in ["value", "kind", "access", "rights", "inheritable", "protected", "name", "origin"] {
            assert!(handle.get(key).is_some(), "no {key}: {handle:#}");
        }
    }
}

fn leak_of_the_caller_is_found_in_the_command() {
    begin_clean();
    let event = leaking();
    let ended = audit(&["--json"], "prints_its_id", &[]).expect_code(1);
    let (words, value) = parts(&ended);
    assert_eq!(value["leaks"], 1, "{value:#}");
    let [process] = array(&value["processes"]) else { panic!("{value:#}") };
    assert_eq!(process["process"].to_string(), words[0]);
    let leaked = with_origin(process, "leaked");
    let [leak] = leaked.as_slice() else { panic!("{value:#}") };
    assert_eq!((&leak["value"], &leak["kind"]), (&json!(table::value(&event)), &json!("event")));
    assert_eq!(leak["inheritable"], true);

    let text = audit(&[], "prints_its_id", &[]).expect_code(1);
    let id = text.out.split_whitespace().next().unwrap().to_owned();
    let row = text.out.lines().find(|line| line.starts_with(&format!("process {id} ("))).unwrap();
    assert!(row.contains(&format!(" {:#x} ", table::value(&event))) && row.contains(" event "), "{row}");
    assert!(text.out.ends_with("result: 1 leak\n"), "{}", text.out);
}

fn own_does_not_pass_on_leaks_of_the_caller() {
    begin_clean();
    let event = leaking();
    let ended = audit(&["--own", "--json"], "exits", &[]).expect_code(0);
    let (_, value) = parts(&ended);
    assert_eq!(value["leaks"], 0);
    let [process] = array(&value["processes"]) else { panic!("{value:#}") };
    // The command did not inherit the event at all.
    assert!(array(&process["inherited"]).iter().all(|handle| handle["kind"] != "event"), "{value:#}");
    assert!(table::is_inheritable(&event), "this process's handle stays inheritable");
}

/// Leaks an event to a child, as described in rust-lang/rust#38227.
fn leaks_to_a_child(_: &[String]) {
    let event = leaking();
    let mut child = Command::new(this_program()).args(role("exits", &[])).spawn().unwrap();
    println!("{} {} {}", std::process::id(), child.id(), table::value(&event));
    assert!(child.wait().unwrap().success());
}

/// Asserts that the report has one leak: the event, in the child of the command.
fn expect_leak_in_child(ended: &Ended) {
    let (words, value) = parts(ended);
    let [command, child, leaked] = words.as_slice() else { panic!("{ended:#?}") };
    let [first, second] = array(&value["processes"]) else { panic!("{value:#}") };
    assert_eq!((&first["process"].to_string(), &second["process"].to_string()), (command, child));
    assert_eq!(&second["parent"].to_string(), command);
    assert_eq!(value["leaks"], 1, "{value:#}");
    assert_eq!(with_origin(first, "leaked").len(), 0, "{value:#}");
    let leaks = with_origin(second, "leaked");
    let [leak] = leaks.as_slice() else { panic!("{value:#}") };
    assert_eq!((&leak["value"].to_string(), &leak["kind"]), (leaked, &json!("event")));
}

fn leak_of_the_command_is_found_in_its_child() {
    begin_clean();
    expect_leak_in_child(&audit(&["--json"], "leaks_to_a_child", &[]).expect_code(1));
}

fn own_finds_leaks_of_the_command() {
    begin_clean();
    let _event = leaking();
    expect_leak_in_child(&audit(&["--own", "--json"], "leaks_to_a_child", &[]).expect_code(1));
}

/// Lists one event for a child, which does not inherit the other, inheritable event.
fn lists_an_event_for_a_child(_: &[String]) {
    let _event = leaking();
    let ready = Event::manual_reset().unwrap();
    let mut command = handover::Command::new(this_program());
    command.args(role("exits", &[])).inherit("ready to go", &ready);
    assert!(command.spawn().unwrap().wait_timeout(SOON).unwrap().success());
}

fn listed_handle_is_not_a_leak() {
    begin_clean();
    let ended = audit(&["--json"], "lists_an_event_for_a_child", &[]).expect_code(0);
    let (_, value) = parts(&ended);
    assert_eq!(value["leaks"], 0);
    let [_, child] = array(&value["processes"]) else { panic!("{value:#}") };
    let listed = with_origin(child, "listed");
    let [listed] = listed.as_slice() else { panic!("{value:#}") };
    assert_eq!((&listed["listed_as"], &listed["kind"]), (&json!("ready to go"), &json!("event")));
    let text = audit(&[], "lists_an_event_for_a_child", &[]).expect_code(0);
    assert!(text.out.contains(" for standard streams, 1 listed)\n"), "{}", text.out);
}

fn allow_accepts_a_kind() {
    begin_clean();
    let event = leaking();
    let ended = audit(&["--allow", "kind:semaphore"], "exits", &[]).expect_code(1);
    assert!(!ended.err.contains("there is no kind"), "{ended:?}");
    let ended = audit(&["--allow", "kind:unicorn"], "exits", &[]).expect_code(1);
    let remark = "there is no kind \"unicorn\"; the processes inherited handles of these kinds: event";
    assert!(ended.err.contains(remark), "{ended:?}");
    let text = audit(&["--allow", "kind:semaphore", "--allow", "kind:Event"], "exits", &[]).expect_code(0);
    assert!(text.out.contains("allowed by --allow: 1\n"), "{}", text.out);
    let ended = audit(&["--allow", "kind:event", "--json"], "exits", &[]).expect_code(0);
    let (_, value) = parts(&ended);
    let allowed = with_origin(&value["processes"][0], "allowed");
    let [allowed] = allowed.as_slice() else { panic!("{value:#}") };
    assert_eq!((&allowed["value"], &value["leaks"]), (&json!(table::value(&event)), &json!(0)));
}

fn allow_accepts_a_part_of_a_name() {
    begin_clean();
    let path = std::env::temp_dir().join(format!("Handover-Audit-{}.txt", std::process::id()));
    let file = File::create(&path).unwrap();
    table::make_inheritable(&file);
    let name = format!("name:handover-audit-{}", std::process::id());
    audit(&["--allow", "name:jobserver"], "exits", &[]).expect_code(1).expect_text(" file ");
    audit(&["--allow", &name], "exits", &[]).expect_code(0).expect_text("allowed by --allow: 1\n");
    // An object without a name matches no part of a name.
    let _event = leaking();
    audit(&["--allow", &name], "exits", &[]).expect_code(1).expect_text("result: 1 leak\n");
    drop(file);
    std::fs::remove_file(&path).unwrap();
}

fn exits_with(arguments: &[String]) {
    std::process::exit(arguments[0].parse().unwrap());
}

fn exits_with_3_if_only_the_command_fails() {
    begin_clean();
    for code in ["1", "7"] {
        let ended = audit(&[], "exits_with", &[code]).expect_code(3);
        assert!(
            ended.err.contains(&format!("no handle leaks, but the command exited with code {code}")),
            "{ended:?}"
        );
    }
    let ended = audit(&["--json"], "exits_with", &["7"]).expect_code(3);
    assert_eq!(parts(&ended).1["exit_code"], 7);
}

fn leaks_and_fails(_: &[String]) {
    leaks_to_a_child(&[]);
    std::process::exit(7);
}

fn exits_with_1_if_a_handle_leaks_and_the_command_fails() {
    begin_clean();
    let ended = audit(&["--json"], "leaks_and_fails", &[]).expect_code(1);
    assert_eq!(parts(&ended).1["exit_code"], 7);
    expect_leak_in_child(&ended);
}

fn exits_with_127_if_the_command_is_not_found() {
    handover(&["audit", "--", "handover-no-such-program"])
        .expect_code(127)
        .expect_text("program \"handover-no-such-program\" not found in the folders of PATH");
}

fn exits_with_126_if_the_command_cannot_be_started() {
    let folder = std::env::temp_dir().join(format!("handover-cli-audit-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let file = os::not_a_program(&folder);
    let ended = handover(&["audit", "--", file.to_str().unwrap()]);
    std::fs::remove_dir_all(&folder).unwrap();
    ended.expect_code(126).expect_text("not-a-program");
}

fn sleeps(_: &[String]) {
    std::thread::sleep(SOON);
}

fn starts_a_sleeping_child(_: &[String]) {
    let mut child = Command::new(this_program()).args(role("sleeps", &[])).spawn().unwrap();
    println!("{} {}", std::process::id(), child.id());
    child.wait().unwrap();
}

fn timeout_kills_all_processes_and_exits_with_124() {
    begin_clean();
    let ended = audit(&["--timeout", "5"], "starts_a_sleeping_child", &[]).expect_code(124);
    assert!(ended.out.ends_with("result: no leaks before the timeout\n"), "{ended:?}");
    let ended = ended.expect_text("error: ").expect_within(Duration::from_secs(30));
    // The report has the processes that started before the timeout.
    assert!(ended.out.contains("inherited: ") && ended.out.contains(" in 2 processes\n"), "{ended:?}");
    let first = ended.out.lines().next().unwrap();
    let ids: Vec<u32> = first.split_whitespace().map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids.len(), 2, "{ended:?}");
    for id in ids {
        assert!(table::ends_within(id, 0), "process {id} is still running");
    }
}

fn output_writes_the_report_to_a_file() {
    begin_clean();
    let file = std::env::temp_dir().join(format!("handover-cli-report-{}", std::process::id()));
    let path = file.to_str().unwrap();
    let _event = leaking();
    let ended = audit(&["--json", "--output", path], "prints_its_id", &[]).expect_code(1);
    assert_eq!(ended.out.lines().count(), 1, "{ended:?}");
    let value: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(value["leaks"], 1);
    audit(&["-o", path], "exits", &[]).expect_code(1);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.ends_with("result: 1 leak\n"), "{text}");
    std::fs::remove_file(&file).unwrap();
    let nowhere = std::env::temp_dir().join("no-such-folder").join("report");
    let ended = audit(&["-o", nowhere.to_str().unwrap()], "exits", &[]).expect_code(1);
    assert!(ended.err.contains("cannot write the report to "), "{ended:?}");
    assert!(ended.out.ends_with("result: 1 leak\n"), "{ended:?}");
}

fn exits_with_1_for_a_leak_even_if_output_is_closed() {
    begin_clean();
    let _event = leaking();
    let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
    command.args(["audit", "--"]).arg(this_program()).args(role("exits", &[]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

fn verbose_prints_each_process_when_it_starts() {
    begin_clean();
    for option in ["--verbose", "-v"] {
        let ended = audit(&[option, "--json"], "leaks_to_a_child", &[]).expect_code(1);
        let (words, _) = parts(&ended);
        let name = this_program().file_name().unwrap().to_string_lossy().into_owned();
        let lines: Vec<&str> = ended.err.lines().collect();
        let [first, second] = lines.as_slice() else { panic!("{ended:#?}") };
        let start = |id: &str| format!("handover: process {id} ({name}) starts, child of process ");
        assert!(first.starts_with(&start(&words[0])) && !first.contains("leak:"), "{first}");
        assert_eq!(*second, format!("{}{}: 1 leak", start(&words[1]), words[0]));
    }
}

fn wrong_usage_exits_with_2() {
    for (words, part) in [
        (&["audit"][..], "<COMMAND>"),
        (&["audit", "--allow", "event", "--", "x"], "expected kind:KIND"),
        (&["audit", "--allow", "kind:", "--", "x"], "expected kind:KIND"),
        (&["audit", "--allow", "size:3", "--", "x"], "expected kind:KIND"),
        (&["audit", "--timeout", "-1", "--", "x"], "expected a number of seconds above 0"),
    ] {
        handover(words).expect_code(2).expect_text(part);
    }
}
