//! What another process does or leaves undone ends a wait in good time.

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
        a_send_ends_when_another_thread_finds_a_broken_rule,
        a_byte_in_time_is_no_reason_to_wait_longer,
        a_copy_of_a_killed_server_keeps_nobody_waiting,
        a_copy_of_a_server_killed_before_keeps_nobody_waiting,
        a_copy_of_a_killed_peer_keeps_no_sender_waiting,
    ],
    roles: tests![breaks_a_rule, writes_one_byte, has_a_copy, lets_in_and_has_a_copy],
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
    let end = weaker::End::inherited();
    let read = inherited("read");
    inherited("break").wait_timeout(SOON).unwrap();
    assert!(end.write(b"no frame, and long enough to be seen as none", &[], SOON));
    read.wait_timeout(SOON).unwrap();
    // What was sent before is there, and then the end.
    while let Some(bytes) = end.read(SOON) {
        if bytes.is_empty() {
            return;
        }
    }
    panic!("it doesn't end");
}

fn a_send_ends_when_another_thread_finds_a_broken_rule() {
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
    assert!(early.is_err(), "the control: nobody reads it, and it waits: {early:?}");
    let receiver = {
        let channel = Arc::clone(&channel);
        std::thread::spawn(move || channel.recv_timeout(SOON))
    };
    std::thread::sleep(Duration::from_millis(100));
    to_break.set().unwrap();
    let sent = said.recv_timeout(Duration::from_secs(3)).expect("the send ends");
    // It may meet the end before it is known why.
    assert!(matches!(sent, Err(Error::Protocol { .. } | Error::Disconnected { .. })), "{sent:?}");
    sender.join().unwrap();
    let received = receiver.join().unwrap();
    assert!(matches!(received, Err(Error::Protocol { .. })), "{received:?}");
    let next = channel.send(b"next");
    assert!(matches!(next, Err(Error::Protocol { .. })), "{next:?}");
    // The channel is still held here.
    to_read.set().unwrap();
    assert!(child.wait_timeout(SOON).unwrap().success(), "the other end sees the end");
    drop((child, channel));
    assert_eq!(table::count(), before);
}

fn writes_one_byte(arguments: &[String]) {
    let end = weaker::End::inherited();
    let begin = inherited("begin");
    begin.wait_timeout(SOON).unwrap();
    std::thread::sleep(Duration::from_millis(arguments[0].parse().unwrap()));
    assert!(end.write(b"H", &[], SOON));
    std::thread::sleep(SOON);
}

fn a_byte_in_time_is_no_reason_to_wait_longer() {
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

/// Listens, and lets nobody in. A copy that says nothing has the socket too.
fn has_a_copy(arguments: &[String]) {
    let _listener = Listener::bind(&arguments[0]).unwrap();
    println!("{}", calls::copy_that_sleeps(Duration::from_secs(20)));
    std::thread::sleep(Duration::from_secs(30));
}

/// A server and the id of its copy.
fn server(name: &str) -> (Child, u32) {
    let mut command = Command::new(this_program());
    command.args(role("has_a_copy", &[name])).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim_end().parse().unwrap())
}

/// Lets one in, sends it so many events, and reads nothing. A copy that says nothing has the channel too.
fn lets_in_and_has_a_copy(arguments: &[String]) {
    let mut listener = Listener::bind(&arguments[0]).unwrap();
    println!("listens");
    let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
    let event = Event::manual_reset().unwrap();
    for _ in 0..arguments[1].parse().unwrap() {
        channel.send(Message::new(b"").with("event", &event)).unwrap();
    }
    println!("{}", calls::copy_that_sleeps(Duration::from_secs(20)));
    std::thread::sleep(Duration::from_secs(30));
}

fn a_copy_of_a_killed_peer_keeps_no_sender_waiting() {
    // A sender reads what comes meanwhile, as long as it has room for it.
    for events in ["0", "100"] {
        let name = format!("copy-of-a-peer.{events}.{}", std::process::id());
        let mut command = Command::new(this_program());
        command.args(role("lets_in_and_has_a_copy", &[&name, events])).stdin(Stdio::null());
        let mut peer = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(peer.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "listens");
        let channel = Channel::connect_timeout(&name, SOON).unwrap();
        let copy = lines.next().unwrap().parse().unwrap();
        let sender = std::thread::spawn(move || channel.send_timeout(vec![7; 4 << 20], SOON));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!sender.is_finished(), "the control: nobody reads it, and it waits");
        peer.kill().unwrap();
        let sent = sender.join().unwrap();
        assert!(!table::ends_within(copy, 0), "the control: the copy has the channel still");
        table::kill(copy);
        assert!(matches!(sent, Err(Error::ProcessExited { .. })), "{sent:?}");
        peer.wait_timeout(SOON).unwrap();
    }
}

fn is_gone(outcome: &Result<Channel, Error>, took: Duration) {
    assert!(matches!(outcome, Err(Error::ProcessExited { .. } | Error::NoListener { .. })), "{outcome:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

fn a_copy_of_a_killed_server_keeps_nobody_waiting() {
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
    assert!(!client.is_finished(), "the control: it waits");
    let killed = Instant::now();
    server.kill().unwrap();
    server.wait_timeout(SOON).unwrap();
    let (outcome, ended) = client.join().unwrap();
    assert!(!table::ends_within(copy, 0), "the control: the copy has the socket still");
    table::kill(copy);
    is_gone(&outcome, ended.duration_since(killed));
    drop((outcome, server));
    assert_eq!(table::count(), before);
}

fn a_copy_of_a_server_killed_before_keeps_nobody_waiting() {
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
    is_gone(&outcome, took);
    drop((outcome, server));
    assert_eq!(table::count(), before);
}
