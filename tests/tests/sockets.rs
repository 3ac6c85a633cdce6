//! Tests of sockets that processes give each other: by inheritance and in messages.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use handover::inspect::Audit;
use handover::{
    BorrowedObject, Carried, Channel, Child, Command, Error, Event, Inherited, Listener, Message, Object,
    ObjectKind, ReceivedMessage, SharedMemory, Stdio, TypedChannel,
};
use handover_tests::{
    assert_exits_successfully, linked_in_role, role, settled, table, tests, this_program, until,
};

use socket2::{Domain, Socket, Type};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            inherited_listener_keeps_the_connections_that_wait,
            inherited_stream_brings_each_byte_once,
            inherited_udp_socket_brings_each_datagram_once,
            inherited_socket_is_taken_only_as_its_own_type,
            bound_socket_that_does_not_listen_is_no_listener,
            three_children_accept_from_one_listener,
            sockets_and_other_objects_are_inherited_together,
            socket_that_a_child_never_takes_is_closed_with_it,
            inherited_socket_is_not_inherited_further,
            killed_child_leaves_the_parents_socket_as_it_was,
            one_command_gives_its_socket_to_each_child,
            race_free_child_gets_a_socket,
            child_that_is_killed_with_its_parent_gets_a_socket,
            output_of_a_child_with_a_socket_is_read,
            spawns_with_sockets_leave_no_handle,
            audited_command_with_a_socket_is_clean,
            sent_listener_keeps_the_connections_that_wait,
            sent_stream_brings_each_byte_once,
            sent_udp_socket_brings_each_datagram_once,
            received_sockets_work,
            sent_socket_is_taken_only_as_its_own_type,
            message_that_is_dropped_closes_its_sockets,
            endpoint_that_is_dropped_closes_the_sockets_that_wait,
            kinds_that_are_not_allowed_are_closed,
            sockets_between_events_arrive_in_their_order,
            three_processes_accept_from_one_listener_that_was_sent,
            socket_for_a_server_that_has_exited_is_an_error_at_once,
            killed_receiver_leaves_the_senders_socket_as_it_was,
            calls_and_replies_carry_sockets,
            values_carry_sockets,
            sockets_are_sent_within_a_process,
            socket_is_sent_on_over_an_endpoint_that_has_moved,
            thousand_sockets_leave_no_handle,
        ],
        tests![
            serves,
            serves_and_tells,
            answers_stream,
            answers_udp,
            takes_wrong_types,
            takes_bound,
            takes_all,
            takes_none,
            has_a_grandchild,
            sleeps,
            uses_received,
            sends_its_own,
            takes_received_wrongly,
            drops_received,
            allows_events_only,
            takes_many,
            never_receives,
            answers_calls,
            answers_values,
            moves_an_endpoint,
            echoes_sockets,
            serves_a_client,
        ],
    )
}

/// Returns an address of this machine with a free port, for each version of the protocol that it has.
fn addresses() -> Vec<SocketAddr> {
    let all = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
    let usable: Vec<_> = all.into_iter().filter(|address| TcpListener::bind(address).is_ok()).collect();
    assert!(usable.contains(&all[0]));
    usable
}

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, SOON).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Returns a connected pair of streams.
fn streams(address: SocketAddr) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).unwrap();
    let client = connect(listener.local_addr().unwrap());
    (listener.accept().unwrap().0, client)
}

fn in_role<'a>(name: &str, arguments: &[&str]) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn assert_succeeds(mut child: Child) {
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

/// Writes a line and reads the upper-case answer.
fn assert_answers(stream: &mut TcpStream, line: &str) {
    stream.write_all(line.as_bytes()).unwrap();
    let mut answer = vec![0; line.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), line.to_uppercase());
}

/// Answers one read of each of `count` connections.
fn serve(listener: &TcpListener, connections: usize) {
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().unwrap();
        answer(&mut stream);
    }
}

fn answer(stream: &mut TcpStream) {
    let mut read = [0; 100];
    let length = stream.read(&mut read).unwrap();
    stream.write_all(&read[..length].to_ascii_uppercase()).unwrap();
}

fn inherited() -> Inherited {
    handover::inherited().unwrap()
}

/// Returns whether the port can be bound again, so that no process has a socket that listens there.
fn is_free(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, SOON).is_err() && TcpListener::bind(address).is_ok()
}

/// Accepts as many connections as the argument says, and answers them.
fn serves(arguments: &[String]) {
    let listener: TcpListener = inherited().take("listener").unwrap();
    serve(&listener, arguments[0].parse().unwrap());
}

/// Passes sockets to another process by one of the ways, and checks that nothing is lost meanwhile. `give` passes the socket, and
/// returns the process if that exits on its own.
fn listener_keeps_the_connections_that_wait(give: impl Fn(&TcpListener) -> Option<Child>) {
    for address in addresses() {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let mut earlier = connect(address);
        let child = give(&listener);
        let mut meanwhile = connect(address);
        drop(listener);
        let mut later = connect(address);
        assert_answers(&mut earlier, "earlier");
        assert_answers(&mut meanwhile, "meanwhile");
        assert_answers(&mut later, "later");
        child.into_iter().for_each(assert_succeeds);
        until("the port is free", || is_free(address));
    }
}

fn stream_brings_each_byte_once(give: impl Fn(&TcpStream) -> Option<Child>) {
    for address in addresses() {
        let (ours, mut client) = streams(address);
        client.write_all(b"before").unwrap();
        let child = give(&ours);
        client.write_all(b"after").unwrap();
        drop(ours);
        let mut answer = [0; 11];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"beforeafter");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        child.into_iter().for_each(assert_succeeds);
        assert_eq!(client.read(&mut answer).unwrap(), 0, "no process has the stream any more");
    }
}

fn udp_socket_brings_each_datagram_once(give: impl Fn(&UdpSocket) -> Option<Child>) {
    for address in addresses() {
        let [ours, other] = [(); 2].map(|()| UdpSocket::bind(address).unwrap());
        other.set_read_timeout(Some(SOON)).unwrap();
        let address = ours.local_addr().unwrap();
        other.send_to(b"before", address).unwrap();
        let child = give(&ours);
        drop(ours);
        other.send_to(b"after", address).unwrap();
        let mut read = [0; 100];
        for expected in ["before", "after"] {
            let (length, from) = other.recv_from(&mut read).unwrap();
            assert_eq!((&read[..length], from), (expected.as_bytes(), address));
        }
        child.into_iter().for_each(assert_succeeds);
        until("the port is free", || UdpSocket::bind(address).is_ok());
    }
}

/// Sends back what a client of `stream_brings_each_byte_once` writes.
fn echo_stream(mut stream: TcpStream) {
    let mut read = [0; 11];
    stream.read_exact(&mut read).unwrap();
    stream.write_all(&read).unwrap();
    // The end comes although the other process had a copy.
    assert_eq!(stream.read(&mut read).unwrap(), 0);
}

/// Sends back what a client of `udp_socket_brings_each_datagram_once` sends.
fn echo_datagrams(socket: &UdpSocket) {
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut read = [0; 100];
    for expected in ["before", "after"] {
        let (length, from) = socket.recv_from(&mut read).unwrap();
        assert_eq!(&read[..length], expected.as_bytes());
        socket.send_to(&read[..length], from).unwrap();
    }
}

/// Starts a child in the role, which inherits the object.
fn inherited_by<'a>(role: &str, name: &str, object: impl Into<BorrowedObject<'a>>) -> Option<Child> {
    Some(in_role(role, &["3"]).inherit(name, object).spawn().unwrap())
}

fn answers_stream(_: &[String]) {
    echo_stream(inherited().take("stream").unwrap());
}

fn answers_udp(_: &[String]) {
    echo_datagrams(&inherited().take("socket").unwrap());
}

fn inherited_listener_keeps_the_connections_that_wait() {
    listener_keeps_the_connections_that_wait(|it| inherited_by("serves", "listener", it));
}

fn inherited_stream_brings_each_byte_once() {
    stream_brings_each_byte_once(|it| inherited_by("answers_stream", "stream", it));
}

fn inherited_udp_socket_brings_each_datagram_once() {
    udp_socket_brings_each_datagram_once(|it| inherited_by("answers_udp", "socket", it));
}

fn assert_wrong<T: std::fmt::Debug>(taken: handover::Result<T>, expected: &str, found: &str) {
    let error = taken.unwrap_err();
    assert!(matches!(error, Error::WrongKind { .. }), "{error:?}");
    let text = error.to_string();
    let (before, after) = text.split_once("; expected ").unwrap();
    assert!(before.contains(found) && after.contains(expected), "{text}");
}

fn takes_wrong_types(_: &[String]) {
    let inherited = inherited();
    assert_eq!(inherited.names(), ["listener", "stream", "socket", "event"]);
    assert_wrong(inherited.take::<TcpStream>("listener"), "TCP stream", "TCP listener");
    assert_wrong(inherited.take::<UdpSocket>("listener"), "UDP socket", "TCP listener");
    assert_wrong(inherited.take::<TcpListener>("stream"), "TCP listener", "TCP stream");
    assert_wrong(inherited.take::<UdpSocket>("stream"), "UDP socket", "TCP stream");
    assert_wrong(inherited.take::<TcpListener>("socket"), "TCP listener", "UDP socket");
    assert_wrong(inherited.take::<TcpStream>("socket"), "TCP stream", "UDP socket");
    for name in ["listener", "stream", "socket"] {
        assert_wrong(inherited.take::<Event>(name), "an event", "a socket");
        assert_wrong(inherited.take::<SharedMemory>(name), "shared memory", "a socket");
        assert_wrong(inherited.take::<std::fs::File>(name), "a file", "a socket");
    }
    assert_wrong(inherited.take::<TcpStream>("event"), "a socket", "an event");
    let before = table::count();
    let listener: TcpListener = inherited.take("listener").unwrap();
    let stream: TcpStream = inherited.take("stream").unwrap();
    let socket: UdpSocket = inherited.take("socket").unwrap();
    assert!(matches!(inherited.take::<TcpStream>("stream"), Err(Error::AlreadyTaken { .. })));
    drop((listener, stream, socket));
    assert_eq!(table::count(), before - 3, "each socket is closed");
}

fn inherited_socket_is_taken_only_as_its_own_type() {
    let (listener, event) = (listener(), Event::manual_reset().unwrap());
    let (stream, _client) = streams((Ipv4Addr::LOCALHOST, 0).into());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut command = in_role("takes_wrong_types", &[]);
    command.inherit("listener", &listener).inherit("stream", &stream).inherit("socket", &socket);
    assert_succeeds(command.inherit("event", &event).spawn().unwrap());
}

fn takes_bound(_: &[String]) {
    assert_wrong(inherited().take::<TcpListener>("bound"), "TCP listener", "TCP stream");
}

fn bound_socket_that_does_not_listen_is_no_listener() {
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let bound = TcpStream::from(bound);
    assert_ne!(bound.local_addr().unwrap().port(), 0);
    assert_succeeds(in_role("takes_bound", &[]).inherit("bound", &bound).spawn().unwrap());
}

fn three_children_accept_from_one_listener() {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let mut command = in_role("serves", &["1"]);
    command.inherit("listener", &listener);
    let children = [(); 3].map(|()| command.spawn().unwrap());
    for number in 0..3 {
        assert_answers(&mut connect(address), &format!("connection {number}"));
    }
    children.into_iter().for_each(assert_succeeds);
}

/// Takes as many sockets as the argument says, and as many events, and sets the events.
fn takes_all(arguments: &[String]) {
    let inherited = inherited();
    for number in 0..arguments[0].parse().unwrap() {
        let listener: TcpListener = inherited.take(&format!("socket {number}")).unwrap();
        serve(&listener, 1);
        inherited.take::<Event>(&format!("event {number}")).unwrap().set().unwrap();
    }
    assert_eq!(inherited.leaked().unwrap(), []);
}

fn sockets_and_other_objects_are_inherited_together() {
    let pairs: Vec<_> = (0..32).map(|_| (listener(), Event::manual_reset().unwrap())).collect();
    let mut command = in_role("takes_all", &["32"]);
    for (number, (listener, event)) in pairs.iter().enumerate() {
        command.inherit(format!("socket {number}"), listener).inherit(format!("event {number}"), event);
    }
    let child = command.spawn().unwrap();
    for (listener, event) in &pairs {
        assert_answers(&mut connect(listener.local_addr().unwrap()), "each");
        event.wait_timeout(SOON).unwrap();
    }
    assert_succeeds(child);
}

fn takes_none(_: &[String]) {
    let _ = inherited();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

fn socket_that_a_child_never_takes_is_closed_with_it() {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let mut command = in_role("takes_none", &[]);
    let mut child = command.stdin(Stdio::piped()).inherit("listener", &listener).spawn().unwrap();
    drop(listener);
    assert!(TcpStream::connect_timeout(&address, SOON).is_ok(), "the child has it");
    drop(child.stdin.take());
    assert_succeeds(child);
    until("the port is free", || is_free(address));
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

/// Starts a child with std, which lets it inherit all inheritable handles, and prints its id.
#[allow(clippy::zombie_processes, reason = "the child must live longer than this process")]
fn has_a_grandchild(_: &[String]) {
    let listener: TcpListener = inherited().take("listener").unwrap();
    let mut command = std::process::Command::new(this_program());
    let grandchild = command.args(role("sleeps", &[])).stdin(std::process::Stdio::null()).spawn().unwrap();
    serve(&listener, 1);
    println!("{}", grandchild.id());
}

fn inherited_socket_is_not_inherited_further() {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let mut command = in_role("has_a_grandchild", &[]);
    let mut child = command.stdout(Stdio::piped()).inherit("listener", &listener).spawn().unwrap();
    drop(listener);
    assert_answers(&mut connect(address), "served");
    let mut said = [0; 20];
    let length = child.stdout.take().unwrap().read(&mut said).unwrap();
    let grandchild: u32 = std::str::from_utf8(&said[..length]).unwrap().trim().parse().unwrap();
    assert_succeeds(child);
    until("the port is free", || is_free(address));
    table::kill(grandchild);
}

fn killed_child_leaves_the_parents_socket_as_it_was() {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let run = |name| {
        let mut child = in_role(name, &["1"]).inherit("listener", &listener).spawn().unwrap();
        // Whether the child has taken the socket by then doesn't matter.
        child.kill().unwrap();
        child.wait_timeout(SOON).unwrap();
    };
    run("sleeps");
    let before = settled(std::process::id());
    run("sleeps");
    run("serves");
    assert_eq!(table::count(), before);
    let mut client = connect(address);
    client.write_all(b"still here").unwrap();
    serve(&listener, 1);
    let mut answer = [0; 10];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"STILL HERE");
}

fn one_command_gives_its_socket_to_each_child() {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let mut command = in_role("serves", &["1"]);
    // The command owns it.
    command.inherit_owned("listener", listener);
    for _ in 0..3 {
        let child = command.spawn().unwrap();
        assert_answers(&mut connect(address), "again");
        assert_succeeds(child);
    }
    drop(command);
    until("the port is free", || is_free(address));
}

fn race_free_child_gets_a_socket() {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let mut command = in_role("serves", &["1"]);
    let child = command.race_free().inherit("listener", &listener).spawn().unwrap();
    assert_answers(&mut connect(address), "race-free");
    assert_succeeds(child);
}

fn child_that_is_killed_with_its_parent_gets_a_socket() {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let mut command = in_role("serves", &["1"]);
    let child = command.kill_with_parent(true).inherit("listener", &listener).spawn().unwrap();
    assert_answers(&mut connect(address), "with its parent");
    assert_succeeds(child);
}

fn serves_and_tells(_: &[String]) {
    serves(&["1".to_owned()]);
    print!("served");
}

fn output_of_a_child_with_a_socket_is_read() {
    let listener = listener();
    let mut command = in_role("serves_and_tells", &[]);
    let mut client = connect(listener.local_addr().unwrap());
    client.write_all(b"word").unwrap();
    let output = command.inherit("listener", &listener).output_timeout(SOON).unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(0), b"served".to_vec()));
}

fn spawns_with_sockets_leave_no_handle() {
    let listener = listener();
    let spawn = |count: usize| {
        for _ in 0..count {
            let mut client = connect(listener.local_addr().unwrap());
            client.write_all(b"word").unwrap();
            assert_succeeds(in_role("serves", &["1"]).inherit("listener", &listener).spawn().unwrap());
        }
    };
    spawn(2);
    let before = settled(std::process::id());
    spawn(20);
    assert_eq!(table::count(), before);
}

fn audited_command_with_a_socket_is_clean() {
    let listener = listener();
    let mut client = connect(listener.local_addr().unwrap());
    client.write_all(b"word").unwrap();
    let mut command = in_role("serves", &["1"]);
    command.inherit("listener", &listener).stdout(Stdio::null()).stderr(Stdio::null());
    let report = Audit::new(command).run(SOON).unwrap();
    assert!(report.is_clean() && report.status.success(), "{report}");
}

fn parent() -> Channel {
    Channel::parent().unwrap()
}

fn received(channel: &Channel) -> ReceivedMessage {
    channel.recv_timeout(SOON).unwrap()
}

fn take<T: Object>(message: &ReceivedMessage, name: &str) -> T {
    message.take(name).unwrap()
}

fn udp() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// Uses each object of the parent's messages as its name says, until the parent closes the channel.
fn uses_received(_: &[String]) {
    let parent = parent();
    while let Ok(message) = parent.recv_timeout(SOON) {
        let names: Vec<String> = message.names().map(str::to_owned).collect();
        for name in names {
            match name.as_str() {
                "listener" => serve(&take(&message, "listener"), 3),
                "stream" => echo_stream(take(&message, "stream")),
                _ => echo_datagrams(&take(&message, "socket")),
            }
        }
    }
}

fn sent_listener_keeps_the_connections_that_wait() {
    let (child, channel) = linked_in_role("uses_received", &[]);
    listener_keeps_the_connections_that_wait(|it| sent_over(&channel, "listener", it));
    assert_exits_successfully(child, channel);
}

fn sent_stream_brings_each_byte_once() {
    let (child, channel) = linked_in_role("uses_received", &[]);
    stream_brings_each_byte_once(|it| sent_over(&channel, "stream", it));
    assert_exits_successfully(child, channel);
}

fn sent_udp_socket_brings_each_datagram_once() {
    let (child, channel) = linked_in_role("uses_received", &[]);
    udp_socket_brings_each_datagram_once(|it| sent_over(&channel, "socket", it));
    assert_exits_successfully(child, channel);
}

/// Sends the object to a process that goes on to receive.
fn sent_over<'a>(channel: &Channel, name: &str, object: impl Into<BorrowedObject<'a>>) -> Option<Child> {
    channel.send(Message::new("").with(name, object)).unwrap();
    None
}

/// Sends a listener, a stream of which the other end has written a word, and a socket to which a datagram is on its way.
/// Then closes its own and waits for the end.
fn sends_its_own(_: &[String]) {
    let (parent, listener) = (parent(), listener());
    let (stream, mut client) = streams((Ipv4Addr::LOCALHOST, 0).into());
    client.write_all(b"word").unwrap();
    let [socket, other] = [udp(), udp()];
    other.send_to(b"datagram", socket.local_addr().unwrap()).unwrap();
    let mut message = Message::new(listener.local_addr().unwrap().to_string());
    message.add("listener", &listener).add("stream", &stream).add("socket", &socket);
    parent.send(message).unwrap();
    drop((listener, stream, socket));
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"WORD");
    // Until the parent closes the channel.
    assert!(parent.recv_timeout(SOON).is_err());
}

fn received_sockets_work() {
    let (child, channel) = linked_in_role("sends_its_own", &[]);
    channel.allow(ObjectKind::Socket);
    let message = received(&channel);
    let address: SocketAddr = std::str::from_utf8(message.bytes()).unwrap().parse().unwrap();
    let listener: TcpListener = take(&message, "listener");
    assert_eq!(listener.local_addr().unwrap(), address);
    let mut client = connect(address);
    client.write_all(b"up").unwrap();
    serve(&listener, 1);
    let mut answer = [0; 2];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"UP");
    self::answer(&mut take(&message, "stream"));
    let socket: UdpSocket = take(&message, "socket");
    let mut read = [0; 20];
    let length = socket.recv(&mut read).unwrap();
    assert_eq!(&read[..length], b"datagram");
    drop((listener, client));
    until("the port is free", || is_free(address));
    assert_exits_successfully(child, channel);
}

fn takes_received_wrongly(_: &[String]) {
    let parent = parent();
    let message = received(&parent);
    assert_eq!(message.kind("listener").unwrap(), ObjectKind::Socket);
    assert_wrong(message.take::<TcpStream>("listener"), "TCP stream", "TCP listener");
    assert_wrong(message.take::<UdpSocket>("listener"), "UDP socket", "TCP listener");
    assert_wrong(message.take::<TcpListener>("stream"), "TCP listener", "TCP stream");
    assert_wrong(message.take::<UdpSocket>("stream"), "UDP socket", "TCP stream");
    assert_wrong(message.take::<TcpListener>("socket"), "TCP listener", "UDP socket");
    assert_wrong(message.take::<TcpStream>("socket"), "TCP stream", "UDP socket");
    assert_wrong(message.take::<Event>("socket"), "an event", "a socket");
    assert_wrong(message.take::<TcpStream>("event"), "a socket", "an event");
    let before = table::count();
    let listener: TcpListener = take(&message, "listener");
    let stream: TcpStream = take(&message, "stream");
    drop((listener, stream));
    assert_eq!(table::count(), before - 2);
    drop(message);
    assert_eq!(table::count(), before - 4, "the event and the socket are closed too");
}

fn sent_socket_is_taken_only_as_its_own_type() {
    let (listener, event) = (listener(), Event::manual_reset().unwrap());
    let (stream, _client) = streams((Ipv4Addr::LOCALHOST, 0).into());
    let socket = udp();
    let (child, channel) = linked_in_role("takes_received_wrongly", &[]);
    let message = Message::new("").with("listener", &listener).with("stream", &stream);
    channel.send(message.with("socket", &socket).with("event", &event)).unwrap();
    assert_exits_successfully(child, channel);
}

/// Drops each message, whose handles are then closed, and says so.
fn drops_received(_: &[String]) {
    let parent = parent();
    // The first socket starts Winsock, which may keep handles.
    drop(listener());
    drop(parent.recv_timeout(SOON).unwrap());
    parent.send("dropped").unwrap();
    let before = table::count();
    while let Ok(message) = parent.recv_timeout(SOON) {
        assert_eq!(table::count(), before + message.names().len());
        drop(message);
        assert_eq!(table::count(), before);
        parent.send("dropped").unwrap();
    }
}

fn message_that_is_dropped_closes_its_sockets() {
    let (child, channel) = linked_in_role("drops_received", &[]);
    for _ in 0..3 {
        let (listener, socket) = (listener(), udp());
        let address = listener.local_addr().unwrap();
        let before = table::count();
        channel.send(Message::new("").with("listener", &listener).with("socket", &socket)).unwrap();
        assert_eq!(table::count(), before, "the sender keeps no duplicate");
        assert_eq!(received(&channel).bytes(), b"dropped");
        drop(listener);
        until("the port is free", || is_free(address));
    }
    assert_exits_successfully(child, channel);
}

/// Closes the channel without receiving, and lives on until its input ends.
fn never_receives(_: &[String]) {
    let parent = parent();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    drop(parent);
    println!("closed");
    std::io::stdin().read_line(&mut line).unwrap();
}

fn endpoint_that_is_dropped_closes_the_sockets_that_wait() {
    let mut command = in_role("never_receives", &[]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    let listeners = [(); 3].map(|()| listener());
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    for listener in &listeners {
        channel.send(Message::new("").with("listener", listener)).unwrap();
    }
    drop(listeners);
    assert!(addresses.iter().all(|address| TcpStream::connect_timeout(address, SOON).is_ok()));
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"\n").unwrap();
    let mut said = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"closed");
    for address in addresses {
        until("the port is free", || is_free(address));
    }
    drop(input);
    assert_succeeds(child);
}

/// Reports each message: its text, or the error.
fn allows_events_only(_: &[String]) {
    let parent = parent();
    parent.allow_only([ObjectKind::Event]);
    parent.send("ready").unwrap();
    let refused = parent.recv_timeout(SOON).unwrap_err();
    assert!(
        matches!(&refused, Error::KindNotAllowed { name, found: ObjectKind::Socket, .. } if name == "listener"),
        "{refused:?}"
    );
    parent.send("refused").unwrap();
    take::<Event>(&received(&parent), "event").set().unwrap();
    assert!(parent.recv_timeout(SOON).is_err());
}

fn kinds_that_are_not_allowed_are_closed() {
    let (child, channel) = linked_in_role("allows_events_only", &[]);
    let (listener, event) = (listener(), Event::manual_reset().unwrap());
    let address = listener.local_addr().unwrap();
    assert_eq!(received(&channel).bytes(), b"ready");
    channel.send(Message::new("").with("event", &event).with("listener", &listener)).unwrap();
    assert_eq!(received(&channel).bytes(), b"refused");
    drop(listener);
    until("the port is free", || is_free(address));
    channel.send(Message::new("").with("event", &event)).unwrap();
    event.wait_timeout(SOON).unwrap();
    assert_exits_successfully(child, channel);
}

fn takes_many(_: &[String]) {
    let parent = parent();
    let message = received(&parent);
    let before = table::count();
    for number in 0..63 {
        match number % 3 {
            1 => drop(take::<UdpSocket>(&message, &number.to_string())),
            _ => take::<Event>(&message, &number.to_string()).set().unwrap(),
        }
    }
    assert_eq!(table::count(), before - 63);
    parent.send("taken").unwrap();
}

fn sockets_between_events_arrive_in_their_order() {
    let (child, channel) = linked_in_role("takes_many", &[]);
    let events: Vec<_> = (0..63).map(|_| Event::manual_reset().unwrap()).collect();
    let sockets: Vec<_> = (0..63).map(|_| udp()).collect();
    let mut message = Message::new("");
    for number in 0..63 {
        match number % 3 {
            1 => message.add(number.to_string(), &sockets[number]),
            _ => message.add(number.to_string(), &events[number]),
        };
    }
    channel.send(message).unwrap();
    assert_eq!(received(&channel).bytes(), b"taken");
    assert!((0..63).all(|number| events[number].try_wait().unwrap() == (number % 3 != 1)));
    assert_exits_successfully(child, channel);
}

fn three_processes_accept_from_one_listener_that_was_sent() {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let receivers = [(); 3].map(|()| linked_in_role("uses_received", &[]));
    for (_, channel) in &receivers {
        channel.send(Message::new("").with("listener", &listener)).unwrap();
    }
    drop(listener);
    // Each of them accepts three.
    for number in 0..9 {
        assert_answers(&mut connect(address), &format!("connection {number}"));
    }
    for (child, channel) in receivers {
        assert_exits_successfully(child, channel);
    }
    until("the port is free", || is_free(address));
}

/// Accepts a client under the name, and waits until it is killed.
fn serves_a_client(arguments: &[String]) {
    let mut listener = Listener::bind(&arguments[0]).unwrap();
    println!("listens");
    let _channel = listener.accept().unwrap().accept().unwrap();
    std::thread::sleep(SOON);
}

/// Also on Windows, where the server has not allowed sockets, so that a send waits for that.
fn socket_for_a_server_that_has_exited_is_an_error_at_once() {
    let name = format!("handover-test.sockets.{}", std::process::id());
    let mut server = in_role("serves_a_client", &[&name]).stdout(Stdio::piped()).spawn().unwrap();
    server.stdout.as_mut().unwrap().read_exact(&mut [0; 7]).unwrap();
    let channel = Channel::connect_timeout(&name, SOON).unwrap();
    server.kill().unwrap();
    server.wait_timeout(SOON).unwrap();
    let started = std::time::Instant::now();
    let error = channel.send(Message::new("").with("listener", &listener())).unwrap_err();
    assert!(matches!(error, Error::ProcessExited { .. } | Error::Disconnected { .. }), "{error:?}");
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "it waits for a permission: {:?}",
        started.elapsed()
    );
}

fn killed_receiver_leaves_the_senders_socket_as_it_was() {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let run = |name| {
        let (mut child, channel) = linked_in_role(name, &[]);
        channel.send(Message::new("").with("listener", &listener)).unwrap();
        if name == "uses_received" {
            assert_answers(&mut connect(address), "it has it");
        }
        child.kill().unwrap();
        child.wait_timeout(SOON).unwrap();
        // After the exit, at the latest a second send fails.
        let send = || channel.send(Message::new("").with("listener", &listener));
        let error = send().and_then(|()| send()).unwrap_err();
        assert!(matches!(error, Error::ProcessExited { .. } | Error::Disconnected { .. }), "{error:?}");
    };
    run("sleeps");
    let before = settled(std::process::id());
    run("sleeps");
    run("uses_received");
    until("the handles are as before", || table::count() <= before);
    let mut client = connect(address);
    client.write_all(b"still here").unwrap();
    serve(&listener, 1);
    let mut answer = [0; 10];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"STILL HERE");
}

/// Answers each call, which brings a listener, by a client that is connected to it.
fn answers_calls(_: &[String]) {
    let parent = parent();
    while let Ok(call) = parent.recv_timeout(SOON) {
        let listener: TcpListener = take(&call, "listener");
        let client = connect(listener.local_addr().unwrap());
        call.reply(Message::new("").with("client", &client)).unwrap();
    }
}

fn calls_and_replies_carry_sockets() {
    let (child, channel) = linked_in_role("answers_calls", &[]);
    channel.allow(ObjectKind::Socket);
    for _ in 0..3 {
        let listener = listener();
        let reply = channel.call(Message::new("").with("listener", &listener), SOON).unwrap();
        let mut client: TcpStream = take(&reply, "client");
        client.write_all(b"word").unwrap();
        serve(&listener, 1);
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"WORD");
    }
    assert_exits_successfully(child, channel);
}

type Streams = Vec<(u32, Carried<TcpStream>)>;

/// Answers each list of streams by one listener, to which they are connected.
fn answers_values(_: &[String]) {
    let channel: TypedChannel<Carried<UdpSocket>, Streams> = TypedChannel::new(parent());
    while let Ok(streams) = channel.recv_timeout(SOON) {
        for (number, stream) in &streams {
            (&**stream).write_all(&number.to_le_bytes()).unwrap();
        }
        channel.send(&udp().into()).unwrap();
    }
}

fn values_carry_sockets() {
    let (child, channel) = linked_in_role("answers_values", &[]);
    channel.allow(ObjectKind::Socket);
    let channel: TypedChannel<Streams, Carried<UdpSocket>> = TypedChannel::new(channel);
    let pairs = [7, 8].map(|number| (number, streams((Ipv4Addr::LOCALHOST, 0).into())));
    let (ours, theirs): (Streams, Vec<TcpStream>) =
        pairs.into_iter().map(|(number, (ours, theirs))| ((number, ours.into()), theirs)).unzip();
    channel.send(&ours).unwrap();
    drop(ours);
    for (number, mut stream) in [7_u32, 8].into_iter().zip(theirs) {
        let mut read = Vec::new();
        stream.read_to_end(&mut read).unwrap();
        assert_eq!(read, number.to_le_bytes());
    }
    let socket: UdpSocket = channel.recv_timeout(SOON).unwrap().into_inner();
    udp().send_to(b"up", socket.local_addr().unwrap()).unwrap();
    assert_eq!(socket.recv(&mut [0; 10]).unwrap(), 2);
    assert_exits_successfully(child, channel.into_channel());
}

fn sockets_are_sent_within_a_process() {
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let round = || {
        let (one, other) = Channel::pair().unwrap();
        for _ in 0..2 {
            one.send(Message::new("").with("listener", &listener)).unwrap();
            other.send(Message::new("").with("listener", &listener)).unwrap();
        }
        let taken: TcpListener = take(&received(&other), "listener");
        assert_eq!(taken.local_addr().unwrap(), address);
        drop(received(&one));
        // The others are never received.
    };
    round();
    let before = table::count();
    round();
    assert_eq!(table::count(), before);
    drop(listener);
    assert!(is_free(address));
}

/// Receives an endpoint, and over that a listener.
fn moves_an_endpoint(_: &[String]) {
    let parent = parent();
    let link = received(&parent).take_channel("link").unwrap();
    serve(&take(&received(&link), "listener"), 1);
    link.send(Message::new("").with("event", &Event::manual_reset().unwrap())).unwrap();
    assert!(link.recv_timeout(SOON).is_err());
}

fn socket_is_sent_on_over_an_endpoint_that_has_moved() {
    let (child, channel) = linked_in_role("moves_an_endpoint", &[]);
    let (ours, theirs) = Channel::pair().unwrap();
    channel.send(Message::new("").with_channel("link", theirs)).unwrap();
    let listener = listener();
    ours.send(Message::new("").with("listener", &listener)).unwrap();
    assert_answers(&mut connect(listener.local_addr().unwrap()), "moved");
    drop(take::<Event>(&received(&ours), "event"));
    drop(ours);
    assert_exits_successfully(child, channel);
}

/// Sends each socket back.
fn echoes_sockets(_: &[String]) {
    let parent = parent();
    while let Ok(message) = parent.recv_timeout(SOON) {
        let socket: UdpSocket = take(&message, "socket");
        parent.send(Message::new("").with("socket", &socket)).unwrap();
    }
}

fn thousand_sockets_leave_no_handle() {
    let (child, channel) = linked_in_role("echoes_sockets", &[]);
    channel.allow(ObjectKind::Socket);
    let socket = udp();
    let pass = |count: usize| {
        for _ in 0..count {
            channel.send(Message::new("").with("socket", &socket)).unwrap();
            let returned: UdpSocket = take(&received(&channel), "socket");
            assert_eq!(returned.local_addr().unwrap(), socket.local_addr().unwrap());
        }
    };
    pass(10);
    let before = [settled(std::process::id()), settled(child.id())];
    pass(1000);
    until("both processes have as many handles as before", || {
        [table::count(), table::of(child.id()).len()] == before
    });
    assert_exits_successfully(child, channel);
}
