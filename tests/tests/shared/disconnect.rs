// Tests of peers that disappear: killed, closed or returned, before, during and after a message. No wait hangs, and no
// handles leak.
// `endpoints` has the kind of channel that is tested.

use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use handover::{Child, Command, Error, Event, Message, Stdio};
use endpoints::Channel;
use handover_tests::{Suite, expect, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);
/// The maximum time of a wait for a peer that has exited, well below each timeout.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Returns the suite, under this name.
pub(crate) fn suite(name: &'static str) -> Suite {
    Suite { name, tests: tests![
            send_fails_if_receiver_is_killed_before_reading,
            send_fails_if_receiver_is_killed_during_message,
            recv_fails_if_peer_is_killed_after_reading,
            recv_fails_if_sender_is_killed_during_message,
            closing_receiver_closes_unread_objects,
            each_object_has_one_owner_whenever_receiver_closes,
            recv_fails_when_parent_exits,
            messages_of_exited_parent_arrive,
        ], roles: tests![
            never_reads,
            reads_one,
            sends_forever,
            closes_unread,
            closes_after_delay,
            starts_a_child,
            waits_for_a_message,
            receives_after_parent_exited,
        ] }
}

fn in_role(name: &str, arguments: &[&str]) -> (Child, Channel) {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).channel().spawn().unwrap();
    let channel: Channel = child.take_channel().unwrap().into();
    (child, channel)
}

fn parent() -> Channel {
    Channel::parent().expect("the parent has given a channel")
}

fn line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn assert_process_exited<T: std::fmt::Debug>(outcome: Result<T, Error>, child: &Child) {
    match outcome {
        Err(Error::ProcessExited { pid: process, .. }) => assert_eq!(process, child.id()),
        other => panic!("{other:?}"),
    }
}

fn never_reads(_: &[String]) {
    let _channel = parent();
    println!("here");
    std::thread::sleep(Duration::from_secs(60));
}

fn send_fails_if_receiver_is_killed_before_reading() {
    let event = Event::manual_reset().unwrap();
    let (mut child, channel) = in_role("never_reads", &[]);
    assert_eq!(line(&mut child), "here");
    // Waiting for the child would close its input, and change the count of handles.
    drop(child.stdin.take());
    let before = table::count();
    for _ in 0..3 {
        channel.send(Message::new(b"").with("event", &event)).unwrap();
    }
    child.kill().unwrap();
    // Shortly after the kill a send may still succeed; its message is lost with the receiver.
    until("a send fails", || match channel.send(Message::new(b"").with("event", &event)) {
        Ok(()) => false,
        gone => {
            assert_process_exited(gone, &child);
            true
        }
    });
    // Both right away and after the exit.
    for _ in 0..2 {
        assert_process_exited(channel.send(Message::new(b"").with("event", &event)), &child);
        assert_process_exited(channel.send(b"without objects"), &child);
        assert_process_exited(channel.recv(), &child);
        assert_process_exited(channel.try_recv(), &child);
        assert_eq!(table::count(), before);
        child.wait_timeout(SOON).unwrap();
    }
}

/// Kills the child after this time, while `work` uses the channel.
fn killed_during<T>(child: &mut Child, after: Duration, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            std::thread::sleep(after);
            child.kill().unwrap();
            Instant::now()
        });
        let done = work();
        let ended = Instant::now();
        let killed = killer.join().unwrap();
        assert!(ended.saturating_duration_since(killed) < AT_ONCE, "{:?}", ended - killed);
        done
    })
}

fn send_fails_if_receiver_is_killed_during_message() {
    let event = Event::manual_reset().unwrap();
    let (mut child, channel) = in_role("never_reads", &[]);
    assert_eq!(line(&mut child), "here");
    let before = table::count();
    let large = Message::new(vec![0; 4 << 20]).with("event", &event);
    let outcome = killed_during(&mut child, Duration::from_millis(300), || channel.send(large));
    assert_process_exited(outcome, &child);
    assert_eq!(table::count(), before);
}

fn reads_one(_: &[String]) {
    let channel = parent();
    let message = channel.recv_timeout(SOON).unwrap();
    let _event: Event = message.take("event").unwrap();
    channel.send(b"read").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

fn recv_fails_if_peer_is_killed_after_reading() {
    let event = Event::manual_reset().unwrap();
    let (mut child, channel) = in_role("reads_one", &[]);
    let before = table::count();
    channel.send(Message::new(b"").with("event", &event)).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"read");
    // One thread waits for a message.
    let outcome = killed_during(&mut child, Duration::from_millis(300), || channel.recv());
    assert_process_exited(outcome, &child);
    assert_process_exited(channel.send(Message::new(b"").with("event", &event)), &child);
    assert_eq!(table::count(), before);
}

fn sends_forever(_: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    loop {
        channel.send(Message::new(vec![7; 1 << 20]).with("event", &event)).unwrap();
    }
}

fn recv_fails_if_sender_is_killed_during_message() {
    let (mut child, channel) = in_role("sends_forever", &[]);
    drop(child.stdin.take());
    let before = table::count();
    drop(channel.recv_timeout(SOON).unwrap());
    assert_eq!(table::count(), before);
    // The child now waits for room in the pipe.
    std::thread::sleep(Duration::from_millis(300));
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
    let outcome = loop {
        match channel.recv_timeout(SOON) {
            Ok(message) => drop(message),
            other => break other,
        }
    };
    assert_process_exited(outcome, &child);
    assert_eq!(table::count(), before);
}

fn closes_unread(_: &[String]) {
    let channel = parent();
    println!("here");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    drop(channel);
    println!("closed");
    std::thread::sleep(Duration::from_secs(60));
}

fn closing_receiver_closes_unread_objects() {
    let event = Event::manual_reset().unwrap();
    let (mut child, channel) = in_role("closes_unread", &[]);
    assert_eq!(line(&mut child), "here");
    let before = table::count();
    for number in 0..20 {
        let padding = vec![0; if number == 3 { 5000 } else { 10 }];
        channel.send(Message::new(padding).with("one", &event).with("two", &event)).unwrap();
    }
    // The messages were sent and are not received.
    assert_eq!(table::values_of(&event, child.id()).len(), if expect::SENT_IS_IN_TABLE { 40 } else { 0 });
    writeln!(child.stdin.as_mut().unwrap()).unwrap();
    assert_eq!(line(&mut child), "closed");
    assert_eq!(table::values_of(&event, child.id()), []);
    for _ in 0..2 {
        match channel.send(Message::new(b"").with("event", &event)) {
            Err(Error::Disconnected { pid: process, .. }) => assert_eq!(process, child.id()),
            other => panic!("{other:?}"),
        }
        assert!(matches!(channel.recv(), Err(Error::Disconnected { .. })));
    }
    assert_eq!(table::values_of(&event, child.id()), []);
    assert_eq!(table::count(), before);
}

/// Receives for a given time, closes the channel, and keeps running.
fn closes_after_delay(arguments: &[String]) {
    let channel = parent();
    let until = Instant::now() + Duration::from_micros(arguments[0].parse().unwrap());
    println!("here");
    while Instant::now() < until {
        drop(channel.recv_timeout(Duration::from_millis(1)));
    }
    drop(channel);
    println!("closed");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn each_object_has_one_owner_whenever_receiver_closes() {
    let event = Event::manual_reset().unwrap();
    for round in 0..25_u64 {
        let micros = round * 1371 % 20_000;
        let (mut child, channel) = in_role("closes_after_delay", &[&micros.to_string()]);
        assert_eq!(line(&mut child), "here");
        let mut sent = 0;
        let error = loop {
            match channel.send_timeout(Message::new(b"").with("event", &event), SOON) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
        assert_eq!(line(&mut child), "closed");
        assert_eq!(
            table::values_of(&event, child.id()),
            [],
            "round {round}: closed after {micros} µs, {sent} were sent"
        );
        writeln!(child.stdin.as_mut().unwrap()).unwrap();
        assert_eq!(
            child.wait_timeout(SOON).unwrap().code(),
            Some(0),
            "the child has closed only its own handles"
        );
    }
}

/// A process between the test and the process under test: starts that process, prints its id, and exits or waits as its
/// argument says.
fn starts_a_child(arguments: &[String]) {
    let [role_of_child, then] = arguments else { panic!("{arguments:?}") };
    let mut command = Command::new(this_program());
    let this = std::process::id().to_string();
    let mut child = command.args(role(role_of_child, &[&this])).channel().spawn().unwrap();
    let channel: Channel = child.take_channel().unwrap().into();
    println!("{}", child.id());
    if then == "waits" {
        // The message tells the child when to print, because both print to the same stream.
        channel.send(b"now you").unwrap();
        std::thread::sleep(Duration::from_secs(60));
    }
    let event = Event::manual_reset().unwrap();
    event.set().unwrap();
    channel.send(Message::new(b"before the end").with("event", &event)).unwrap();
    if then == "exits" {
        std::process::exit(0);
    }
}

/// Starts a parent with a child in this role, and returns the line that the child prints.
fn with_parent(role_of_child: &str, then: &str, meanwhile: impl FnOnce(&mut Child)) -> String {
    let mut command = Command::new(this_program());
    command.args(role("starts_a_child", &[role_of_child, then])).stdout(Stdio::piped()).kill_on_drop(true);
    let mut parent = command.spawn().unwrap();
    let child: u32 = line(&mut parent).parse().unwrap();
    meanwhile(&mut parent);
    let said = line(&mut parent);
    until("the child has exited", || table::ends_within(child, 0));
    said
}

fn killed(parent: &mut Child) {
    assert_eq!(line(parent), "waits");
    std::thread::sleep(Duration::from_millis(200));
    parent.kill().unwrap();
    parent.wait_timeout(SOON).unwrap();
}

fn report(started: Instant, error: &Error) {
    let Error::ProcessExited { .. } = error else { panic!("{error:?}") };
    assert!(started.elapsed() < AT_ONCE + Duration::from_secs(1), "{:?}", started.elapsed());
    println!("gone");
}

fn waits_for_a_message(_: &[String]) {
    let channel = parent();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"now you");
    let started = Instant::now();
    println!("waits");
    report(started, &channel.recv().unwrap_err());
}

fn recv_fails_when_parent_exits() {
    assert_eq!(with_parent("waits_for_a_message", "waits", killed), "gone");
}

fn receives_after_parent_exited(arguments: &[String]) {
    let parent_id = arguments[0].parse().unwrap();
    until("the parent has exited", || table::ends_within(parent_id, 0));
    let channel = parent();
    assert!(channel.peer().is_none_or(|peer| peer.has_exited().unwrap()));
    let message = channel.recv_timeout(SOON).unwrap();
    assert_eq!(message.bytes(), b"before the end");
    assert!(message.take::<Event>("event").unwrap().try_wait().unwrap());
    for _ in 0..2 {
        let end = channel.recv().unwrap_err();
        assert!(matches!(end, Error::ProcessExited { .. } | Error::Disconnected { .. }), "{end:?}");
        let end = channel.send(b"too late").unwrap_err();
        assert!(matches!(end, Error::ProcessExited { .. } | Error::Disconnected { .. }), "{end:?}");
    }
    println!("arrived");
}

fn messages_of_exited_parent_arrive() {
    assert_eq!(with_parent("receives_after_parent_exited", "returns", |_| {}), "arrived");
    assert_eq!(with_parent("receives_after_parent_exited", "exits", |_| {}), "arrived");
}
