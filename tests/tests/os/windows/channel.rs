//! Tests of channels over pipes, where the stronger endpoint fetches the objects of the weaker one, and both record it
//! in a shared page (the ledger).

use std::io::{BufRead, BufReader};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use handover::inspect::HandleTable;
use handover::{BorrowedObject, Channel, Child, Command, Error, Event, Message, OwnedHandle, Process, Stdio};
use handover_tests::frame::frame;
use handover_tests::{
    Suite, assert_channel_closed_by_violation, assert_exits_successfully, assert_violation, linked_in_role,
    raw, role, table, tests, this_program, until, weaker,
};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "channel",
    tests: tests![
        child_waits_until_last_objects_are_fetched,
        closing_child_reads_message_of_waiting_parent,
        unfetched_objects_are_closed_after_a_timeout,
        objects_are_closed_when_parent_closes_without_reading,
        wait_ends_when_child_is_killed_despite_copied_endpoint,
        flush_waits_until_objects_are_fetched,
        flush_fails_when_parent_exits,
        childs_endpoint_has_least_access,
        send_rejects_sockets,
        pseudo_handles_are_rejected_before_any_system_call,
        message_with_forged_value_is_rejected_with_all_objects,
        lies_in_ledger_harm_only_the_liar,
        constantly_changing_ledger_breaks_nothing,
        read_of_an_exited_thread_is_repeated,
        readiness_ends_a_wait_for_a_killed_child_despite_copied_endpoint,
        message_that_a_waiting_send_has_read_is_shown,
        closing_ends_a_flush_and_keeps_unfetched_objects,
        closing_child_closes_unreceived_objects,
        flush_beside_a_receiver_ends_as_soon_as_objects_are_fetched,
        many_threads_at_both_endpoints_exchange_all_messages,
        violation_that_one_receiver_finds_ends_all_waits,
    ],
    roles: tests![
        sends_and_returns,
        sends_unfetched_objects,
        sends_unread_messages,
        sleeps,
        flushes,
        starts_a_child,
        flushes_until_parent_exits,
        checks_its_access,
        hostile,
        answers_late,
        sends_before_it_reads,
        closes_while_it_flushes,
        closes_without_receiving,
        flushes_beside_a_receiver,
        exchanges,
    ],
};

fn parent() -> Channel {
    Channel::parent().expect("the parent has given a channel")
}

fn sends_and_returns(arguments: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    event.set().unwrap();
    channel.send(Message::new(b"last").with("event", &event)).unwrap();
    if arguments == ["exits"] {
        std::process::exit(0);
    }
}

fn sends_unfetched_objects(_: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    // Copies of one object, so that each handle that stays open is counted.
    for _ in 0..3 {
        channel.send(Message::new(b"for nobody").with("event", &event)).unwrap();
    }
    assert_eq!(table::values_of(&event, std::process::id()).len(), 4);
    drop(channel);
    assert_eq!(table::values_of(&event, std::process::id()).len(), 1);
}

fn unfetched_objects_are_closed_after_a_timeout() {
    let (mut child, _channel) = linked_in_role("sends_unfetched_objects", &[]);
    // The child waits at most ten seconds for this process to fetch the objects.
    assert_eq!(child.wait_timeout(SOON * 4).unwrap().code(), Some(0));
}

fn sends_unread_messages(_: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    for _ in 0..3 {
        channel.send(Message::new(b"unread").with("event", &event)).unwrap();
    }
    println!("sent");
    assert!(channel.flush(SOON).is_err());
    assert_eq!(table::values_of(&event, std::process::id()).len(), 1);
}

fn objects_are_closed_when_parent_closes_without_reading() {
    let mut command = Command::new(this_program());
    command.args(role("sends_unread_messages", &[])).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.channel().spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), "sent");
    drop(child.take_channel());
    assert_eq!(child.wait_timeout(SOON * 2).unwrap().code(), Some(0));
}

fn sleeps(_: &[String]) {
    std::thread::sleep(SOON * 6);
}

fn wait_ends_when_child_is_killed_despite_copied_endpoint() {
    for sends in [false, true] {
        let before = table::count();
        let (mut child, channel) = linked_in_role("sleeps", &[]);
        // Copies all handles of the child, including its endpoint, so the pipe doesn't break when the child exits.
        let process = Process::open_for_query(child.id()).unwrap();
        let looked = HandleTable::of(&process).unwrap();
        let copies: Vec<OwnedHandle> =
            looked.entries().iter().filter_map(|entry| process.duplicate_from(entry.value()).ok()).collect();
        assert!(copies.len() > 3, "{}", copies.len());
        let started = Instant::now();
        let gone = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                child.kill().unwrap();
            });
            if sends {
                let large = Message::new(vec![7; 8 << 20]);
                channel.send_timeout(large, SOON * 3).unwrap_err()
            } else {
                channel.recv_timeout(SOON * 3).map(drop).unwrap_err()
            }
        });
        assert!(matches!(gone, Error::ProcessExited { .. }), "{sends}: {gone:?}");
        assert!(started.elapsed() < SOON * 2);
        child.wait_timeout(SOON).unwrap();
        drop((child, channel, process, copies));
        assert_eq!(table::count(), before);
    }
}

fn child_waits_until_last_objects_are_fetched() {
    let (mut child, channel) = linked_in_role("sends_and_returns", &[]);
    // The child has nothing else to do, and waits until its event is fetched.
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(child.try_wait().unwrap(), None);
    let message = channel.recv_timeout(SOON).unwrap();
    assert!(message.take::<Event>("event").unwrap().try_wait().unwrap());
    assert!(matches!(
        channel.recv_timeout(SOON),
        Err(Error::Disconnected { .. } | Error::ProcessExited { .. })
    ));
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));

    // A child that exits without waiting takes its objects along: the receive fails, and nothing leaks.
    let (mut child, channel) = linked_in_role("sends_and_returns", &["exits"]);
    child.wait_timeout(SOON).unwrap();
    let before = table::count();
    match channel.recv_timeout(SOON) {
        Err(Error::ProcessExited { pid: process, .. }) => assert_eq!(process, child.id()),
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before);
}

fn closing_child_reads_message_of_waiting_parent() {
    // The child has sent its event and closes. The parent sends a message that the child no longer wants, and then
    // receives.
    let (mut child, channel) = linked_in_role("sends_and_returns", &[]);
    std::thread::sleep(Duration::from_millis(500));
    let started = Instant::now();
    channel.send_timeout(vec![0; 1 << 20], SOON).unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    assert!(message.take::<Event>("event").unwrap().try_wait().unwrap());
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

fn flushes(_: &[String]) {
    let channel = parent();
    channel.flush(Duration::ZERO).expect("there is nothing to be fetched");
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    channel.send(Message::new(b"").with("event", &event)).unwrap();
    assert_eq!(table::count(), before + 1, "the copy is kept open until it is fetched");
    let late = channel.flush(Duration::from_millis(200));
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    channel.send(b"now").unwrap();
    channel.flush(SOON).unwrap();
    assert_eq!(table::count(), before);
    channel.send(b"flushed").unwrap();
    let end = channel.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. })), "{end:?}");
}

fn flush_waits_until_objects_are_fetched() {
    let (child, channel) = linked_in_role("flushes", &[]);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(channel.recv_timeout(SOON).unwrap().names().len(), 1);
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"now");
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"flushed");
    channel.flush(Duration::ZERO).expect("a parent's objects arrive at once");
    assert_exits_successfully(child, channel);
}

/// A process between the test and the process under test.
fn starts_a_child(_: &[String]) {
    let mut command = Command::new(this_program());
    let child = command.args(role("flushes_until_parent_exits", &[])).channel().spawn().unwrap();
    std::thread::sleep(Duration::from_secs(60));
    drop(child);
}

fn flushes_until_parent_exits(_: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    channel.send(Message::new(b"").with("event", &event)).unwrap();
    assert_eq!(table::count(), before + 1);
    let started = Instant::now();
    println!("waits");
    let end = channel.flush(Duration::from_secs(60));
    assert!(matches!(end, Err(Error::ProcessExited { .. })), "{end:?}");
    drop(channel);
    assert!(table::count() < before && started.elapsed() < Duration::from_secs(4));
    println!("gone");
}

fn flush_fails_when_parent_exits() {
    let mut command = Command::new(this_program());
    command.args(role("starts_a_child", &[])).stdout(Stdio::piped()).kill_on_drop(true);
    let mut parent = command.spawn().unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "waits");
    std::thread::sleep(Duration::from_millis(200));
    parent.kill().unwrap();
    parent.wait_timeout(SOON).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "gone");
}

fn checks_its_access(_: &[String]) {
    let [pipe, ledger, fetched] = weaker::Endpoint::inherited().handles;
    let access = |handle| table::entry(std::process::id(), table::value(handle)).unwrap().access;
    assert_eq!((access(&ledger), access(&fetched)), (0x6, 0x0010_0000));
    // Only this user can open the pipe.
    let list = raw::access_list(&pipe);
    let user = handover::User::current().unwrap();
    assert!(list.matches('(').count() == 1 && list.ends_with(&format!(";;;{user})")), "{list}");
}

fn childs_endpoint_has_least_access() {
    let (child, channel) = linked_in_role("checks_its_access", &[]);
    assert_exits_successfully(child, channel);
}

fn send_rejects_sockets() {
    let event = Event::manual_reset().unwrap();
    let socket = raw::handle_of_socket(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let (child, channel) = linked_in_role("sends_and_returns", &[]);
    let before = table::count();
    let message = Message::new(b"").with("one", &event).with("two", BorrowedObject::from(&socket));
    match channel.send(message) {
        Err(error @ Error::SocketUnsupported { .. }) => assert!(error.to_string().contains("two"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(table::values_of(&event, child.id()), [], "no handle is left in the child");
    assert_eq!(table::count(), before);
}

fn hostile(arguments: &[String]) {
    let end = weaker::Endpoint::inherited();
    let ledger = end.handles[1];
    let event = Event::manual_reset().unwrap();
    let own = table::value(&event);
    let say = |bytes: &[u8]| end.write(bytes, &[], SOON);
    let good = frame(0, &[], b"good");
    match arguments[0].as_str() {
        "a value twice" => say(&frame(0, &[(own, b"a"), (own, b"b")], b"")),
        "value" => say(&frame(0, &[(own, b"a"), (arguments[1].parse().unwrap(), b"b")], b"")),
        "value and looks" => {
            assert!(say(&frame(0, &[(own, b"a"), (arguments[1].parse().unwrap(), b"b")], b"")));
            // The weaker endpoint sees the fetch as finished, although it failed; an honest endpoint would then close
            // its own handles.
            let fetched = &raw::words(&ledger, 16)[10];
            until("the fetch is reported as finished", || fetched.load(SeqCst) == 1);
            Event::open_named(&arguments[2]).unwrap().set().unwrap();
            true
        }
        "says that it took all" => {
            raw::words(&ledger, 16)[6].store(u64::MAX << 3, SeqCst);
            say(&good)
        }
        "says that it took none" => {
            raw::words(&ledger, 16)[6].store(4, SeqCst);
            say(&good)
        }
        "takes its objects back" => {
            raw::words(&ledger, 16)[8].store(1, SeqCst);
            say(&frame(0, &[(own, b"a")], b""))
        }
        "scribbles" => {
            let words = raw::words(&ledger, 16);
            let mut random = 0x1234_5678_9abc_def0_u64;
            for number in 0.. {
                for _ in 0..50 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let word = usize::try_from(random % 16).unwrap();
                    words[word].store(random.rotate_left(29), SeqCst);
                }
                if !end.write(&frame(number, &[(own, b"a")], b""), &[], Duration::from_secs(1)) {
                    break;
                }
                // Received messages are discarded. The hostile process leaks the handles that it is given, which harms
                // only itself.
                let _ = end.read(Duration::from_millis(1));
            }
            true
        }
        other => panic!("{other}"),
    };
    std::thread::sleep(Duration::from_secs(20));
}

/// Runs the hostile child with these arguments, and asserts that the handle count is as before.
fn met(arguments: &[&str], meet: impl FnOnce(&Child, &Channel)) {
    let before = table::count();
    let (child, channel) = linked_in_role("hostile", arguments);
    meet(&child, &channel);
    drop((child, channel));
    assert_eq!(table::count(), before, "{arguments:?}");
}

fn refused(arguments: &[&str], part: &str) {
    met(arguments, |child, channel| assert_channel_closed_by_violation(child, channel, part));
}

fn pseudo_handles_are_rejected_before_any_system_call() {
    for value in (u32::MAX - 11)..=u32::MAX {
        refused(&["value", &value.to_string()], "can't be a handle");
    }
    for value in [1, 2, 3, 5, 0x8000_0000_u32] {
        refused(&["value", &value.to_string()], "can't be a handle");
    }
    // NULL stands for a socket, whose record is missing.
    refused(&["value", "0"], "not as long as its objects and their records");
}

fn message_with_forged_value_is_rejected_with_all_objects() {
    refused(&["a value twice"], "twice");
    // Values that no handle of the child has. The child may send each handle that it does have.
    refused(&["value", "524272"], "is not open");
    refused(&["value", "2147483644"], "is not open");
    let name = format!("hostile.{}", std::process::id());
    let told = Event::create_named(&name, handover::ResetMode::Manual).unwrap();
    met(&["value and looks", "524272", &name], |child, channel| {
        assert_violation(channel.recv_timeout(SOON), child, "is not open");
        told.wait_timeout(SOON).unwrap();
    });
}

fn lies_in_ledger_harm_only_the_liar() {
    let event = Event::manual_reset().unwrap();
    met(&["says that it took all"], |child, channel| {
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"good");
        // The claim is believed: the copy stays in the liar's own table.
        channel.send(Message::new(b"").with("event", &event)).unwrap();
        assert_eq!(table::values_of(&event, child.id()).len(), 1);
    });
    met(&["says that it took none"], |child, channel| {
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"good");
        let closed = channel.send(Message::new(b"").with("event", &event));
        assert!(matches!(closed, Err(Error::Disconnected { .. })), "{closed:?}");
        assert_eq!(table::values_of(&event, child.id()), []);
    });
    met(&["takes its objects back"], |_, channel| {
        let lost = channel.recv_timeout(SOON);
        assert!(matches!(lost, Err(Error::Disconnected { .. })), "{lost:?}");
    });
}

fn constantly_changing_ledger_breaks_nothing() {
    let event = Event::manual_reset().unwrap();
    for _ in 0..5 {
        met(&["scribbles"], |_, channel| {
            for _ in 0..200 {
                let sent = channel.send_timeout(Message::new(b"").with("event", &event), SOON);
                assert!(matches!(sent, Ok(()) | Err(Error::Disconnected { .. })), "{sent:?}");
                let received = channel.recv_timeout(SOON);
                assert!(matches!(received, Ok(_) | Err(Error::Disconnected { .. })), "{received:?}");
            }
        });
    }
}

/// Returns whether the channel's event is set.
fn is_shown(channel: &Channel) -> bool {
    raw::is_signaled(&channel.readiness().unwrap())
}

/// Answers each message after a while.
fn answers_late(_: &[String]) {
    let channel = parent();
    while let Ok(message) = channel.recv_timeout(SOON) {
        std::thread::sleep(Duration::from_millis(200));
        channel.send(message.bytes()).unwrap();
    }
}

fn read_of_an_exited_thread_is_repeated() {
    let (child, channel) = linked_in_role("answers_late", &[]);
    for is_watched in [false, true] {
        if is_watched {
            assert!(!is_shown(&channel));
        }
        channel.send(b"one").unwrap();
        std::thread::scope(|scope| {
            // The read stays pending after the wait, and the system cancels it when the thread exits.
            scope.spawn(|| assert!(channel.recv_timeout(Duration::from_millis(20)).is_err())).join().unwrap();
        });
        if is_watched {
            // The event is set too early; a look makes it exact again.
            assert!(channel.try_recv().unwrap().is_none());
            assert!(!is_shown(&channel));
            until("the answer is shown", || is_shown(&channel));
            assert_eq!(channel.try_recv().unwrap().expect("it is shown").bytes(), b"one");
        } else {
            assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"one");
        }
        // A thread that waits takes over when the thread that began the read exits.
        channel.send(b"two").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(channel.recv_timeout(Duration::from_millis(50)).is_err()));
            std::thread::sleep(Duration::from_millis(10));
            assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"two");
        });
    }
    assert_exits_successfully(child, channel);
}

fn readiness_ends_a_wait_for_a_killed_child_despite_copied_endpoint() {
    let run = || {
        let (mut child, channel) = linked_in_role("sleeps", &[]);
        let process = Process::open_for_query(child.id()).unwrap();
        let looked = HandleTable::of(&process).unwrap();
        let copies: Vec<OwnedHandle> =
            looked.entries().iter().filter_map(|entry| process.duplicate_from(entry.value()).ok()).collect();
        assert!(!is_shown(&channel));
        child.kill().unwrap();
        child.wait_timeout(SOON).unwrap();
        until("the exit is shown", || is_shown(&channel));
        for _ in 0..3 {
            let gone = channel.try_recv().map(drop).unwrap_err();
            assert!(matches!(gone, Error::ProcessExited { .. }), "{gone:?}");
            assert!(is_shown(&channel), "an error stays");
        }
        drop((child, channel, process, copies));
    };
    // The first watch makes the system start threads, which have handles.
    run();
    let before = table::count();
    run();
    until("all handles are closed", || table::count() <= before);
}

/// Sends a message, and receives another one only after the event is set.
fn sends_before_it_reads(_: &[String]) {
    let channel = parent();
    let go_on: Event = channel.recv_timeout(SOON).unwrap().take("go on").unwrap();
    for _ in 0..2 {
        channel.send(b"read this first").unwrap();
    }
    go_on.wait_timeout(SOON).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes().len(), 1 << 20);
    channel.send(b"thank you").unwrap();
    assert!(channel.recv_timeout(SOON).is_err());
}

fn message_that_a_waiting_send_has_read_is_shown() {
    for is_watched_before in [true, false] {
        let go_on = Event::manual_reset().unwrap();
        let (child, channel) = linked_in_role("sends_before_it_reads", &[]);
        channel.send(Message::new(b"").with("go on", &go_on)).unwrap();
        if is_watched_before {
            let _ = channel.readiness().unwrap();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| channel.send(vec![0; 1 << 20]).unwrap());
            // The send has read the first message, and reads on beside it.
            std::thread::sleep(Duration::from_millis(300));
            for _ in 0..2 {
                until("the message is shown", || is_shown(&channel));
                assert!(is_shown(&channel));
                assert_eq!(channel.try_recv().unwrap().expect("it is shown").bytes(), b"read this first");
            }
            assert!(channel.try_recv().unwrap().is_none());
            assert!(!is_shown(&channel));
            go_on.set().unwrap();
        });
        until("the answer is shown", || is_shown(&channel));
        assert_eq!(channel.try_recv().unwrap().expect("it is shown").bytes(), b"thank you");
        assert!(!is_shown(&channel));
        assert_exits_successfully(child, channel);
    }
}

fn closes_while_it_flushes(_: &[String]) {
    let channel = parent();
    let clone = channel.clone();
    let event = Event::manual_reset().unwrap();
    event.set().unwrap();
    let before = table::count();
    channel.send(Message::new(b"sent before").with("event", &event)).unwrap();
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| match clone.flush(SOON * 6) {
            Err(Error::Disconnected { pid, .. }) => assert_eq!(pid, std::process::id()),
            other => panic!("{other:?}"),
        });
        std::thread::sleep(Duration::from_millis(200));
        channel.close();
    });
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(table::values_of(&event, std::process::id()).len(), 2, "the copy is open until it is fetched");
    drop(channel);
    drop(clone);
    assert!(table::count() < before, "nothing is left");
}

fn closing_ends_a_flush_and_keeps_unfetched_objects() {
    let before = table::count();
    let (mut child, channel) = linked_in_role("closes_while_it_flushes", &[]);
    std::thread::sleep(Duration::from_millis(800));
    let message = channel.recv_timeout(SOON).unwrap();
    assert!(message.take::<Event>("event").unwrap().try_wait().unwrap());
    let end = channel.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. } | Error::ProcessExited { .. })), "{end:?}");
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    drop((message, channel, child));
    assert_eq!(table::count(), before);
}

fn closes_without_receiving(_: &[String]) {
    let channel = parent();
    let clone = channel.clone();
    let given: Event = channel.recv_timeout(SOON).unwrap().take("event").unwrap();
    until("the next messages have arrived", || table::values_of(&given, std::process::id()).len() == 4);
    // One of them is already in this process's buffer.
    assert_eq!(handover::wait_any(&[&channel], SOON).unwrap(), 0);
    channel.close();
    assert_eq!(table::values_of(&given, std::process::id()).len(), 1, "the clone keeps nothing open");
    assert!(matches!(clone.try_recv(), Err(Error::Disconnected { .. })));
    // The parent sees the end although the clone is alive.
    assert!(given.wait_timeout(SOON).is_ok());
    drop(clone);
}

fn closing_child_closes_unreceived_objects() {
    let before = table::count();
    let event = Event::manual_reset().unwrap();
    let (child, channel) = linked_in_role("closes_without_receiving", &[]);
    for _ in 0..4 {
        channel.send(Message::new(b"").with("event", &event)).unwrap();
    }
    let end = channel.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. })), "{end:?}");
    let late = channel.send(Message::new(b"").with("event", &event));
    assert!(matches!(late, Err(Error::Disconnected { .. })), "{late:?}");
    event.set().unwrap();
    assert_exits_successfully(child, channel);
    drop(event);
    assert_eq!(table::count(), before);
}

fn flushes_beside_a_receiver(_: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(channel.recv().is_err()));
        scope.spawn(|| assert!(channel.recv().is_err()));
        for _ in 0..40 {
            channel.send(Message::new(b"").with("event", &event)).unwrap();
            let started = Instant::now();
            channel.flush(SOON).unwrap();
            assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
            assert_eq!(table::values_of(&event, std::process::id()).len(), 1, "it is closed");
        }
        channel.close();
    });
}

fn flush_beside_a_receiver_ends_as_soon_as_objects_are_fetched() {
    let (child, channel) = linked_in_role("flushes_beside_a_receiver", &[]);
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(5));
        drop(channel.recv_timeout(SOON).unwrap());
    }
    let end = channel.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. } | Error::ProcessExited { .. })), "{end:?}");
    assert_exits_successfully(child, channel);
}

/// The number of messages that each of two threads sends.
const EXCHANGED: usize = 150;

/// Sends from two threads and receives on three, in three ways. Returns the total length of what was received.
fn exchange(channel: &Channel) -> usize {
    use std::sync::atomic::AtomicUsize;
    let (count, total) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let event = Event::manual_reset().unwrap();
    let take = |message: handover::ReceivedMessage| {
        total.fetch_add(message.bytes().len(), SeqCst);
        if message.names().len() == 1 {
            drop(message.take::<Event>("event").unwrap());
        }
        count.fetch_add(1, SeqCst);
    };
    let is_done = || count.load(SeqCst) == 2 * EXCHANGED;
    let started = Instant::now();
    let goes_on = || !is_done() && started.elapsed() < SOON * 6;
    let short = Duration::from_millis(30);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for number in 0..EXCHANGED {
                    let message = Message::new(vec![7; [10, 70_000, 3, 0, 400_000][number % 5]]);
                    let message = if number % 7 == 0 { message.with("event", &event) } else { message };
                    channel.send_timeout(message, SOON * 6).unwrap();
                }
            });
        }
        scope.spawn(|| {
            while goes_on() {
                let _ = channel.recv_timeout(short).map(take);
            }
        });
        scope.spawn(|| {
            while goes_on() {
                // The thread that begins a read exits at once.
                std::thread::scope(|scope| drop(scope.spawn(|| channel.try_recv().unwrap().map(take))));
            }
        });
        scope.spawn(|| {
            while goes_on() {
                if handover::wait_any(&[channel], short).is_ok() {
                    channel.try_recv().unwrap().map(take);
                }
            }
        });
    });
    assert!(is_done(), "{count:?}");
    total.load(SeqCst)
}

const EXCHANGED_LENGTH: usize = 2 * (EXCHANGED / 5) * (10 + 70_000 + 3 + 400_000);

fn exchanges(_: &[String]) {
    let channel = parent();
    let (done, all_done): (Event, Event) = {
        let inherited = handover::inherited().unwrap();
        (inherited.take("done").unwrap(), inherited.take("all done").unwrap())
    };
    assert_eq!(exchange(&channel), EXCHANGED_LENGTH);
    done.set().unwrap();
    // Until then, this endpoint's end would be an error in the peer process's threads.
    all_done.wait_timeout(SOON * 6).unwrap();
}

fn many_threads_at_both_endpoints_exchange_all_messages() {
    let (done, all_done) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let mut command = Command::new(this_program());
    command.args(role("exchanges", &[])).inherit("done", &done).inherit("all done", &all_done);
    let mut child = command.kill_on_drop(true).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    assert_eq!(exchange(&channel), EXCHANGED_LENGTH);
    done.wait_timeout(SOON * 6).unwrap();
    all_done.set().unwrap();
    assert_exits_successfully(child, channel);
}

fn violation_that_one_receiver_finds_ends_all_waits() {
    met(&["value", "524272"], |_, channel| {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let error = channel.recv_timeout(SOON * 6).map(drop).unwrap_err();
                    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
                });
            }
            scope.spawn(|| {
                // The child never reads.
                let error = channel.send_timeout(vec![0; 8 << 20], SOON * 6).unwrap_err();
                assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
            });
        });
        // The child lives on for twenty seconds.
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    });
}
