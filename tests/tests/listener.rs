//! Tests of listeners: processes that are not parent and child connect by name.

use std::io::{BufRead, BufReader};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use handover::{Channel, Child, Command, Error, Event, Listener, Message, Stdio, User};
use handover_tests::{door, expect, role, settled, table, tests, this_program};

const SOON: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            objects_travel_both_ways_between_unrelated_processes,
            server_sees_process_and_user_and_can_refuse,
            second_listener_of_a_name_fails,
            connect_fails_without_listener,
            bind_and_connect_reject_invalid_names,
            accept_and_connect_time_out,
            hundred_concurrent_clients_are_served,
            silent_client_delays_others_briefly,
            silent_client_does_not_keep_the_name,
            client_killed_while_connecting_leaves_nothing,
            recv_fails_when_client_is_killed,
            recv_and_connect_fail_when_server_is_killed,
        ],
        tests![client, connects_silently, serves],
    )
}

fn name(test: &str) -> String {
    format!("test.{test}.{}", std::process::id())
}

/// Starts a process that knows only the listener's name, by std's `Command`.
fn stranger(role_name: &str, arguments: &[&str]) -> std::process::Child {
    let mut command = std::process::Command::new(this_program());
    command.args(role(role_name, arguments)).stdout(std::process::Stdio::piped());
    command.spawn().unwrap()
}

fn said(child: &mut std::process::Child) -> String {
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Connects, sets the event that it receives, sends an event of its own, and waits for the end of the channel.
fn client(arguments: &[String]) {
    let channel = match Channel::connect_timeout(&arguments[0], SOON) {
        Ok(channel) => channel,
        Err(Error::ConnectionRefused { pid: process, .. }) => {
            println!("refused by {process}");
            return;
        }
        Err(other) => panic!("{other:?}"),
    };
    println!("{}", channel.peer().unwrap().id());
    let message = channel.recv_timeout(SOON).unwrap();
    message.take::<Event>("theirs").unwrap().set().unwrap();
    let own = Event::manual_reset().unwrap();
    channel.send(Message::new(message.bytes()).with("own", &own)).unwrap();
    own.wait_timeout(SOON).unwrap();
    channel.send(b"woken").unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn serve(channel: &Channel) {
    let event = Event::manual_reset().unwrap();
    channel.send(Message::new(b"to a stranger").with("theirs", &event)).unwrap();
    let answer = channel.recv_timeout(SOON).unwrap();
    assert_eq!(answer.bytes(), b"to a stranger");
    assert!(event.try_wait().unwrap());
    answer.take::<Event>("own").unwrap().set().unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"woken");
}

fn objects_travel_both_ways_between_unrelated_processes() {
    let name = name("both");
    let mut listener = Listener::bind(&name).unwrap();
    let mut first = None;
    for _ in 0..3 {
        let mut stranger = stranger("client", &[&name]);
        let incoming = listener.accept_timeout(SOON).unwrap();
        assert_eq!(incoming.process().id(), stranger.id());
        assert_eq!(*incoming.user(), User::current().unwrap());
        let channel = incoming.accept().unwrap();
        assert_eq!(said(&mut stranger), std::process::id().to_string());
        assert_eq!(channel.peer().unwrap().id(), stranger.id());
        serve(&channel);
        drop(channel);
        assert_eq!(stranger.wait().unwrap().code(), Some(0));
        // State that the first connection creates stays open.
        let handles = table::count();
        assert!(first.is_none_or(|first| handles <= first), "{first:?} and {handles}");
        first = Some(handles);
    }
}

fn server_sees_process_and_user_and_can_refuse() {
    let name = name("refuse");
    let mut listener = Listener::bind(&name).unwrap();
    let nobody: User = expect::ANOTHER_USER.parse().unwrap();
    for way in 0..3 {
        let mut stranger = stranger("client", &[&name]);
        let incoming = listener.accept_timeout(SOON).unwrap();
        match way {
            // Three reasons to refuse: the wrong user, the wrong process, and an `Incoming` that is dropped.
            0 if *incoming.user() != nobody => incoming.refuse(),
            1 if incoming.process().id() != std::process::id() => incoming.refuse(),
            _ => drop(incoming),
        }
        assert_eq!(said(&mut stranger), format!("refused by {}", std::process::id()));
        assert_eq!(stranger.wait().unwrap().code(), Some(0));
    }
    // The next client is accepted.
    let mut stranger = stranger("client", &[&name]);
    let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
    serve(&channel);
    drop(channel);
    assert_eq!(stranger.wait().unwrap().code(), Some(0));
}

fn second_listener_of_a_name_fails() {
    let name = name("one");
    let before = table::count();
    let listener = Listener::bind(&name).unwrap();
    match Listener::bind(&name) {
        Err(Error::NameInUse { name: taken, .. }) => assert_eq!(taken, name),
        other => panic!("{other:?}"),
    }
    drop(listener);
    drop(Listener::bind(&name).unwrap());
    assert_eq!(table::count(), before);
}

fn silent_client_does_not_keep_the_name() {
    let name = name("keeps");
    for _ in 0..3 {
        let mut listener = Listener::bind(&name).unwrap();
        let mut hostile = stranger("connects_silently", &[&name]);
        // The first client waits to be accepted, and is being accepted.
        assert_eq!(said(&mut hostile), "here");
        let _ = listener.accept_timeout(SOON).unwrap().process();
        drop(listener);
        drop(Listener::bind(&name).unwrap());
        hostile.kill().unwrap();
        hostile.wait().unwrap();
    }
}

fn connect_fails_without_listener() {
    let name = name("nobody");
    let started = Instant::now();
    for _ in 0..2 {
        match Channel::connect_timeout(&name, SOON) {
            Err(Error::NoListener { name: missing, .. }) => assert_eq!(missing, name),
            other => panic!("{other:?}"),
        }
        // The result is the same after a listener has closed.
        drop(Listener::bind(&name).unwrap());
    }
    assert!(started.elapsed() < Duration::from_secs(3));
}

fn bind_and_connect_reject_invalid_names() {
    let before = table::count();
    for (name, part) in [
        ("", "is empty"),
        ("a\\b", "backslash"),
        ("a/b", "slash"),
        ("a\0b", "NUL"),
        (&"n".repeat(300), "too long"),
    ] {
        for error in [Listener::bind(name).unwrap_err(), Channel::connect(name).unwrap_err()] {
            assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    drop(Listener::bind(&"ä🦀 with spaces".repeat(3)).unwrap());
    assert_eq!(table::count(), before);
}

fn accept_and_connect_time_out() {
    let name = name("deadlines");
    let mut listener = Listener::bind(&name).unwrap();
    let before = table::count();
    let time = Duration::from_millis(200);
    for _ in 0..2 {
        let started = Instant::now();
        assert!(matches!(listener.accept_timeout(time), Err(Error::TimedOut { .. })));
        assert!(started.elapsed() >= time);
        // Nothing is accepted: one client waits at the listener, and another one waits behind it.
        let first = std::thread::spawn({
            let name = name.clone();
            move || Channel::connect_timeout(&name, Duration::from_millis(600)).unwrap_err()
        });
        std::thread::sleep(Duration::from_millis(100));
        let started = Instant::now();
        let second = Channel::connect_timeout(&name, time).unwrap_err();
        assert!(matches!(second, Error::TimedOut { .. }), "{second:?}");
        assert!(started.elapsed() >= time && started.elapsed() < Duration::from_secs(3));
        let first = first.join().unwrap();
        assert!(matches!(first, Error::TimedOut { .. }), "{first:?}");
    }
    assert_eq!(table::count(), before);
}

fn hundred_concurrent_clients_are_served() {
    let name = name("hundred");
    let mut listener = Listener::bind(&name).unwrap();
    let before = table::count();
    let clients: Vec<_> = (0..100).map(|_| stranger("client", &[&name])).collect();
    let threads: Vec<_> = (0..100)
        .map(|_| {
            let channel = listener.accept_timeout(Duration::from_secs(60)).unwrap().accept().unwrap();
            std::thread::spawn(move || serve(&channel))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    for mut client in clients {
        assert_eq!(client.wait().unwrap().code(), Some(0));
    }
    assert!(table::count() <= before + 2, "{} and {before}", table::count());
}

/// Opens the listener's pipe or socket, and does nothing else.
fn connects_silently(arguments: &[String]) {
    let _door = door::connect(&arguments[0]).unwrap();
    println!("here");
    std::thread::sleep(Duration::from_secs(60));
}

fn silent_client_delays_others_briefly() {
    let name = name("door");
    let mut listener = Listener::bind(&name).unwrap();
    for _ in 0..2 {
        let mut hostile = stranger("connects_silently", &[&name]);
        let incoming = listener.accept_timeout(SOON).unwrap();
        assert_eq!(said(&mut hostile), "here");
        let theirs = settled(hostile.id());
        let before = table::count();
        let started = Instant::now();
        // Depending on the system, the client is accepted and never sends, or its acceptance times out.
        match incoming.accept() {
            Ok(channel) => {
                let silent = channel.recv_timeout(Duration::from_millis(200));
                assert!(matches!(silent, Err(Error::TimedOut { .. })), "{silent:?}");
            }
            Err(Error::TimedOut { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(settled(hostile.id()), theirs, "the handles that it was given are closed in its table");
        assert!(table::count() <= before, "{} and {before}", table::count());
        // Other clients are accepted.
        let mut client = stranger("client", &[&name]);
        let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
        serve(&channel);
        drop(channel);
        assert_eq!(client.wait().unwrap().code(), Some(0));
        hostile.kill().unwrap();
        hostile.wait().unwrap();
    }
}

fn client_killed_while_connecting_leaves_nothing() {
    let name = name("dies");
    let mut listener = Listener::bind(&name).unwrap();
    let mut hostile = stranger("connects_silently", &[&name]);
    let incoming = listener.accept_timeout(SOON).unwrap();
    hostile.kill().unwrap();
    hostile.wait().unwrap();
    let gone = incoming.accept().unwrap_err();
    assert!(matches!(gone, Error::ProcessExited { .. }), "{gone:?}");
    drop(hostile);
    let before = table::count();
    let mut client = stranger("client", &[&name]);
    let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
    serve(&channel);
    drop(channel);
    assert_eq!(client.wait().unwrap().code(), Some(0));
    drop(client);
    assert_eq!(table::count(), before);
}

fn recv_fails_when_client_is_killed() {
    let name = name("client");
    let mut listener = Listener::bind(&name).unwrap();
    let mut client = stranger("client", &[&name]);
    let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
    client.kill().unwrap();
    match channel.recv_timeout(SOON) {
        Err(Error::ProcessExited { pid: process, .. }) => assert_eq!(process, client.id()),
        other => panic!("{other:?}"),
    }
    client.wait().unwrap();
}

fn serves(arguments: &[String]) {
    let mut listener = Listener::bind(&arguments[0]).unwrap();
    println!("listens");
    let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
    println!("serves");
    std::thread::sleep(Duration::from_secs(60));
    drop(channel);
}

fn server(name: &str) -> Child {
    let mut command = Command::new(this_program());
    command.args(role("serves", &[name])).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(1, server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), "listens");
    server
}

fn recv_and_connect_fail_when_server_is_killed() {
    let name = name("server");
    let mut server = server(&name);
    let channel = Channel::connect_timeout(&name, SOON).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            server.kill().unwrap();
        });
        let started = Instant::now();
        assert!(matches!(channel.recv(), Err(Error::ProcessExited { .. })));
        assert!(started.elapsed() < Duration::from_secs(4));
    });
    // A server that is killed before it accepts the second client.
    let mut server = self::server(&name);
    let first = Channel::connect_timeout(&name, SOON).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            server.kill().unwrap();
        });
        let late = Channel::connect_timeout(&name, SOON).unwrap_err();
        assert!(
            matches!(
                late,
                Error::ProcessExited { .. } | Error::NoListener { .. } | Error::ConnectionRefused { .. }
            ),
            "{late:?}"
        );
    });
    drop(first);
}
