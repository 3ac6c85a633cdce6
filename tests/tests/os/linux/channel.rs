//! Tests of channels over Unix sockets: the kernel owns objects in flight, so the order in which the
//! processes exit doesn't matter.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use handover::{
    BorrowedObject, Channel, Child, Command, Error, Event, Listener, Message, Object, ObjectKind,
    OwnedHandle, SharedMemory, Stdio, WaitSet, wait_any,
};
use handover_tests::{Suite, raw, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);
/// Longer than any test may take.
const LONG: Duration = Duration::from_secs(60);

pub(super) const SUITE: Suite = Suite {
    name: "channel",
    tests: tests![
        messages_of_exited_sender_arrive,
        flush_does_not_wait,
        sockets_travel,
        shared_memory_can_be_sent_read_only,
        unknown_kinds_must_be_allowed,
        objects_in_flight_are_closed_with_both_endpoints,
        sockets_are_taken_as_their_own_type_only,
        memory_larger_than_the_machine_is_not_taken,
        idle_waits_cost_no_wakeups,
    ],
    roles: tests![
        is_given_sockets,
        is_given_huge_memory,
        sends_and_exits,
        flushes,
        answers_on_a_socket,
        views_shared_memory,
        echoes,
        reads_nothing,
        waits_in_every_way
    ],
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

/// Waits in each way for something that doesn't come.
fn waits_in_every_way(arguments: &[String]) {
    let (one, other) = (parent(), Event::auto_reset().unwrap());
    let mut listener = Listener::bind(&arguments[0]).unwrap();
    let set = WaitSet::new().unwrap();
    set.add(1, &one).unwrap();
    set.add(2, &other).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| one.recv());
        scope.spawn(|| one.recv_timeout(LONG));
        scope.spawn(|| wait_any(&[&one, &other], LONG));
        scope.spawn(|| set.wait(LONG).map(drop));
        scope.spawn(|| listener.accept_timeout(LONG).map(drop));
        // It is more than fits, and the peer doesn't read.
        scope.spawn(|| one.send(vec![7; 4 << 20]));
    });
}

/// Returns how often the threads of a process have been woken after a wait.
fn wakeups(process: u32) -> u64 {
    let switches = |task: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    std::fs::read_dir(format!("/proc/{process}/task")).unwrap().map(switches).sum()
}

fn idle_waits_cost_no_wakeups() {
    let name = format!("idle.{}", std::process::id());
    let mut command = Command::new(this_program());
    command.args(role("waits_in_every_way", &[&name])).stdin(Stdio::null()).kill_on_drop(true);
    let mut child = command.channel().spawn().unwrap();
    let _channel = child.take_channel().unwrap();
    let threads = || std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().count();
    until("all threads have begun", || threads() == 7);
    let began = Instant::now();
    let mut before = wakeups(child.id());
    // The threads begin to wait one after the other.
    while began.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(500));
        let after = wakeups(child.id());
        if after == before {
            return;
        }
        before = after;
    }
    panic!("the waiting threads wake up again and again");
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
    let message = channel.recv_timeout(SOON).unwrap();
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
    let message = channel.recv_timeout(SOON).unwrap();
    let mut stream: UnixStream = message.take("stream").unwrap();
    stream.write_all(b"over the socket").unwrap();
    drop(stream);
    let listener: TcpListener = message.take("listener").unwrap();
    channel.send(listener.local_addr().unwrap().to_string().as_str()).unwrap();
    listener.accept().unwrap().0.write_all(b"accepted").unwrap();
}

fn sockets_travel() {
    use std::io::Read;
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (child, channel) = in_role("answers_on_a_socket");
    channel.send(Message::new(b"").with("stream", &theirs).with("listener", &listener)).unwrap();
    drop((theirs, listener));
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!(text, "over the socket");
    let address = channel.recv_timeout(SOON).unwrap().into_bytes();
    let mut client = TcpStream::connect(std::str::from_utf8(&address).unwrap()).unwrap();
    text.clear();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "accepted");
    assert_exits_successfully(child, channel);
}

fn views_shared_memory(_: &[String]) {
    let channel = parent();
    let message = channel.recv_timeout(SOON).unwrap();
    let section: SharedMemory = message.take("section").unwrap();
    let view = section.view().unwrap();
    assert!(view.to_vec().starts_with(b"to read"));
    match section.view_mut() {
        Err(Error::AccessDenied { right, .. }) => assert_eq!(right, "to write"),
        other => panic!("{other:?}"),
    }
    // A range of the whole memory is reported as "access denied", and not as an invalid range.
    let whole = section.view_mut_range(0, section.size().unwrap());
    assert!(matches!(whole, Err(Error::AccessDenied { .. })), "{whole:?}");
    let bare: SharedMemory = message.take("bare").unwrap();
    assert!(raw::can_map(&bare, true) && raw::can_map(&section, false) && !raw::can_map(&section, true));
    channel.send(b"seen").unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn shared_memory_can_be_sent_read_only() {
    let section = SharedMemory::new(100).unwrap();
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
    for _ in 0..2 {
        let message = channel.recv_timeout(SOON).unwrap();
        let object: OwnedHandle = message.take("object").unwrap();
        channel.send(Message::new(b"").with("object", &object)).unwrap();
    }
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn unknown_kinds_must_be_allowed() {
    let epoll = raw::epoll();
    let (child, channel) = in_role("echoes");
    let kind = ObjectKind::Other("eventpoll".into());
    for _ in 0..2 {
        channel.send(Message::new(b"").with("object", &epoll)).unwrap();
    }
    match channel.recv_timeout(SOON) {
        Err(Error::KindNotAllowed { found, .. }) => assert_eq!(found, kind),
        other => panic!("{other:?}"),
    }
    channel.allow(kind);
    let message = channel.recv_timeout(SOON).unwrap();
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

/// The names of the sockets in the tests below, and what the library calls them.
const SOCKETS: [(&str, &str); 7] = [
    ("tcp listener", "TCP listener"),
    ("tcp stream", "TCP stream"),
    ("udp", "UDP socket"),
    ("unix datagram", "Unix datagram socket"),
    ("unix listener", "Unix listener"),
    ("unix stream", "Unix stream"),
    ("unix sequence", "Unix socket of sequenced packets"),
];

/// Asserts that a socket of this name can't be taken as a `T`.
fn is_not<T: Object + std::fmt::Debug>(name: &str, take: impl FnOnce(&str) -> handover::Result<T>) {
    let (_, text) = SOCKETS.into_iter().find(|(known, _)| *known == name).unwrap();
    match take(name) {
        Err(error @ Error::WrongKind { .. }) => assert!(error.to_string().contains(text), "{error}"),
        other => panic!("{name}: {other:?}"),
    }
}

fn is_given_sockets(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    let message = parent().recv_timeout(SOON).unwrap();
    for (name, _) in SOCKETS {
        if name != "tcp listener" {
            is_not(name, |name| inherited.take::<TcpListener>(name));
            is_not(name, |name| message.take::<TcpListener>(name));
        }
        if name != "tcp stream" {
            is_not(name, |name| inherited.take::<TcpStream>(name));
            is_not(name, |name| message.take::<TcpStream>(name));
        }
        if name != "udp" {
            is_not(name, |name| inherited.take::<UdpSocket>(name));
        }
        if name != "unix datagram" {
            is_not(name, |name| inherited.take::<UnixDatagram>(name));
        }
        if name != "unix listener" {
            is_not(name, |name| inherited.take::<UnixListener>(name));
        }
        if name != "unix stream" {
            is_not(name, |name| inherited.take::<UnixStream>(name));
        }
    }
    inherited.take::<TcpListener>("tcp listener").unwrap();
    message.take::<TcpListener>("tcp listener").unwrap();
    message.take::<TcpStream>("tcp stream").unwrap();
    inherited.take::<UdpSocket>("udp").unwrap();
    inherited.take::<UnixDatagram>("unix datagram").unwrap();
    inherited.take::<UnixListener>("unix listener").unwrap();
    inherited.take::<UnixStream>("unix stream").unwrap();
    // Each other type is taken as a plain handle.
    inherited.take::<OwnedHandle>("unix sequence").unwrap();
}

fn sockets_are_taken_as_their_own_type_only() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let path = std::env::temp_dir().join(format!("handover-socket-{}", std::process::id()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (datagram, _other) = UnixDatagram::pair().unwrap();
    let (unix_stream, _others) = UnixStream::pair().unwrap();
    let unix_listener = UnixListener::bind(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let flags = SocketFlags::CLOEXEC;
    let (sequence, _peer) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let sockets: [BorrowedObject<'_>; 7] = [
        (&listener).into(),
        (&stream).into(),
        (&udp).into(),
        (&datagram).into(),
        (&unix_listener).into(),
        (&unix_stream).into(),
        (&sequence).into(),
    ];
    let mut command = Command::new(this_program());
    command.args(role("is_given_sockets", &[])).stdin(Stdio::null()).kill_on_drop(true);
    let mut message = Message::new(b"");
    for ((name, _), socket) in SOCKETS.into_iter().zip(sockets) {
        command.inherit(name, socket);
        message = message.with(name, socket);
    }
    let mut child = command.channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    channel.send(message).unwrap();
    assert_exits_successfully(child, channel);
}

fn is_given_huge_memory(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    let message = parent().recv_timeout(SOON).unwrap();
    let before = table::count();
    for taken in [inherited.take::<SharedMemory>("huge"), message.take::<SharedMemory>("huge")] {
        match taken {
            Err(error @ Error::InvalidInput { .. }) => {
                assert!(error.to_string().contains(&HUGE.to_string()), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(table::count(), before);
    // It can still be taken by those who want it.
    inherited.take::<OwnedHandle>("huge").unwrap();
}

/// More bytes than any machine has.
const HUGE: u64 = 1 << 52;

fn memory_larger_than_the_machine_is_not_taken() {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    let memory = memfd_create("huge", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&memory, HUGE).unwrap();
    fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    let mut command = Command::new(this_program());
    command.args(role("is_given_huge_memory", &[])).stdin(Stdio::null()).kill_on_drop(true);
    let mut child = command.inherit("huge", &memory).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    channel.send(Message::new(b"").with("huge", &memory)).unwrap();
    assert_exits_successfully(child, channel);
}
