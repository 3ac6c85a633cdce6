//! Tests of the limits of descriptors (`RLIMIT_NOFILE`) and of file sizes (`RLIMIT_FSIZE`): an error reports them,
//! nothing leaks, and later messages arrive.

use std::time::{Duration, Instant};

use handover::{
    Channel, Child, Command, Error, Event, Listener, Message, ResetMode, SharedMemory, SingleInstance, Stdio,
};
use handover_tests::{Suite, left_out, role, table, tests, this_program};

use super::unprivileged::{NOBODY, PublicCopy};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "fd_limit",
    tests: tests![
        recv_beyond_fd_limit_fails_and_next_message_arrives,
        recv_beyond_fd_limit_in_child_fails_and_next_message_arrives,
        spawn_beyond_fd_limit_leaves_nothing,
        create_beyond_fd_limit_leaves_nothing,
        send_times_out_at_limit_of_descriptors_in_flight,
        file_size_limit_is_an_error,
        accept_beyond_fd_limit_waits_and_loses_no_client,
        name_is_freed_below_the_limit_of_polls,
    ],
    roles: tests![
        sends_many,
        receives_beyond_fd_limit,
        sleeps,
        sends_until_limit,
        reads_after_event,
        creates_at_file_size_limit,
        connects_and_waits,
        frees_a_name,
        opens_a_name
    ],
};

fn in_role(name: &str) -> Command<'static> {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn with_channel(name: &str) -> (Child, Channel) {
    let mut child = in_role(name).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    (child, channel)
}

fn assert_exits_successfully(mut child: Child, channel: Channel) {
    drop(channel);
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn many(event: &Event) -> Message<'_> {
    (0..253).fold(Message::new(b"many"), |message, place| message.with(place.to_string(), event))
}

fn assert_fd_limit_reached<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    match outcome {
        // EMFILE.
        Err(error @ Error::System { .. }) => assert_eq!(error.raw_os_error(), Some(24), "{error}"),
        other => panic!("{other:?}"),
    }
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

fn sends_many(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let event = Event::manual_reset().unwrap();
    channel.send(many(&event)).unwrap();
    channel.send(Message::new(b"few").with("event", &event)).unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn recv_beyond_fd_limit_fails_and_next_message_arrives() {
    let (child, channel) = with_channel("sends_many");
    let before = table::count();
    table::leave_room_for(50);
    assert_fd_limit_reached(channel.recv_timeout(SOON));
    assert_eq!(table::count(), before, "the descriptors that arrived are closed");
    let message = channel.recv_timeout(SOON).unwrap();
    assert_eq!(message.bytes(), b"few");
    message.take::<Event>("event").unwrap().set().unwrap();
    drop(message);
    assert_eq!(table::count(), before);
    assert_exits_successfully(child, channel);
}

fn receives_beyond_fd_limit(_: &[String]) {
    let channel = Channel::parent().unwrap();
    table::leave_room_for(100);
    let before = table::count();
    channel.send(b"ready").unwrap();
    assert_fd_limit_reached(channel.recv_timeout(SOON));
    assert_eq!(table::count(), before);
    let message = channel.recv_timeout(SOON).unwrap();
    message.take::<Event>("event").unwrap().set().unwrap();
    drop(message);
    channel.send(b"goes on").unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
    drop(channel);
}

fn recv_beyond_fd_limit_in_child_fails_and_next_message_arrives() {
    let event = Event::manual_reset().unwrap();
    let (child, channel) = with_channel("receives_beyond_fd_limit");
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"ready");
    channel.send(many(&event)).unwrap();
    channel.send(Message::new(b"few").with("event", &event)).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"goes on");
    assert!(event.try_wait().unwrap());
    assert_exits_successfully(child, channel);
}

fn spawn_beyond_fd_limit_leaves_nothing() {
    let event = Event::manual_reset().unwrap();
    let mut command = in_role("sleeps");
    for number in 0..30 {
        command.inherit(number.to_string(), &event);
    }
    command.stdout(Stdio::piped()).channel();
    let before = table::count();
    for room in [0, 1, 3, 10, 29, 30, 31, 33] {
        table::leave_room_for(room);
        let outcome = command.spawn();
        // Counting takes descriptors, too.
        table::make_room(1000);
        assert_fd_limit_reached(outcome);
        assert_eq!(table::count(), before, "with room for {room}");
        assert_eq!(table::children_of(std::process::id()), [], "with room for {room}");
    }
    table::leave_room_for(100);
    let mut child = command.spawn().unwrap();
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
}

fn create_beyond_fd_limit_leaves_nothing() {
    let name = format!("room.{}", std::process::id());
    drop(Event::create_named(&name, ResetMode::Auto).unwrap());
    let before = table::count();
    let mut refusals = 0;
    for room in 0..10 {
        table::leave_room_for(room);
        let outcome = Event::create_named(&name, ResetMode::Auto);
        table::make_room(1000);
        match outcome {
            Ok(event) => drop(event),
            other => {
                assert_fd_limit_reached(other);
                refusals += 1;
            }
        }
        assert_eq!(table::count(), before, "with room for {room}");
    }
    assert!((2..9).contains(&refusals), "{refusals}");
    drop(Listener::bind(&name).unwrap());
    assert_eq!(table::count(), before);
}

fn reads_after_event(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let read: Event = handover::inherited().unwrap().take("read").unwrap();
    read.wait_timeout(SOON).unwrap();
    let before = table::count();
    loop {
        let message = channel.recv_timeout(SOON).unwrap();
        match message.bytes() {
            b"many" => assert_eq!(message.names().len(), 253),
            b"last" => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(table::count(), before);
    channel.send(b"read").unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn creates_at_file_size_limit(_: &[String]) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = |size| {
        setrlimit(Resource::Fsize, Rlimit { current: Some(size), ..getrlimit(Resource::Fsize) }).unwrap();
    };
    let refused = |error: Error| assert_eq!(error.raw_os_error(), Some(27), "EFBIG: {error}");
    let name = format!("fd_limit.sizes.{}", std::process::id());
    drop(Event::create_named(&name, ResetMode::Auto).unwrap());
    let before = table::count();
    limit(4096);
    drop(SharedMemory::new(4096).unwrap());
    refused(SharedMemory::new(65_536).unwrap_err());
    refused(SharedMemory::create_named(&name, 65_536).unwrap_err());
    limit(0);
    refused(SingleInstance::acquire(&name).unwrap_err());
    drop(Event::create_named(&name, ResetMode::Auto).unwrap());
    assert_eq!(table::count(), before);
}

fn file_size_limit_is_an_error() {
    // Without the library's check, the kernel would end the child by SIGXFSZ.
    assert_eq!(in_role("creates_at_file_size_limit").status().unwrap().code(), Some(0));
}

/// Sends until the kernel's limit is reached: a user without privileges can have at most as many descriptors in flight
/// as `RLIMIT_NOFILE` allows.
fn sends_until_limit(_: &[String]) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    setrlimit(Resource::Nofile, Rlimit { current: Some(1024), ..getrlimit(Resource::Nofile) }).unwrap();
    let (event, read) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
    let before = table::count();
    let mut child = in_role("reads_after_event").inherit("read", &read).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    let with_child = table::count();
    let mut sent = 0;
    let (error, took) = loop {
        let started = Instant::now();
        match channel.send_timeout(many(&event), Duration::from_millis(500)) {
            Ok(()) => sent += 1,
            Err(error) => break (error, started.elapsed()),
        }
        assert!(sent < 100, "no limit was reached");
    };
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert!((500..3000).contains(&took.as_millis()), "{took:?}");
    // The limit is per user, so the user's other processes count as well.
    assert!(sent < 10, "the control: it is the kernel's limit and not the socket's: {sent}");
    assert_eq!(table::count(), with_child);
    // Nothing of the message that timed out was sent, so others can follow.
    read.set().unwrap();
    for _ in 0..20 {
        channel.send_timeout(many(&event), SOON).unwrap();
    }
    channel.send_timeout(b"last", SOON).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"read");
    assert_exits_successfully(child, channel);
    assert_eq!(table::count(), before);
}

fn send_times_out_at_limit_of_descriptors_in_flight() {
    if handover::User::current().unwrap().uid() != 0 {
        left_out("only root can start a child as another user");
        return;
    }
    let before = table::count();
    let public_copy = PublicCopy::new("room");
    let mut command = Command::new(public_copy.program());
    command.args(role("sends_until_limit", &[])).stdin(Stdio::null()).kill_on_drop(true);
    let mut child = command.uid(NOBODY).gid(NOBODY).spawn().unwrap();
    assert_eq!(child.wait_timeout(Duration::from_secs(60)).unwrap().code(), Some(0));
    drop(child);
    assert_eq!(table::count(), before);
}

fn connects_and_waits(arguments: &[String]) {
    let channel = Channel::connect_timeout(&arguments[0], SOON).unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn accept_beyond_fd_limit_waits_and_loses_no_client() {
    let name = format!("fd-limit.{}", std::process::id());
    let mut listener = Listener::bind(&name).unwrap();
    let before = table::count();
    let mut command = Command::new(this_program());
    command.args(role("connects_and_waits", &[&name])).stdin(Stdio::null()).kill_on_drop(true);
    let mut client = command.spawn().unwrap();
    // The connection takes one descriptor, and the client's process another one.
    for room in [0, 1] {
        let limit = table::limit_to(room);
        let (started, timeout) = (Instant::now(), Duration::from_millis(300));
        assert_fd_limit_reached(listener.accept_timeout(timeout));
        assert!(started.elapsed() >= timeout, "it waits for room: {:?}", started.elapsed());
        assert_fd_limit_reached(listener.accept());
        assert!(started.elapsed() < SOON, "an accept without a timeout says why, too");
        drop(limit);
    }
    let limit = table::limit_to(0);
    let room = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(limit);
    });
    let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
    room.join().unwrap();
    assert_eq!(channel.peer().unwrap().id(), client.id());
    drop(channel);
    assert_eq!(client.wait_timeout(SOON).unwrap().code(), Some(0));
    drop(client);
    assert_eq!(table::count(), before);
}

fn opens_a_name(_: &[String]) {
    let name = std::env::var("NAME").unwrap();
    // The limit is set by now, and the server waits anew after this.
    std::thread::sleep(Duration::from_millis(300));
    let _ = Event::open_named(&name);
}

/// Lowers its limit of descriptors so far that `ppoll` fails, as a sandbox does, and frees a name.
fn frees_a_name(_: &[String]) {
    for limit in [1, 0] {
        let name = format!("limit.{limit}.{}", std::process::id());
        let event = Event::create_named(&name, ResetMode::Manual).unwrap();
        let _client = in_role("opens_a_name").env("NAME", &name).spawn().unwrap();
        set_soft_limit(limit);
        std::thread::sleep(Duration::from_secs(1));
        let started = Instant::now();
        drop(event);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        set_soft_limit(256);
    }
}

fn set_soft_limit(limit: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), ..getrlimit(Resource::Nofile) }).unwrap();
}

fn name_is_freed_below_the_limit_of_polls() {
    let mut child = in_role("frees_a_name").spawn().unwrap();
    assert_eq!(child.wait_timeout(Duration::from_secs(20)).unwrap().code(), Some(0));
}
