//! `Command` does what std's does: arguments, environments, streams, directories, programs. And what std's doesn't.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use handover::{Command, Error, Event, HandleValue, Stdio};
use handover_tests::{adopt, bare, expect, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            arguments_arrive_as_they_are_in_rust_and_in_c,
            variables_arrive_as_they_are,
            a_cleared_environment_has_only_what_is_needed,
            a_handles_number_can_be_an_argument_or_a_variable,
            what_cannot_be_passed_is_refused,
            a_program_is_not_looked_for_in_the_current_directory,
            a_program_is_looked_for_in_the_childs_path,
            a_program_that_is_none_costs_nothing,
            what_is_looked_at_does_not_depend_on_other_variables,
            the_current_directory_is_the_childs,
            streams_can_be_files_handles_and_each_other,
            a_child_that_fills_one_stream_is_not_stuck,
            the_input_of_output_is_empty,
            a_listed_object_can_be_a_stream_too,
            usable_if_and_only_if_listed,
            canaries_of_each_kind_stay,
            the_builder_says_what_it_was_told,
            changing_the_import_is_enough,
        ],
        tests![
            says_its_arguments,
            says_where_it_is,
            floods,
            reads_all,
            echoes,
            writes_to_both_and_to_the_object,
            sleeps,
            sets_the_event_if_it_can,
        ],
    )
}

fn in_role<'a>(name: &str) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).kill_on_drop(true);
    command
}

fn out(command: &mut Command<'_>) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}: {text}", String::from_utf8_lossy(&output.stderr));
    text.replace("\r\n", "\n")
}

/// A C program that says what it got.
fn speaker<'a>() -> Command<'a> {
    let (program, arguments) = bare("says_what_it_got");
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// What a C program has got, decoded.
fn said_in_c(command: &mut Command<'_>, what: &str) -> Vec<OsString> {
    out(command)
        .lines()
        .filter_map(|line| line.strip_prefix(what)?.strip_prefix(' '))
        .map(expect::from_hex)
        .collect()
}

fn says_its_arguments(arguments: &[String]) {
    print!("{}", arguments.join("\n"));
}

fn arguments_arrive_as_they_are_in_rust_and_in_c() {
    let arguments = [
        "",
        " ",
        "plain",
        "two words",
        "\ttab",
        "\"",
        "\"\"",
        "a\"b",
        "say \"hi there\"",
        "\\",
        "\\\\",
        "\\\"",
        "\\\\\"",
        "a\\b",
        "a\\\\b",
        "C:\\Program Files\\",
        "ends in \\",
        "ends in \\\\",
        "\\\\server\\share\\",
        "--name=\"quoted value\"",
        "%PATH%",
        "^&|<>()!",
        "*",
        "?",
        "'single'",
        "Ärger",
        "日本語",
        "🦀",
        "a=b",
        "-",
        "--",
        "/c",
    ];
    let in_c = said_in_c(speaker().args(arguments), "arg");
    assert_eq!(in_c, arguments.map(OsString::from));
    let in_rust = out(in_role("says_its_arguments").args(arguments));
    assert_eq!(in_rust.split('\n').collect::<Vec<_>>(), arguments);
    // What isn't text can be a legal argument.
    let not_text = expect::not_text();
    assert_eq!(said_in_c(speaker().arg(&not_text), "arg"), [not_text]);
}

fn variables(command: &mut Command<'_>) -> BTreeMap<OsString, OsString> {
    let split = |text: OsString| {
        let hex = expect::to_hex(&text);
        let equals = expect::to_hex("=".as_ref());
        // On Windows a name can begin with one.
        let places = (equals.len()..hex.len()).step_by(equals.len());
        let at = places.into_iter().find(|at| hex[*at..].starts_with(&equals)).unwrap();
        (expect::from_hex(&hex[..at]), expect::from_hex(&hex[at + equals.len()..]))
    };
    said_in_c(command, "env").into_iter().map(split).collect()
}

fn variables_arrive_as_they_are() {
    let long = "x".repeat(30_000);
    let pairs = [("EMPTY", ""), ("SPACES", " a b "), ("EQUALS", "a=b=c"), ("Ünï", "日本🦀"), ("LONG", &long)];
    let mut command = speaker();
    command.envs(pairs).env("GONE", "1").env_remove("GONE").env("TWICE", "once").env("TWICE", "twice");
    let got = variables(&mut command);
    for (name, value) in pairs {
        assert_eq!(got.get(OsStr::new(name)).map(OsString::as_os_str), Some(OsStr::new(value)), "{name}");
    }
    assert!(!got.contains_key(OsStr::new("GONE")));
    assert_eq!(got.get(OsStr::new("TWICE")), Some(&OsString::from("twice")));
    // The rest is copied.
    let ours: BTreeMap<_, _> = std::env::vars_os().collect();
    let other = |name: &OsStr| pairs.iter().all(|(own, _)| name != *own);
    assert!(ours.len() > 3);
    for (name, value) in ours.iter().filter(|(name, _)| other(name)) {
        assert_eq!(got.get(name), Some(value), "{name:?}");
    }
    // A process that got a manifest doesn't pass it on.
    assert!(!got.contains_key(OsStr::new("HANDOVER_INHERITED")));
}

fn a_cleared_environment_has_only_what_is_needed() {
    let mut command = speaker();
    let names = |command: &mut Command<'_>| -> Vec<String> {
        let names = variables(command).into_keys().map(|name| name.into_string().unwrap().to_uppercase());
        // Wine adds some of its own to every process.
        names.filter(|name| !name.starts_with("WINE") && name != "SYSTEMDRIVE").collect()
    };
    assert_eq!(names(command.env("BEFORE", "1").env_clear()), expect::NEEDED_VARIABLES);
    assert_eq!(names(command.env("AFTER", "1")), [&["AFTER"], expect::NEEDED_VARIABLES].concat());
}

fn a_handles_number_can_be_an_argument_or_a_variable() {
    let event = Event::manual_reset().unwrap();
    let mut command = speaker();
    command.inherit("ready", &event).arg_handle("--event={ready}").env_handle("READY", "{ready}");
    let text = out(&mut command);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    child.wait_timeout(SOON).unwrap();
    let number = child.inherited_handles().next().unwrap().1;
    let hex = |text: &str| expect::to_hex(text.as_ref());
    // Which number it is differs from spawn to spawn; that it is one and the same is seen in one spawn.
    let argument = text.lines().find(|line| line.starts_with("arg ")).unwrap();
    let digits = argument.strip_prefix(&format!("arg {}", hex("--event="))).unwrap();
    assert!(text.contains(&format!("env {}{digits}\n", hex("READY="))), "{text}");
    assert!(number.get() > 0);
}

fn what_cannot_be_passed_is_refused() {
    let new = speaker;
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    for (outcome, part) in [
        (new().arg("a\0b").spawn(), "NUL"),
        (new().env("A", "a\0b").spawn(), "NUL"),
        (new().env("A\0", "b").spawn(), "NUL"),
        (new().env("", "b").spawn(), "no name"),
        (new().env("A=B", "b").spawn(), "= in it"),
        (new().current_dir("a\0b").spawn(), "NUL"),
        (new().env_handle("A", "{other}").spawn(), "no object of that name"),
        (new().env_handle("A=B", "b").spawn(), "= in it"),
        (new().inherit("n".repeat(33_000), &event).spawn(), "use shorter ones"),
        (Command::new("").spawn(), "is empty"),
        (Command::new("a\0b").spawn(), "NUL"),
    ] {
        match outcome {
            Err(error @ Error::InvalidInput { .. }) => {
                assert!(error.to_string().contains(part), "{error} does not say {part:?}");
            }
            other => panic!("{part}: {other:?}"),
        }
    }
    assert_eq!(table::count(), before);
}

/// A folder of its own for one test, gone with it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("handover builder {}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// This program, under another name in there.
    fn with_program(&self, name: &str) -> &Self {
        std::fs::copy(this_program(), self.0.join(name)).unwrap();
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn a_program_is_not_looked_for_in_the_current_directory() {
    let folder = Folder::new();
    let file = format!("only-here{}", std::env::consts::EXE_SUFFIX);
    folder.with_program(&file);
    std::env::set_current_dir(&folder.0).unwrap();
    let up = std::env::join_paths(["sub", ".."]).unwrap();
    for name in ["only-here", &file] {
        for path in [OsStr::new(""), OsStr::new("."), &up] {
            let outcome = Command::new(name).env("PATH", path).current_dir(&folder.0).spawn();
            assert!(matches!(outcome, Err(Error::ProgramNotFound { .. })), "{name} by {path:?}: {outcome:?}");
        }
    }
    // A path is taken as it is.
    let path = std::path::Path::new(".").join(&file);
    let found = out(Command::new(path).args(role("says_its_arguments", &["found"])));
    assert_eq!(found, "found");
    // Out of the way, so that the folder can be removed.
    std::env::set_current_dir(std::env::temp_dir()).unwrap();
}

fn a_program_is_looked_for_in_the_childs_path() {
    let folder = Folder::new();
    let file = format!("only-there{}", std::env::consts::EXE_SUFFIX);
    folder.with_program(&file).with_program("without extension");
    assert!(Command::new("only-there").spawn().is_err());
    for name in ["only-there", &file, "without extension"] {
        let mut command = Command::new(name);
        command.env("PATH", &folder.0).args(role("says_its_arguments", &["found"]));
        assert_eq!(out(&mut command), "found", "{name}");
    }
    let outcome = Command::new(&folder.0).spawn();
    let is_refused =
        matches!(outcome, Err(Error::ProgramNotFound { .. } | Error::System { call: expect::START, .. }));
    assert!(is_refused, "a folder is no program: {outcome:?}");
}

fn a_program_that_is_none_costs_nothing() {
    let folder = Folder::new();
    let path = folder.0.join("text.exe");
    std::fs::write(&path, "not a program").unwrap();
    // But allowed to be one, where that is said.
    std::fs::set_permissions(&path, std::fs::metadata(this_program()).unwrap().permissions()).unwrap();
    let event = Event::manual_reset().unwrap();
    let mut command = Command::new(&path);
    command.inherit("event", &event).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let attempt = |command: &mut Command<'_>| {
        let outcome = command.spawn();
        assert!(matches!(outcome, Err(Error::System { call: expect::START, .. })), "{outcome:?}");
    };
    attempt(&mut command);
    let before = table::count();
    (0..200).for_each(|_| attempt(&mut command));
    assert_eq!(table::count(), before);
}

fn what_is_looked_at_does_not_depend_on_other_variables() {
    let looked_at = |command: &mut Command<'_>| match command.spawn() {
        Err(Error::ProgramNotFound { searched: looked_at, .. }) => looked_at,
        other => panic!("{other:?}"),
    };
    let plain = looked_at(&mut Command::new("no-such-program"));
    assert_eq!(looked_at(Command::new("no-such-program").env("X", "1")), plain);
    let first = std::env::temp_dir().join("first");
    let with_path = looked_at(Command::new("no-such-program").env("PATH", &first));
    let file = format!("no-such-program{}", std::env::consts::EXE_SUFFIX);
    assert_eq!(with_path[0], first.join(file));
}

fn says_where_it_is(_: &[String]) {
    print!("{}", std::env::current_dir().unwrap().display());
}

fn the_current_directory_is_the_childs() {
    let folder = Folder::new();
    let there = out(in_role("says_where_it_is").current_dir(&folder.0));
    assert_eq!(std::path::Path::new(&there).file_name(), folder.0.file_name());
    let outcome = in_role("says_where_it_is").current_dir(folder.0.join("missing")).spawn();
    match outcome {
        Err(error @ Error::System { call: expect::CHANGE_FOLDER, .. }) => {
            assert!(error.to_string().contains("missing"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

fn echoes(_: &[String]) {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    print!("out {text}");
    std::io::stdout().flush().unwrap();
    eprint!("err {text}");
}

fn streams_can_be_files_handles_and_each_other() {
    let folder = Folder::new();
    let (input, output) = (folder.0.join("in"), folder.0.join("out"));
    std::fs::write(&input, "text").unwrap();
    let file = std::fs::File::create(&output).unwrap();
    let second = file.try_clone().unwrap();
    let mut command = in_role("echoes");
    command.stdin(std::fs::File::open(&input).unwrap()).stdout(file).stderr(second);
    assert!(command.status().unwrap().success());
    let written = std::fs::read_to_string(&output).unwrap();
    assert_eq!(written, "out texterr text");
    drop(command);

    // One child's output is another's input.
    let mut first =
        in_role("echoes").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut second = in_role("echoes");
    second.stdin(first.stdout.take().unwrap()).stderr(Stdio::null()).stdout(Stdio::piped());
    let second_child = second.spawn().unwrap();
    drop(second);
    first.stdin.take().unwrap().write_all(b"through").unwrap();
    let output = second_child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out out through");
    assert!(first.wait_timeout(SOON).unwrap().success());

    // Each is the parent's output.
    let output = in_role("writes_to_both_and_to_the_object")
        .stdout(std::io::stdout())
        .stderr(std::io::stdout())
        .output();
    assert!(output.unwrap().stdout.is_empty());
}

fn floods(_: &[String]) {
    let megabyte = vec![b'x'; 1 << 20];
    std::io::stderr().write_all(&megabyte).unwrap();
    std::io::stdout().write_all(&megabyte).unwrap();
    std::io::stderr().write_all(&megabyte).unwrap();
}

fn a_child_that_fills_one_stream_is_not_stuck() {
    let output = in_role("floods").output().unwrap();
    assert!(output.status.success());
    assert_eq!((output.stdout.len(), output.stderr.len()), (1 << 20, 2 << 20));
}

fn reads_all(_: &[String]) {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    print!("{}", text.len());
}

fn the_input_of_output_is_empty() {
    assert_eq!(out(&mut in_role("reads_all")), "0");
}

fn writes_to_both_and_to_the_object(_: &[String]) {
    print!("out");
    std::io::stdout().flush().unwrap();
    eprint!("err");
    if let Ok(inherited) = handover::inherited() {
        let mut file: std::fs::File = inherited.take("log").unwrap();
        file.write_all(b"object").unwrap();
    }
}

fn a_listed_object_can_be_a_stream_too() {
    let folder = Folder::new();
    let path = folder.0.join("log");
    let file = std::fs::File::create(&path).unwrap();
    let before = table::count();
    let mut command = in_role("writes_to_both_and_to_the_object");
    command.stdout(file.try_clone().unwrap()).stderr(file.try_clone().unwrap());
    command.inherit("log", &file).inherit("log again", &file);
    assert!(command.status().unwrap().success());
    drop(command);
    assert_eq!(table::count(), before);
    drop(file);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "outerrobject");
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn sets_the_event_if_it_can(arguments: &[String]) {
    let outcome = HandleValue::from_arg(3).and_then(adopt::<Event>).and_then(|event| event.set());
    assert_eq!(arguments.len(), 1);
    print!("{}", outcome.is_ok());
}

fn usable_if_and_only_if_listed() {
    for inheritable in [false, true] {
        let (event, other) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
        if inheritable {
            table::make_inheritable(&event);
        }
        let own = table::value(&event).to_string();
        assert_eq!(out(in_role("sets_the_event_if_it_can").arg(&own)), "false", "nothing listed");
        assert_eq!(
            out(in_role("sets_the_event_if_it_can").arg(&own).inherit("o", &other)),
            "false",
            "another listed"
        );
        assert!(!event.try_wait().unwrap());
        assert_eq!(
            out(in_role("sets_the_event_if_it_can").arg_handle("{e}").inherit("e", &event)),
            "true",
            "listed"
        );
        assert!(event.try_wait().unwrap());
        assert_eq!(table::is_inheritable(&event), inheritable);
    }
}

fn canaries_of_each_kind_stay() {
    let file = std::fs::File::open(this_program()).unwrap();
    let event = Event::manual_reset().unwrap();
    let mut canaries = vec![event.into(), file.into()];
    canaries.extend(raw::objects().into_iter().chain(raw::power()).map(|(_, object, _)| object));
    canaries.iter().for_each(table::make_inheritable);
    let has =
        |child: u32| canaries.iter().map(|canary| table::values_of(canary, child).len()).collect::<Vec<_>>();
    let mut control = std::process::Command::new(this_program()).args(role("sleeps", &[])).spawn().unwrap();
    let leaked = has(control.id());
    control.kill().unwrap();
    control.wait().unwrap();
    let all = |count: usize| vec![count; canaries.len()];
    assert_eq!(leaked, all(1), "the control: std's builder lets all through");

    let listed = Event::manual_reset().unwrap();
    for sealed in [false, true] {
        let mut command = in_role("sleeps");
        if sealed {
            command.race_free();
        }
        assert_eq!(has(command.spawn().unwrap().id()), all(0));
        assert_eq!(has(command.inherit("listed", &listed).spawn().unwrap().id()), all(0));
        assert_eq!(has(command.kill_with_parent(true).spawn().unwrap().id()), all(0));
        assert_eq!(has(command.channel().spawn().unwrap().id()), all(0));
    }
}

fn the_builder_says_what_it_was_told() {
    let mut command = Command::new("worker");
    command.arg("a").arg("b c").arg_handle("{d}").current_dir("here");
    command.env("FIRST", "1").env("LATER", "1").env_remove("GONE").env("LATER", "2");
    assert_eq!(command.get_program(), "worker");
    assert_eq!(command.get_args().collect::<Vec<_>>(), ["a", "b c", "{d}"]);
    assert_eq!(command.get_current_dir(), Some(std::path::Path::new("here")));
    let envs: Vec<_> = command.get_envs().collect();
    let text = OsStr::new;
    assert_eq!(
        envs,
        [(text("FIRST"), Some(text("1"))), (text("GONE"), None), (text("LATER"), Some(text("2")))]
    );
    command.env_clear().env("AFTER", "3");
    assert_eq!(command.get_envs().collect::<Vec<_>>(), [(text("AFTER"), Some(text("3")))]);
}

/// A small real program, once with std's builder and once with ours: nothing but the import differs.
macro_rules! line_counter {
    ($name:ident from $($krate:ident)::+) => {
        mod $name {
            use std::io::{self, Write};
            use $($krate)::+::{Command, ExitStatus, Output, Stdio};

            pub(super) fn run(program: &std::path::Path, role: &[std::ffi::OsString], text: &str) -> io::Result<(usize, i32)> {
                let mut command = Command::new(program);
                command.args(role).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
                let mut child = command.spawn()?;
                if let Some(mut stdin) = child.stdin.take() {
                    stdin.write_all(text.as_bytes())?;
                }
                if child.try_wait()?.is_none() && child.id() == 0 {
                    child.kill()?;
                }
                let mut text = String::new();
                let read = io::Read::read_to_string(&mut child.stdout.expect("it is piped"), &mut text)?;
                let status: ExitStatus = Command::new(program).args(role).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
                match Command::new("no-such-program-anywhere").spawn() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    _ => return Err(io::Error::other("expected an error")),
                }
                let output: Output = Command::new(program).args(role).output()?;
                Ok((read + output.stdout.len(), status.code().unwrap_or(-1)))
            }
        }
    };
}
line_counter!(with_std from std::process);
line_counter!(with_ours from handover);

fn changing_the_import_is_enough() {
    let (program, role) = (this_program(), role("echoes", &[]));
    let std = with_std::run(&program, &role, "one\ntwo\n").unwrap();
    let ours = with_ours::run(&program, &role, "one\ntwo\n").unwrap();
    assert_eq!(std, (12 + 4, 0));
    assert_eq!(ours, std);
}
