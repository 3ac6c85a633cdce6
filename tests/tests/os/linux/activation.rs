//! Tests of socket activation: descriptors from a service manager.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use handover::{Error, Event, OwnedHandle};
use handover_tests::{Suite, left_out, role, table, tests, this_program, until};

pub(super) const SUITE: Suite = Suite {
    name: "activation",
    tests: tests![
        systemd_passes_socket_by_name,
        descriptors_are_taken_by_listen_fdnames,
        variables_for_another_process_give_nothing,
        one_name_can_have_several_descriptors,
        inherited_fails_if_one_descriptor_is_closed,
        inherited_rejects_invalid_variables,
        manager_and_parent_can_both_pass_objects,
        copied_variables_give_a_child_nothing,
        invalid_variables_do_not_hide_parents_objects,
        coincidental_variables_do_not_hide_parents_objects,
    ],
    roles: tests![
        serves,
        takes,
        takes_all_of_one_name,
        prints_inherited,
        takes_both,
        has_a_child,
        takes_the_event,
        prints_errors
    ],
};

const MANAGER: &str = "/usr/bin/systemd-socket-activate";

/// Answers one connection on the inherited socket, taken as the type that the argument names.
fn serves(arguments: &[String]) {
    let inherited = handover::inherited().unwrap();
    assert_eq!(inherited.names(), ["web"]);
    assert!(matches!(inherited.take::<Event>("web"), Err(Error::WrongKind { .. })));
    match arguments[0].as_str() {
        "unix" => {
            let listener: UnixListener = inherited.take("web").unwrap();
            assert!(!table::is_inheritable(&listener));
            listener.set_nonblocking(false).unwrap();
            listener.accept().unwrap().0.write_all(b"served").unwrap();
        }
        _ => {
            // Takes the socket as an untyped handle and converts it to std's type.
            let listener = TcpListener::from(inherited.take::<OwnedHandle>("web").unwrap());
            listener.set_nonblocking(false).unwrap();
            listener.accept().unwrap().0.write_all(b"served").unwrap();
        }
    }
    assert!(matches!(inherited.take::<OwnedHandle>("web"), Err(Error::AlreadyTaken { .. })));
}

fn systemd_passes_socket_by_name() {
    if !Path::new(MANAGER).exists() {
        left_out("systemd-socket-activate is not installed");
        return;
    }
    let path = std::env::temp_dir().join(format!("handover-activation-{}", std::process::id()));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let tcp = format!("127.0.0.1:{port}");
    for (kind, address) in [("unix", path.to_str().unwrap()), ("tcp", &tcp)] {
        let mut manager = Command::new(MANAGER)
            .args(["-l", address, "--fdname=web"])
            .arg(this_program())
            .args(role("serves", &[kind]))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let answer = std::cell::RefCell::new(Vec::new());
        let connected = || match kind {
            "unix" => UnixStream::connect(&path)
                .map(|mut stream| stream.read_to_end(&mut answer.borrow_mut()).unwrap()),
            _ => std::net::TcpStream::connect(&tcp)
                .map(|mut stream| stream.read_to_end(&mut answer.borrow_mut()).unwrap()),
        };
        until("the manager listens", || connected().is_ok());
        assert_eq!(answer.into_inner(), b"served", "by {kind}");
        // The manager's process has become the program.
        assert_eq!(manager.wait().unwrap().code(), Some(0));
        let _ = std::fs::remove_file(&path);
    }
}

/// Runs this program in a role, by a shell that acts as a service manager: it opens descriptors from 3 on, and sets the
/// variables.
fn activated(opens: &str, variables: &str, role_name: &str, arguments: &[&str]) -> String {
    let script = format!("{opens}\n{variables} exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(this_program())
        .args(role(role_name, arguments))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A file with some text, removed on drop.
struct Text(PathBuf);

impl Text {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("handover-activation-{}-{text}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn opened_as(&self, number: u32) -> String {
        format!("exec {number}<{}", self.0.display())
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn text_of(mut file: std::fs::File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Takes files by the names in the arguments, and prints their texts.
fn takes(arguments: &[String]) {
    let inherited = handover::inherited().unwrap();
    let mut said = vec![inherited.names().join(":")];
    for name in arguments {
        let file: std::fs::File = inherited.take(name).unwrap();
        assert!(!table::is_inheritable(&file));
        said.push(text_of(file));
    }
    assert_eq!(handover::leaked_handles().unwrap(), []);
    println!("{}", said.join(" "));
}

fn descriptors_are_taken_by_listen_fdnames() {
    let (one, two) = (Text::new("one"), Text::new("two"));
    let opens = format!("{}; {}", one.opened_as(3), two.opened_as(4));
    let for_it = "LISTEN_PID=$$ LISTEN_FDS=2";
    let said = activated(&opens, &format!("{for_it} LISTEN_FDNAMES=a:b"), "takes", &["b", "a"]);
    assert_eq!(said, "a:b two one");
    // Without names, each descriptor has the name "unknown".
    let said = activated(&opens, for_it, "takes", &["unknown", "unknown"]);
    assert_eq!(said, "unknown:unknown one two");
}

fn prints_inherited(_: &[String]) {
    match handover::inherited() {
        Ok(inherited) => println!("{}", inherited.names().join(":")),
        Err(Error::NothingInherited { .. }) => println!("nothing"),
        Err(Error::InvalidManifest { name: variable, .. }) => println!("bad {variable}"),
        Err(Error::ManifestMismatch { name, expected, .. }) => println!("{name} is for {expected}"),
        Err(other) => println!("{other:?}"),
    }
    // Descriptors that no variable announces are reported as leaked.
    println!("{}", handover::leaked_handles().unwrap().len());
}

fn variables_for_another_process_give_nothing() {
    let one = Text::new("one");
    for (variables, expected) in [
        ("LISTEN_PID=1 LISTEN_FDS=1", "LISTEN_PID is for process 1\n1"),
        ("LISTEN_FDS=1", "nothing\n1"),
        ("A=b", "nothing\n1"),
    ] {
        let said = activated(&one.opened_as(3), variables, "prints_inherited", &[]);
        assert_eq!(said, expected, "{variables}");
    }
    // The control: the same descriptor, announced for this process.
    let said = activated(&one.opened_as(3), "LISTEN_PID=$$ LISTEN_FDS=1", "prints_inherited", &[]);
    assert_eq!(said, "unknown\n0");
}

fn takes_all_of_one_name(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    let texts = [(); 2].map(|()| text_of(inherited.take::<std::fs::File>("a").unwrap()));
    let third = inherited.take::<OwnedHandle>("a");
    assert!(matches!(third, Err(Error::AlreadyTaken { .. })), "{third:?}");
    println!("{}", texts.join(" "));
}

fn one_name_can_have_several_descriptors() {
    let (one, two) = (Text::new("one"), Text::new("two"));
    let opens = format!("{}; {}", one.opened_as(3), two.opened_as(4));
    let variables = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:a";
    assert_eq!(activated(&opens, variables, "takes_all_of_one_name", &[]), "one two");
}

/// Reads the manifest twice, and prints the error of each attempt.
fn prints_errors(_: &[String]) {
    let before = table::of(std::process::id());
    for _ in 0..2 {
        println!("{}", handover::inherited().unwrap_err());
    }
    assert_eq!(table::of(std::process::id()), before);
}

fn inherited_fails_if_one_descriptor_is_closed() {
    // Two descriptors are announced, and one of them is open.
    let one = Text::new("one");
    let variables = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b";
    for (open, closed) in [(3, "\"b\" with handle 4"), (4, "\"a\" with handle 3")] {
        let said = activated(&one.opened_as(open), variables, "prints_errors", &[]);
        assert_eq!(said.matches(&format!("the inherited object {closed} is not open")).count(), 2, "{said}");
    }
}

fn inherited_rejects_invalid_variables() {
    let one = Text::new("one");
    for (variables, expected) in [
        ("LISTEN_PID=x LISTEN_FDS=1", "LISTEN_PID"),
        ("LISTEN_PID= LISTEN_FDS=1", "LISTEN_PID"),
        ("LISTEN_PID=-1 LISTEN_FDS=1", "LISTEN_PID"),
        ("LISTEN_PID=$$ LISTEN_FDS=x", "LISTEN_FDS"),
        ("LISTEN_PID=$$ LISTEN_FDS=-1", "LISTEN_FDS"),
        ("LISTEN_PID=$$ LISTEN_FDS=4294967297", "LISTEN_FDS"),
        ("LISTEN_PID=$$ LISTEN_FDS=2147483647", "LISTEN_FDS"),
        ("LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a:b:c", "LISTEN_FDNAMES"),
    ] {
        let said = activated(&one.opened_as(3), variables, "prints_inherited", &[]);
        assert_eq!(said, format!("bad {expected}\n1"), "{variables}");
    }
}

fn takes_both(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    inherited.take::<Event>("ready").unwrap().set().unwrap();
    println!("{}", text_of(inherited.take::<std::fs::File>("a").unwrap()));
}

fn manager_and_parent_can_both_pass_objects() {
    let (one, ready) = (Text::new("one"), Event::manual_reset().unwrap());
    // The shell is the child: it opens what a service manager would open, and becomes the program.
    let script =
        format!("{}\nLISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a exec \"$0\" \"$@\"", one.opened_as(3));
    // The event's number must not be 3, which the shell opens.
    let high = handover_tests::raw::copy_from(&ready, 20);
    let mut command = handover::Command::new("sh");
    command.args(["-c", &script]).arg(this_program()).args(role("takes_both", &[]));
    let places: Vec<_> = (0..10).map(|_| Event::manual_reset().unwrap()).collect();
    let output = command.inherit("ready", &high).stdin(handover::Stdio::null()).output().unwrap();
    drop(places);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), "one");
    assert!(ready.try_wait().unwrap());
}

fn has_a_child(_: &[String]) {
    let mut command = handover::Command::new(this_program());
    let mut child = command.args(role("prints_inherited", &[])).spawn().unwrap();
    assert_eq!(child.wait_timeout(Duration::from_secs(10)).unwrap().code(), Some(0));
}

fn copied_variables_give_a_child_nothing() {
    let one = Text::new("one");
    let variables = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a";
    let said = activated(&one.opened_as(3), variables, "has_a_child", &[]);
    assert!(said.starts_with("LISTEN_PID is for process ") && said.ends_with("\n0"), "{said}");
}

fn takes_the_event(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    assert_eq!(inherited.names(), ["ready"]);
    inherited.take::<Event>("ready").unwrap().set().unwrap();
}

fn invalid_variables_do_not_hide_parents_objects() {
    for (pid, count) in [("x", "1"), ("", "1"), ("-1", "x")] {
        let ready = Event::manual_reset().unwrap();
        let before = table::count();
        let mut command = handover::Command::new(this_program());
        command.args(role("takes_the_event", &[])).inherit("ready", &ready).kill_on_drop(true);
        let mut child = command.env("LISTEN_PID", pid).env("LISTEN_FDS", count).spawn().unwrap();
        assert_eq!(child.wait_timeout(Duration::from_secs(10)).unwrap().code(), Some(0));
        assert!(ready.try_wait().unwrap());
        drop((child, command));
        assert_eq!(table::count(), before);
    }
}

fn coincidental_variables_do_not_hide_parents_objects() {
    // The event must not have the number 3, which the variables name.
    let _fillers: Vec<_> = (0..4).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let ready = Event::manual_reset().unwrap();
    let mut command = handover::Command::new("sh");
    command.args(["-c", r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#]).arg(this_program());
    command.args(role("takes_the_event", &[])).inherit("ready", &ready).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    assert_eq!(child.wait_timeout(Duration::from_secs(10)).unwrap().code(), Some(0));
    assert!(ready.try_wait().unwrap());
}
