//! Tests of channels over Unix sockets: the kernel owns objects in flight, so the order in which the
//! processes exit doesn't matter.

use std::time::Duration;

use handover::{Channel, Child, Command, Error, Event, Message, ObjectKind, OwnedHandle, Stdio};
use handover_tests::{Suite, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "channel",
    tests: tests![
        messages_of_exited_sender_arrive,
        flush_does_not_wait,
        sockets_travel,
        shared_memory_can_be_sent_read_only,
        unknown_kinds_must_be_allowed,
        objects_in_flight_are_closed_with_both_endpoints,
    ],
    roles: tests![sends_and_exits, flushes, answers_on_a_socket, views_shared_memory, echoes, reads_nothing],
};

fn in_role(name: &str) -> (Child, Channel) {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).stdin(Stdio::null()).kill_on_drop(true);
    let mut child = command.channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    (child, channel)
}

fn parent() -> Channel {
    Channel::parent().unwrap()
}

fn assert_exits_successfully(mut child: Child, channel: Channel) {
    drop(channel);
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn sends_and_exits(_: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    event.set().unwrap();
    channel.send(Message::new(b"last").with("event", &event)).unwrap();
    std::process::exit(0);
}

fn messages_of_exited_sender_arrive() {
    let (mut child, channel) = in_role("sends_and_exits");
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    let before = table::count();
    // The send fails because the peer has exited; the received message is not lost.
    let event = Event::manual_reset().unwrap();
    let gone = channel.send(Message::new(b"").with("event", &event));
    assert!(matches!(gone, Err(Error::ProcessExited { .. })), "{gone:?}");
    drop(event);
    let mut message = channel.recv_timeout(SOON).unwrap();
    assert_eq!(message.bytes(), b"last");
    assert!(message.take::<Event>("event").unwrap().try_wait().unwrap());
    drop(message);
    for _ in 0..2 {
        match channel.recv() {
            Err(Error::ProcessExited { pid: process, .. }) => assert_eq!(process, child.id()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(table::count(), before);
}

fn flushes(_: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    channel.send(Message::new(b"").with("event", &event)).unwrap();
    assert_eq!(table::count(), before, "no handle is kept for the message");
    channel.flush(Duration::ZERO).unwrap();
    channel.send(b"flushed").unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
    // The receive has already read all that was sent.
    channel.flush(SOON).unwrap();
}

fn flush_does_not_wait() {
    let (child, channel) = in_role("flushes");
    assert_eq!(channel.recv_timeout(SOON).unwrap().names().len(), 1);
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"flushed");
    assert_exits_successfully(child, channel);
}

fn answers_on_a_socket(_: &[String]) {
    use std::io::Write;
    let channel = parent();
    let mut message = channel.recv_timeout(SOON).unwrap();
    let mut stream: std::os::unix::net::UnixStream = message.take("stream").unwrap();
    stream.write_all(b"over the socket").unwrap();
    drop(stream);
    let listener: std::net::TcpListener = message.take("listener").unwrap();
    channel.send(listener.local_addr().unwrap().to_string().as_str()).unwrap();
    listener.accept().unwrap().0.write_all(b"accepted").unwrap();
}

fn sockets_travel() {
    use std::io::Read;
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (child, channel) = in_role("answers_on_a_socket");
    channel.send(Message::new(b"").with("stream", &theirs).with("listener", &listener)).unwrap();
    drop((theirs, listener));
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!(text, "over the socket");
    let address = channel.recv_timeout(SOON).unwrap().into_bytes();
    let mut client = std::net::TcpStream::connect(std::str::from_utf8(&address).unwrap()).unwrap();
    text.clear();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "accepted");
    assert_exits_successfully(child, channel);
}

fn views_shared_memory(_: &[String]) {
    let channel = parent();
    let mut message = channel.recv_timeout(SOON).unwrap();
    let section: handover::SharedMemory = message.take("section").unwrap();
    let view = section.view().unwrap();
    assert!(view.to_vec().starts_with(b"to read"));
    match section.view_mut() {
        Err(Error::AccessDenied { right, .. }) => assert_eq!(right, "to write"),
        other => panic!("{other:?}"),
    }
    // A range of the whole memory is reported as "access denied", and not as an invalid range.
    let whole = section.view_mut_range(0, section.size().unwrap());
    assert!(matches!(whole, Err(Error::AccessDenied { .. })), "{whole:?}");
    let bare: handover::SharedMemory = message.take("bare").unwrap();
    assert!(raw::can_map(&bare, true) && raw::can_map(&section, false) && !raw::can_map(&section, true));
    channel.send(b"seen").unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn shared_memory_can_be_sent_read_only() {
    let section = handover::SharedMemory::new(100).unwrap();
    section.view_mut().unwrap().write_at(0, b"to read").unwrap();
    let before = table::count();
    let (child, channel) = in_role("views_shared_memory");
    let message = Message::new(b"").with("section", section.read_only()).with("bare", &section);
    channel.send(message).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"seen");
    assert_exits_successfully(child, channel);
    assert_eq!(table::count(), before);
}

fn echoes(_: &[String]) {
    let channel = parent();
    channel.allow(ObjectKind::Other("eventpoll".into()));
    let mut message = channel.recv_timeout(SOON).unwrap();
    let object: OwnedHandle = message.take("object").unwrap();
    channel.send(Message::new(b"").with("object", &object)).unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn unknown_kinds_must_be_allowed() {
    let epoll = raw::epoll();
    let (child, channel) = in_role("echoes");
    channel.send(Message::new(b"").with("object", &epoll)).unwrap();
    let mut message = channel.recv_timeout(SOON).unwrap();
    let kind = message.kind("object").unwrap();
    assert_eq!(kind, ObjectKind::Other("eventpoll".into()));
    let refused = message.take::<OwnedHandle>("object");
    assert!(matches!(refused, Err(Error::KindNotAllowed { .. })), "{refused:?}");
    channel.allow(kind);
    let received: OwnedHandle = message.take("object").unwrap();
    assert!(table::same_object(&received, &epoll));
    assert_exits_successfully(child, channel);
}

fn reads_nothing(_: &[String]) {
    let channel = parent();
    channel.send(b"here").unwrap();
    std::thread::sleep(Duration::from_secs(30));
}

fn objects_in_flight_are_closed_with_both_endpoints() {
    use std::io::Read;
    // The reader of a pipe sees end of file when no process and no message in flight has the write end.
    let (from, to) = raw::pipe();
    let (mut child, channel) = in_role("reads_nothing");
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"here");
    channel.send(Message::new(b"").with("to", &to)).unwrap();
    drop(to);
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
    drop(channel);
    assert_eq!(std::fs::File::from(from).read(&mut [0]).unwrap(), 0);
}
