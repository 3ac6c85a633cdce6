//! Tests of endpoints that travel, in messages and with children, and of introductions.

use std::process::ExitCode;
use std::time::Duration;

use handover::{Channel, Command, Error, Event, Message, ObjectKind, OwnedHandle, Stdio, WaitSet};
use handover_tests::{assert_exits_successfully, linked_in_role, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            both_endpoints_of_a_pair_work_in_one_process,
            endpoint_travels_to_a_child_in_a_message,
            endpoint_travels_to_the_parent_in_a_message,
            endpoint_travels_with_a_child,
            messages_before_the_travel_arrive,
            introduced_processes_talk_after_the_introducer_has_exited,
            endpoint_with_clones_or_messages_is_refused_and_given_back,
            failed_send_gives_the_endpoint_back,
            failed_spawn_keeps_the_endpoint,
            endpoint_that_is_never_taken_is_closed,
            endpoint_of_a_killed_process_is_closed,
            kind_that_is_not_allowed_closes_the_endpoint,
            endpoints_and_objects_are_not_confused,
            peer_of_a_travelled_endpoint_is_its_process,
            set_reports_messages_and_exit_over_a_travelled_endpoint,
            many_endpoints_leave_no_handles,
        ],
        tests![serves, gives_an_endpoint, takes_inherited, introduces, links,],
    )
}

fn bytes(channel: &Channel) -> Vec<u8> {
    channel.recv_timeout(SOON).unwrap().into_bytes()
}

fn is_disconnected<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Disconnected { .. } | Error::ProcessExited { .. }))
}

/// Echoes bytes and objects, until the peer closes.
fn echo(channel: &Channel) {
    while let Ok(message) = channel.recv_timeout(SOON) {
        let objects: Vec<(String, OwnedHandle)> =
            message.names().map(|name| (name.to_owned(), message.take(name).unwrap())).collect();
        let mut answer = Message::new(message.bytes());
        for (name, object) in &objects {
            answer.add(name, object);
        }
        channel.send(answer).unwrap();
    }
}

/// Does as each message says, until the parent closes.
fn serves(_: &[String]) {
    let channel = Channel::parent().unwrap();
    while let Ok(message) = channel.recv_timeout(SOON) {
        match message.bytes() {
            // Serves an endpoint until it is closed.
            b"echo" => {
                echo(&message.take_channel("link").unwrap());
                channel.send("closed").unwrap();
            }
            b"drop" => {
                drop(message);
                channel.send("dropped").unwrap();
            }
            b"take and drop" => {
                drop(message.take_channel("link").unwrap());
                channel.send("dropped").unwrap();
            }
            b"back" => {
                let link = message.take_channel("link").unwrap();
                channel.send(Message::new("here").with_channel("link", link)).unwrap();
            }
            b"wait" => std::thread::sleep(SOON),
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
}

/// Sends an event there and back, and a text.
fn assert_linked(channel: &Channel) {
    let event = Event::manual_reset().unwrap();
    channel.send(Message::new("go").with("event", &event)).unwrap();
    let answer = channel.recv_timeout(SOON).unwrap();
    assert_eq!(answer.bytes(), b"go");
    answer.take::<Event>("event").unwrap().set().unwrap();
    assert!(event.try_wait().unwrap());
}

fn both_endpoints_of_a_pair_work_in_one_process() {
    let before = table::count();
    let (one, other) = Channel::pair().unwrap();
    assert_eq!(one.peer().unwrap().id(), std::process::id());
    std::thread::scope(|scope| {
        scope.spawn(|| echo(&other));
        assert_linked(&one);
        one.close();
    });
    assert!(is_disconnected(&other.recv_timeout(SOON)));
    drop((one, other));
    until("the handles are closed", || table::count() <= before);
}

fn endpoint_travels_to_a_child_in_a_message() {
    let (child, channel) = linked_in_role("serves", &[]);
    // The first time, the system opens handles that stay.
    for round in 0..3 {
        let before = table::count();
        let (ours, theirs) = Channel::pair().unwrap();
        channel.send(Message::new("echo").with_channel("link", theirs)).unwrap();
        assert_linked(&ours);
        assert_eq!(ours.peer().unwrap().id(), child.id());
        drop(ours);
        assert_eq!(bytes(&channel), b"closed");
        if round > 0 {
            until("the handles are closed", || table::count() <= before);
        }
    }
    assert_exits_successfully(child, channel);
}

/// Sends the parent an endpoint of a pair, and serves the other one.
fn gives_an_endpoint(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let (ours, theirs) = Channel::pair().unwrap();
    channel.send(Message::new("take this").with_channel("link", theirs)).unwrap();
    echo(&ours);
}

fn endpoint_travels_to_the_parent_in_a_message() {
    let (child, channel) = linked_in_role("gives_an_endpoint", &[]);
    let message = channel.recv_timeout(SOON).unwrap();
    assert_eq!(message.names().collect::<Vec<_>>(), ["link"]);
    let link = message.take_channel("link").unwrap();
    assert!(matches!(message.take_channel("link"), Err(Error::AlreadyTaken { .. })));
    assert_linked(&link);
    assert_eq!(link.peer().unwrap().id(), child.id());
    drop(link);
    assert_exits_successfully(child, channel);
}

fn takes_inherited(_: &[String]) {
    let inherited = handover::inherited().unwrap();
    assert!(inherited.names().is_empty());
    match inherited.take_channel("another") {
        Err(Error::UnknownName { available, .. }) => assert_eq!(available, ["link"]),
        other => panic!("{other:?}"),
    }
    let link = inherited.take_channel("link").unwrap();
    assert!(matches!(inherited.take_channel("link"), Err(Error::AlreadyTaken { .. })));
    echo(&link);
}

fn endpoint_travels_with_a_child() {
    let (ours, theirs) = Channel::pair().unwrap();
    let mut command = Command::new(this_program());
    command.args(role("takes_inherited", &[])).stdin(Stdio::null()).kill_on_drop(true);
    command.inherit_channel("link", theirs);
    let mut child = command.spawn().unwrap();
    assert_linked(&ours);
    assert_eq!(ours.peer().unwrap().id(), child.id());
    let again = command.spawn().map(drop).unwrap_err().to_string();
    assert!(again.contains("was given to an earlier child"), "{again}");
    drop(ours);
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn messages_before_the_travel_arrive() {
    let (child, channel) = linked_in_role("serves", &[]);
    let (ours, theirs) = Channel::pair().unwrap();
    for number in 0..10 {
        ours.send(number.to_string()).unwrap();
        theirs.send(format!("from here {number}")).unwrap();
    }
    channel.send(Message::new("echo").with_channel("link", theirs)).unwrap();
    for number in 0..10 {
        assert_eq!(bytes(&ours), format!("from here {number}").as_bytes());
    }
    for number in 0..10 {
        assert_eq!(bytes(&ours), number.to_string().as_bytes());
    }
    drop(ours);
    assert_eq!(bytes(&channel), b"closed");
    assert_exits_successfully(child, channel);
}

/// Starts a child, introduces it and the parent to each other, and exits.
fn introduces(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let mut command = Command::new(this_program());
    command.args(role("links", &[])).stdin(Stdio::null());
    let mut child = command.channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    parent.send(child.id().to_string()).unwrap();
    handover::introduce(&parent, &channel, "link").unwrap();
    // Its message is flushed and fetched by then.
    let _ = channel.recv_timeout(SOON);
    let _ = parent.recv_timeout(SOON);
}

/// Serves the endpoint that the parent sends.
fn links(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let link = parent.recv_timeout(SOON).unwrap().take_channel("link").unwrap();
    parent.send("taken").unwrap();
    while let Ok(message) = link.recv_timeout(SOON) {
        link.send(message.bytes()).unwrap();
    }
}

fn introduced_processes_talk_after_the_introducer_has_exited() {
    let (mut broker, channel) = linked_in_role("introduces", &[]);
    let id: u32 = String::from_utf8(bytes(&channel)).unwrap().parse().unwrap();
    let link = channel.recv_timeout(SOON).unwrap().take_channel("link").unwrap();
    channel.send("taken").unwrap();
    assert!(broker.wait_timeout(SOON).unwrap().success());
    drop(channel);
    let reply = {
        link.send("are you there?").unwrap();
        bytes(&link)
    };
    assert_eq!(reply, b"are you there?");
    let peer = link.peer().unwrap();
    assert_eq!(peer.id(), id);
    drop(link);
    until("the other process has exited", || peer.has_exited().unwrap());
}

fn endpoint_with_clones_or_messages_is_refused_and_given_back() {
    let (child, channel) = linked_in_role("serves", &[]);
    let (ours, theirs) = Channel::pair().unwrap();
    let give = |theirs: Channel| {
        let mut error =
            channel.send(Message::new("echo").with_channel("link", theirs)).expect_err("it is refused");
        assert!(matches!(&error, Error::NotSent { .. }), "{error:?}");
        assert!(error.take_channel("another").is_none());
        let theirs = error.take_channel("link").expect("it is given back");
        assert!(error.take_channel("link").is_none());
        (theirs, error.to_string())
    };
    let clone = theirs.clone();
    let (mut theirs, error) = give(theirs);
    assert!(error.contains("\"link\" to give away has clones in use"), "{error}");
    drop(clone);
    for text in ["one", "two"] {
        ours.send(text).unwrap();
    }
    // A call reads the messages while it waits, and keeps them.
    let unanswered = theirs.call("question", Duration::from_millis(100));
    assert!(matches!(unanswered, Err(Error::TimedOut { .. })), "{unanswered:?}");
    assert_eq!(bytes(&ours), b"question");
    for text in ["one", "two"] {
        let (kept, error) = give(theirs);
        assert!(error.contains("receive them first"), "{error}");
        assert_eq!(bytes(&kept), text.as_bytes());
        theirs = kept;
    }
    channel.send(Message::new("echo").with_channel("link", theirs)).unwrap();
    assert_linked(&ours);
    drop(ours);
    assert_eq!(bytes(&channel), b"closed");
    assert_exits_successfully(child, channel);
}

fn failed_send_gives_the_endpoint_back() {
    let (mut child, channel) = linked_in_role("serves", &[]);
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
    let before = table::count();
    let (ours, theirs) = Channel::pair().unwrap();
    let message = Message::new("echo").with_channel("link", theirs);
    let mut error = channel.send_timeout(message, SOON).unwrap_err();
    assert!(error.to_string().contains("has exited"), "{error}");
    let theirs = error.take_channel("link").unwrap();
    // It works as before.
    std::thread::scope(|scope| {
        scope.spawn(|| echo(&theirs));
        assert_linked(&ours);
        ours.close();
    });
    drop((ours, theirs));
    // A name twice, and an endpoint that is to travel over itself.
    let (ours, theirs) = Channel::pair().unwrap();
    let event = Event::manual_reset().unwrap();
    let twice = Message::new("").with("link", &event).with_channel("link", theirs);
    let mut error = channel.send(twice).unwrap_err();
    assert!(error.to_string().contains("two objects named \"link\""), "{error}");
    let theirs = error.take_channel("link").unwrap();
    let itself = theirs.clone();
    let error = theirs.send(Message::new("").with_channel("itself", itself)).unwrap_err();
    assert!(error.to_string().contains("has clones in use"), "{error}");
    drop((error, ours, theirs, event));
    until("the handles are closed", || table::count() <= before);
}

fn failed_spawn_keeps_the_endpoint() {
    let before = table::count();
    let (ours, theirs) = Channel::pair().unwrap();
    let mut command = Command::new("no such program");
    command.inherit_channel("link", theirs);
    for _ in 0..2 {
        assert!(matches!(command.spawn(), Err(Error::ProgramNotFound { .. })));
    }
    drop(command);
    let mut command = Command::new(this_program());
    let (one, other) = Channel::pair().unwrap();
    command.inherit_channel("link", one).inherit_channel("link", other);
    let twice = command.spawn().unwrap_err().to_string();
    assert!(twice.contains("have the name \"link\""), "{twice}");
    drop((command, ours));
    until("the handles are closed", || table::count() <= before);
}

fn endpoint_that_is_never_taken_is_closed() {
    let (mut child, channel) = linked_in_role("serves", &[]);
    for how in ["drop", "take and drop"] {
        let (ours, theirs) = Channel::pair().unwrap();
        channel.send(Message::new(how).with_channel("link", theirs)).unwrap();
        assert_eq!(bytes(&channel), b"dropped");
        let ended = ours.recv_timeout(SOON);
        assert!(is_disconnected(&ended), "{how}: {ended:?}");
    }
    // In transit, in a message that is never received.
    let (ours, theirs) = Channel::pair().unwrap();
    channel.send("wait").unwrap();
    channel.send(Message::new("drop").with_channel("link", theirs)).unwrap();
    std::thread::sleep(SHORT);
    child.kill().unwrap();
    let ended = ours.recv_timeout(SOON);
    assert!(is_disconnected(&ended), "{ended:?}");
    child.wait_timeout(SOON).unwrap();
}

fn endpoint_of_a_killed_process_is_closed() {
    let (mut child, channel) = linked_in_role("serves", &[]);
    let (ours, theirs) = Channel::pair().unwrap();
    channel.send(Message::new("echo").with_channel("link", theirs)).unwrap();
    assert_linked(&ours);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ours.recv_timeout(SOON));
        std::thread::sleep(SHORT);
        child.kill().unwrap();
        let ended = waiting.join().unwrap();
        assert!(matches!(ended, Err(Error::ProcessExited { pid, .. }) if pid == child.id()), "{ended:?}");
    });
    child.wait_timeout(SOON).unwrap();
    drop(channel);
}

fn kind_that_is_not_allowed_closes_the_endpoint() {
    let (child, channel) = linked_in_role("gives_an_endpoint", &[]);
    channel.allow_only([ObjectKind::Event]);
    let before = table::count();
    let refused = channel.recv_timeout(SOON);
    assert!(matches!(refused, Err(Error::KindNotAllowed { .. })), "{refused:?}");
    assert!(table::count() <= before);
    // The other endpoint is disconnected, so the child exits.
    assert_exits_successfully(child, channel);
}

fn endpoints_and_objects_are_not_confused() {
    let (child, channel) = linked_in_role("gives_an_endpoint", &[]);
    let message = channel.recv_timeout(SOON).unwrap();
    let error = message.take::<OwnedHandle>("link").unwrap_err().to_string();
    assert!(error.contains("take it with take_channel"), "{error}");
    assert!(matches!(message.take_channel("another"), Err(Error::UnknownName { .. })));
    drop(message.take_channel("link").unwrap());
    assert_exits_successfully(child, channel);

    let (one, other) = Channel::pair().unwrap();
    let event = Event::manual_reset().unwrap();
    one.send(Message::new("").with("event", &event)).unwrap();
    let message = other.recv_timeout(SOON).unwrap();
    let error = message.take_channel("event").unwrap_err().to_string();
    assert!(error.contains("take it with take"), "{error}");
    drop(message.take::<Event>("event").unwrap());
}

fn peer_of_a_travelled_endpoint_is_its_process() {
    let (child, channel) = linked_in_role("serves", &[]);
    let (ours, theirs) = Channel::pair().unwrap();
    channel.send(Message::new("echo").with_channel("link", theirs)).unwrap();
    ours.send("hello").unwrap();
    assert_eq!(bytes(&ours), b"hello");
    assert_eq!(ours.peer().unwrap().id(), child.id());
    // The process that created the endpoint isn't mistaken for it.
    assert_eq!(ours.peer().unwrap().identity().unwrap(), child.process().identity().unwrap());
    drop(ours);
    assert_eq!(bytes(&channel), b"closed");
    assert_exits_successfully(child, channel);
}

fn set_reports_messages_and_exit_over_a_travelled_endpoint() {
    let (mut child, channel) = linked_in_role("serves", &[]);
    let (ours, theirs) = Channel::pair().unwrap();
    let set = WaitSet::new().unwrap();
    set.add(1, &ours).unwrap();
    set.add(2, &theirs).unwrap();
    channel.send(Message::new("echo").with_channel("link", theirs)).unwrap();
    let wait = || set.wait(SOON).unwrap().map(|ready| ready.key()).collect::<Vec<_>>();
    for _ in 0..3 {
        ours.send("hello").unwrap();
        loop {
            assert_eq!(wait(), [1], "the endpoint that has left is no member any more");
            // It may have been a greeting.
            if let Some(message) = ours.try_recv().unwrap() {
                assert_eq!(message.bytes(), b"hello");
                break;
            }
        }
    }
    assert_eq!(set.wait(SHORT).unwrap().len(), 0);
    child.kill().unwrap();
    assert_eq!(wait(), [1]);
    assert!(is_disconnected(&ours.try_recv()));
    child.wait_timeout(SOON).unwrap();
}

/// Sends as many endpoints there and back as the environment says, and 1,000 otherwise.
fn many_endpoints_leave_no_handles() {
    let rounds: usize = std::env::var("HANDOVER_ENDPOINTS").map_or(1000, |text| text.parse().unwrap());
    let (first, to_first) = linked_in_role("serves", &[]);
    let (second, to_second) = linked_in_role("serves", &[]);
    let counts = || [std::process::id(), first.id(), second.id()].map(|process| table::of(process).len());
    let mut before = None;
    for round in 0..rounds {
        let (ours, theirs) = Channel::pair().unwrap();
        to_first.send(Message::new("back").with_channel("link", theirs)).unwrap();
        let link = to_first.recv_timeout(SOON).unwrap().take_channel("link").unwrap();
        to_second.send(Message::new("take and drop").with_channel("link", link)).unwrap();
        assert_eq!(bytes(&to_second), b"dropped");
        assert!(is_disconnected(&ours.recv_timeout(SOON)));
        if round == 20 {
            before = Some(counts());
        }
    }
    let before = before.expect("at least 21 rounds");
    let is_flat = || counts().iter().zip(before).all(|(now, before)| *now <= before);
    until("the handles are closed in all three processes", is_flat);
    assert_exits_successfully(first, to_first);
    assert_exits_successfully(second, to_second);
}
