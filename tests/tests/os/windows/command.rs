//! Tests of command lines, environments and programs that are specific to Windows.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::io::AsHandle;
use std::path::{Path, PathBuf};
use std::time::Duration;

use handover::{Command, Error, Event, Stdio};
use handover_tests::{Suite, expect, foreign, raw, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(20);

pub(super) const SUITE: Suite = Suite {
    name: "command",
    tests: tests![
        raw_arg_is_not_quoted,
        variable_names_are_case_insensitive,
        current_directory_of_a_drive_is_kept,
        spawn_rejects_invalid_input,
        program_is_found_without_extension_and_in_any_case,
        batch_files_are_rejected,
        childs_path_is_searched_first,
        program_with_long_path_starts,
        spawn_rejects_sockets,
        getters_return_what_was_set,
        program_is_searched_with_extension_in_all_folders_first,
        kill_with_parent_works_after_this_process_was_put_into_a_job,
        writing_nothing_does_not_end_the_output,
        show_window_reaches_the_child,
        handle_of_a_child_has_one_owner,
    ],
    roles: tests![prints_its_first_window, sleeps, reads_all, writes_nothing_twice, passes_on],
};

fn in_role<'a>(name: &str) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).kill_on_drop(true);
    command
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn reads_all(_: &[String]) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

/// Returns the decoded arguments or variables that the C program prints.
fn said_in_c(command: &mut Command<'_>, what: &str) -> Vec<OsString> {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.strip_prefix(what)?.strip_prefix(' ')).map(expect::from_hex).collect()
}

fn raw_arg_is_not_quoted() {
    let said = said_in_c(Command::new(foreign("says_what_it_got")).raw_arg(r#"a "b c" d"#).arg("e f"), "arg");
    assert_eq!(said, ["a", "b c", "d", "e f"]);
}

fn variables(command: &mut Command<'_>) -> BTreeMap<OsString, OsString> {
    let split = |text: OsString| {
        let units: Vec<u16> = text.encode_wide().collect();
        let at = units[1..].iter().position(|unit| *unit == u16::from(b'=')).unwrap() + 1;
        (OsString::from_wide(&units[..at]), OsString::from_wide(&units[at + 1..]))
    };
    said_in_c(command, "env").into_iter().map(split).collect()
}

fn variable_names_are_case_insensitive() {
    let mut command = Command::new(foreign("says_what_it_got"));
    command.env("gone", "1").env_remove("GONE").env("Path", "C:\\once").env("PATH", "C:\\twice");
    let got = variables(&mut command);
    assert!(!got.contains_key(OsStr::new("gone")));
    let path: Vec<_> = got.iter().filter(|(name, _)| name.eq_ignore_ascii_case("path")).collect();
    assert_eq!(path, [(&OsString::from("PATH"), &OsString::from("C:\\twice"))]);

    // Even SYSTEMROOT can be removed, and an empty environment is valid.
    let names = |command: &mut Command<'_>| -> Vec<String> {
        variables(command).into_keys().map(|name| name.into_string().unwrap().to_uppercase()).collect()
    };
    let mut command = Command::new(foreign("says_what_it_got"));
    command.env_clear().env("AFTER", "1").env_remove("systemroot");
    let mut with_one = names(&mut command);
    // Wine adds variables to each process; each version adds others.
    let empty = names(command.env_remove("after"));
    assert!(empty.is_empty() || table::is_wine(), "{empty:?}");
    with_one.retain(|name| !empty.contains(name));
    assert_eq!(with_one, ["AFTER"]);
}

fn current_directory_of_a_drive_is_kept() {
    let hidden = "=Q:";
    let got = variables(Command::new(foreign("says_what_it_got")).env(hidden, r"Q:\somewhere"));
    assert_eq!(got.get(OsStr::new(hidden)), Some(&OsString::from(r"Q:\somewhere")));
}

fn spawn_rejects_invalid_input() {
    let program = foreign("says_what_it_got");
    let new = || Command::new(&program);
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    for (outcome, part) in [
        (new().raw_arg("a\0b").spawn(), "NUL"),
        (new().arg("x".repeat(32_767)).spawn(), "at most 32766"),
        (new().inherit("event", &event).arg("x".repeat(40_000)).spawn(), "at most"),
        (new().creation_flags(4).spawn(), "spawn_suspended"),
        (Command::new("a\"b").spawn(), "quote"),
    ] {
        match outcome {
            Err(error @ Error::InvalidInput { .. }) => {
                assert!(error.to_string().contains(part), "{error} does not say {part:?}");
            }
            other => panic!("{part}: {other:?}"),
        }
    }
    assert_eq!(table::count(), before);
    let fits = "x".repeat(32_766 - program.as_os_str().len() - "\"\" ".len());
    assert_eq!(said_in_c(new().arg(&fits), "arg"), [OsString::from(fits)]);
}

/// A test's own folder, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("handover command {}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with_program(&self, name: &str) -> &Self {
        std::fs::copy(foreign("says_what_it_got"), self.0.join(name)).unwrap();
        self
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program_is_found_without_extension_and_in_any_case() {
    let folder = Folder::new();
    folder.with_program("only-there.exe");
    for name in ["only-there", "only-there.exe", "ONLY-THERE.EXE"] {
        let mut command = Command::new(name);
        assert_eq!(said_in_c(command.env("Path", &folder.0).arg("found"), "arg"), ["found"], "{name}");
    }
}

fn batch_files_are_rejected() {
    let folder = Folder::new();
    for name in ["script.bat", "script.CMD"] {
        std::fs::write(folder.0.join(name), "@echo off\r\necho it ran\r\n").unwrap();
        for name in [folder.0.join(name).into_os_string(), name.into()] {
            let outcome = Command::new(&name).env("PATH", &folder.0).arg("\"&calc.exe").spawn();
            assert!(matches!(outcome, Err(Error::BatchFile { .. })), "{name:?}: {outcome:?}");
        }
    }
    let outcome = Command::new(folder.0.join("script.bat. .")).spawn();
    assert!(
        matches!(outcome, Err(Error::BatchFile { .. } | Error::ProgramNotFound { .. })),
        "Windows ignores trailing dots and spaces: {outcome:?}"
    );
}

fn childs_path_is_searched_first() {
    let searched = |command: &mut Command<'_>| match command.spawn() {
        Err(Error::ProgramNotFound { searched, .. }) => searched,
        other => panic!("{other:?}"),
    };
    let plain = searched(&mut Command::new("no-such-program"));
    assert_eq!(searched(Command::new("no-such-program").env_remove("PATH")), plain);
    let with_path = searched(Command::new("no-such-program").env("path", "C:\\first"));
    assert_eq!(with_path[0], Path::new("C:\\first\\no-such-program.exe"));
    // The same for the name without an extension, after all names with one.
    let is_childs = |file: &PathBuf| file.starts_with("C:\\first");
    assert_eq!(with_path.iter().filter(|file| is_childs(file)).count(), 2);
    assert_eq!(with_path.into_iter().filter(|file| !is_childs(file)).collect::<Vec<_>>(), plain);
}

fn program_with_long_path_starts() {
    let folder = Folder::new();
    let mut deep = folder.0.clone();
    while deep.as_os_str().len() < 400 {
        deep.push("a folder with a rather long name");
    }
    std::fs::create_dir_all(format!(r"\\?\{}", deep.display())).unwrap();
    let program = deep.join("deep.exe");
    std::fs::copy(foreign("says_what_it_got"), format!(r"\\?\{}", program.display())).unwrap();
    if table::is_wine() {
        // Wine starts no program with a long path, with or without the prefix. The test can still check that the
        // program is found.
        let outcome = Command::new(&program).spawn();
        assert!(matches!(outcome, Err(Error::System { call: "CreateProcessW", .. })), "{outcome:?}");
        return;
    }
    assert_eq!(said_in_c(Command::new(&program).arg("from the depth"), "arg"), ["from the depth"]);
}

fn spawn_rejects_sockets() {
    let socket = raw::handle_of_socket(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let before = table::count();
    match in_role("sleeps").inherit("socket", &socket).spawn() {
        Err(error @ Error::SocketUnsupported { .. }) => {
            assert!(error.to_string().contains("\"socket\""), "{error}");
        }
        other => panic!("{other:?}"),
    }
    until("the thread that queried the socket has ended", || table::count() == before);
    let outcome = in_role("sleeps").stdin(socket).spawn();
    assert!(matches!(outcome, Err(Error::SocketUnsupported { .. })), "{outcome:?}");
    // A pipe is not a socket, although some of the same calls accept it.
    let mut child = in_role("reads_all")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pipe = child.stdin.take().unwrap();
    assert!(in_role("sleeps").inherit("pipe", pipe.as_handle()).spawn().is_ok());
    drop(pipe);
    child.wait_timeout(SOON).unwrap();
}

fn getters_return_what_was_set() {
    let mut command = Command::new("worker");
    command.raw_arg("b c").arg("a").env("LATER", "1").env_remove("GONE").env("later", "2");
    assert_eq!(command.get_args().collect::<Vec<_>>(), ["b c", "a"]);
    let text = OsStr::new;
    let envs: Vec<_> = command.get_envs().collect();
    assert_eq!(envs, [(text("GONE"), None), (text("later"), Some(text("2")))]);
}

fn program_is_searched_with_extension_in_all_folders_first() {
    let folders = ["first", "second"]
        .map(|name| std::env::temp_dir().join(format!("handover-{name}-{}", std::process::id())));
    folders.iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    // A script for another system, as Git installs them.
    std::fs::write(folders[0].join("handover-tool"), "#!/bin/sh\n").unwrap();
    std::fs::copy(this_program(), folders[1].join("handover-tool.exe")).unwrap();
    let mut command = Command::new("handover-tool");
    command.env("PATH", std::env::join_paths(&folders).unwrap()).args(role("reads_all", &[]));
    let status = command.stdin(Stdio::null()).status();
    for folder in folders {
        std::fs::remove_dir_all(folder).unwrap();
    }
    assert_eq!(status.unwrap().code(), Some(0));
}

fn kill_with_parent_works_after_this_process_was_put_into_a_job() {
    let spawn = || in_role("sleeps").kill_with_parent(true).spawn();
    let mut children = vec![spawn().unwrap()];
    raw::enter_new_job();
    children.push(spawn().unwrap());
    children.push(spawn().unwrap());
    for mut child in children {
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait_timeout(SOON).unwrap();
    }
}

/// Writes zero bytes in the middle of its output, as message pipes and .NET do.
fn writes_nothing_twice(_: &[String]) {
    use std::io::Write;
    let stdout = std::io::stdout().as_handle().try_clone_to_owned().unwrap();
    let mut stdout = std::fs::File::from(stdout);
    for part in ["before", "", "", "after"] {
        assert_eq!(stdout.write(part.as_bytes()).unwrap(), part.len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn writing_nothing_does_not_end_the_output() {
    let output = in_role("writes_nothing_twice").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "beforeafter");
    // Through the relay that connects one child's output to another's input.
    let mut first = in_role("writes_nothing_twice").stdout(Stdio::piped()).spawn().unwrap();
    let second = in_role("passes_on").stdin(first.stdout.take().unwrap()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&second.stdout), "beforeafter");
}

fn passes_on(_: &[String]) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
}

fn prints_its_first_window(_: &[String]) {
    let (is_set, value) = raw::first_window();
    println!("{is_set} {value}");
}

fn show_window_reaches_the_child() {
    for (show, expected) in [(None, None), (Some(0), Some("true 0")), (Some(7), Some("true 7"))] {
        for race_free in [false, true] {
            let mut command = in_role("prints_its_first_window");
            if let Some(show) = show {
                command.show_window(show);
            }
            if race_free {
                command.race_free();
            }
            let output = command.stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            match expected {
                Some(expected) => assert_eq!(said.trim(), expected),
                None => assert!(said.starts_with("false "), "{said}"),
            }
        }
    }
}

fn handle_of_a_child_has_one_owner() {
    let before = table::count();
    let child = in_role("sleeps").stdin(Stdio::null()).spawn().unwrap();
    let id = child.id();
    let handle = raw::handle_of_child(child);
    // The child's `kill_on_drop` no longer applies.
    assert!(!table::ends_within(id, 200));
    table::kill(id);
    assert!(table::ends_within(id, 10_000));
    assert!(raw::is_signaled(&handle));
    drop(handle);
    until("the handles are closed", || table::count() == before);
}
