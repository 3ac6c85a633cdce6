//! What a service manager hands down.

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
        systemd_hands_down_a_socket_by_its_name,
        descriptors_are_taken_by_the_names_that_are_told,
        what_is_meant_for_another_process_is_none_of_ours,
        a_name_can_be_several_descriptors,
        one_closed_descriptor_makes_the_list_an_error,
        nonsense_is_refused,
        a_manager_and_a_parent_can_both_hand_something_down,
        a_child_that_copies_the_variables_has_nothing,
        nonsense_of_a_manager_does_not_hide_what_a_parent_gives,
    ],
    roles: tests![
        serves,
        takes,
        takes_all_of_one_name,
        says_what_it_has,
        takes_both,
        has_a_child,
        takes_the_event,
        says_why
    ],
};

const MANAGER: &str = "/usr/bin/systemd-socket-activate";

/// Answers one connection on the socket that it was handed down, as the type that the argument says.
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
            // Of no type in particular, and then of one of std's.
            let listener = TcpListener::from(inherited.take::<OwnedHandle>("web").unwrap());
            listener.set_nonblocking(false).unwrap();
            listener.accept().unwrap().0.write_all(b"served").unwrap();
        }
    }
    assert!(matches!(inherited.take::<OwnedHandle>("web"), Err(Error::AlreadyTaken { .. })));
}

fn systemd_hands_down_a_socket_by_its_name() {
    if !Path::new(MANAGER).exists() {
        left_out("there is no systemd-socket-activate");
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
        // It has become the program.
        assert!(manager.wait().unwrap().success());
        let _ = std::fs::remove_file(&path);
    }
}

/// This program in a role, by a shell that does what managers do: opens descriptors from 3 on and says so.
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
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A file with some text, gone with the test.
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

/// Takes files by the names that the arguments say, and says what is in them.
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

fn descriptors_are_taken_by_the_names_that_are_told() {
    let (one, two) = (Text::new("one"), Text::new("two"));
    let opens = format!("{}; {}", one.opened_as(3), two.opened_as(4));
    let for_it = "LISTEN_PID=$$ LISTEN_FDS=2";
    let said = activated(&opens, &format!("{for_it} LISTEN_FDNAMES=a:b"), "takes", &["b", "a"]);
    assert_eq!(said, "a:b two one");
    // Without names both have the same.
    let said = activated(&opens, for_it, "takes", &["unknown", "unknown"]);
    assert_eq!(said, "unknown:unknown one two");
}

fn says_what_it_has(_: &[String]) {
    match handover::inherited() {
        Ok(inherited) => println!("{}", inherited.names().join(":")),
        Err(Error::NothingInherited { .. }) => println!("nothing"),
        Err(Error::InvalidManifest { name: variable, .. }) => println!("bad {variable}"),
        Err(other) => println!("{other:?}"),
    }
    // What nobody is told of is seen to be there.
    println!("{}", handover::leaked_handles().unwrap().len());
}

fn what_is_meant_for_another_process_is_none_of_ours() {
    let one = Text::new("one");
    for variables in
        ["LISTEN_PID=1 LISTEN_FDS=1", "LISTEN_PID=$PPID LISTEN_FDS=1 LISTEN_FDNAMES=a", "LISTEN_FDS=1", "A=b"]
    {
        let said = activated(&one.opened_as(3), variables, "says_what_it_has", &[]);
        assert_eq!(said, "nothing\n1", "{variables}");
    }
    // The control.
    let said = activated(&one.opened_as(3), "LISTEN_PID=$$ LISTEN_FDS=1", "says_what_it_has", &[]);
    assert_eq!(said, "unknown\n0");
}

fn takes_all_of_one_name(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    let texts = [(); 2].map(|()| text_of(inherited.take::<std::fs::File>("a").unwrap()));
    let third = inherited.take::<OwnedHandle>("a");
    assert!(matches!(third, Err(Error::AlreadyTaken { .. })), "{third:?}");
    println!("{}", texts.join(" "));
}

fn a_name_can_be_several_descriptors() {
    let (one, two) = (Text::new("one"), Text::new("two"));
    let opens = format!("{}; {}", one.opened_as(3), two.opened_as(4));
    let variables = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:a";
    assert_eq!(activated(&opens, variables, "takes_all_of_one_name", &[]), "one two");
}

/// Asks for the list twice, and says why there is none.
fn says_why(_: &[String]) {
    let before = table::of(std::process::id());
    for _ in 0..2 {
        println!("{}", handover::inherited().unwrap_err());
    }
    assert_eq!(table::of(std::process::id()), before);
}

fn one_closed_descriptor_makes_the_list_an_error() {
    // Of the two descriptors that are announced, one is open.
    let one = Text::new("one");
    let variables = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b";
    for (open, closed) in [(3, "\"b\" (handle 0x4)"), (4, "\"a\" (handle 0x3)")] {
        let said = activated(&one.opened_as(open), variables, "says_why", &[]);
        assert_eq!(said.matches(&format!("the inherited object {closed} is not open")).count(), 2, "{said}");
    }
}

fn nonsense_is_refused() {
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
        let said = activated(&one.opened_as(3), variables, "says_what_it_has", &[]);
        assert_eq!(said, format!("bad {expected}\n1"), "{variables}");
    }
}

fn takes_both(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    inherited.take::<Event>("ready").unwrap().set().unwrap();
    println!("{}", text_of(inherited.take::<std::fs::File>("a").unwrap()));
}

fn a_manager_and_a_parent_can_both_hand_something_down() {
    let (one, ready) = (Text::new("one"), Event::manual_reset().unwrap());
    // The shell is the child, opens what the manager would, and becomes the program.
    let script =
        format!("{}\nLISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a exec \"$0\" \"$@\"", one.opened_as(3));
    // The number that the event has must be another.
    let high = handover_tests::raw::copy_from(&ready, 20);
    let mut command = handover::Command::new("sh");
    command.args(["-c", &script]).arg(this_program()).args(role("takes_both", &[]));
    let places: Vec<_> = (0..10).map(|_| Event::manual_reset().unwrap()).collect();
    let output = command.inherit("ready", &high).stdin(handover::Stdio::null()).output().unwrap();
    drop(places);
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), "one");
    assert!(ready.try_wait().unwrap());
}

fn has_a_child(_: &[String]) {
    let mut command = handover::Command::new(this_program());
    let mut child = command.args(role("says_what_it_has", &[])).spawn().unwrap();
    assert!(child.wait_timeout(Duration::from_secs(10)).unwrap().success());
}

fn a_child_that_copies_the_variables_has_nothing() {
    let one = Text::new("one");
    let variables = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a";
    assert_eq!(activated(&one.opened_as(3), variables, "has_a_child", &[]), "nothing\n0");
}

fn takes_the_event(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    assert_eq!(inherited.names(), ["ready"]);
    inherited.take::<Event>("ready").unwrap().set().unwrap();
}

fn nonsense_of_a_manager_does_not_hide_what_a_parent_gives() {
    for (pid, count) in [("x", "1"), ("", "1"), ("-1", "x")] {
        let ready = Event::manual_reset().unwrap();
        let before = table::count();
        let mut command = handover::Command::new(this_program());
        command.args(role("takes_the_event", &[])).inherit("ready", &ready).kill_on_drop(true);
        let mut child = command.env("LISTEN_PID", pid).env("LISTEN_FDS", count).spawn().unwrap();
        assert!(child.wait_timeout(Duration::from_secs(10)).unwrap().success());
        assert!(ready.try_wait().unwrap());
        drop((child, command));
        assert_eq!(table::count(), before);
    }
}
