//! Tests of waiting for channels and listeners, and of closing a channel.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use handover::{
    Channel, Child, Command, Error, Event, Listener, Message, Process, Stdio, WaitSet, Waitable, wait_any,
};
use handover_tests::{raw, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);
/// Longer than any test may take.
const LONG: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            channel_is_ready_while_it_has_messages,
            channel_is_ready_when_the_peer_exits,
            channel_is_ready_when_the_peer_exits_though_another_process_has_its_endpoint,
            recv_ends_when_the_peer_exits_though_another_process_has_its_endpoint,
            channel_is_not_ready_for_a_part_of_a_message,
            channel_and_event_are_waited_for_together,
            try_recv_never_waits,
            timeout_is_kept_beside_another_receiver,
            each_message_goes_to_one_of_many_receivers,
            send_reads_again_when_a_receiver_has_left,
            close_ends_every_wait,
            close_is_seen_by_the_peer_at_once,
            closed_channel_rejects_every_call,
            closed_channel_loses_no_handles,
            listener_is_ready_while_a_client_waits,
            try_accept_never_waits,
        ],
        tests![
            sends_on_request,
            exits_on_request,
            leaves_its_endpoint_to_a_child,
            lives_a_little,
            never_reads,
            sends_a_part,
            sends_many,
            answers_after_a_while,
            waits_for_the_end,
            sends_objects,
            connects,
        ],
    )
}

fn in_role(name: &str, arguments: &[&str]) -> (Child, Channel) {
    let mut command = Command::new(this_program());
    let mut child = command.args(role(name, arguments)).kill_on_drop(true).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    (child, channel)
}

fn is_ready(object: &dyn Waitable) -> bool {
    match wait_any(&[object], Duration::ZERO) {
        Ok(signaled) => signaled == 0,
        Err(Error::TimedOut { .. }) => false,
        Err(other) => panic!("{other:?}"),
    }
}

/// Returns whether the handle for event loops says that there is something to receive.
fn shows_ready(channel: &Channel) -> bool {
    raw::is_signaled(&channel.readiness().unwrap())
}

/// Sends the number of messages that each request asks for.
fn sends_on_request(_: &[String]) {
    let channel = Channel::parent().unwrap();
    while let Ok(request) = channel.recv_timeout(SOON) {
        for number in 0..request.bytes()[0] {
            channel.send(vec![number; 10]).unwrap();
        }
    }
}

fn channel_is_ready_while_it_has_messages() {
    let (_child, channel) = in_role("sends_on_request", &[]);
    assert!(!is_ready(&channel) && !shows_ready(&channel));
    let handle = channel.readiness().unwrap();
    let count = table::count();
    for _ in 0..20 {
        channel.send(&[3]).unwrap();
        for number in 0..3 {
            assert_eq!(wait_any(&[&channel], SOON).unwrap(), 0);
            assert!(is_ready(&channel) && raw::is_signaled(&handle), "it stays ready until it is received");
            assert_eq!(channel.try_recv().unwrap().expect("it is ready").bytes(), [number; 10]);
        }
        assert!(channel.try_recv().unwrap().is_none());
        assert!(!is_ready(&channel) && !raw::is_signaled(&handle));
    }
    assert_eq!(table::count(), count);
}

fn exits_on_request(_: &[String]) {
    let _ = Channel::parent().unwrap().recv_timeout(SOON);
}

/// Waits until the channel is ready, and returns the error that it has to give.
fn error_of(channel: &Channel) -> Error {
    assert_eq!(wait_any(&[channel], SOON).unwrap(), 0);
    assert!(shows_ready(channel));
    let error = channel.try_recv().unwrap_err();
    assert!(is_ready(channel) && shows_ready(channel), "an error stays");
    error
}

fn channel_is_ready_when_the_peer_exits() {
    let (mut child, channel) = in_role("exits_on_request", &[]);
    assert!(!is_ready(&channel));
    channel.send("exit").unwrap();
    let error = error_of(&channel);
    assert!(matches!(error, Error::ProcessExited { .. } | Error::Disconnected { .. }), "{error:?}");
    child.wait_timeout(SOON).unwrap();
}

fn lives_a_little(_: &[String]) {
    std::thread::sleep(Duration::from_secs(5));
}

/// Exits, while a child of it keeps a copy of its endpoint open.
fn leaves_its_endpoint_to_a_child(_: &[String]) {
    // Until the library takes the endpoint, every child inherits it.
    let mut command = std::process::Command::new(this_program());
    let mut survivor =
        command.args(role("lives_a_little", &[])).stdin(std::process::Stdio::null()).spawn().unwrap();
    let channel = Channel::parent().unwrap();
    channel.send(survivor.id().to_string()).unwrap();
    if channel.recv_timeout(SOON).is_err() {
        survivor.kill().unwrap();
    }
    std::process::exit(0);
}

fn channel_is_ready_when_the_peer_exits_though_another_process_has_its_endpoint() {
    let (mut child, channel) = in_role("leaves_its_endpoint_to_a_child", &[]);
    let survivor: u32 =
        String::from_utf8(channel.recv_timeout(SOON).unwrap().into_bytes()).unwrap().parse().unwrap();
    let survivor = Process::open(survivor).unwrap();
    assert!(!is_ready(&channel) && !shows_ready(&channel));
    let set = WaitSet::new().unwrap();
    set.add(1, &channel).unwrap();
    assert_eq!(set.try_wait().unwrap().len(), 0);
    channel.send("exit").unwrap();
    for _ in 0..2 {
        assert_eq!(set.wait(SOON).unwrap().map(|ready| ready.key()).collect::<Vec<_>>(), [1]);
    }
    let error = error_of(&channel);
    assert!(matches!(error, Error::ProcessExited { .. }), "{error:?}");
    assert!(!survivor.has_exited().unwrap());
    child.wait_timeout(SOON).unwrap();
}

/// A receive watches the peer process too, and also if the one before had to wait.
fn recv_ends_when_the_peer_exits_though_another_process_has_its_endpoint() {
    let (mut child, channel) = in_role("leaves_its_endpoint_to_a_child", &[]);
    let survivor: u32 =
        String::from_utf8(channel.recv_timeout(SOON).unwrap().into_bytes()).unwrap().parse().unwrap();
    let survivor = Process::open(survivor).unwrap();
    let late = channel.recv_timeout(Duration::from_millis(50));
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    channel.send("exit").unwrap();
    let started = Instant::now();
    let error = channel.recv_timeout(SOON).unwrap_err();
    assert!(matches!(error, Error::ProcessExited { .. }), "{error:?}");
    assert!(started.elapsed() < SOON / 2, "{:?}", started.elapsed());
    assert!(!survivor.has_exited().unwrap());
    child.wait_timeout(SOON).unwrap();
}

/// Sends more than fits into the pipe, so that only a part of the message has arrived until the peer reads it.
fn sends_a_part(_: &[String]) {
    let channel = Channel::parent().unwrap();
    channel.send(vec![7; 8 << 20]).unwrap();
    let _ = channel.recv_timeout(SOON);
}

fn channel_is_not_ready_for_a_part_of_a_message() {
    let (_child, channel) = in_role("sends_a_part", &[]);
    let started = Instant::now();
    // It doesn't hide an object behind it in the list, also in a wait that only looks.
    let event = Event::manual_reset().unwrap();
    event.set().unwrap();
    for _ in 0..20 {
        let _ = wait_any(&[&channel, &event], Duration::ZERO).unwrap();
    }
    // Waiting reads the parts.
    assert_eq!(wait_any(&[&channel], SOON).unwrap(), 0);
    assert!(started.elapsed() < SOON);
    let message = channel.try_recv().unwrap().expect("a ready channel has a whole message");
    assert_eq!(message.bytes().len(), 8 << 20);
}

fn channel_and_event_are_waited_for_together() {
    let (child, channel) = in_role("sends_on_request", &[]);
    let event = Event::auto_reset().unwrap();
    let objects: [&dyn Waitable; 3] = [&event, &channel, &child];
    channel.send(&[1]).unwrap();
    assert_eq!(wait_any(&objects, SOON).unwrap(), 1);
    event.set().unwrap();
    assert_eq!(wait_any(&objects, SOON).unwrap(), 0);
    assert!(!event.try_wait().unwrap());
    channel.recv_timeout(SOON).unwrap();
    assert!(matches!(wait_any(&objects, Duration::from_millis(20)), Err(Error::TimedOut { .. })));
}

/// Runs `work` while another thread waits to receive.
fn beside_a_receiver(work: impl FnOnce(&Channel)) {
    let (_child, channel) = in_role("sends_on_request", &[]);
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| channel.recv());
        std::thread::sleep(Duration::from_millis(50));
        work(&channel);
        channel.close();
        assert!(matches!(receiver.join().unwrap(), Err(Error::Disconnected { .. })));
    });
}

fn try_recv_never_waits() {
    beside_a_receiver(|channel| {
        let started = Instant::now();
        for _ in 0..300 {
            assert!(channel.try_recv().unwrap().is_none());
        }
        // With a lock that the receiver holds, this takes twelve seconds.
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    });
}

fn timeout_is_kept_beside_another_receiver() {
    beside_a_receiver(|channel| {
        let started = Instant::now();
        for _ in 0..100 {
            let received = channel.recv_timeout(Duration::from_millis(1));
            assert!(matches!(received, Err(Error::TimedOut { .. })), "{received:?}");
        }
        // On Windows each wait takes up to one tick more, which is 16 ms.
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    });
}

/// Sends as many messages as the argument says, of different lengths.
fn sends_many(arguments: &[String]) {
    let channel = Channel::parent().unwrap();
    let count: usize = arguments[0].parse().unwrap();
    for number in 0..count {
        let length = if number % 50 == 0 { 100_000 } else { number % 300 };
        channel.send(vec![7; length]).unwrap();
    }
    let _ = channel.recv_timeout(LONG);
}

fn each_message_goes_to_one_of_many_receivers() {
    const COUNT: usize = 3000;
    let (_child, channel) = in_role("sends_many", &[&COUNT.to_string()]);
    let received = AtomicUsize::new(0);
    let count = |message: handover::Result<_>| match message {
        Ok(message) => {
            drop::<handover::ReceivedMessage>(message);
            if received.fetch_add(1, SeqCst) + 1 == COUNT {
                channel.close();
            }
            true
        }
        Err(Error::Disconnected { .. }) => false,
        Err(other) => panic!("{other:?}"),
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| while count(channel.recv_timeout(SOON)) {});
        }
        // Others look without waiting, and wait for it as an object.
        scope.spawn(|| {
            loop {
                match channel.try_recv() {
                    Ok(None) => std::thread::yield_now(),
                    Ok(Some(message)) => assert!(count(Ok(message))),
                    Err(error) => {
                        assert!(!count(Err(error)));
                        break;
                    }
                }
            }
        });
        scope.spawn(|| {
            while wait_any(&[&channel], SOON).is_ok() {
                match channel.try_recv() {
                    Ok(None) => {}
                    Ok(Some(message)) => assert!(count(Ok(message))),
                    Err(error) => {
                        assert!(!count(Err(error)));
                        break;
                    }
                }
            }
        });
    });
    assert_eq!(received.load(SeqCst), COUNT);
}

/// Sends a large message before it receives one.
fn answers_after_a_while(_: &[String]) {
    let channel = Channel::parent().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    channel.send(vec![1; 4 << 20]).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes().len(), 4 << 20);
    let _ = channel.recv_timeout(SOON);
}

fn send_reads_again_when_a_receiver_has_left() {
    let (_child, channel) = in_role("answers_after_a_while", &[]);
    std::thread::scope(|scope| {
        // While this thread waits to receive, the send leaves the reading to it. Afterwards no other thread reads.
        scope.spawn(|| channel.recv_timeout(Duration::from_millis(150)));
        std::thread::sleep(Duration::from_millis(50));
        channel.send_timeout(vec![2; 4 << 20], SOON).unwrap();
    });
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), vec![1; 4 << 20]);
}

fn never_reads(_: &[String]) {
    let _channel = Channel::parent().unwrap();
    std::thread::sleep(LONG);
}

fn assert_closed_here<T: std::fmt::Debug>(outcome: handover::Result<T>) {
    match outcome {
        Err(Error::Disconnected { pid, .. }) => assert_eq!(pid, std::process::id()),
        other => panic!("{other:?}"),
    }
}

fn close_ends_every_wait() {
    let (_child, channel) = in_role("never_reads", &[]);
    let clones: Vec<Channel> = (0..4).map(|_| channel.clone()).collect();
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_closed_here(clones[0].recv()));
        scope.spawn(|| assert_closed_here(clones[1].recv_timeout(LONG)));
        scope.spawn(|| assert_closed_here(clones[2].send(vec![7; 8 << 20])));
        scope.spawn(|| {
            assert_eq!(wait_any(&[&clones[3]], LONG).unwrap(), 0);
            assert_closed_here(clones[3].try_recv());
        });
        std::thread::sleep(Duration::from_millis(300));
        channel.close();
    });
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

/// Waits for the end of the channel, and says that it has seen it.
fn waits_for_the_end(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let event: Event = channel.recv_timeout(SOON).unwrap().take("ended").unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"last");
    let end = channel.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. })), "{end:?}");
    event.set().unwrap();
}

fn close_is_seen_by_the_peer_at_once() {
    let (mut child, channel) = in_role("waits_for_the_end", &[]);
    let clone = channel.clone();
    let ended = Event::manual_reset().unwrap();
    channel.send(Message::new(b"").with("ended", &ended)).unwrap();
    channel.send("last").unwrap();
    channel.close();
    ended.wait_timeout(SOON).expect("what was sent before arrives, and then the end");
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    drop((channel, clone));
}

fn closed_channel_rejects_every_call() {
    let (_child, channel) = in_role("sends_on_request", &[]);
    // A message that has arrived is not received any more.
    channel.send(&[2]).unwrap();
    assert_eq!(wait_any(&[&channel], SOON).unwrap(), 0);
    channel.close();
    channel.close();
    for _ in 0..2 {
        assert_closed_here(channel.recv());
        assert_closed_here(channel.recv_timeout(SOON));
        assert_closed_here(channel.try_recv());
        assert_closed_here(channel.send("late"));
        assert_closed_here(channel.send_timeout("late", SOON));
        assert_closed_here(channel.flush(SOON));
        assert!(is_ready(&channel) && shows_ready(&channel));
    }
    let text = channel.recv().unwrap_err().to_string();
    assert!(text.starts_with("this process has closed the channel: it called Channel::close"), "{text}");
    // The process that dropped the other endpoint is this one too, without a call of `close`.
    let (one, other) = Channel::pair().unwrap();
    drop(other);
    let text = one.recv().unwrap_err().to_string();
    assert!(text.starts_with("this process has closed the channel: ") && text.contains("dropped"), "{text}");
}

/// Sends an object in each message, and then waits for the end.
fn sends_objects(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let event = Event::manual_reset().unwrap();
    for _ in 0..5 {
        // The peer closes its endpoint as soon as it has got the first two.
        match channel.send(Message::new(b"").with("event", &event)) {
            Ok(()) | Err(Error::Disconnected { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    let end = channel.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. } | Error::ProcessExited { .. })), "{end:?}");
}

fn closed_channel_loses_no_handles() {
    let run = || {
        let (mut child, channel) = in_role("sends_objects", &[]);
        let first = channel.recv_timeout(SOON).unwrap();
        assert_eq!(wait_any(&[&channel], SOON).unwrap(), 0);
        channel.close();
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
        drop((first, channel));
    };
    run();
    let before = table::count();
    run();
    until("all handles are closed", || table::count() == before);
}

/// Connects to the listener of this name, and waits for the end of the connection.
fn connects(arguments: &[String]) {
    match Channel::connect_timeout(&arguments[0], SOON) {
        Ok(channel) => drop(channel.recv_timeout(SOON)),
        Err(Error::ConnectionRefused { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}

fn client_of(name: &str) -> Child {
    let mut command = Command::new(this_program());
    command.args(role("connects", &[name])).stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

fn listener_is_ready_while_a_client_waits() {
    let name = format!("readiness.{}", std::process::id());
    let mut listener = Listener::bind(&name).unwrap();
    assert!(!is_ready(&listener) && !raw::is_signaled(&listener.readiness().unwrap()));
    assert!(listener.try_accept().unwrap().is_none());
    for is_accepted in [true, false, true] {
        let mut client = client_of(&name);
        let event = Event::manual_reset().unwrap();
        let ready = wait_any(&[&event, &listener], SOON).unwrap();
        assert_eq!(ready, 1);
        assert!(is_ready(&listener) && raw::is_signaled(&listener.readiness().unwrap()));
        let incoming = listener.try_accept().unwrap().expect("a client waits");
        assert_eq!(incoming.process().id(), client.id());
        if is_accepted {
            let channel = incoming.accept().unwrap();
            channel.close();
        } else {
            incoming.refuse();
        }
        assert_eq!(client.wait_timeout(SOON).unwrap().code(), Some(0));
        assert!(listener.try_accept().unwrap().is_none());
        assert!(!is_ready(&listener));
    }
}

fn try_accept_never_waits() {
    let name = format!("try-accept.{}", std::process::id());
    let mut listener = Listener::bind(&name).unwrap();
    let handles = table::count();
    let started = Instant::now();
    for _ in 0..300 {
        assert!(listener.try_accept().unwrap().is_none());
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(table::count(), handles);
}
