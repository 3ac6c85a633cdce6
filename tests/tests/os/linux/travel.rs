//! Tests of endpoints that travel, whose processes the kernel names.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

use handover::os::linux::ChannelExt;
use handover::{Channel, Command, Error, Event, Message, OwnedHandle, Stdio, wait_any};
use handover_tests::frame::{frame, with};
use handover_tests::{Suite, door, linked_in_role, role, table, tests, this_program, until, weaker};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "travel",
    tests: tests![
        connected_sockets_become_channels,
        other_descriptors_do_not_become_channels,
        object_that_is_no_endpoint_stays_in_its_message,
        exit_of_a_process_that_the_endpoint_has_left_ends_nothing,
        send_waits_for_the_process_to_which_the_endpoint_has_gone,
        greetings_name_the_process_that_the_kernel_knows,
        flood_of_greetings_blocks_nothing,
        endpoint_leaves_without_a_receive_timeout,
        sockets_with_little_space_carry_long_messages,
    ],
    roles: tests![passes_on, passes_on_unread, serves, greets, sends_no_endpoints],
};

/// The next owner of the socket may be a program that waits in a receive of its own.
fn endpoint_leaves_without_a_receive_timeout() {
    let before = table::count();
    let (raw, ours) = door::pair().unwrap();
    let same_socket = ours.try_clone().unwrap();
    let channel = Channel::from_socket(ours).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..3 {
                // The receiver already waits, so the next receive will wait in the call that receives.
                std::thread::sleep(Duration::from_millis(50));
                weaker::send(&raw, &frame(number, &[], b"late"), &[]).unwrap();
            }
        });
        for _ in 0..3 {
            assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"late");
        }
    });
    assert!(
        same_socket.read_timeout().unwrap().is_some(),
        "the control: this process's receives are limited"
    );
    let (one, other) = Channel::pair().unwrap();
    one.send(Message::new("").with_channel("travels", channel)).unwrap();
    assert_eq!(same_socket.read_timeout().unwrap(), None);
    drop((other.recv_timeout(SOON).unwrap(), one, other, raw, same_socket));
    until("the descriptors are closed", || table::count() <= before);
}

/// A socket sends no packet that is longer than its space.
fn sockets_with_little_space_carry_long_messages() {
    let (one, other) = door::pair().unwrap();
    for socket in [&one, &other] {
        rustix::net::sockopt::set_socket_send_buffer_size(socket, 4096).unwrap();
    }
    let (one, other) = (Channel::from_socket(one).unwrap(), Channel::from_socket(other).unwrap());
    let event = Event::manual_reset().unwrap();
    let bytes: Vec<u8> = (0..=250).cycle().take(1_000_000).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| one.send_timeout(Message::new(&bytes).with("event", &event), SOON).unwrap());
        let message = other.recv_timeout(SOON).unwrap();
        assert_eq!(message.bytes(), bytes);
        drop(message.take::<Event>("event").unwrap());
    });
}

fn connected_sockets_become_channels() {
    let before = table::count();
    let (one, other) = door::pair().unwrap();
    let one = Channel::from_socket(one).unwrap();
    let other = Channel::from_socket(OwnedFd::from(other)).unwrap();
    assert!(one.peer().is_none(), "nothing was received");
    let event = Event::manual_reset().unwrap();
    for (from, to) in [(&one, &other), (&other, &one)] {
        from.send(Message::new("hello").with("event", &event)).unwrap();
        let message = to.recv_timeout(SOON).unwrap();
        assert_eq!(message.bytes(), b"hello");
        drop(message.take::<Event>("event").unwrap());
    }
    for channel in [&one, &other] {
        assert_eq!(channel.peer().unwrap().id(), std::process::id());
    }
    drop((one, other, event));
    // This process's own descriptor stays with the last channel to it.
    until("the descriptors are closed", || table::count() <= before);
}

fn other_descriptors_do_not_become_channels() {
    let path = std::env::temp_dir().join(format!("handover-travel-{}", std::process::id()));
    let unconnected = || {
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::SEQPACKET, None);
        socket.unwrap()
    };
    let others: Vec<OwnedFd> = vec![
        UnixDatagram::pair().unwrap().0.into(),
        UnixStream::pair().unwrap().0.into(),
        UnixListener::bind(&path).unwrap().into(),
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().into(),
        std::fs::File::open("/dev/null").unwrap().into(),
        unconnected(),
    ];
    std::fs::remove_file(&path).unwrap();
    let before = table::count() - others.len();
    for other in others {
        let error = Channel::from_socket(other).unwrap_err();
        // A file is no socket at all.
        let text = error.to_string();
        assert!(text.contains("is not an endpoint of a channel") || text.contains("getsockopt"), "{text}");
    }
    assert_eq!(table::count(), before);
}

/// Sends an event and a socket of another type as endpoints.
fn sends_no_endpoints(_: &[String]) {
    let end = weaker::Endpoint::inherited();
    let event = Event::manual_reset().unwrap();
    let datagram = UnixDatagram::pair().unwrap().0;
    for (number, value) in [(0, table::value(&event)), (1, table::value(&datagram))] {
        let frame = with(frame(number, &[(value, b"link")], b""), 5, &[1]);
        assert!(end.write(&frame, &[value], SOON));
    }
    std::thread::sleep(SOON);
}

fn object_that_is_no_endpoint_stays_in_its_message() {
    let (child, channel) = linked_in_role("sends_no_endpoints", &[]);
    for _ in 0..2 {
        let message = channel.recv_timeout(SOON).unwrap();
        let before = table::count();
        for _ in 0..2 {
            let refused = message.take_channel("link").map(drop);
            assert!(refused.is_err_and(|error| !matches!(error, Error::AlreadyTaken { .. })));
        }
        assert!(message.take::<OwnedHandle>("link").is_err());
        assert_eq!(table::count(), before);
        drop(message);
        assert_eq!(table::count(), before - 1);
    }
    drop(child);
}

/// Takes an endpoint, uses it, passes it on to a child, and exits.
fn passes_on(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let link = parent.recv_timeout(SOON).unwrap().take_channel("link").unwrap();
    link.send("from the first").unwrap();
    assert_eq!(link.recv_timeout(SOON).unwrap().bytes(), b"go on");
    let mut command = Command::new(this_program());
    command.args(role("serves", &[])).stdin(Stdio::null()).inherit_channel("link", link);
    parent.send(command.spawn().unwrap().id().to_string()).unwrap();
}

fn serves(_: &[String]) {
    let link = handover::inherited().unwrap().take_channel("link").unwrap();
    // The parent has exited by then.
    std::thread::sleep(Duration::from_millis(500));
    while let Ok(message) = link.recv_timeout(SOON) {
        link.send(message.bytes()).unwrap();
    }
}

fn exit_of_a_process_that_the_endpoint_has_left_ends_nothing() {
    let (mut first, channel) = linked_in_role("passes_on", &[]);
    let (ours, theirs) = Channel::pair().unwrap();
    channel.send(Message::new("").with_channel("link", theirs)).unwrap();
    assert_eq!(ours.recv_timeout(SOON).unwrap().bytes(), b"from the first");
    assert_eq!(ours.peer().unwrap().id(), first.id());
    // With a readiness, the exit is watched in another way.
    ours.readiness().unwrap();
    ours.send("go on").unwrap();
    let id: u32 =
        String::from_utf8(channel.recv_timeout(SOON).unwrap().into_bytes()).unwrap().parse().unwrap();
    ours.send("hello").unwrap();
    let waited = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ours.recv_timeout(SOON));
        assert!(first.wait_timeout(SOON).unwrap().success());
        waiting.join().unwrap()
    });
    assert_eq!(waited.unwrap().bytes(), b"hello");
    ours.send("again").unwrap();
    assert_eq!(wait_any(&[&ours], SOON).unwrap(), 0);
    assert_eq!(ours.recv_timeout(SOON).unwrap().bytes(), b"again");
    let second = ours.peer().unwrap();
    assert_eq!(second.id(), id);
    drop(ours);
    until("the second process has exited", || second.has_exited().unwrap());
}

/// Greets over the inherited socket, without credentials of its own, and then sends a message.
fn greets(arguments: &[String]) {
    let end = weaker::Endpoint::inherited();
    let greeting = |asks| with(with(frame(0, &[], b""), 3, &[3]), 6, &[asks]);
    let count: usize = arguments[0].parse().unwrap();
    for _ in 0..count {
        if !end.write(&greeting(1), &[], SOON) {
            break;
        }
    }
    assert!(end.write(&frame(0, &[], b"hello"), &[], SOON));
    std::thread::sleep(SOON);
}

fn greetings_name_the_process_that_the_kernel_knows() {
    let (child, channel) = linked_in_role("greets", &["1"]);
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"hello");
    // It never answers the question for a greeting with credentials, so the process stays the one that was known before.
    assert_eq!(channel.peer().unwrap().id(), child.id());
}

fn flood_of_greetings_blocks_nothing() {
    let (child, channel) = linked_in_role("greets", &["20000"]);
    let before = table::count();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"hello");
    assert!(table::count() <= before);
    assert_eq!(channel.peer().unwrap().id(), child.id());
    let late = channel.recv_timeout(Duration::from_millis(100));
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
}

/// Takes an endpoint, passes it on to a child, and exits. The child reads only later.
fn passes_on_unread(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let link = parent.recv_timeout(SOON).unwrap().take_channel("link").unwrap();
    link.send("hello").unwrap();
    parent.recv_timeout(SOON).unwrap();
    let mut command = Command::new(this_program());
    command.args(role("serves", &[])).stdin(Stdio::null()).inherit_channel("link", link);
    command.spawn().unwrap();
}

fn send_waits_for_the_process_to_which_the_endpoint_has_gone() {
    let (mut first, channel) = linked_in_role("passes_on_unread", &[]);
    let (ours, theirs) = Channel::pair().unwrap();
    channel.send(Message::new("").with_channel("link", theirs)).unwrap();
    assert_eq!(ours.recv_timeout(SOON).unwrap().bytes(), b"hello");
    assert_eq!(ours.peer().unwrap().id(), first.id());
    channel.send("go on").unwrap();
    assert!(first.wait_timeout(SOON).unwrap().success());
    ours.flush(SOON).unwrap();
    // More than the socket holds: the send waits, although the process that had the endpoint has exited.
    ours.send_timeout(vec![7; 4 << 20], SOON).unwrap();
    assert_eq!(ours.recv_timeout(SOON).unwrap().bytes().len(), 4 << 20);
}
