//! `handover audit` as its users run it.

#[allow(dead_code, reason = "the other tests of the program use all of it")]
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
            a_clean_program_passes,
            what_this_program_leaks_is_found_at_the_command,
            with_own_what_comes_from_outside_is_kept_away,
            what_a_program_leaks_is_found_at_its_child,
            with_own_that_is_found_all_the_same,
            with_an_exact_list_there_is_no_leak,
            what_is_allowed_by_its_kind_is_no_leak,
            what_is_allowed_by_its_name_is_no_leak,
            a_command_that_fails_is_3,
            a_leak_says_more_than_a_failure,
            a_command_that_is_not_there_is_127,
            a_command_that_can_not_be_started_is_126,
            a_command_that_does_not_end_is_124_and_nothing_is_left,
            the_report_goes_into_a_file,
            a_leak_is_one_though_nobody_reads_of_it,
            each_process_is_said_as_it_starts,
            wrong_usage_is_2,
        ],
        tests![
            ends,
            ends_with,
            says_its_id,
            leaks_to_a_child,
            hands_down_to_a_child,
            leaks_and_fails,
            starts_one_that_stays,
            stays,
        ],
    )
}

fn handover(arguments: &[&str]) -> Ended {
    run(&PathBuf::from(env!("CARGO_BIN_EXE_handover")), arguments, SOON)
}

/// `handover audit` of this program in a role. It is started by std, so it inherits what is inheritable here.
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

/// Nothing goes on to what is started here but what the tests make inheritable.
fn begin_clean() {
    table::keep_what_came();
    table::keep_streams();
}

/// An object that every child gets from now on which is started the ordinary way.
fn leaking() -> Event {
    let event = Event::manual_reset().unwrap();
    table::make_inheritable(&event);
    event
}

/// What the command has said itself, in words, and the program's JSON.
fn parts(ended: &Ended) -> (Vec<String>, Value) {
    let at = ended.out.find('{').unwrap_or_else(|| panic!("no JSON: {ended:#?}"));
    let (said, json) = ended.out.split_at(at);
    let value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {ended:#?}"));
    (said.split_whitespace().map(str::to_owned).collect(), value)
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value:#}"))
}

/// What a process of the report has inherited that stands so.
fn of_standing<'a>(process: &'a Value, standing: &str) -> Vec<&'a Value> {
    array(&process["inherited"]).iter().filter(|handle| handle["standing"] == standing).collect()
}

fn says_its_id(_: &[String]) {
    println!("{}", std::process::id());
}

fn ends(_: &[String]) {}

fn a_clean_program_passes() {
    begin_clean();
    let text = audit(&[], "ends", &[]).expect_code(0);
    assert_eq!(text.err, "");
    assert!(
        text.out.contains("inherited the ordinary way: ") && text.out.contains(" in 1 process\n"),
        "{}",
        text.out
    );
    assert!(text.out.ends_with("the difference: nothing leaks\n"), "{}", text.out);
    assert!(!text.out.contains("PROCESS"), "{}", text.out);

    let ended = audit(&["--json"], "says_its_id", &[]).expect_code(0);
    let (said, value) = parts(&ended);
    let this = this_program().into_os_string().into_string().unwrap();
    assert_eq!(value["command"][0], this);
    assert_eq!(array(&value["command"]).len(), 1 + role("says_its_id", &[]).len());
    assert_eq!((&value["exit_code"], &value["leaks"]), (&json!(0), &json!(0)));
    let [process] = array(&value["processes"]) else { panic!("{value:#}") };
    assert_eq!(process["process"].to_string(), said[0]);
    // Its parent is the program that audits, which has ended.
    assert!(process["parent"].as_u64().is_some_and(|id| id > 0 && id != u64::from(std::process::id())));
    let program = PathBuf::from(process["program"].as_str().unwrap());
    assert_eq!(program.canonicalize().unwrap(), this_program().canonicalize().unwrap());
    assert!(process.get("untold").is_none());
    assert_eq!(of_standing(process, "stream").len(), 3, "{value:#}");
    for handle in array(&process["inherited"]) {
        for key in ["value", "kind", "access", "rights", "inheritable", "protected", "name", "standing"] {
            assert!(handle.get(key).is_some(), "no {key}: {handle:#}");
        }
    }
}

fn what_this_program_leaks_is_found_at_the_command() {
    begin_clean();
    let event = leaking();
    let ended = audit(&["--json"], "says_its_id", &[]).expect_code(1);
    let (said, value) = parts(&ended);
    assert_eq!(value["leaks"], 1, "{value:#}");
    let [process] = array(&value["processes"]) else { panic!("{value:#}") };
    assert_eq!(process["process"].to_string(), said[0]);
    let leaked = of_standing(process, "leaked");
    let [leak] = leaked.as_slice() else { panic!("{value:#}") };
    assert_eq!((&leak["value"], &leak["kind"]), (&json!(table::value(&event)), &json!("event")));
    assert_eq!(leak["inheritable"], true);

    let text = audit(&[], "says_its_id", &[]).expect_code(1);
    let id = text.out.split_whitespace().next().unwrap().to_owned();
    let row = text.out.lines().find(|line| line.starts_with(&format!("process {id} ("))).unwrap();
    assert!(row.contains(&format!(" {:#x} ", table::value(&event))) && row.contains(" event "), "{row}");
    assert!(text.out.ends_with("the difference: 1 leak\n"), "{}", text.out);
}

fn with_own_what_comes_from_outside_is_kept_away() {
    begin_clean();
    let event = leaking();
    let ended = audit(&["--own", "--json"], "ends", &[]).expect_code(0);
    let (_, value) = parts(&ended);
    assert_eq!(value["leaks"], 0);
    let [process] = array(&value["processes"]) else { panic!("{value:#}") };
    // It isn't overlooked: it isn't there.
    assert!(array(&process["inherited"]).iter().all(|handle| handle["kind"] != "event"), "{value:#}");
    assert!(table::is_inheritable(&event), "here it is as before");
}

/// rust-lang/rust#38227.
fn leaks_to_a_child(_: &[String]) {
    let event = leaking();
    let mut child = Command::new(this_program()).args(role("ends", &[])).spawn().unwrap();
    println!("{} {} {}", std::process::id(), child.id(), table::value(&event));
    assert!(child.wait().unwrap().success());
}

/// What is found in the child of a program that leaks an event to it.
fn is_found_at_the_child(ended: &Ended) {
    let (said, value) = parts(ended);
    let [command, child, leaked] = said.as_slice() else { panic!("{ended:#?}") };
    let [first, second] = array(&value["processes"]) else { panic!("{value:#}") };
    assert_eq!((&first["process"].to_string(), &second["process"].to_string()), (command, child));
    assert_eq!(&second["parent"].to_string(), command);
    assert_eq!(value["leaks"], 1, "{value:#}");
    assert_eq!(of_standing(first, "leaked").len(), 0, "{value:#}");
    let leaks = of_standing(second, "leaked");
    let [leak] = leaks.as_slice() else { panic!("{value:#}") };
    assert_eq!((&leak["value"].to_string(), &leak["kind"]), (leaked, &json!("event")));
}

fn what_a_program_leaks_is_found_at_its_child() {
    begin_clean();
    is_found_at_the_child(&audit(&["--json"], "leaks_to_a_child", &[]).expect_code(1));
}

fn with_own_that_is_found_all_the_same() {
    begin_clean();
    let _event = leaking();
    is_found_at_the_child(&audit(&["--own", "--json"], "leaks_to_a_child", &[]).expect_code(1));
}

/// The same with an exact list; what is inheritable is there nevertheless.
fn hands_down_to_a_child(_: &[String]) {
    let _event = leaking();
    let ready = Event::manual_reset().unwrap();
    let mut command = handover::Command::new(this_program());
    command.args(role("ends", &[])).inherit("ready to go", &ready);
    assert!(command.spawn().unwrap().wait_timeout(SOON).unwrap().success());
}

fn with_an_exact_list_there_is_no_leak() {
    begin_clean();
    let ended = audit(&["--json"], "hands_down_to_a_child", &[]).expect_code(0);
    let (_, value) = parts(&ended);
    assert_eq!(value["leaks"], 0);
    let [_, child] = array(&value["processes"]) else { panic!("{value:#}") };
    let listed = of_standing(child, "listed");
    let [listed] = listed.as_slice() else { panic!("{value:#}") };
    assert_eq!((&listed["listed_as"], &listed["kind"]), (&json!("ready to go"), &json!("event")));
    let text = audit(&[], "hands_down_to_a_child", &[]).expect_code(0);
    assert!(text.out.contains(" for streams, 1 listed)\n"), "{}", text.out);
}

fn what_is_allowed_by_its_kind_is_no_leak() {
    begin_clean();
    let event = leaking();
    audit(&["--allow", "kind:section"], "ends", &[]).expect_code(1);
    let text = audit(&["--allow", "kind:section", "--allow", "kind:Event"], "ends", &[]).expect_code(0);
    assert!(text.out.contains("allowed here: 1\n"), "{}", text.out);
    let ended = audit(&["--allow", "kind:event", "--json"], "ends", &[]).expect_code(0);
    let (_, value) = parts(&ended);
    let allowed = of_standing(&value["processes"][0], "allowed");
    let [allowed] = allowed.as_slice() else { panic!("{value:#}") };
    assert_eq!((&allowed["value"], &value["leaks"]), (&json!(table::value(&event)), &json!(0)));
}

fn what_is_allowed_by_its_name_is_no_leak() {
    begin_clean();
    let path = std::env::temp_dir().join(format!("Handover-Audit-{}.txt", std::process::id()));
    let file = File::create(&path).unwrap();
    table::make_inheritable(&file);
    let name = format!("name:handover-audit-{}", std::process::id());
    audit(&["--allow", "name:jobserver"], "ends", &[]).expect_code(1).expect_text(" file ");
    audit(&["--allow", &name], "ends", &[]).expect_code(0).expect_text("allowed here: 1\n");
    // What has no name has no part of one.
    let _event = leaking();
    audit(&["--allow", &name], "ends", &[]).expect_code(1).expect_text("the difference: 1 leak\n");
    drop(file);
    std::fs::remove_file(&path).unwrap();
}

fn ends_with(arguments: &[String]) {
    std::process::exit(arguments[0].parse().unwrap());
}

fn a_command_that_fails_is_3() {
    begin_clean();
    for code in ["1", "7"] {
        let ended = audit(&[], "ends_with", &[code]).expect_code(3);
        assert!(
            ended.err.contains(&format!("nothing leaks, but the command ended with {code}")),
            "{ended:?}"
        );
    }
    let ended = audit(&["--json"], "ends_with", &["7"]).expect_code(3);
    assert_eq!(parts(&ended).1["exit_code"], 7);
}

fn leaks_and_fails(_: &[String]) {
    leaks_to_a_child(&[]);
    std::process::exit(7);
}

fn a_leak_says_more_than_a_failure() {
    begin_clean();
    let ended = audit(&["--json"], "leaks_and_fails", &[]).expect_code(1);
    assert_eq!(parts(&ended).1["exit_code"], 7);
    is_found_at_the_child(&ended);
}

fn a_command_that_is_not_there_is_127() {
    handover(&["audit", "--", "handover-no-such-program"])
        .expect_code(127)
        .expect_text("handover-no-such-program");
}

fn a_command_that_can_not_be_started_is_126() {
    let folder = std::env::temp_dir().join(format!("handover-cli-audit-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let file = os::not_a_program(&folder);
    let ended = handover(&["audit", "--", file.to_str().unwrap()]);
    std::fs::remove_dir_all(&folder).unwrap();
    ended.expect_code(126).expect_text("not-a-program");
}

fn stays(_: &[String]) {
    std::thread::sleep(SOON);
}

fn starts_one_that_stays(_: &[String]) {
    let mut child = Command::new(this_program()).args(role("stays", &[])).spawn().unwrap();
    println!("{} {}", std::process::id(), child.id());
    child.wait().unwrap();
}

fn a_command_that_does_not_end_is_124_and_nothing_is_left() {
    let ended = audit(&["--timeout", "5"], "starts_one_that_stays", &[]).expect_code(124);
    let ended = ended.expect_text("error: ").expect_within(Duration::from_secs(30));
    // What was seen until then is said all the same.
    assert!(
        ended.out.contains("inherited the ordinary way: ") && ended.out.contains(" in 2 processes\n"),
        "{ended:?}"
    );
    let first = ended.out.lines().next().unwrap();
    let ids: Vec<u32> = first.split_whitespace().map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids.len(), 2, "{ended:?}");
    for id in ids {
        assert!(table::ends_within(id, 0), "process {id} is left");
    }
}

fn the_report_goes_into_a_file() {
    begin_clean();
    let file = std::env::temp_dir().join(format!("handover-cli-report-{}", std::process::id()));
    let path = file.to_str().unwrap();
    let _event = leaking();
    let ended = audit(&["--json", "--output", path], "says_its_id", &[]).expect_code(1);
    assert_eq!(ended.out.lines().count(), 1, "{ended:?}");
    let value: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(value["leaks"], 1);
    audit(&["-o", path], "ends", &[]).expect_code(1);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.ends_with("the difference: 1 leak\n"), "{text}");
    std::fs::remove_file(&file).unwrap();
    let nowhere = std::env::temp_dir().join("no-such-folder").join("report");
    audit(&["-o", nowhere.to_str().unwrap()], "ends", &[]).expect_code(1).expect_text("report: ");
}

fn a_leak_is_one_though_nobody_reads_of_it() {
    begin_clean();
    let _event = leaking();
    let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
    command.args(["audit", "--"]).arg(this_program()).args(role("ends", &[]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

fn each_process_is_said_as_it_starts() {
    begin_clean();
    for option in ["--verbose", "-v"] {
        let ended = audit(&[option, "--json"], "leaks_to_a_child", &[]).expect_code(1);
        let (said, _) = parts(&ended);
        let name = this_program().file_name().unwrap().to_string_lossy().into_owned();
        let lines: Vec<&str> = ended.err.lines().collect();
        let [first, second] = lines.as_slice() else { panic!("{ended:#?}") };
        let begins = |id: &str| format!("handover: process {id} ({name}) begins, child of ");
        assert!(first.starts_with(&begins(&said[0])) && !first.contains("leak:"), "{first}");
        assert_eq!(*second, format!("{}{}: 1 leak", begins(&said[1]), said[0]));
    }
}

fn wrong_usage_is_2() {
    for (words, part) in [
        (&["audit"][..], "<COMMAND>"),
        (&["audit", "--allow", "event", "--", "x"], "expected kind:KIND"),
        (&["audit", "--allow", "kind:", "--", "x"], "expected kind:KIND"),
        (&["audit", "--allow", "size:3", "--", "x"], "expected kind:KIND"),
        (&["audit", "--timeout=-1", "--", "x"], "not negative"),
    ] {
        handover(words).expect_code(2).expect_text(part);
    }
}
