//! Tests of sockets on Windows, where they are more than their handles.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::{AsRawSocket, AsSocket, OwnedSocket};
use std::time::Duration;

use handover::os::windows::{Access, CommandExt as _};
use handover::{
    BorrowedObject, Channel, Child, Command, Error, Event, Limits, Message, ObjectKind, OwnedHandle, Stdio,
};
use handover_tests::frame::frame_of;
use handover_tests::{
    Suite, assert_exits_successfully, linked_in_role, raw, role, settled, table, tests, this_program, until,
    weaker,
};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "sockets",
    tests: tests![
        socket_has_no_handle_value_for_a_child,
        socket_is_inherited_by_a_suspended_child,
        suspended_child_that_is_dropped_has_no_socket,
        plain_handle_is_no_socket_and_a_socket_no_plain_handle,
        closed_socket_is_an_error_before_a_process_exists,
        socket_carries_no_chosen_rights,
        socket_is_not_duplicated_by_its_handle,
        stronger_process_accepts_sockets_only_when_it_allows_them,
        forged_record_is_not_believed,
        sockets_that_the_stronger_process_never_receives_are_closed,
        sockets_beyond_a_limit_are_closed,
        sockets_that_are_no_longer_allowed_are_closed,
    ],
    roles: tests![serves, takes_as_handle, sleeps, sends_up, forges, sends_and_waits],
};

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn in_role<'a>(name: &str) -> Command<'a> {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn assert_succeeds(mut child: Child) {
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn is_free(listener: TcpListener) -> bool {
    let address = listener.local_addr().unwrap();
    drop(listener);
    let started = std::time::Instant::now();
    while started.elapsed() < SOON {
        if TcpStream::connect_timeout(&address, SOON).is_err() && TcpListener::bind(address).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn serves(_: &[String]) {
    let listener: TcpListener = handover::inherited().unwrap().take("listener").unwrap();
    let value = u32::try_from(listener.as_raw_socket()).unwrap();
    assert!(!table::entry(std::process::id(), value).unwrap().inheritable);
    listener.accept().unwrap().0.write_all(b"served").unwrap();
}

fn assert_served(listener: &TcpListener) {
    let mut answer = String::new();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "served");
}

fn socket_has_no_handle_value_for_a_child() {
    let (listener, event) = (listener(), Event::manual_reset().unwrap());
    let before = settled(std::process::id());
    let command = || {
        let mut command = in_role("sleeps");
        command.inherit("listener", &listener).inherit("event", &event);
        command
    };
    for outcome in
        [command().arg_handle("{listener}").spawn(), command().env_handle("A", "{listener}").spawn()]
    {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
        assert!(error.to_string().contains("{listener}, which is a socket"), "{error}");
    }
    assert_eq!((table::count(), table::children_of(std::process::id()).len()), (before, 0));
    let child = command().arg_handle("{event}").spawn().unwrap();
    let listed: Vec<_> = child.inherited_handles().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(listed, ["event"]);
}

fn socket_is_inherited_by_a_suspended_child() {
    for kill_with_parent in [false, true] {
        let listener = listener();
        let mut command = in_role("serves");
        command.inherit("listener", &listener).kill_with_parent(kill_with_parent);
        let child = command.spawn_suspended().unwrap().resume().unwrap();
        assert_served(&listener);
        assert_succeeds(child);
    }
}

fn suspended_child_that_is_dropped_has_no_socket() {
    let listener = listener();
    drop(in_role("serves").inherit("listener", &listener).spawn_suspended().unwrap());
    assert!(is_free(listener));
    until("the child has exited", || table::children_of(std::process::id()).is_empty());
}

fn takes_as_handle(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    for error in [
        inherited.take::<OwnedHandle>("listener").unwrap_err(),
        inherited.take::<File>("listener").unwrap_err(),
    ] {
        assert!(matches!(error, Error::WrongKind { found: ObjectKind::Socket, .. }), "{error:?}");
    }
    let before = table::count();
    drop(inherited.take::<OwnedSocket>("listener").unwrap());
    drop(inherited.take::<OwnedSocket>("socket").unwrap());
    assert_eq!(table::count(), before - 2);
}

fn plain_handle_is_no_socket_and_a_socket_no_plain_handle() {
    let (listener, socket) = (listener(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut command = in_role("takes_as_handle");
    // By each form of a socket.
    let owned = OwnedSocket::from(socket);
    assert_succeeds(
        command.inherit("listener", listener.as_socket()).inherit("socket", &owned).spawn().unwrap(),
    );
    let handle = raw::handle_of_socket(listener);
    let error = in_role("sleeps").inherit("listener", &handle).spawn().unwrap_err();
    assert!(matches!(error, Error::SocketUnsupported { .. }), "{error:?}");
    assert!(
        error.to_string().contains("as a TcpListener, TcpStream, UdpSocket or BorrowedSocket"),
        "{error}"
    );
}

fn closed_socket_is_an_error_before_a_process_exists() {
    // The number of a handle that isn't a socket's.
    let (event, _listener) = (Event::manual_reset().unwrap(), listener());
    let before = settled(std::process::id());
    let number = table::value(&event);
    let error = in_role("sleeps").inherit("closed", raw::borrowed_socket(number)).spawn().unwrap_err();
    assert!(matches!(error, Error::System { call: "getsockopt", .. }), "{error:?}");
    assert!(error.to_string().contains("\"closed\""), "{error}");
    assert_eq!((table::count(), table::children_of(std::process::id()).len()), (before, 0));
}

fn socket_carries_no_chosen_rights() {
    let listener = listener();
    let narrowed = BorrowedObject::from(&listener).with_access(Access::SYNCHRONIZE);
    let error = in_role("sleeps").inherit("listener", narrowed).spawn().unwrap_err();
    assert!(
        matches!(error, Error::InvalidInput { .. }) && error.to_string().contains("with_access"),
        "{error}"
    );
}

fn socket_is_not_duplicated_by_its_handle() {
    let listener = listener();
    let child = in_role("sleeps").spawn().unwrap();
    let before = settled(child.id());
    let error = child.process().duplicate_into(&listener).unwrap_err();
    assert!(matches!(error, Error::SocketUnsupported { .. }), "{error:?}");
    assert_eq!(table::of(child.id()).len(), before);
}

/// Sends a socket twice: before the parent allows that, and afterwards.
fn sends_up(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let (listener, event) = (listener(), Event::manual_reset().unwrap());
    let before = table::count();
    let message = || Message::new("").with("event", &event).with("listener", &listener);
    let error = parent.send(message()).unwrap_err();
    assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
    assert!(error.to_string().contains("Channel::allow"), "{error}");
    assert_eq!(table::count(), before);
    let error = parent.send_timeout(message(), Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("Channel::allow"), "{error}");
    parent.send(Message::new("refused").with("event", &event)).unwrap();
    assert_eq!(parent.recv_timeout(SOON).unwrap().bytes(), b"allowed");
    parent.send(message()).unwrap();
    assert!(parent.recv_timeout(SOON).is_err());
}

fn stronger_process_accepts_sockets_only_when_it_allows_them() {
    let (child, channel) = linked_in_role("sends_up", &[]);
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"refused");
    channel.allow(ObjectKind::Socket).send("allowed").unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    let listener: TcpListener = message.take("listener").unwrap();
    drop(message);
    assert_exits_successfully(child, channel);
    assert!(is_free(listener));
}

/// Sends two records that Winsock didn't make, each before an honest message, even if the parent doesn't allow sockets.
fn forges(_: &[String]) {
    let end = weaker::Endpoint::inherited();
    for number in [0, 2] {
        let table = [&[0; 4][..], &[6], b"socket", &[0; 628]].concat();
        assert!(end.write(&frame_of(number, 1, &table, b""), &[], SOON));
        assert!(end.write(&frame_of(number + 1, 0, b"", b"honest"), &[], SOON));
    }
    // Until the parent closes the channel.
    while end.read(SOON).is_some() {}
}

fn forged_record_is_not_believed() {
    let (mut child, channel) = linked_in_role("forges", &[]);
    // Starts Winsock, which may keep handles.
    drop(listener());
    let before = settled(std::process::id());
    let refused = channel.recv_timeout(SOON).unwrap_err();
    assert!(
        matches!(&refused, Error::KindNotAllowed { found: ObjectKind::Socket, name, .. } if name == "socket"),
        "{refused:?}"
    );
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"honest");
    channel.allow(ObjectKind::Socket);
    let failed = channel.recv_timeout(SOON).unwrap_err();
    assert!(matches!(&failed, Error::System { call: "WSASocketW", .. }), "{failed:?}");
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"honest");
    assert_eq!(table::count(), before);
    drop(channel);
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
}

fn sends_and_waits(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let listener = listener();
    parent.send(listener.local_addr().unwrap().to_string()).unwrap();
    for _ in 0..3 {
        parent.send(Message::new("").with("listener", &listener)).unwrap();
    }
    drop(listener);
    println!("sent");
    let _ = parent.recv_timeout(SOON);
}

/// Starts a child that sends three listening sockets to this process, and calls `end`. The sockets must be closed then, while
/// the channel is still open if `end` returns it.
fn assert_unreceived_sockets_are_closed(end: impl FnOnce(Channel) -> Option<Channel>) {
    let mut command = in_role("sends_and_waits");
    let mut child = command.stdout(Stdio::piped()).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    channel.allow(ObjectKind::Socket);
    let address = String::from_utf8(channel.recv_timeout(SOON).unwrap().into_bytes()).unwrap();
    let mut said = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert!(TcpStream::connect(&address).is_ok(), "this process has it");
    let kept = end(channel);
    until("the port is free", || {
        TcpStream::connect(&address).is_err() && TcpListener::bind(&address).is_ok()
    });
    drop(kept);
    child.wait_timeout(SOON).unwrap();
}

fn sockets_that_the_stronger_process_never_receives_are_closed() {
    assert_unreceived_sockets_are_closed(|_channel| None);
}

fn sockets_beyond_a_limit_are_closed() {
    assert_unreceived_sockets_are_closed(|channel| {
        channel.set_limits(Limits::default().objects(0));
        assert!(channel.recv_timeout(SOON).is_err());
        None
    });
}

fn sockets_that_are_no_longer_allowed_are_closed() {
    assert_unreceived_sockets_are_closed(|channel| {
        channel.allow_only([ObjectKind::Event]);
        for _ in 0..3 {
            let refused = channel.recv_timeout(SOON).unwrap_err();
            assert!(
                matches!(refused, Error::KindNotAllowed { found: ObjectKind::Socket, .. }),
                "{refused:?}"
            );
        }
        Some(channel)
    });
}
