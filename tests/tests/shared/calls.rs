// Tests of calls and their replies, and of the limits for what a peer sends.
// `endpoints` has the kind of channel that is tested.

use std::time::{Duration, Instant};

use handover::{Child, Command, Error, Event, Limits, Listener, Message, ObjectKind, OwnedHandle, ReceivedMessage,
    SharedMemory, Stdio, WaitSet,
};
use endpoints::{Channel, blocking};
use handover_tests::{Suite, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(200);

/// Returns the suite, under this name.
pub(crate) fn suite(name: &'static str) -> Suite {
    Suite { name, tests: tests![
            reply_goes_to_its_call,
            eight_threads_get_their_own_replies,
            threads_can_receive_beside_calls,
            late_reply_is_dropped,
            call_without_reply_costs_its_timeout,
            messages_are_kept_while_a_call_waits,
            kept_messages_are_reported_to_sets,
            call_goes_on_after_kept_messages_are_received,
            both_processes_can_call,
            call_ends_when_the_peer_exits,
            close_ends_calls,
            each_call_gets_one_reply,
            message_beyond_the_limits_ends_the_channel,
            more_messages_than_the_limit_end_the_channel,
            listener_gives_its_limits_and_kinds_to_channels,
        ], roles: tests![replies, replies_in_reverse, sends_before_it_replies, calls_back, connects] }
}

fn linked_in_role(name: &str, arguments: &[&str]) -> (Child, Channel) {
    let (child, channel) = handover_tests::linked_in_role(name, arguments);
    (child, channel.into())
}

fn assert_exits_successfully(child: Child, channel: Channel) {
    handover_tests::assert_exits_successfully(child, channel.into());
}

/// Returns the next message, or `None` once the parent has closed the channel.
fn next(channel: &Channel) -> Option<ReceivedMessage> {
    match channel.recv_timeout(SOON) {
        Ok(message) => Some(message),
        Err(Error::Disconnected { .. }) => None,
        Err(other) => panic!("{other:?}"),
    }
}

/// Returns a message's bytes as text.
fn text(message: &ReceivedMessage) -> String {
    String::from_utf8(message.bytes().to_vec()).unwrap()
}

fn number(text: &str) -> u64 {
    text.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Replies to each call with its text and objects; to "wait" only after that time in milliseconds; to "never" never; and
/// sends back each message that is no call.
fn replies(_: &[String]) {
    let channel = Channel::parent().unwrap();
    while let Some(message) = next(&channel) {
        let asked = text(&message);
        let objects: Vec<(String, OwnedHandle)> =
            message.names().map(|name| (name.to_owned(), message.take(name).unwrap())).collect();
        let mut answer = Message::new(&asked);
        for (name, object) in &objects {
            answer.add(name, object);
        }
        if asked.starts_with("wait") {
            std::thread::sleep(Duration::from_millis(number(&asked)));
        }
        match message.expects_reply() {
            _ if asked.starts_with("never") => {}
            true => message.reply(answer).unwrap(),
            false => channel.send(answer).unwrap(),
        }
    }
}

fn reply_goes_to_its_call() {
    let (child, channel) = linked_in_role("replies", &[]);
    let event = Event::manual_reset().unwrap();
    channel.call("warm up", SOON).unwrap();
    // On Windows an endpoint keeps an event once a call has waited beside a message that it keeps.
    let before = table::count();
    channel.send("a message").unwrap();
    let reply = channel.call(Message::new("a call").with("event", &event), SOON).unwrap();
    assert_eq!(text(&reply), "a call");
    assert!(!reply.expects_reply());
    let copy: Event = reply.take("event").unwrap();
    copy.set().unwrap();
    assert!(event.try_wait().unwrap());
    drop((copy, reply));
    assert_eq!(text(&channel.recv_timeout(SOON).unwrap()), "a message");
    assert!(channel.try_recv().unwrap().is_none(), "the reply is no message");
    until("the handles are closed", || table::count() <= before + 1);
    assert_exits_successfully(child, channel);
}

/// Collects calls for a moment, and replies to the last one first.
fn replies_in_reverse(_: &[String]) {
    let channel = Channel::parent().unwrap();
    while let Some(first) = next(&channel) {
        let mut messages = vec![first];
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(2) {
            messages.extend(channel.try_recv().ok().flatten());
        }
        while let Some(message) = messages.pop() {
            message.reply(message.bytes()).unwrap();
        }
    }
}

fn eight_threads_get_their_own_replies() {
    let (child, channel) = linked_in_role("replies_in_reverse", &[]);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let channel = channel.clone();
            scope.spawn(move || {
                for call in 0..100 {
                    let asked = format!("thread {thread} call {call}");
                    assert_eq!(text(&channel.call(&*asked, SOON).unwrap()), asked);
                }
            });
        }
    });
    assert!(channel.try_recv().unwrap().is_none());
    assert_exits_successfully(child, channel);
}

fn threads_can_receive_beside_calls() {
    let (child, channel) = linked_in_role("replies", &[]);
    const COUNT: usize = 300;
    // With a readiness, threads that receive wait in another way.
    for is_watched in [false, true] {
        if is_watched {
            channel.readiness().unwrap();
        }
        std::thread::scope(|scope| {
            let receivers = [(); 2].map(|()| {
                scope.spawn(|| {
                    let mut count = 0;
                    while let Ok(message) = channel.recv_timeout(SOON) {
                        match text(&message).as_str() {
                            "end" => break,
                            "message" => count += 1,
                            other => panic!("{other}"),
                        }
                    }
                    count
                })
            });
            let callers = [1, 2].map(|caller| {
                let channel = &channel;
                scope.spawn(move || {
                    for call in 0..COUNT {
                        let asked = format!("caller {caller} call {call}");
                        assert_eq!(text(&channel.call(&*asked, SOON).unwrap()), asked);
                    }
                })
            });
            for _ in 0..COUNT {
                channel.send("message").unwrap();
            }
            for caller in callers {
                caller.join().unwrap();
            }
            channel.send("end").unwrap();
            channel.send("end").unwrap();
            let received: usize = receivers.map(|receiver| receiver.join().unwrap()).iter().sum();
            assert_eq!(received, COUNT);
        });
    }
    assert_exits_successfully(child, channel);
}

fn late_reply_is_dropped() {
    let (child, channel) = linked_in_role("replies", &[]);
    let event = Event::manual_reset().unwrap();
    channel.call("warm up", SOON).unwrap();
    let before = table::count();
    for _ in 0..3 {
        let late = channel.call(Message::new("wait 400").with("event", &event), SHORT);
        assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
        // The reply to the first call arrives while the second one waits.
        assert_eq!(text(&channel.call("wait 1", SOON).unwrap()), "wait 1");
    }
    // Without another call, a receive drops it.
    let late = channel.call(Message::new("wait 400").with("event", &event), SHORT);
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    let none = channel.recv_timeout(Duration::from_millis(600));
    assert!(matches!(none, Err(Error::TimedOut { .. })), "{none:?}");
    until("the handles are closed", || table::count() <= before);
    assert_exits_successfully(child, channel);
}

fn call_without_reply_costs_its_timeout() {
    let (child, channel) = linked_in_role("replies", &[]);
    for _ in 0..3 {
        let started = Instant::now();
        let late = channel.call("never", SHORT).unwrap_err();
        assert!(matches!(late, Error::TimedOut { .. }), "{late:?}");
        assert!(started.elapsed() >= SHORT && started.elapsed() < SHORT * 5, "{:?}", started.elapsed());
        assert_eq!(text(&channel.call("a call", SOON).unwrap()), "a call");
        channel.send("a message").unwrap();
        assert_eq!(text(&channel.recv_timeout(SOON).unwrap()), "a message");
    }
    assert_exits_successfully(child, channel);
}

/// Sends as many messages as each call says, every second one with an object, before it replies.
fn sends_before_it_replies(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let event = Event::manual_reset().unwrap();
    while let Some(message) = next(&channel) {
        for sent in 0..number(&text(&message)) {
            let message = Message::new(sent.to_string());
            channel.send(if sent % 2 == 0 { message } else { message.with("event", &event) }).unwrap();
        }
        message.reply("done").unwrap();
    }
}

fn messages_are_kept_while_a_call_waits() {
    let (child, channel) = linked_in_role("sends_before_it_replies", &[]);
    let before = table::count();
    for _ in 0..2 {
        assert_eq!(text(&channel.call("send 20", SOON).unwrap()), "done");
        for expected in 0..20 {
            let message = channel.try_recv().unwrap().expect("it has arrived before the reply");
            assert_eq!(text(&message), expected.to_string());
            assert_eq!(message.names().len(), expected % 2);
        }
        assert!(channel.try_recv().unwrap().is_none());
    }
    assert!(table::count() <= before + 1, "on Windows a call keeps an event");
    assert_exits_successfully(child, channel);
}

fn kept_messages_are_reported_to_sets() {
    let (child, channel) = linked_in_role("sends_before_it_replies", &[]);
    let set = WaitSet::new().unwrap();
    set.add(7, blocking(&channel)).unwrap();
    channel.call("send 2", SOON).unwrap();
    for _ in 0..2 {
        let ready: Vec<u64> = set.wait(SOON).unwrap().map(|ready| ready.key()).collect();
        assert_eq!(ready, [7]);
        channel.recv_timeout(Duration::ZERO).unwrap();
    }
    assert_eq!(set.wait(SHORT).unwrap().len(), 0, "no message is left");
    channel.call("send 1", SOON).unwrap();
    assert_eq!(handover::wait_any(&[blocking(&channel)], SOON).unwrap(), 0);
    channel.recv_timeout(Duration::ZERO).unwrap();
    let late = handover::wait_any(&[blocking(&channel)], SHORT);
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    assert_exits_successfully(child, channel);
}

fn call_goes_on_after_kept_messages_are_received() {
    let (child, channel) = linked_in_role("sends_before_it_replies", &[]);
    // As many with objects as are kept: the reply waits behind the others.
    let late = channel.call("send 200", SHORT * 2);
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    for _ in 0..200 {
        channel.recv_timeout(SOON).unwrap();
    }
    std::thread::scope(|scope| {
        let call = scope.spawn(|| channel.call("send 200", SOON));
        std::thread::sleep(SHORT);
        assert!(!call.is_finished());
        for _ in 0..200 {
            channel.recv_timeout(SOON).unwrap();
        }
        assert_eq!(text(&call.join().unwrap().unwrap()), "done");
    });
    assert_exits_successfully(child, channel);
}

/// Answers each call by what the parent replies to a call of its own.
fn calls_back(_: &[String]) {
    let channel = Channel::parent().unwrap();
    while let Some(message) = next(&channel) {
        let reply = channel.call(message.bytes(), SOON).unwrap();
        message.reply(reply.bytes()).unwrap();
    }
}

fn both_processes_can_call() {
    let (child, channel) = linked_in_role("calls_back", &[]);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            for _ in 0..100 {
                let call = channel.recv_timeout(SOON).unwrap();
                assert!(call.expects_reply());
                call.reply(format!("seen {}", text(&call))).unwrap();
            }
        });
        for number in 0..100 {
            let reply = channel.call(number.to_string(), SOON).unwrap();
            assert_eq!(text(&reply), format!("seen {number}"));
        }
        server.join().unwrap();
    });
    assert_exits_successfully(child, channel);
}

fn call_ends_when_the_peer_exits() {
    let (mut child, channel) = linked_in_role("replies", &[]);
    channel.call("warm up", SOON).unwrap();
    std::thread::scope(|scope| {
        let calls = [(); 3].map(|()| scope.spawn(|| channel.call("never", SOON * 6)));
        std::thread::sleep(SHORT);
        let started = Instant::now();
        child.kill().unwrap();
        for call in calls {
            let gone = call.join().unwrap();
            assert!(matches!(gone, Err(Error::ProcessExited { .. })), "{gone:?}");
        }
        assert!(started.elapsed() < SOON);
    });
    child.wait_timeout(SOON).unwrap();
}

fn close_ends_calls() {
    let (_child, channel) = linked_in_role("replies", &[]);
    channel.call("warm up", SOON).unwrap();
    std::thread::scope(|scope| {
        let calls = [(); 3].map(|()| scope.spawn(|| channel.call("never", SOON * 6)));
        std::thread::sleep(SHORT);
        let started = Instant::now();
        channel.close();
        for call in calls {
            let closed = call.join().unwrap();
            assert!(
                matches!(closed, Err(Error::Disconnected { pid, .. }) if pid == std::process::id()),
                "{closed:?}"
            );
        }
        assert!(started.elapsed() < SOON);
    });
}

fn each_call_gets_one_reply() {
    let (child, channel) = linked_in_role("calls_back", &[]);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| channel.call("question", SOON));
        let question = channel.recv_timeout(SOON).unwrap();
        // A message that can't be sent leaves the call without a reply.
        let two_names = Message::new("").with("a", child.process()).with("a", child.process());
        assert!(matches!(question.reply(two_names), Err(Error::InvalidInput { .. })));
        assert!(question.expects_reply());
        question.reply("answer").unwrap();
        assert!(!question.expects_reply());
        let again = question.reply("again").unwrap_err().to_string();
        assert!(again.contains("replied to before"), "{again}");
        assert_eq!(text(&call.join().unwrap().unwrap()), "answer");
    });
    assert_exits_successfully(child, channel);

    let (child, channel) = linked_in_role("replies", &[]);
    channel.send("a message").unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    let refused = message.reply("no").unwrap_err().to_string();
    assert!(refused.contains("was sent with send"), "{refused}");
    assert_exits_successfully(child, channel);

    let (child, channel) = linked_in_role("calls_back", &[]);
    let late = channel.call("question", Duration::ZERO);
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    let question = channel.recv_timeout(SOON).unwrap();
    drop(channel);
    let closed = question.reply("too late");
    assert!(
        matches!(closed, Err(Error::Disconnected { pid, .. }) if pid == std::process::id()),
        "{closed:?}"
    );
    drop(child);
}

fn message_beyond_the_limits_ends_the_channel() {
    let event = Event::manual_reset().unwrap();
    let section = SharedMemory::new(1 << 20).unwrap();
    let limits = Limits::default().bytes(100).objects(2).shared_memory_bytes((1 << 20) + 1);
    let two = || Message::new(vec![0; 100]).with("a", &event).with("b", &section);
    for (message, limit) in [
        (Message::new(vec![0; 101]), "bytes"),
        (two().with("c", &event), "objects"),
        (Message::new("").with("a", &section).with("b", &section), "shared_memory_bytes"),
    ] {
        let (child, channel) = linked_in_role("replies", &[]);
        channel.set_limits(limits);
        channel.send(Message::new("").with("a", &event)).unwrap();
        channel.recv_timeout(SOON).unwrap();
        let before = table::count();
        channel.send(message).unwrap();
        let error = channel.recv_timeout(SOON).unwrap_err();
        assert!(matches!(error, Error::Protocol { pid, .. } if pid == child.id()), "{error:?}");
        assert!(error.to_string().contains(&format!("(Limits::{limit})")), "{error}");
        assert_eq!(table::count(), before, "{limit}");
        assert!(matches!(channel.send("more"), Err(Error::Protocol { .. })), "{limit}");
    }
}

fn more_messages_than_the_limit_end_the_channel() {
    let (child, channel) = linked_in_role("sends_before_it_replies", &[]);
    channel.set_limits(Limits::default().queued(20));
    assert_eq!(text(&channel.call("send 20", SOON).unwrap()), "done");
    let error = channel.call("send 1", SOON).unwrap_err();
    assert!(matches!(error, Error::Protocol { pid, .. } if pid == child.id()), "{error:?}");
    assert!(error.to_string().contains("(Limits::queued)"), "{error}");
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Protocol { .. })));
}

/// Connects to the listener, and sends each kind of message.
fn connects(arguments: &[String]) {
    let channel = Channel::from(handover::Channel::connect_timeout(&arguments[0], SOON).unwrap());
    let (event, section) = (Event::manual_reset().unwrap(), SharedMemory::new(4096).unwrap());
    channel.send(Message::new("").with("event", &event)).unwrap();
    channel.send(Message::new("").with("section", &section)).unwrap();
    let _ = channel.send(vec![0; 200]);
    let _ = channel.recv_timeout(SOON);
}

fn listener_gives_its_limits_and_kinds_to_channels() {
    let name = format!("calls.limits.{}", std::process::id());
    let mut listener = Listener::bind(&name).unwrap();
    listener.set_limits(Limits::default().bytes(100)).allow_only([ObjectKind::SharedMemory]);
    let mut command = Command::new(this_program());
    command.args(role("connects", &[&name])).stdin(Stdio::null());
    let child = command.kill_on_drop(true).spawn().unwrap();
    let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
    let refused = channel.recv_timeout(SOON);
    assert!(matches!(refused, Err(Error::KindNotAllowed { found: ObjectKind::Event, .. })), "{refused:?}");
    drop(channel.recv_timeout(SOON).unwrap().take::<SharedMemory>("section").unwrap());
    let error = channel.recv_timeout(SOON).unwrap_err();
    assert!(error.to_string().contains("(Limits::bytes)"), "{error}");
    drop(child);
}
