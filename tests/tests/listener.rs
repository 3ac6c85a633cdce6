//! Processes that aren't parent and child meet under a name.

use std::io::{BufRead, BufReader};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use handover::{Channel, Child, Command, Error, Event, Listener, Message, Stdio, User};
use handover_tests::{door, expect, role, settled, table, tests, this_program};

const SOON: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            objects_go_both_ways_between_strangers,
            the_server_knows_who_comes_and_can_refuse,
            a_name_is_one_listeners,
            nobody_listens,
            what_can_not_be_a_name_is_refused,
            accepting_and_connecting_have_deadlines,
            a_hundred_clients_at_once,
            who_stands_in_the_door_costs_a_moment,
            who_stands_in_the_door_does_not_keep_the_name,
            a_client_that_dies_in_the_door_leaves_nothing,
            a_client_that_dies_is_gone,
            a_server_that_dies_is_gone,
        ],
        tests![client, stands_in_the_door, serves],
    )
}

fn name(test: &str) -> String {
    format!("test.{test}.{}", std::process::id())
}

/// A process that isn't told anything but the name: started by std, as any stranger.
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

/// Connects, sets the event that it gets, sends one of its own, and waits for the end.
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
    let mut message = channel.recv_timeout(SOON).unwrap();
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
    let mut answer = channel.recv_timeout(SOON).unwrap();
    assert_eq!(answer.bytes(), b"to a stranger");
    assert!(event.try_wait().unwrap());
    answer.take::<Event>("own").unwrap().set().unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"woken");
}

fn objects_go_both_ways_between_strangers() {
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
        assert!(stranger.wait().unwrap().success());
        // What the first one needed once is there from then on.
        let handles = table::count();
        assert!(first.is_none_or(|first| handles <= first), "{first:?} and {handles}");
        first = Some(handles);
    }
}

fn the_server_knows_who_comes_and_can_refuse() {
    let name = name("refuse");
    let mut listener = Listener::bind(&name).unwrap();
    let nobody: User = expect::ANOTHER_USER.parse().unwrap();
    for way in 0..3 {
        let mut stranger = stranger("client", &[&name]);
        let incoming = listener.accept_timeout(SOON).unwrap();
        match way {
            // A policy that asks for another user, one that asks for another process, and one that forgets.
            0 if *incoming.user() != nobody => incoming.refuse(),
            1 if incoming.process().id() != std::process::id() => incoming.refuse(),
            _ => drop(incoming),
        }
        assert_eq!(said(&mut stranger), format!("refused by {}", std::process::id()));
        assert!(stranger.wait().unwrap().success());
    }
    // The next one is served.
    let mut stranger = stranger("client", &[&name]);
    let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
    serve(&channel);
    drop(channel);
    assert!(stranger.wait().unwrap().success());
}

fn a_name_is_one_listeners() {
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

fn who_stands_in_the_door_does_not_keep_the_name() {
    let name = name("keeps");
    for _ in 0..3 {
        let mut listener = Listener::bind(&name).unwrap();
        let mut hostile = stranger("stands_in_the_door", &[&name]);
        // Before it is accepted, and while it is.
        assert_eq!(said(&mut hostile), "here");
        let _ = listener.accept_timeout(SOON).unwrap().process();
        drop(listener);
        drop(Listener::bind(&name).unwrap());
        hostile.kill().unwrap();
        hostile.wait().unwrap();
    }
}

fn nobody_listens() {
    let name = name("nobody");
    let started = Instant::now();
    for _ in 0..2 {
        match Channel::connect_timeout(&name, SOON) {
            Err(Error::NoListener { name: missing, .. }) => assert_eq!(missing, name),
            other => panic!("{other:?}"),
        }
        // The same after somebody has.
        drop(Listener::bind(&name).unwrap());
    }
    assert!(started.elapsed() < Duration::from_secs(3));
}

fn what_can_not_be_a_name_is_refused() {
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

fn accepting_and_connecting_have_deadlines() {
    let name = name("deadlines");
    let mut listener = Listener::bind(&name).unwrap();
    let before = table::count();
    let time = Duration::from_millis(200);
    for _ in 0..2 {
        let started = Instant::now();
        assert!(matches!(listener.accept_timeout(time), Err(Error::TimedOut { .. })));
        assert!(started.elapsed() >= time);
        // Nobody accepts: the first client waits in the door, and another before it.
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

fn a_hundred_clients_at_once() {
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
        assert!(client.wait().unwrap().success());
    }
    assert!(table::count() <= before + 2, "{} and {before}", table::count());
}

/// Opens the door and stays in it.
fn stands_in_the_door(arguments: &[String]) {
    let _door = door::knock(&arguments[0]).unwrap();
    println!("here");
    std::thread::sleep(Duration::from_secs(60));
}

fn who_stands_in_the_door_costs_a_moment() {
    let name = name("door");
    let mut listener = Listener::bind(&name).unwrap();
    for _ in 0..2 {
        let mut hostile = stranger("stands_in_the_door", &[&name]);
        let incoming = listener.accept_timeout(SOON).unwrap();
        assert_eq!(said(&mut hostile), "here");
        let theirs = settled(hostile.id());
        let before = table::count();
        let started = Instant::now();
        // It is let in and never speaks, or it is sent away, by the way in which the system lets somebody in.
        match incoming.accept() {
            Ok(channel) => {
                let silent = channel.recv_timeout(Duration::from_millis(200));
                assert!(matches!(silent, Err(Error::TimedOut { .. })), "{silent:?}");
            }
            Err(Error::TimedOut { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(settled(hostile.id()), theirs, "what it was given is closed over there");
        assert!(table::count() <= before, "{} and {before}", table::count());
        // Others come in.
        let mut client = stranger("client", &[&name]);
        let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
        serve(&channel);
        drop(channel);
        assert!(client.wait().unwrap().success());
        hostile.kill().unwrap();
        hostile.wait().unwrap();
    }
}

fn a_client_that_dies_in_the_door_leaves_nothing() {
    let name = name("dies");
    let mut listener = Listener::bind(&name).unwrap();
    let mut hostile = stranger("stands_in_the_door", &[&name]);
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
    assert!(client.wait().unwrap().success());
    drop(client);
    assert_eq!(table::count(), before);
}

fn a_client_that_dies_is_gone() {
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

fn a_server_that_dies_is_gone() {
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
    // One that dies before it answers.
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
