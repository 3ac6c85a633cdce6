//! Tests of `Command` as std's counterpart (arguments, environments, streams, directories, programs), and of what it
//! adds to std's.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use handover::faults::{self, Turn};
use handover::{Command, Error, Event, HandleValue, Stdio};
use handover_tests::{adopt, bare, expect, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            arguments_arrive_unchanged_in_rust_and_c,
            variables_arrive_unchanged,
            env_clear_keeps_only_required_variables,
            handle_value_can_be_argument_or_variable,
            spawn_rejects_invalid_input,
            program_is_not_searched_in_current_directory,
            program_is_searched_in_childs_path,
            spawning_invalid_program_leaks_no_handles,
            program_search_ignores_other_variables,
            current_dir_applies_to_child,
            streams_can_be_files_handles_and_other_childrens_pipes,
            output_reads_both_streams_concurrently,
            output_is_read_without_a_new_thread,
            output_gives_empty_input,
            listed_object_can_also_be_a_stream,
            object_is_usable_only_if_listed,
            inheritable_objects_of_each_kind_do_not_leak,
            getters_return_what_was_set,
            std_program_works_with_changed_import,
        ],
        tests![
            prints_arguments,
            prints_current_dir,
            floods,
            reads_all,
            echoes,
            writes_to_both_and_to_the_object,
            sleeps,
            tries_to_set_the_event,
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

/// Returns a command for the C program that prints its arguments and its environment.
fn argument_printer<'a>() -> Command<'a> {
    let (program, arguments) = bare("says_what_it_got");
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Returns the decoded arguments or variables that the C program prints.
fn said_in_c(command: &mut Command<'_>, what: &str) -> Vec<OsString> {
    lines_of(&out(command), what)
}

fn lines_of(text: &str, what: &str) -> Vec<OsString> {
    text.lines().filter_map(|line| line.strip_prefix(what)?.strip_prefix(' ')).map(expect::from_hex).collect()
}

fn prints_arguments(arguments: &[String]) {
    print!("{}", arguments.join("\n"));
}

fn arguments_arrive_unchanged_in_rust_and_c() {
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
    let in_c = said_in_c(argument_printer().args(arguments), "arg");
    assert_eq!(in_c, arguments.map(OsString::from));
    let in_rust = out(in_role("prints_arguments").args(arguments));
    assert_eq!(in_rust.split('\n').collect::<Vec<_>>(), arguments);
    // An argument needn't be valid Unicode.
    let not_text = expect::not_text();
    assert_eq!(said_in_c(argument_printer().arg(&not_text), "arg"), [not_text]);
}

fn variables(command: &mut Command<'_>) -> BTreeMap<OsString, OsString> {
    variables_of(&out(command))
}

fn variables_of(text: &str) -> BTreeMap<OsString, OsString> {
    let split = |text: OsString| {
        let hex = expect::to_hex(&text);
        let equals = expect::to_hex("=".as_ref());
        // On Windows, a variable's name can begin with `=`.
        let places = (equals.len()..hex.len()).step_by(equals.len());
        let at = places.into_iter().find(|at| hex[*at..].starts_with(&equals)).unwrap();
        (expect::from_hex(&hex[..at]), expect::from_hex(&hex[at + equals.len()..]))
    };
    lines_of(text, "env").into_iter().map(split).collect()
}

fn variables_arrive_unchanged() {
    let long = "x".repeat(30_000);
    let pairs = [("EMPTY", ""), ("SPACES", " a b "), ("EQUALS", "a=b=c"), ("Ünï", "日本🦀"), ("LONG", &long)];
    let mut command = argument_printer();
    command.envs(pairs).env("GONE", "1").env_remove("GONE").env("TWICE", "once").env("TWICE", "twice");
    let got = variables(&mut command);
    for (name, value) in pairs {
        assert_eq!(got.get(OsStr::new(name)).map(OsString::as_os_str), Some(OsStr::new(value)), "{name}");
    }
    assert!(!got.contains_key(OsStr::new("GONE")));
    assert_eq!(got.get(OsStr::new("TWICE")), Some(&OsString::from("twice")));
    // All other variables are copied.
    let ours: BTreeMap<_, _> = std::env::vars_os().collect();
    let other = |name: &OsStr| pairs.iter().all(|(own, _)| name != *own);
    assert!(ours.len() > 3);
    for (name, value) in ours.iter().filter(|(name, _)| other(name)) {
        assert_eq!(got.get(name), Some(value), "{name:?}");
    }
    // A process doesn't pass its own manifest on.
    assert!(!got.contains_key(OsStr::new("HANDOVER_INHERITED")));
}

fn env_clear_keeps_only_required_variables() {
    let names = |variables: BTreeMap<OsString, OsString>| -> Vec<String> {
        variables.into_keys().map(|name| name.into_string().unwrap().to_uppercase()).collect()
    };
    // Wine adds variables to an empty environment; each version adds others.
    let (program, arguments) = bare("says_what_it_got");
    let output = std::process::Command::new(program).args(arguments).env_clear().output().unwrap();
    let mut added = names(variables_of(&String::from_utf8(output.stdout).unwrap()));
    added.retain(|name| !expect::NEEDED_VARIABLES.contains(&name.as_str()));
    assert!(added.is_empty() || table::is_wine(), "{added:?}");
    let kept = |command: &mut Command<'_>| {
        let mut kept = names(variables(command));
        kept.retain(|name| !added.contains(name));
        kept
    };
    let mut command = argument_printer();
    assert_eq!(kept(command.env("BEFORE", "1").env_clear()), expect::NEEDED_VARIABLES);
    assert_eq!(kept(command.env("AFTER", "1")), [&["AFTER"], expect::NEEDED_VARIABLES].concat());
}

fn handle_value_can_be_argument_or_variable() {
    let event = Event::manual_reset().unwrap();
    let mut command = argument_printer();
    command.inherit("ready", &event).arg_handle("--event={ready}").env_handle("READY", "{ready}");
    let text = out(&mut command);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    child.wait_timeout(SOON).unwrap();
    let number = child.inherited_handles().next().unwrap().1;
    let hex = |text: &str| expect::to_hex(text.as_ref());
    // The value differs from spawn to spawn, so the argument and the variable of one spawn are compared.
    let argument = text.lines().find(|line| line.starts_with("arg ")).unwrap();
    let digits = argument.strip_prefix(&format!("arg {}", hex("--event="))).unwrap();
    assert!(text.contains(&format!("env {}{digits}\n", hex("READY="))), "{text}");
    assert!(number.get() > 0);
}

fn spawn_rejects_invalid_input() {
    let new = argument_printer;
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    for (outcome, part) in [
        (new().arg("a\0b").spawn(), "NUL"),
        (new().env("A", "a\0b").spawn(), "NUL"),
        (new().env("A\0", "b").spawn(), "NUL"),
        (new().env("", "b").spawn(), "no name"),
        (new().env("A=B", "b").spawn(), "contains ="),
        (new().current_dir("a\0b").spawn(), "NUL"),
        (new().env_handle("A", "{other}").spawn(), "no object of that name"),
        (new().env_handle("A=B", "b").spawn(), "contains ="),
        (new().inherit("n".repeat(33_000), &event).spawn(), "use shorter names or fewer objects"),
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

/// A test's own folder, removed on drop.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("handover builder {}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Copies this program into the folder under another name.
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

fn program_is_not_searched_in_current_directory() {
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
    // A path is used as it is.
    let path = std::path::Path::new(".").join(&file);
    let found = out(Command::new(path).args(role("prints_arguments", &["found"])));
    assert_eq!(found, "found");
    // Leaves the folder, so that it can be removed.
    std::env::set_current_dir(std::env::temp_dir()).unwrap();
}

fn program_is_searched_in_childs_path() {
    let folder = Folder::new();
    let file = format!("only-there{}", std::env::consts::EXE_SUFFIX);
    folder.with_program(&file).with_program("without extension");
    assert!(Command::new("only-there").spawn().is_err());
    for name in ["only-there", &file, "without extension"] {
        let mut command = Command::new(name);
        command.env("PATH", &folder.0).args(role("prints_arguments", &["found"]));
        assert_eq!(out(&mut command), "found", "{name}");
    }
    let outcome = Command::new(&folder.0).spawn();
    assert!(matches!(outcome, Err(Error::CannotExecute { .. })), "a folder is not a program: {outcome:?}");
}

fn spawning_invalid_program_leaks_no_handles() {
    let folder = Folder::new();
    let path = folder.0.join("text.exe");
    std::fs::write(&path, "not a program").unwrap();
    // On Linux, the file also needs execute permission.
    std::fs::set_permissions(&path, std::fs::metadata(this_program()).unwrap().permissions()).unwrap();
    let event = Event::manual_reset().unwrap();
    let mut command = Command::new(&path);
    command.inherit("event", &event).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let attempt = |command: &mut Command<'_>| {
        let outcome = command.spawn();
        assert!(matches!(outcome, Err(Error::CannotExecute { .. })), "{outcome:?}");
    };
    attempt(&mut command);
    let before = table::count();
    (0..200).for_each(|_| attempt(&mut command));
    assert_eq!(table::count(), before);
}

fn program_search_ignores_other_variables() {
    let searched = |command: &mut Command<'_>| match command.spawn() {
        Err(Error::ProgramNotFound { searched, .. }) => searched,
        other => panic!("{other:?}"),
    };
    let plain = searched(&mut Command::new("no-such-program"));
    assert_eq!(searched(Command::new("no-such-program").env("X", "1")), plain);
    let first = std::env::temp_dir().join("first");
    let with_path = searched(Command::new("no-such-program").env("PATH", &first));
    let file = format!("no-such-program{}", std::env::consts::EXE_SUFFIX);
    assert_eq!(with_path[0], first.join(file));
}

fn prints_current_dir(_: &[String]) {
    print!("{}", std::env::current_dir().unwrap().display());
}

fn current_dir_applies_to_child() {
    let folder = Folder::new();
    let there = out(in_role("prints_current_dir").current_dir(&folder.0));
    assert_eq!(std::path::Path::new(&there).file_name(), folder.0.file_name());
    let outcome = in_role("prints_current_dir").current_dir(folder.0.join("missing")).spawn();
    match outcome {
        Err(error @ Error::System { call: expect::CHANGE_DIRECTORY, .. }) => {
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

fn streams_can_be_files_handles_and_other_childrens_pipes() {
    let folder = Folder::new();
    let (input, output) = (folder.0.join("in"), folder.0.join("out"));
    std::fs::write(&input, "text").unwrap();
    let file = std::fs::File::create(&output).unwrap();
    let second = file.try_clone().unwrap();
    let mut command = in_role("echoes");
    command.stdin(std::fs::File::open(&input).unwrap()).stdout(file).stderr(second);
    assert_eq!(command.status().unwrap().code(), Some(0));
    let written = std::fs::read_to_string(&output).unwrap();
    assert_eq!(written, "out texterr text");
    drop(command);

    // One child's output is another child's input.
    let mut first =
        in_role("echoes").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut second = in_role("echoes");
    second.stdin(first.stdout.take().unwrap()).stderr(Stdio::null()).stdout(Stdio::piped());
    let second_child = second.spawn().unwrap();
    drop(second);
    first.stdin.take().unwrap().write_all(b"through").unwrap();
    let output = second_child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out out through");
    assert_eq!(first.wait_timeout(SOON).unwrap().code(), Some(0));

    // The child's output streams are both the parent's standard output.
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

fn output_reads_both_streams_concurrently() {
    let output = in_role("floods").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((output.stdout.len(), output.stderr.len()), (1 << 20, 2 << 20));
}

fn output_is_read_without_a_new_thread() {
    let before = table::count();
    let child =
        in_role("floods").stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let no_threads = Turn::fails(expect::BEGIN_THREAD, 0..u32::MAX, faults::CODE);
    let (output, was_refused) = faults::taking([no_threads], || child.wait_with_output());
    assert!(!was_refused, "no thread is started");
    let output = output.unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (1 << 20, 2 << 20));
    assert_eq!(table::count(), before);
}

fn reads_all(_: &[String]) {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    print!("{}", text.len());
}

fn output_gives_empty_input() {
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

fn listed_object_can_also_be_a_stream() {
    let folder = Folder::new();
    let path = folder.0.join("log");
    let file = std::fs::File::create(&path).unwrap();
    let before = table::count();
    let mut command = in_role("writes_to_both_and_to_the_object");
    command.stdout(file.try_clone().unwrap()).stderr(file.try_clone().unwrap());
    command.inherit("log", &file).inherit("log again", &file);
    assert_eq!(command.status().unwrap().code(), Some(0));
    drop(command);
    assert_eq!(table::count(), before);
    drop(file);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "outerrobject");
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn tries_to_set_the_event(arguments: &[String]) {
    let outcome = HandleValue::from_arg(3).and_then(adopt::<Event>).and_then(|event| event.set());
    assert_eq!(arguments.len(), 1);
    print!("{}", outcome.is_ok());
}

fn object_is_usable_only_if_listed() {
    for inheritable in [false, true] {
        let (event, other) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
        if inheritable {
            table::make_inheritable(&event);
        }
        let own = table::value(&event).to_string();
        assert_eq!(out(in_role("tries_to_set_the_event").arg(&own)), "false", "nothing listed");
        assert_eq!(
            out(in_role("tries_to_set_the_event").arg(&own).inherit("o", &other)),
            "false",
            "another listed"
        );
        assert!(!event.try_wait().unwrap());
        assert_eq!(
            out(in_role("tries_to_set_the_event").arg_handle("{e}").inherit("e", &event)),
            "true",
            "listed"
        );
        assert!(event.try_wait().unwrap());
        assert_eq!(table::is_inheritable(&event), inheritable);
    }
}

fn inheritable_objects_of_each_kind_do_not_leak() {
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
    for race_free in [false, true] {
        let mut command = in_role("sleeps");
        if race_free {
            command.race_free();
        }
        assert_eq!(has(command.spawn().unwrap().id()), all(0));
        assert_eq!(has(command.inherit("listed", &listed).spawn().unwrap().id()), all(0));
        assert_eq!(has(command.kill_with_parent(true).spawn().unwrap().id()), all(0));
        assert_eq!(has(command.channel().spawn().unwrap().id()), all(0));
    }
}

fn getters_return_what_was_set() {
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

/// A small program, compiled once with std's `Command` and once with this crate's; only the import differs.
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

fn std_program_works_with_changed_import() {
    let (program, role) = (this_program(), role("echoes", &[]));
    let std = with_std::run(&program, &role, "one\ntwo\n").unwrap();
    let ours = with_ours::run(&program, &role, "one\ntwo\n").unwrap();
    assert_eq!(std, (12 + 4, 0));
    assert_eq!(ours, std);
}
