//! Tests of endpoints that travel between processes of which one, or none, may duplicate handles into the other.

use std::io::Read;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use handover::os::windows::{Access, introduce_stronger};
use handover::{
    BorrowedObject, Channel, Command, Error, Event, Message, Process, Semaphore, SharedMemory, Stdio,
};
use handover_tests::frame::{frame_of, with};
use handover_tests::{
    Suite, assert_exits_successfully, linked_in_role, raw, role, table, tests, this_program, until, weaker,
};

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(200);

/// `SYNCHRONIZE` and `PROCESS_QUERY_LIMITED_INFORMATION`.
const WAIT: u32 = 0x0010_1000;

pub(super) const SUITE: Suite = Suite {
    name: "travel",
    tests: tests![
        objects_travel_between_processes_that_were_introduced_with_power,
        processes_that_were_introduced_without_power_exchange_bytes,
        process_without_power_cannot_give_it,
        endpoint_with_objects_in_transit_stays,
        endpoint_that_has_moved_twice_carries_bytes,
        exit_of_a_process_that_passed_its_endpoint_on_does_not_end_the_channel,
        traveller_carries_no_more_access_than_it_needs,
        objects_that_a_child_sends_at_once_arrive,
        weaker_process_sees_the_end_of_the_endpoint_that_it_has_sent,
        forged_endpoints_are_refused,
        constantly_changing_ledger_of_an_endpoint_breaks_nothing,
    ],
    roles: tests![
        broker,
        has_power,
        has_none,
        sends_an_object_and_bytes,
        answers_bytes,
        introduces_upwards,
        returns,
        keeps,
        forges,
        scribbles,
        sends_at_once,
        gives_and_waits,
    ],
};

fn link(channel: &Channel) -> Channel {
    channel.recv_timeout(SOON).unwrap().take_channel("link").unwrap()
}

fn bytes(channel: &Channel) -> Vec<u8> {
    channel.recv_timeout(SOON).unwrap().into_bytes()
}

fn assert_refuses_objects(channel: &Channel) {
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let refused = channel.send(Message::new("").with("event", &event)).unwrap_err();
    assert!(matches!(&refused, Error::InvalidInput { .. }), "{refused:?}");
    assert!(refused.to_string().contains("introduce_stronger"), "{refused}");
    assert_eq!(table::count(), before);
}

/// Introduces two children, and exits.
fn broker(_: &[String]) {
    let mut children = ["has_power", "has_none"].map(|name| {
        let mut command = Command::new(this_program());
        command.args(role(name, &[])).stdin(Stdio::null()).channel().spawn().unwrap()
    });
    let channels = children.each_mut().map(|child| child.take_channel().unwrap());
    introduce_stronger(&channels[0], &channels[1], "link").unwrap();
    for channel in &channels {
        assert_eq!(bytes(channel), b"taken");
    }
}

fn wait_for_the_parents_exit(parent: &Channel) {
    let process = parent.peer().unwrap();
    until("the parent has exited", || process.has_exited().unwrap());
}

fn access_to(channel: &Channel) -> Vec<u32> {
    let this = std::process::id();
    let values = table::values_of(&channel.peer().unwrap(), this);
    values.into_iter().filter_map(|value| table::entry(this, value)).map(|entry| entry.access).collect()
}

fn has_power(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let link = link(&parent);
    parent.send("taken").unwrap();
    wait_for_the_parents_exit(&parent);
    drop(parent);
    assert_eq!(access_to(&link), [WAIT | Access::PROCESS_DUP_HANDLE.bits()]);
    let before = table::count();
    for _ in 0..3 {
        let event = Event::manual_reset().unwrap();
        link.send(Message::new("set it").with("event", &event)).unwrap();
        let answer = link.recv_timeout(SOON).unwrap();
        assert!(event.try_wait().unwrap());
        let semaphore: Semaphore = answer.take("semaphore").unwrap();
        assert!(semaphore.try_wait().unwrap() && !semaphore.try_wait().unwrap());
    }
    until("the handles are closed", || table::count() <= before);
    println!("objects have travelled");
}

fn has_none(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let link = link(&parent);
    parent.send("taken").unwrap();
    wait_for_the_parents_exit(&parent);
    drop(parent);
    assert_eq!(access_to(&link), [WAIT]);
    for _ in 0..3 {
        let message = link.recv_timeout(SOON).unwrap();
        message.take::<Event>("event").unwrap().set().unwrap();
        let semaphore = Semaphore::new(1).unwrap();
        link.send(Message::new("").with("semaphore", &semaphore)).unwrap();
    }
    let end = link.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. } | Error::ProcessExited { .. })), "{end:?}");
    println!("and back");
}

fn objects_travel_between_processes_that_were_introduced_with_power() {
    let mut command = Command::new(this_program());
    command.args(role("broker", &[])).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut broker = command.spawn().unwrap();
    let mut stdout = broker.stdout.take().unwrap();
    assert!(broker.wait_timeout(SOON).unwrap().success());
    // The children have the stream too, until they exit.
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    assert!(text.contains("objects have travelled") && text.contains("and back"), "{text}");
}

fn sends_an_object_and_bytes(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let link = link(&parent);
    assert_refuses_objects(&link);
    assert_eq!(access_to(&link), [WAIT]);
    link.send("bytes").unwrap();
    assert_eq!(bytes(&link), b"bytes");
    parent.send("done").unwrap();
    let _ = parent.recv_timeout(SOON);
}

fn answers_bytes(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let link = link(&parent);
    assert_refuses_objects(&link);
    assert_eq!(access_to(&link), [WAIT]);
    link.send(bytes(&link)).unwrap();
    let _ = parent.recv_timeout(SOON);
}

fn processes_that_were_introduced_without_power_exchange_bytes() {
    let (one, to_one) = linked_in_role("sends_an_object_and_bytes", &[]);
    let (other, to_other) = linked_in_role("answers_bytes", &[]);
    handover::introduce(&to_one, &to_other, "link").unwrap();
    assert_eq!(bytes(&to_one), b"done");
    assert_exits_successfully(one, to_one);
    assert_exits_successfully(other, to_other);
}

fn introduces_upwards(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let (child, channel) = linked_in_role("keeps", &[]);
    for (stronger, weaker) in [(&parent, &channel), (&channel, &parent)] {
        let refused = introduce_stronger(stronger, weaker, "link").unwrap_err();
        assert!(matches!(&refused, Error::InvalidInput { .. }), "{refused:?}");
        assert!(refused.to_string().contains("no power over both"), "{refused}");
    }
    assert_exits_successfully(child, channel);
}

/// Waits until the parent closes.
fn keeps(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let mut kept = Vec::new();
    while let Ok(message) = parent.recv_timeout(SOON) {
        kept.push(message.take_channel("link").unwrap());
        parent.send("taken").unwrap();
    }
}

fn process_without_power_cannot_give_it() {
    let (child, channel) = linked_in_role("introduces_upwards", &[]);
    until("the child has exited", || child.process().has_exited().unwrap());
    assert_exits_successfully(child, channel);
}

fn endpoint_with_objects_in_transit_stays() {
    let (child, channel) = linked_in_role("keeps", &[]);
    let event = Event::manual_reset().unwrap();
    let (ours, theirs) = Channel::pair().unwrap();
    ours.send(Message::new("one").with("event", &event)).unwrap();
    let mut error = channel.send(Message::new("").with_channel("link", theirs)).unwrap_err();
    assert!(error.to_string().contains("receive them first"), "{error}");
    let theirs = error.take_channel("link").unwrap();
    drop(theirs.recv_timeout(SOON).unwrap());
    // The other direction.
    theirs.send(Message::new("two").with("event", &event)).unwrap();
    let mut error = channel.send(Message::new("").with_channel("link", theirs)).unwrap_err();
    assert!(error.to_string().contains("receive them first"), "{error}");
    let theirs = error.take_channel("link").unwrap();
    assert_eq!(ours.recv_timeout(SOON).unwrap().take::<Event>("event").unwrap().try_wait().ok(), Some(false));
    channel.send(Message::new("").with_channel("link", theirs)).unwrap();
    assert_eq!(bytes(&channel), b"taken");
    // Now the objects go to the child.
    assert!(table::values_of(&event, child.id()).is_empty());
    ours.send(Message::new("three").with("event", &event)).unwrap();
    assert_eq!(table::values_of(&event, child.id()).len(), 1);
    // An object is on its way to the child, so the endpoint that stayed can't leave either.
    let error = channel.send(Message::new("").with_channel("link", ours)).unwrap_err();
    assert!(error.to_string().contains("receive them first"), "{error}");
    drop(error);
    assert_exits_successfully(child, channel);
}

/// Sends an endpoint back.
fn returns(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let link = link(&parent);
    parent.send(Message::new("").with_channel("link", link)).unwrap();
    parent.flush(SOON).unwrap();
    let _ = parent.recv_timeout(SOON);
}

fn endpoint_that_has_moved_twice_carries_bytes() {
    let (child, channel) = linked_in_role("returns", &[]);
    let (ours, theirs) = Channel::pair().unwrap();
    ours.send("before").unwrap();
    channel.send(Message::new("").with_channel("link", theirs)).unwrap();
    let theirs = link(&channel);
    for (one, other) in [(&ours, &theirs), (&theirs, &ours)] {
        assert_refuses_objects(one);
        one.send("bytes").unwrap();
        if std::ptr::eq(other, &theirs) {
            assert_eq!(bytes(other), b"before");
        }
        assert_eq!(bytes(other), b"bytes");
    }
    assert!(ours.peer().is_none());
    assert_eq!(theirs.peer().unwrap().id(), std::process::id());
    drop(ours);
    assert!(matches!(theirs.recv_timeout(SOON), Err(Error::Disconnected { .. })));
    assert_exits_successfully(child, channel);
}

fn exit_of_a_process_that_passed_its_endpoint_on_does_not_end_the_channel() {
    let (child, channel) = linked_in_role("returns", &[]);
    let (ours, theirs) = Channel::pair().unwrap();
    let set = handover::WaitSet::new().unwrap();
    set.add(1, &ours).unwrap();
    channel.send(Message::new("").with_channel("link", theirs)).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| bytes(&ours));
        let theirs = link(&channel);
        assert_exits_successfully(child, channel);
        std::thread::sleep(SHORT);
        theirs.send("still here").unwrap();
        assert_eq!(waiting.join().unwrap(), b"still here");
        assert_eq!(set.wait(SHORT).unwrap().len(), 0);
        theirs.send("and here").unwrap();
        assert_eq!(set.wait(SOON).unwrap().len(), 1);
        assert_eq!(bytes(&ours), b"and here");
        drop(theirs);
        assert_eq!(set.wait(SOON).unwrap().len(), 1);
    });
    assert!(matches!(ours.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn traveller_carries_no_more_access_than_it_needs() {
    let (child, channel) = linked_in_role("keeps", &[]);
    let of_child = || table::of(child.id());
    let before = of_child();
    let (_ours, theirs) = Channel::pair().unwrap();
    channel.send(Message::new("").with_channel("link", theirs)).unwrap();
    assert_eq!(bytes(&channel), b"taken");
    let new: Vec<_> = of_child().into_iter().filter(|entry| !before.contains(entry)).collect();
    // The process handle, and the event that only the stronger process sets.
    assert!(new.iter().any(|entry| entry.access == WAIT), "{new:?}");
    assert!(new.iter().any(|entry| entry.access == Access::SYNCHRONIZE.bits()), "{new:?}");
    for excess in [WAIT | Access::PROCESS_DUP_HANDLE.bits(), Access::EVENT_USE.bits()] {
        assert!(!new.iter().any(|entry| entry.access == excess), "{new:?}");
    }
    assert_exits_successfully(child, channel);
}

fn sends_at_once(_: &[String]) {
    let link = handover::inherited().unwrap().take_channel("link").unwrap();
    let event = Event::manual_reset().unwrap();
    event.set().unwrap();
    link.send(Message::new("").with("event", &event)).unwrap();
    let back: Event = link.recv_timeout(SOON).unwrap().take("event").unwrap();
    until("the parent has received both", || !back.try_wait().unwrap());
}

fn objects_that_a_child_sends_at_once_arrive() {
    for _ in 0..5 {
        let (ours, theirs) = Channel::pair().unwrap();
        let event = Event::manual_reset().unwrap();
        event.set().unwrap();
        std::thread::scope(|scope| {
            let received = scope.spawn(|| ours.recv_timeout(SOON).unwrap().take::<Event>("event").unwrap());
            let mut command = Command::new(this_program());
            command.args(role("sends_at_once", &[])).stdin(Stdio::null()).kill_on_drop(true);
            let mut child = command.inherit_channel("link", theirs).spawn().unwrap();
            // An object of this process goes to the child, at whichever moment.
            ours.send(Message::new("").with("event", &event)).unwrap();
            assert!(received.join().unwrap().try_wait().unwrap());
            event.reset().unwrap();
            assert!(child.wait_timeout(SOON).unwrap().success());
        });
    }
}

fn gives_and_waits(_: &[String]) {
    let parent = Channel::parent().unwrap();
    let (ours, theirs) = Channel::pair().unwrap();
    parent.send(Message::new("").with_channel("link", theirs)).unwrap();
    let started = Instant::now();
    let end = ours.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. })), "{end:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    parent.send("it has ended").unwrap();
}

fn weaker_process_sees_the_end_of_the_endpoint_that_it_has_sent() {
    let (child, channel) = linked_in_role("gives_and_waits", &[]);
    // The child waits by then.
    std::thread::sleep(SHORT);
    drop(channel.recv_timeout(SOON).unwrap());
    assert_eq!(bytes(&channel), b"it has ended");
    assert_exits_successfully(child, channel);
}

/// Sends the parent four handles as an endpoint. They are no endpoint, or claim a role that the parent must not believe.
fn forges(arguments: &[String]) {
    let parent = weaker::Endpoint::inherited();
    let this = Process::open_with(std::process::id(), Access::PROCESS_DUP_HANDLE).unwrap();
    let value = |object: BorrowedObject<'_>| this.duplicate_into(object).unwrap().into_value().get();
    let event = Event::manual_reset().unwrap();
    let event_with = |access| value(event.with_access(access));
    // This process's end of the pipe is overlapped.
    let mut command = Command::new(this_program());
    command.args(role("keeps", &[])).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.channel().spawn().unwrap();
    let stdout = handover::OwnedHandle::from(child.stdout.take().unwrap());
    let pipe = || value((&stdout).into());
    let section = SharedMemory::new(4096).unwrap();
    let page = raw::words(&section, 32);
    page[0].store(u64::from_le_bytes(*b"handover"), SeqCst);
    page[1].store(1, SeqCst);
    let (other_section, (synchronous, _write_end)) = (SharedMemory::new(4096).unwrap(), raw::pipe());
    let parent_id = u32::try_from(page_of_parent(&parent)[2].load(SeqCst)).unwrap();
    let power = Process::open_with(parent_id, Access::PROCESS_TERMINATE).unwrap();
    let power = || value(std::os::windows::io::AsHandle::as_handle(&power).into());
    let (weaker, stronger, equal) = (Access::SYNCHRONIZE, Access::EVENT_MODIFY_STATE, Access::READ_CONTROL);
    let values = match arguments[0].as_str() {
        "events" => [event_with(weaker), event_with(weaker), event_with(weaker), event_with(weaker)],
        "synchronous pipe" => {
            [value((&synchronous).into()), value((&section).into()), event_with(equal), power()]
        }
        "other section" => [pipe(), value((&other_section).into()), event_with(equal), power()],
        "parent is weaker" => [pipe(), value((&section).into()), event_with(weaker), power()],
        "unknown role" => [pipe(), value((&section).into()), event_with(weaker | stronger), power()],
        "power over the parent" => [pipe(), value((&section).into()), event_with(equal), power()],
        other => panic!("{other}"),
    };
    let mut entry: Vec<u8> = values.into_iter().flat_map(weaker::place).collect();
    entry.extend(b"\x04link");
    assert!(parent.write(&with(frame_of(0, 1, &entry, b""), 5, &[1]), &[], SOON));
    // Until the parent closes.
    while parent.read(SOON).is_some() {}
}

fn page_of_parent(endpoint: &weaker::Endpoint) -> &'static [std::sync::atomic::AtomicU64] {
    raw::words(&endpoint.handles[1], 16)
}

fn forged_endpoints_are_refused() {
    for (which, expected) in [
        ("events", Some("expected a pipe, a section and an event")),
        ("synchronous pipe", Some("expected an overlapped pipe")),
        ("other section", Some("other contents")),
        ("parent is weaker", Some("can't give this process")),
        ("unknown role", Some("can't give this process")),
        ("power over the parent", None),
    ] {
        let (mut child, channel) = linked_in_role("forges", &[which]);
        let message = channel.recv_timeout(SOON).unwrap();
        let before = table::count();
        match (message.take_channel("link"), expected) {
            (Err(error), Some(expected)) => {
                assert!(matches!(&error, Error::InvalidInput { .. }), "{which}: {error:?}");
                assert!(error.to_string().contains(expected), "{which}: {error}");
                assert_eq!(table::count(), before, "{which}");
                assert!(message.take_channel("link").is_err(), "it is still in the message");
            }
            // The handle to the parent, by which it could be ended, doesn't become the peer.
            (Ok(link), None) => assert!(link.peer().is_none()),
            other => panic!("{which}: {other:?}"),
        }
        drop((message, channel));
        child.wait_timeout(SOON).unwrap();
    }
}

/// Changes the ledger of the endpoint that it inherits, all the time.
fn scribbles(_: &[String]) {
    let manifest = std::env::var("HANDOVER_INHERITED").unwrap();
    let value = |name: &str| {
        let value = manifest.split(' ').find_map(|word| word.strip_suffix(name)?.strip_suffix('='));
        table::borrowed(value.unwrap().parse().unwrap())
    };
    let words = raw::words(&value("handover/page/link"), 32);
    let pipe = value("handover/pipe/link");
    let event = Event::manual_reset().unwrap();
    let own = table::value(&event);
    let mut random = 0x1234_5678_9abc_def0_u64;
    for number in 0.. {
        for _ in 0..50 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let word = usize::try_from(random % 32).unwrap();
            words[word].store(random.rotate_left(29), SeqCst);
        }
        let mut entry = weaker::place(own);
        entry.extend(b"\x01a");
        if !weaker::write(pipe, &frame_of(number, 1, &entry, b""), Duration::from_secs(1)) {
            break;
        }
        while weaker::read(pipe, Duration::from_millis(1)).is_some() {}
    }
}

fn constantly_changing_ledger_of_an_endpoint_breaks_nothing() {
    let (bystander, to_bystander) = linked_in_role("keeps", &[]);
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    let (ours, theirs) = Channel::pair().unwrap();
    let mut command = Command::new(this_program());
    command.args(role("scribbles", &[])).stdin(Stdio::null()).kill_on_drop(true);
    let mut child = command.inherit_channel("link", theirs).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let object = Message::new("").with("event", &event);
        let _ = ours.send_timeout(object, Duration::from_millis(50));
        if ours
            .recv_timeout(Duration::from_millis(50))
            .is_err_and(|error| !matches!(error, Error::TimedOut { .. }))
        {
            break;
        }
        let _ = ours.peer();
    }
    // Whether it may leave depends on the ledger.
    drop(to_bystander.send_timeout(Message::new("").with_channel("link", ours), SHORT));
    child.kill().unwrap();
    child.wait_timeout(SOON).unwrap();
    drop((child, command));
    until("the handles are closed", || table::count() <= before);
    assert_exits_successfully(bystander, to_bystander);
}
