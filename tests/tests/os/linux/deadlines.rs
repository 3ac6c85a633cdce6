//! Tests that waits end in time, no matter how another process behaves.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use handover::{Channel, Child, Command, Error, Event, Listener, Message, Stdio};
use handover_tests::{Suite, role, table, tests, this_program, weaker};

use super::calls;

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "deadlines",
    tests: tests![
        send_fails_when_another_thread_detects_violation,
        partial_message_does_not_extend_timeout,
        timeouts_of_two_receivers_are_kept,
        connect_fails_when_server_is_killed_despite_forked_copy,
        connect_fails_if_server_was_killed_despite_forked_copy,
        send_fails_when_peer_is_killed_despite_forked_copy,
    ],
    roles: tests![breaks_a_rule, writes_one_byte, has_a_copy, accepts_and_has_a_copy],
};

fn with_events(name: &str, arguments: &[&str], events: &[(&'static str, &Event)]) -> (Child, Channel) {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).kill_on_drop(true);
    for (name, event) in events {
        command.inherit(*name, *event);
    }
    let mut child = command.channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    (child, channel)
}

fn inherited(name: &str) -> Event {
    handover::inherited().unwrap().take(name).unwrap()
}

fn breaks_a_rule(_: &[String]) {
    let end = weaker::Endpoint::inherited();
    let read = inherited("read");
    inherited("break").wait_timeout(SOON).unwrap();
    assert!(end.write(b"no frame, and long enough to be seen as none", &[], SOON));
    read.wait_timeout(SOON).unwrap();
    // The bytes that were sent earlier are followed by end of file.
    while let Some(bytes) = end.read(SOON) {
        if bytes.is_empty() {
            return;
        }
    }
    panic!("no end of file within the timeout");
}

fn send_fails_when_another_thread_detects_violation() {
    let (to_break, to_read) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let before = table::count();
    let (mut child, channel) = with_events("breaks_a_rule", &[], &[("break", &to_break), ("read", &to_read)]);
    let channel = Arc::new(channel);
    let (says, said) = mpsc::channel();
    let sender = {
        let channel = Arc::clone(&channel);
        std::thread::spawn(move || says.send(channel.send(vec![7; 4 << 20])).unwrap())
    };
    let early = said.recv_timeout(Duration::from_millis(300));
    assert!(early.is_err(), "the control: the send waits for the peer to read: {early:?}");
    let receiver = {
        let channel = Arc::clone(&channel);
        std::thread::spawn(move || channel.recv_timeout(SOON))
    };
    std::thread::sleep(Duration::from_millis(100));
    to_break.set().unwrap();
    let sent = said.recv_timeout(Duration::from_secs(3)).expect("the send ends");
    // The send may find the socket closed before the other thread has stored the reason.
    assert!(matches!(sent, Err(Error::Protocol { .. } | Error::Disconnected { .. })), "{sent:?}");
    sender.join().unwrap();
    let received = receiver.join().unwrap();
    assert!(matches!(received, Err(Error::Protocol { .. })), "{received:?}");
    let next = channel.send(b"next");
    assert!(matches!(next, Err(Error::Protocol { .. })), "{next:?}");
    // The parent still holds the channel.
    to_read.set().unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0), "the peer sees end of file");
    drop((child, channel));
    assert_eq!(table::count(), before);
}

fn writes_one_byte(arguments: &[String]) {
    let end = weaker::Endpoint::inherited();
    let begin = inherited("begin");
    begin.wait_timeout(SOON).unwrap();
    std::thread::sleep(Duration::from_millis(arguments[0].parse().unwrap()));
    assert!(end.write(b"H", &[], SOON));
    std::thread::sleep(SOON);
}

fn partial_message_does_not_extend_timeout() {
    for after in ["450", "600"] {
        let begin = Event::manual_reset().unwrap();
        let before = table::count();
        let (mut child, channel) = with_events("writes_one_byte", &[after], &[("begin", &begin)]);
        begin.set().unwrap();
        let started = Instant::now();
        let outcome = channel.recv_timeout(Duration::from_millis(700));
        let took = started.elapsed();
        assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
        assert!((700..900).contains(&took.as_millis()), "a byte after {after} ms: {took:?}");
        child.kill().unwrap();
        child.wait_timeout(SOON).unwrap();
        drop((child, channel));
        assert_eq!(table::count(), before);
    }
}

fn timeouts_of_two_receivers_are_kept() {
    let begin = Event::manual_reset().unwrap();
    let (mut child, channel) = with_events("writes_one_byte", &["600000"], &[("begin", &begin)]);
    let timeout = Duration::from_millis(1000);
    let receive = || {
        let started = Instant::now();
        let outcome = channel.recv_timeout(timeout);
        assert!(matches!(outcome, Err(Error::TimedOut { .. })), "{outcome:?}");
        started.elapsed()
    };
    let took = std::thread::scope(|scope| {
        let first = scope.spawn(receive);
        // The second one gets its turn when the first one's time is over, shortly before its own.
        std::thread::sleep(Duration::from_millis(100));
        let second = scope.spawn(receive);
        [first, second].map(|thread| thread.join().unwrap())
    });
    for took in took {
        assert!((1000..1300).contains(&took.as_millis()), "{took:?}");
    }
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
}

/// Binds a listener and accepts no client. A forked copy of this process also has the socket.
fn has_a_copy(arguments: &[String]) {
    let _listener = Listener::bind(&arguments[0]).unwrap();
    println!("{}", calls::fork_that_sleeps(Duration::from_secs(20)));
    std::thread::sleep(Duration::from_secs(30));
}

/// Starts a server, and returns it with the id of its copy.
fn server(name: &str) -> (Child, u32) {
    let mut command = Command::new(this_program());
    command.args(role("has_a_copy", &[name])).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim_end().parse().unwrap())
}

/// Accepts a client, sends it this number of events, and reads nothing. A forked copy of this process also has the
/// channel.
fn accepts_and_has_a_copy(arguments: &[String]) {
    let mut listener = Listener::bind(&arguments[0]).unwrap();
    println!("listens");
    let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
    let event = Event::manual_reset().unwrap();
    for _ in 0..arguments[1].parse().unwrap() {
        channel.send(Message::new(b"").with("event", &event)).unwrap();
    }
    println!("{}", calls::fork_that_sleeps(Duration::from_secs(20)));
    std::thread::sleep(Duration::from_secs(30));
}

fn send_fails_when_peer_is_killed_despite_forked_copy() {
    // A waiting sender also receives, as long as it has room for messages.
    for events in ["0", "100"] {
        let name = format!("copy-of-a-peer.{events}.{}", std::process::id());
        let mut command = Command::new(this_program());
        command.args(role("accepts_and_has_a_copy", &[&name, events])).stdin(Stdio::null());
        let mut peer = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(peer.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "listens");
        let channel = Channel::connect_timeout(&name, SOON).unwrap();
        let copy = lines.next().unwrap().parse().unwrap();
        let sender = std::thread::spawn(move || channel.send_timeout(vec![7; 4 << 20], SOON));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!sender.is_finished(), "the control: the send waits for the peer to read");
        peer.kill().unwrap();
        let sent = sender.join().unwrap();
        assert!(!table::ends_within(copy, 0), "the control: the copy has the channel still");
        table::kill(copy);
        assert!(matches!(sent, Err(Error::ProcessExited { .. })), "{sent:?}");
        peer.wait_timeout(SOON).unwrap();
    }
}

fn assert_server_exited(outcome: &Result<Channel, Error>, took: Duration) {
    assert!(matches!(outcome, Err(Error::ProcessExited { .. } | Error::NoListener { .. })), "{outcome:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

fn connect_fails_when_server_is_killed_despite_forked_copy() {
    let name = format!("copy.{}", std::process::id());
    let before = table::count();
    let (mut server, copy) = server(&name);
    let client = {
        let name = name.clone();
        std::thread::spawn(move || {
            let outcome = Channel::connect_timeout(&name, Duration::from_secs(8));
            (outcome, Instant::now())
        })
    };
    std::thread::sleep(Duration::from_millis(300));
    assert!(!client.is_finished(), "the control: the client waits");
    let killed = Instant::now();
    server.kill().unwrap();
    server.wait_timeout(SOON).unwrap();
    let (outcome, ended) = client.join().unwrap();
    assert!(!table::ends_within(copy, 0), "the control: the copy has the socket still");
    table::kill(copy);
    assert_server_exited(&outcome, ended.duration_since(killed));
    drop((outcome, server));
    assert_eq!(table::count(), before);
}

fn connect_fails_if_server_was_killed_despite_forked_copy() {
    let name = format!("copy-before.{}", std::process::id());
    let before = table::count();
    let (mut server, copy) = server(&name);
    server.kill().unwrap();
    server.wait_timeout(SOON).unwrap();
    let started = Instant::now();
    let outcome = Channel::connect_timeout(&name, Duration::from_secs(5));
    let took = started.elapsed();
    assert!(!table::ends_within(copy, 0), "the control: the copy has the socket still");
    table::kill(copy);
    assert_server_exited(&outcome, took);
    drop((outcome, server));
    assert_eq!(table::count(), before);
}
