// Tests of channels between a parent and its child, in both directions: which objects arrive, with which access, and
// that no handles leak.
// `endpoints` has the kind of channel that is tested.

use std::time::{Duration, Instant};

use handover::{
    AsHandle, BorrowedHandle, BorrowedObject, Child, Command, Error, Event, HandleValue, Message,
    ObjectKind, OwnedHandle, Stdio,
};
use endpoints::Channel;
use handover_tests::{Suite, expect, raw, role, settled, table, tests, this_program, until, weaker};

const SOON: Duration = Duration::from_secs(10);

/// Returns the suite, under this name.
pub(crate) fn suite(name: &'static str) -> Suite {
    Suite { name, tests: tests![
            event_travels_in_both_directions,
            bytes_of_each_length_arrive,
            each_kind_arrives_in_child_with_exact_access,
            each_kind_arrives_in_parent_with_exact_access,
            kinds_with_power_over_processes_must_be_allowed,
            recv_fails_for_message_with_kind_that_allow_only_excludes,
            take_returns_each_object_once_by_name_and_kind,
            failed_send_delivers_no_objects,
            message_holds_at_most_253_objects,
            send_rejects_invalid_messages,
            ten_thousand_messages_leak_no_handles,
            large_messages_in_both_directions_do_not_deadlock,
            threads_can_send_and_receive_concurrently,
            recv_times_out,
            last_message_of_exited_child_arrives,
            flush_reports_fetched_objects_after_peer_closed,
            waiting_send_does_not_block_receivers,
            channel_belongs_to_one_child,
            race_free_child_has_channel,
        ], roles: tests![
            echoes,
            keeps_objects,
            sends_every_kind,
            sends_power,
            sends_large,
            never_reads,
            sends_and_returns,
            flushes_late,
            sends_before_it_receives,
            asks_for_its_parent,
            has_no_channel,
            copies_its_environment,
        ] }
}

fn channel_of(mut command: Command<'_>) -> (Child, Channel) {
    let mut child = command.kill_on_drop(true).channel().spawn().unwrap();
    let channel: Channel = child.take_channel().unwrap().into();
    (child, channel)
}

/// Starts this program in a role, with a channel.
fn in_role(name: &str, arguments: &[&str]) -> (Child, Channel) {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments));
    channel_of(command)
}

fn parent() -> Channel {
    Channel::parent().expect("the parent has given a channel")
}

/// Returns the next message, or `None` if the peer has closed the channel.
fn next(channel: &Channel) -> Option<handover::ReceivedMessage> {
    match channel.recv_timeout(SOON) {
        Ok(message) => Some(message),
        Err(Error::Disconnected { .. }) => None,
        Err(other) => panic!("{other:?}"),
    }
}

fn assert_exits_successfully(mut child: Child, channel: Channel) {
    drop(channel);
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

/// Sends each received message back, until the peer closes.
fn echoes(_: &[String]) {
    let channel = parent();
    while let Some(message) = next(&channel) {
        let names: Vec<String> = message.names().map(str::to_owned).collect();
        let objects: Vec<OwnedHandle> = names.iter().map(|name| message.take(name).unwrap()).collect();
        let answer = names
            .iter()
            .zip(&objects)
            .fold(Message::new(message.bytes()), |answer, (name, object)| answer.with(name, object));
        channel.send(answer).unwrap();
    }
}

fn event_travels_in_both_directions() {
    let event = Event::manual_reset().unwrap();
    let (child, channel) = in_role("echoes", &[]);
    assert_eq!(channel.peer().map(|peer| peer.id()), Some(child.id()));
    channel.send(Message::new(b"go").with("ready", &event)).unwrap();
    let answer = channel.recv_timeout(SOON).unwrap();
    assert_eq!(answer.bytes(), b"go");
    let copy: Event = answer.take("ready").unwrap();
    assert!(!table::is_inheritable(&copy));
    copy.set().unwrap();
    assert!(event.try_wait().unwrap());
    assert_exits_successfully(child, channel);
}

fn bytes_of_each_length_arrive() {
    let (child, channel) = in_role("echoes", &[]);
    for length in [0, 1, 19, 4095, 4096, 65_535, 65_536, 65_537, 1_000_003, Channel::MAX_BYTES] {
        let bytes: Vec<u8> = (0..length).map(|place| u8::try_from(place % 251).unwrap()).collect();
        channel.send(bytes.as_slice()).unwrap();
        assert!(channel.recv_timeout(SOON).unwrap().into_bytes() == bytes, "{length} bytes");
    }
    channel.send("text").unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"text");
    assert_exits_successfully(child, channel);
}

/// One object of each kind, for a message.
struct Zoo {
    event: Event,
    file: std::fs::File,
    pipe: (OwnedHandle, OwnedHandle),
    others: Vec<raw::Object>,
}

impl Zoo {
    fn new() -> Self {
        Self {
            event: Event::auto_reset().unwrap(),
            file: std::fs::File::open(this_program()).unwrap(),
            pipe: raw::pipe(),
            others: raw::objects(),
        }
    }

    fn all(&self) -> Vec<Animal<'_>> {
        fn animal<'a>(
            name: &'static str,
            handle: &'a impl AsHandle,
            share: BorrowedObject<'a>,
            kind: ObjectKind,
        ) -> Animal<'a> {
            let value = table::value(handle);
            let access = table::entry(std::process::id(), value).unwrap().access;
            Animal { name, share, access, kind, value }
        }
        let (from, to) = &self.pipe;
        let event = animal("event", &self.event, (&self.event).into(), ObjectKind::Event);
        let mut all = vec![
            Animal { access: expect::travelling_access(&event.kind, event.access), ..event },
            animal("file", &self.file, (&self.file).into(), ObjectKind::File),
            animal("pipe from", from, from.into(), ObjectKind::File),
            animal("pipe to", to, to.into(), ObjectKind::File),
        ];
        all.extend(
            self.others.iter().map(|(name, object, kind)| animal(name, object, object.into(), kind.clone())),
        );
        all
    }

    fn message(&self) -> Message<'_> {
        let all = self.all().into_iter();
        all.fold(Message::new(b""), |message, animal| message.with(animal.name, animal.share))
    }
}

/// An object, its handle value in this process, and the access and kind with which it must arrive.
struct Animal<'a> {
    name: &'static str,
    share: BorrowedObject<'a>,
    access: u32,
    kind: ObjectKind,
    value: u32,
}

/// Keeps the received objects, and reports their handle values by name.
fn keeps_objects(_: &[String]) {
    let channel = parent();
    let mut kept: Vec<OwnedHandle> = Vec::new();
    while let Some(message) = next(&channel) {
        let names: Vec<String> = message.names().map(str::to_owned).collect();
        let mut said = String::new();
        for name in names {
            let object: OwnedHandle = message.take(&name).unwrap();
            said += &format!("{name}={}\n", HandleValue::of(&object).unwrap());
            kept.push(object);
        }
        channel.send(said.as_str()).unwrap();
    }
}

fn values(said: &[u8]) -> Vec<(String, u32)> {
    let said = std::str::from_utf8(said).unwrap();
    let pair = |line: &str| {
        let (name, value) = line.split_once('=').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    said.lines().map(pair).collect()
}

fn each_kind_arrives_in_child_with_exact_access() {
    let zoo = Zoo::new();
    let (child, channel) = in_role("keeps_objects", &[]);
    channel.send(zoo.message()).unwrap();
    let said = values(channel.recv_timeout(SOON).unwrap().bytes());
    let sent = zoo.all();
    assert_eq!(said.len(), sent.len());
    for ((name, value), sent) in said.iter().zip(&sent) {
        assert_eq!(name, sent.name);
        let entry = table::entry(child.id(), *value).unwrap();
        assert_eq!((entry.access, entry.inheritable), (sent.access, false), "{name}");
    }
    let value = |wanted: &str| said.iter().find(|(name, _)| name == wanted).unwrap().1;
    assert_eq!(table::values_of(&zoo.event, child.id()), [value("event")]);
    for (name, object, _) in &zoo.others {
        assert_eq!(table::values_of(object, child.id()), [value(name)], "{name}");
    }
    assert_exits_successfully(child, channel);
}

/// Sends one object of each kind, reports its own handle values and access, and waits.
fn sends_every_kind(_: &[String]) {
    let channel = parent();
    let zoo = Zoo::new();
    let before = table::count();
    channel.send(zoo.message()).unwrap();
    channel.flush(SOON).unwrap();
    assert_eq!(table::count(), before, "fetched objects are closed in the sender");
    let mut said = String::new();
    for Animal { name, access, value, .. } in zoo.all() {
        said += &format!("{name}={value}\n{name}={access}\n");
    }
    channel.send(said.as_str()).unwrap();
    while next(&channel).is_some() {}
}

fn each_kind_arrives_in_parent_with_exact_access() {
    let (child, channel) = in_role("sends_every_kind", &[]);
    let before = table::count();
    let message = channel.recv_timeout(SOON).unwrap();
    let said = values(channel.recv_timeout(SOON).unwrap().bytes());
    let kinds: Vec<(String, ObjectKind)> =
        message.names().map(|name| (name.to_owned(), message.kind(name).unwrap())).collect();
    assert_eq!(kinds.len(), Zoo::new().all().len());
    for ((name, kind), expected) in kinds.iter().zip(Zoo::new().all()) {
        assert_eq!(*kind, expected.kind, "{name}");
        let mut theirs = said.iter().filter(|(said, _)| said == name).map(|(_, number)| *number);
        let (value, mask) = (theirs.next().unwrap(), theirs.next().unwrap());
        let object: OwnedHandle = message.take(name).unwrap();
        let ours = table::value(&object);
        let entry = table::entry(std::process::id(), ours).unwrap();
        assert_eq!((entry.access, entry.inheritable), (mask, false), "{name}");
        assert!(table::is_same_elsewhere(child.id(), value, std::process::id(), ours), "{name}");
    }
    drop(message);
    assert_eq!(table::count(), before);
    assert_exits_successfully(child, channel);
}

/// Sends objects that give power over a process, one in each message.
fn sends_power(_: &[String]) {
    let channel = parent();
    for (name, object, _) in raw::power() {
        let event = Event::manual_reset().unwrap();
        channel.send(Message::new(b"").with("event", &event).with(name, &object)).unwrap();
    }
    while next(&channel).is_some() {}
}

fn kinds_with_power_over_processes_must_be_allowed() {
    let power: Vec<_> = raw::power().into_iter().map(|(name, _, kind)| (name, kind)).collect();
    let (child, channel) = in_role("sends_power", &[]);
    let before = table::count();
    for (name, kind) in power.clone() {
        match channel.recv_timeout(SOON) {
            Err(Error::KindNotAllowed { pid: process, name: refused, found, .. }) => {
                assert_eq!((process, refused.as_str(), found), (child.id(), name, kind.clone()));
            }
            other => panic!("{kind:?}: {other:?}"),
        }
        // The next message is received nevertheless.
        assert_eq!(table::count(), before, "the objects are closed");
    }
    assert_exits_successfully(child, channel);

    let (child, channel) = in_role("sends_power", &[]);
    for (name, kind) in power {
        channel.allow(kind.clone());
        let message = channel.recv_timeout(SOON).unwrap();
        assert_eq!(message.kind(name).unwrap(), kind);
        drop(message.take::<OwnedHandle>(name).unwrap());
        drop(message.take::<Event>("event").unwrap());
    }
    assert_exits_successfully(child, channel);
}

fn recv_fails_for_message_with_kind_that_allow_only_excludes() {
    let (child, channel) = in_role("echoes", &[]);
    let (event, section) = (Event::manual_reset().unwrap(), raw::section());
    channel.allow_only([ObjectKind::Event]);
    let before = table::count();
    channel.send(Message::new(b"").with("event", &event).with("section", &section)).unwrap();
    channel.send(Message::new(b"").with("event", &event)).unwrap();
    let refused = channel.recv_timeout(SOON).unwrap_err().to_string();
    assert!(refused.contains("shared memory") && refused.contains("allow"), "{refused}");
    assert_eq!(table::count(), before);
    drop(channel.recv_timeout(SOON).unwrap().take::<Event>("event").unwrap());
    assert_eq!(table::count(), before);
    assert_exits_successfully(child, channel);
}

fn take_returns_each_object_once_by_name_and_kind() {
    let event = Event::manual_reset().unwrap();
    let (child, channel) = in_role("echoes", &[]);
    let before = table::count();
    channel.send(Message::new(b"").with("ready", &event).with("other", &event)).unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    match message.take::<std::fs::File>("ready") {
        Err(Error::WrongKind {
            expected: ObjectKind::File, found: ObjectKind::Event, object: what, ..
        }) => {
            assert_eq!(what, "the object \"ready\" of the message");
        }
        other => panic!("{other:?}"),
    }
    drop(message.take::<Event>("ready").unwrap());
    assert!(matches!(message.take::<Event>("ready"), Err(Error::AlreadyTaken { .. })));
    match message.take::<Event>("missing") {
        Err(Error::UnknownName { available: names, .. }) => assert_eq!(names, ["ready", "other"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before + 1, "the untaken object is still open");
    drop(message);
    assert_eq!(table::count(), before);
    assert_exits_successfully(child, channel);
}

fn failed_send_delivers_no_objects() {
    let event = Event::manual_reset().unwrap();
    let (child, channel) = in_role("echoes", &[]);
    let before = table::count();
    let with = |bad: BorrowedHandle<'_>| {
        let message = Message::new(b"").with("one", &event).with("two", &event).with("three", bad);
        channel.send(message).unwrap_err()
    };
    let names_it = |error: Error| assert!(error.to_string().contains("three"), "{error}");
    for pseudo in expect::pseudo_handles() {
        let error = with(pseudo);
        assert!(matches!(error, Error::InvalidHandleValue { .. }), "{error:?}");
        names_it(error);
    }
    let error = with(table::closed_handle());
    assert!(matches!(error, Error::InvalidHandle { .. }), "{error:?}");
    names_it(error);
    assert_eq!(table::values_of(&event, child.id()), [], "no handle is left in the child");
    assert_eq!(table::count(), before);
    // The channel still works.
    channel.send(Message::new(b"good").with("one", &event)).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"good");
    assert_exits_successfully(child, channel);
}

fn message_holds_at_most_253_objects() {
    assert_eq!(Channel::MAX_OBJECTS, 253);
    let events: Vec<Event> = (0..254).map(|_| Event::manual_reset().unwrap()).collect();
    let message = |count: usize| {
        (0..count)
            .fold(Message::new(b"many"), |message, place| message.with(place.to_string(), &events[place]))
    };
    let (child, channel) = in_role("echoes", &[]);
    let before = table::count();
    assert!(matches!(channel.send(message(254)), Err(Error::InvalidInput { .. })));
    channel.send(message(253)).unwrap();
    let answer = channel.recv_timeout(SOON).unwrap();
    for place in [0, 100, 252] {
        answer.take::<Event>(&place.to_string()).unwrap().set().unwrap();
        assert!(events[place].try_wait().unwrap());
    }
    assert!(!events[1].try_wait().unwrap());
    drop(answer);
    assert_eq!(table::count(), before);
    assert_exits_successfully(child, channel);
}

fn send_rejects_invalid_messages() {
    let event = Event::manual_reset().unwrap();
    let (child, channel) = in_role("echoes", &[]);
    let refused = |message: Message<'_>, part: &str| {
        let error = channel.send(message).unwrap_err();
        assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    };
    refused(Message::new(vec![0; Channel::MAX_BYTES + 1]), "16 MiB");
    refused(Message::new(b"").with("", &event), "name is empty");
    refused(Message::new(b"").with("a\0b", &event), "NUL");
    refused(Message::new(b"").with("n".repeat(256), &event), "255");
    refused(Message::new(b"").with("n", &event).with("n", &event), "two objects named \"n\"");
    assert_eq!(table::values_of(&event, child.id()), []);
    channel.send(Message::new(b"").with("n".repeat(255), &event)).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().names().len(), 1);
    assert_exits_successfully(child, channel);
}

fn ten_thousand_messages_leak_no_handles() {
    let (event, semaphore) = (Event::manual_reset().unwrap(), raw::semaphore());
    let (child, channel) = in_role("echoes", &[]);
    let round = || {
        channel.send(Message::new(b"round").with("event", &event).with("semaphore", &semaphore)).unwrap();
        assert_eq!(channel.recv_timeout(SOON).unwrap().names().len(), 2);
    };
    for _ in 0..100 {
        round();
    }
    // The child closes the duplicates of the last answer shortly after sending it.
    let in_child = || table::of(child.id()).len();
    let theirs = settled(child.id());
    assert_eq!(table::values_of(&event, child.id()), []);
    let ours = table::count();
    // Each round sends two messages, one in each direction.
    for _ in 0..5000 {
        round();
    }
    assert_eq!(table::count(), ours);
    until("the child has as many as before", || in_child() == theirs);
    assert_exits_successfully(child, channel);
}

/// Sends a large message before it reads the large message from its parent.
fn sends_large(_: &[String]) {
    let channel = parent();
    channel.send(vec![1; 8 << 20]).unwrap();
    let message = next(&channel).unwrap();
    assert!(message.bytes().len() == 8 << 20 && message.bytes().iter().all(|byte| *byte == 2));
    channel.send(b"done").unwrap();
}

fn large_messages_in_both_directions_do_not_deadlock() {
    let (child, channel) = in_role("sends_large", &[]);
    channel.send_timeout(vec![2; 8 << 20], SOON).unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    assert!(message.bytes().len() == 8 << 20 && message.bytes().iter().all(|byte| *byte == 1));
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"done");
    assert_exits_successfully(child, channel);
}

fn threads_can_send_and_receive_concurrently() {
    const MESSAGES: usize = 2000;
    let event = Event::manual_reset().unwrap();
    let (child, channel) = in_role("echoes", &[]);
    let sender = channel.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..MESSAGES {
                // Some messages are larger than the pipe's buffer.
                let padding = if number % 200 == 0 { 100_000 } else { number % 100 };
                let mut bytes = number.to_string().into_bytes();
                bytes.resize(bytes.len() + padding, b' ');
                sender.send(Message::new(bytes).with("event", &event)).unwrap();
            }
        });
        for number in 0..MESSAGES {
            let message = channel.recv_timeout(SOON).unwrap();
            assert_eq!(message.bytes().trim_ascii_end(), number.to_string().as_bytes());
            message.take::<Event>("event").unwrap();
        }
    });
    drop(sender);
    assert_exits_successfully(child, channel);
}

fn recv_times_out() {
    let (child, channel) = in_role("echoes", &[]);
    assert!(channel.try_recv().unwrap().is_none());
    let started = Instant::now();
    let time = Duration::from_millis(150);
    match channel.recv_timeout(time) {
        Err(error @ Error::TimedOut { .. }) => assert!(error.to_string().contains(&child.id().to_string())),
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() >= time);
    // The timeout also covers the wait for another thread that is receiving.
    std::thread::scope(|scope| {
        scope.spawn(|| channel.recv_timeout(Duration::from_secs(1)).unwrap_err());
        std::thread::sleep(Duration::from_millis(100));
        let started = Instant::now();
        assert!(matches!(channel.recv_timeout(time), Err(Error::TimedOut { .. })));
        assert!(started.elapsed() < Duration::from_millis(800), "{:?}", started.elapsed());
    });
    channel.send(b"after").unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"after", "a deadline loses nothing");
    channel.send(b"soon").unwrap();
    until("the answer has arrived", || match channel.try_recv().unwrap() {
        Some(message) => message.bytes() == b"soon",
        None => false,
    });
    assert_exits_successfully(child, channel);
}

fn never_reads(_: &[String]) {
    let _channel = parent();
    std::thread::sleep(Duration::from_secs(30));
}

/// Starts this program in a role, with a channel, and with an event by which it says that it has sent its message.
fn in_role_of_sender(name: &str, arguments: &[&str]) -> (Child, Channel, Event) {
    let sent = Event::manual_reset().unwrap();
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).inherit("sent", &sent).stdin(Stdio::piped());
    let (child, channel) = channel_of(command);
    (child, channel, sent)
}

/// Says that this process has sent its message.
fn tell_sent() {
    handover::inherited().unwrap().take::<Event>("sent").unwrap().set().unwrap();
}

fn sends_and_returns(_: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    event.set().unwrap();
    channel.send(Message::new(b"last").with("event", &event)).unwrap();
    tell_sent();
}

fn last_message_of_exited_child_arrives() {
    let (mut child, channel, sent) = in_role_of_sender("sends_and_returns", &[]);
    sent.wait_timeout(SOON).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let message = channel.recv_timeout(SOON).unwrap();
    assert!(message.take::<Event>("event").unwrap().try_wait().unwrap());
    let before = table::count();
    for _ in 0..2 {
        let end = channel.recv_timeout(SOON);
        assert!(matches!(end, Err(Error::Disconnected { .. } | Error::ProcessExited { .. })), "{end:?}");
    }
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    assert_eq!(table::count(), before);
    // A child doesn't wait for its last message to be read if the parent has closed the channel.
    let (mut child, channel, sent) = in_role_of_sender("sends_and_returns", &[]);
    sent.wait_timeout(SOON).unwrap();
    drop(channel);
    let started = Instant::now();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(3));
}

/// Sends an event, and flushes once the parent has closed the channel.
fn flushes_late(arguments: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    channel.send(Message::new(b"").with("event", &event)).unwrap();
    tell_sent();
    std::io::stdin().read_line(&mut String::new()).unwrap();
    // The result stays the same, also after a receive has found the channel closed.
    for _ in 0..2 {
        match channel.flush(SOON) {
            Ok(()) => assert_eq!(arguments, ["fetched"]),
            Err(Error::Disconnected { .. }) => assert_ne!(arguments, ["fetched"]),
            other => panic!("{other:?}"),
        }
        assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
    }
}

fn flush_reports_fetched_objects_after_peer_closed() {
    use std::io::Write;
    for fate in ["fetched", "not fetched", "closed"] {
        let (mut child, channel, sent) = in_role_of_sender("flushes_late", &[fate]);
        sent.wait_timeout(SOON).unwrap();
        if fate == "fetched" {
            drop(channel.recv_timeout(SOON).unwrap());
        }
        // `close` counts although a clone is alive.
        let clone = (fate == "closed").then(|| channel.clone());
        clone.iter().for_each(|channel| channel.close());
        drop(channel);
        writeln!(child.stdin.as_mut().unwrap()).unwrap();
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0), "{fate}");
        drop(clone);
    }
}

/// Sends a message while its parent is sending, and receives only after the event is set.
fn sends_before_it_receives(_: &[String]) {
    let channel = parent();
    let go_on: Event = handover::inherited().unwrap().take("go on").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    channel.send(b"read this first").unwrap();
    tell_sent();
    go_on.wait_timeout(SOON).unwrap();
    assert_eq!(next(&channel).unwrap().bytes().len(), 1 << 20);
    channel.send(b"thank you").unwrap();
    assert!(next(&channel).is_none());
}

fn waiting_send_does_not_block_receivers() {
    for way in 0..3 {
        let (go_on, sent) = (Event::manual_reset().unwrap(), Event::manual_reset().unwrap());
        let mut command = Command::new(this_program());
        command.args(role("sends_before_it_receives", &[])).inherit("go on", &go_on).inherit("sent", &sent);
        let (child, channel) = channel_of(command);
        std::thread::scope(|scope| {
            scope.spawn(|| channel.send(vec![0; 1 << 20]).unwrap());
            std::thread::sleep(Duration::from_millis(100));
            if way == 2 {
                // The message was read a while ago by the sending thread; a later receive still returns it.
                sent.wait_timeout(SOON).unwrap();
                std::thread::sleep(Duration::from_millis(700));
                let time = Duration::from_millis(150);
                assert_eq!(channel.recv_timeout(time).unwrap().bytes(), b"read this first");
            } else if way == 0 {
                assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"read this first");
            } else {
                until("it is there", || channel.try_recv().unwrap().is_some());
            }
            go_on.set().unwrap();
        });
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"thank you");
        assert_exits_successfully(child, channel);
    }
}

fn asks_for_its_parent(_: &[String]) {
    let before = table::count();
    let channel = parent();
    assert!(matches!(Channel::parent(), Err(Error::AlreadyTaken { .. })));
    assert_eq!(handover::inherited().unwrap().names(), ["event"], "the channel is not listed");
    assert_eq!(handover::leaked_handles().unwrap(), []);
    // A child of this process can't use the channel, whether std's `Command` starts it or this crate's.
    let mut own = std::process::Command::new(this_program());
    assert_eq!(own.args(role("copies_its_environment", &[])).status().unwrap().code(), Some(0));
    let mut own = Command::new(this_program());
    assert_eq!(own.args(role("has_no_channel", &[])).status().unwrap().code(), Some(0));
    channel.send(b"asked").unwrap();
    assert!(next(&channel).is_none());
    drop(channel);
    assert!(table::count() <= before, "{} and {before}", table::count());
}

fn copies_its_environment(_: &[String]) {
    assert!(matches!(Channel::parent(), Err(Error::ManifestMismatch { .. })));
}

fn has_no_channel(_: &[String]) {
    assert!(matches!(Channel::parent(), Err(Error::NoParentChannel { .. })));
}

fn channel_belongs_to_one_child() {
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let mut command = Command::new(this_program());
    command.args(role("asks_for_its_parent", &[])).inherit("event", &event);
    let mut child = command.channel().spawn().unwrap();
    assert_eq!(child.inherited_handles().map(|(name, _)| name).collect::<Vec<_>>(), ["event"]);
    let channel: Channel = child.take_channel().unwrap().into();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"asked");
    assert_exits_successfully(child, channel);
    // A child that never takes its channel, and a parent that never takes it.
    let mut child = Command::new(this_program()).args(role("echoes", &[])).channel().spawn().unwrap();
    let early = child.wait_timeout(Duration::from_millis(100));
    assert!(matches!(early, Err(Error::TimedOut { .. })), "the channel stays open: {early:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0), "waiting without a timeout closes the channel");
    drop(child);
    for reserved in weaker::RESERVED_NAMES {
        let mut command = Command::new(this_program());
        let refused = command.inherit(reserved, &event).channel().spawn().unwrap_err();
        assert!(refused.to_string().contains("reserved for handover"), "{refused}");
        let mut command = Command::new(this_program());
        let refused = command.channel().arg_handle(format!("{{{reserved}}}")).spawn().unwrap_err();
        assert!(
            matches!(refused, Error::InvalidInput { .. }),
            "its handle value can't be used as an argument: {refused:?}"
        );
    }
    assert!(Command::new("no such program").channel().spawn().is_err());
    assert_eq!(table::count(), before);
}

fn race_free_child_has_channel() {
    let event = Event::manual_reset().unwrap();
    let mut race_free = Command::new(this_program());
    race_free.args(role("echoes", &[])).race_free();
    let (child, channel) = channel_of(race_free);
    channel.send(Message::new(b"go").with("event", &event)).unwrap();
    channel.recv_timeout(SOON).unwrap().take::<Event>("event").unwrap().set().unwrap();
    assert!(event.try_wait().unwrap());
    assert_exits_successfully(child, channel);
}
