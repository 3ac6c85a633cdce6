//! A process that may have few descriptors: an error says so, and nothing is left or lost but what had no room.

use std::time::Duration;

use handover::{Channel, Child, Command, Error, Event, Message, Stdio};
use handover_tests::{Suite, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "room",
    tests: tests![
        a_message_with_too_many_objects_is_an_error_and_the_next_one_arrives,
        a_child_without_room_says_so_and_goes_on,
        a_spawn_without_room_leaves_nothing,
        creating_without_room_leaves_nothing,
    ],
    roles: tests![sends_many, has_no_room, sleeps],
};

fn in_role(name: &str) -> Command<'static> {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn with_channel(name: &str) -> (Child, Channel) {
    let mut child = in_role(name).channel().spawn().unwrap();
    let channel = child.channel.take().unwrap();
    (child, channel)
}

fn ends_well(mut child: Child, channel: Channel) {
    drop(channel);
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn many(event: &Event) -> Message<'_> {
    (0..253).fold(Message::new(b"many"), |message, place| message.with(place.to_string(), event))
}

fn has_no_room_for_it<T: std::fmt::Debug>(outcome: Result<T, Error>) {
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
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Closed { .. })));
}

fn a_message_with_too_many_objects_is_an_error_and_the_next_one_arrives() {
    let (child, channel) = with_channel("sends_many");
    let before = table::count();
    table::leave_room_for(50);
    has_no_room_for_it(channel.recv_timeout(SOON));
    assert_eq!(table::count(), before, "those that came are closed");
    let mut message = channel.recv_timeout(SOON).unwrap();
    assert_eq!(message.bytes(), b"few");
    message.take::<Event>("event").unwrap().set().unwrap();
    drop(message);
    assert_eq!(table::count(), before);
    ends_well(child, channel);
}

fn has_no_room(_: &[String]) {
    let channel = Channel::parent().unwrap();
    table::leave_room_for(100);
    let before = table::count();
    channel.send(b"ready").unwrap();
    has_no_room_for_it(channel.recv_timeout(SOON));
    assert_eq!(table::count(), before);
    let mut message = channel.recv_timeout(SOON).unwrap();
    message.take::<Event>("event").unwrap().set().unwrap();
    drop(message);
    channel.send(b"goes on").unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Closed { .. })));
    drop(channel);
}

fn a_child_without_room_says_so_and_goes_on() {
    let event = Event::manual_reset().unwrap();
    let (child, channel) = with_channel("has_no_room");
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"ready");
    channel.send(many(&event)).unwrap();
    channel.send(Message::new(b"few").with("event", &event)).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"goes on");
    assert!(event.try_wait().unwrap());
    ends_well(child, channel);
}

fn a_spawn_without_room_leaves_nothing() {
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
        // To look takes some, too.
        table::make_room(1000);
        has_no_room_for_it(outcome);
        assert_eq!(table::count(), before, "with room for {room}");
        assert_eq!(table::children_of(std::process::id()), [], "with room for {room}");
    }
    table::leave_room_for(100);
    let mut child = command.spawn().unwrap();
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
}

fn creating_without_room_leaves_nothing() {
    let name = format!("room.{}", std::process::id());
    drop(Event::create_named(&name, handover::Reset::Auto).unwrap());
    let before = table::count();
    let mut refusals = 0;
    for room in 0..10 {
        table::leave_room_for(room);
        let outcome = Event::create_named(&name, handover::Reset::Auto);
        table::make_room(1000);
        match outcome {
            Ok(event) => drop(event),
            other => {
                has_no_room_for_it(other);
                refusals += 1;
            }
        }
        assert_eq!(table::count(), before, "with room for {room}");
    }
    assert!((2..9).contains(&refusals), "{refusals}");
    drop(handover::Listener::bind(&name).unwrap());
    assert_eq!(table::count(), before);
}
