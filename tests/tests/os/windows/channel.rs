//! What channels over pipes have beyond others: the stronger end fetches what the weaker one sends, and keeps books of it
//! in a page that both share.

use std::io::{BufRead, BufReader};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use handover::inspect::HandleTable;
use handover::{BorrowedObject, Channel, Child, Command, Error, Event, Message, OwnedHandle, Process, Stdio};
use handover_tests::frame::frame;
use handover_tests::{
    Suite, breaks_a_rule, ends_for_good, raw, role, table, tests, this_program, until, weaker,
};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "channel",
    tests: tests![
        what_the_child_sends_last_is_fetched_before_it_ends,
        a_child_that_closes_reads_what_its_parent_waits_for,
        what_nobody_fetches_is_closed_in_the_end,
        what_the_parent_has_closed_unread_is_closed,
        a_copy_of_a_killed_childs_end_keeps_nobody_waiting,
        flushing_waits_until_it_is_fetched,
        a_wait_for_fetching_ends_with_the_parent,
        a_child_gets_no_more_than_it_needs,
        a_socket_among_the_objects_is_refused,
        pseudo_handles_never_reach_the_system,
        forged_values_are_refused_with_all_that_came_beside,
        a_ledger_that_lies_harms_the_liar_alone,
        a_ledger_that_never_stands_still_breaks_nothing,
    ],
    roles: tests![
        sends_and_returns,
        sends_for_nothing,
        sends_what_is_not_read,
        sleeps,
        flushes,
        a_parent,
        waits_for_fetching,
        says_what_it_needs,
        hostile
    ],
};

fn in_role(name: &str, arguments: &[&str]) -> (Child, Channel) {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null());
    let mut child = command.kill_on_drop(true).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    (child, channel)
}

fn parent() -> Channel {
    Channel::parent().expect("the parent has given a channel")
}

fn ends_well(mut child: Child, channel: Channel) {
    drop(channel);
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn sends_and_returns(arguments: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    event.set().unwrap();
    channel.send(Message::new(b"last").with("event", &event)).unwrap();
    if arguments == ["exits"] {
        std::process::exit(0);
    }
}

fn sends_for_nothing(_: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    // Copies of the same, so that each handle that stays is found.
    for _ in 0..3 {
        channel.send(Message::new(b"for nobody").with("event", &event)).unwrap();
    }
    assert_eq!(table::values_of(&event, std::process::id()).len(), 4);
    drop(channel);
    assert_eq!(table::values_of(&event, std::process::id()).len(), 1);
}

fn what_nobody_fetches_is_closed_in_the_end() {
    let (mut child, _channel) = in_role("sends_for_nothing", &[]);
    // It waits ten seconds for this process to fetch them, and no longer.
    assert!(child.wait_timeout(SOON * 4).unwrap().success());
}

fn sends_what_is_not_read(_: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    for _ in 0..3 {
        channel.send(Message::new(b"unread").with("event", &event)).unwrap();
    }
    println!("sent");
    assert!(channel.flush(SOON).is_err());
    assert_eq!(table::values_of(&event, std::process::id()).len(), 1);
}

fn what_the_parent_has_closed_unread_is_closed() {
    let mut command = Command::new(this_program());
    command.args(role("sends_what_is_not_read", &[])).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.channel().spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), "sent");
    drop(child.take_channel());
    assert!(child.wait_timeout(SOON * 2).unwrap().success());
}

fn sleeps(_: &[String]) {
    std::thread::sleep(SOON * 6);
}

fn a_copy_of_a_killed_childs_end_keeps_nobody_waiting() {
    for sends in [false, true] {
        let before = table::count();
        let (mut child, channel) = in_role("sleeps", &[]);
        // All that it has, and so its end too: the pipe doesn't break with the child.
        let process = Process::open_for_query(child.id()).unwrap();
        let looked = HandleTable::of(&process).unwrap();
        let copies: Vec<OwnedHandle> =
            looked.entries().iter().filter_map(|entry| process.duplicate_from(entry.value()).ok()).collect();
        assert!(copies.len() > 3, "{}", copies.len());
        let started = Instant::now();
        let gone = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                child.kill().unwrap();
            });
            if sends {
                let large = Message::new(vec![7; 8 << 20]);
                channel.send_timeout(large, SOON * 3).unwrap_err()
            } else {
                channel.recv_timeout(SOON * 3).map(drop).unwrap_err()
            }
        });
        assert!(matches!(gone, Error::ProcessExited { .. }), "{sends}: {gone:?}");
        assert!(started.elapsed() < SOON * 2);
        child.wait_timeout(SOON).unwrap();
        drop((child, channel, process, copies));
        assert_eq!(table::count(), before);
    }
}

fn what_the_child_sends_last_is_fetched_before_it_ends() {
    let (mut child, channel) = in_role("sends_and_returns", &[]);
    // The child has nothing more to do, and stays until its event is fetched.
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(child.try_wait().unwrap(), None);
    let mut message = channel.recv_timeout(SOON).unwrap();
    assert!(message.take::<Event>("event").unwrap().try_wait().unwrap());
    assert!(matches!(
        channel.recv_timeout(SOON),
        Err(Error::Disconnected { .. } | Error::ProcessExited { .. })
    ));
    assert!(child.wait_timeout(SOON).unwrap().success());

    // A child that can't wait takes its objects with it: an error, and nothing left.
    let (mut child, channel) = in_role("sends_and_returns", &["exits"]);
    child.wait_timeout(SOON).unwrap();
    let before = table::count();
    match channel.recv_timeout(SOON) {
        Err(Error::ProcessExited { pid: process, .. }) => assert_eq!(process, child.id()),
        other => panic!("{other:?}"),
    }
    assert_eq!(table::count(), before);
}

fn a_child_that_closes_reads_what_its_parent_waits_for() {
    // The child has sent its event, and goes. The parent sends what the child no longer wants, and only then receives.
    let (mut child, channel) = in_role("sends_and_returns", &[]);
    std::thread::sleep(Duration::from_millis(500));
    let started = Instant::now();
    channel.send_timeout(vec![0; 1 << 20], SOON).unwrap();
    let mut message = channel.recv_timeout(SOON).unwrap();
    assert!(message.take::<Event>("event").unwrap().try_wait().unwrap());
    assert!(child.wait_timeout(SOON).unwrap().success());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

fn flushes(_: &[String]) {
    let channel = parent();
    channel.flush(Duration::ZERO).expect("nothing is to be fetched");
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    channel.send(Message::new(b"").with("event", &event)).unwrap();
    assert_eq!(table::count(), before + 1, "it is kept open until it is fetched");
    let late = channel.flush(Duration::from_millis(200));
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    channel.send(b"now").unwrap();
    channel.flush(SOON).unwrap();
    assert_eq!(table::count(), before);
    channel.send(b"flushed").unwrap();
    let end = channel.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. })), "{end:?}");
}

fn flushing_waits_until_it_is_fetched() {
    let (child, channel) = in_role("flushes", &[]);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(channel.recv_timeout(SOON).unwrap().names().len(), 1);
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"now");
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"flushed");
    channel.flush(Duration::ZERO).expect("what a parent sends is there at once");
    ends_well(child, channel);
}

/// A process between the test and the one that it is about.
fn a_parent(_: &[String]) {
    let mut command = Command::new(this_program());
    let child = command.args(role("waits_for_fetching", &[])).channel().spawn().unwrap();
    std::thread::sleep(Duration::from_secs(60));
    drop(child);
}

fn waits_for_fetching(_: &[String]) {
    let channel = parent();
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    channel.send(Message::new(b"").with("event", &event)).unwrap();
    assert_eq!(table::count(), before + 1);
    let started = Instant::now();
    println!("waits");
    let end = channel.flush(Duration::from_secs(60));
    assert!(matches!(end, Err(Error::ProcessExited { .. })), "{end:?}");
    drop(channel);
    assert!(table::count() < before && started.elapsed() < Duration::from_secs(4));
    println!("gone");
}

fn a_wait_for_fetching_ends_with_the_parent() {
    let mut command = Command::new(this_program());
    command.args(role("a_parent", &[])).stdout(Stdio::piped()).kill_on_drop(true);
    let mut parent = command.spawn().unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "waits");
    std::thread::sleep(Duration::from_millis(200));
    parent.kill().unwrap();
    parent.wait_timeout(SOON).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "gone");
}

fn says_what_it_needs(_: &[String]) {
    let [pipe, ledger, fetched] = weaker::End::inherited().handles;
    let access = |handle| table::entry(std::process::id(), table::value(handle)).unwrap().access;
    assert_eq!((access(&ledger), access(&fetched)), (0x6, 0x0010_0000));
    // The pipe is for this user alone.
    let list = raw::who_is_let_in(&pipe);
    let user = handover::User::current().unwrap();
    assert!(list.matches('(').count() == 1 && list.ends_with(&format!(";;;{user})")), "{list}");
}

fn a_child_gets_no_more_than_it_needs() {
    let (child, channel) = in_role("says_what_it_needs", &[]);
    ends_well(child, channel);
}

fn a_socket_among_the_objects_is_refused() {
    let event = Event::manual_reset().unwrap();
    let socket = raw::handle_of_socket(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let (child, channel) = in_role("sends_and_returns", &[]);
    let before = table::count();
    let message = Message::new(b"").with("one", &event).with("two", BorrowedObject::from(&socket));
    match channel.send(message) {
        Err(error @ Error::SocketUnsupported { .. }) => assert!(error.to_string().contains("two"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(table::values_of(&event, child.id()), [], "nothing is left in the child");
    assert_eq!(table::count(), before);
}

fn hostile(arguments: &[String]) {
    let end = weaker::End::inherited();
    let ledger = end.handles[1];
    let event = Event::manual_reset().unwrap();
    let own = table::value(&event);
    let say = |bytes: &[u8]| end.write(bytes, &[], SOON);
    let good = frame(0, &[], b"good");
    match arguments[0].as_str() {
        "a value twice" => say(&frame(0, &[(own, b"a"), (own, b"b")], b"")),
        "value" => say(&frame(0, &[(own, b"a"), (arguments[1].parse().unwrap(), b"b")], b"")),
        "value and looks" => {
            assert!(say(&frame(0, &[(own, b"a"), (arguments[1].parse().unwrap(), b"b")], b"")));
            // It is told that the fetching is over, though it failed: an honest end closes its own then.
            let fetched = &raw::words(&ledger, 16)[10];
            until("it is told", || fetched.load(SeqCst) == 1);
            Event::open_named(&arguments[2]).unwrap().set().unwrap();
            true
        }
        "says that it took all" => {
            raw::words(&ledger, 16)[6].store(u64::MAX << 3, SeqCst);
            say(&good)
        }
        "says that it took none" => {
            raw::words(&ledger, 16)[6].store(4, SeqCst);
            say(&good)
        }
        "takes its objects back" => {
            raw::words(&ledger, 16)[8].store(1, SeqCst);
            say(&frame(0, &[(own, b"a")], b""))
        }
        "scribbles" => {
            let words = raw::words(&ledger, 16);
            let mut random = 0x1234_5678_9abc_def0_u64;
            for number in 0.. {
                for _ in 0..50 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let word = usize::try_from(random % 16).unwrap();
                    words[word].store(random.rotate_left(29), SeqCst);
                }
                if !end.write(&frame(number, &[(own, b"a")], b""), &[], Duration::from_secs(1)) {
                    break;
                }
                // What comes is thrown away: the hostile end leaks what it is given, which is its own loss.
                let _ = end.read(Duration::from_millis(1));
            }
            true
        }
        other => panic!("{other}"),
    };
    std::thread::sleep(Duration::from_secs(20));
}

/// What the hostile child's message leads to; afterwards this process has what it had before.
fn met(arguments: &[&str], meet: impl FnOnce(&Child, &Channel)) {
    let before = table::count();
    let (child, channel) = in_role("hostile", arguments);
    meet(&child, &channel);
    drop((child, channel));
    assert_eq!(table::count(), before, "{arguments:?}");
}

fn refused(arguments: &[&str], part: &str) {
    met(arguments, |child, channel| ends_for_good(child, channel, part));
}

fn pseudo_handles_never_reach_the_system() {
    for value in (u32::MAX - 11)..=u32::MAX {
        refused(&["value", &value.to_string()], "can't be a handle");
    }
    for value in [0, 1, 2, 3, 5, 0x8000_0000_u32] {
        refused(&["value", &value.to_string()], "can't be a handle");
    }
}

fn forged_values_are_refused_with_all_that_came_beside() {
    refused(&["a value twice"], "twice");
    // A number that no handle of that process has. Whatever it has is its own to give.
    refused(&["value", "524272"], "is not open");
    refused(&["value", "2147483644"], "is not open");
    let name = format!("hostile.{}", std::process::id());
    let told = Event::create_named(&name, handover::ResetMode::Manual).unwrap();
    met(&["value and looks", "524272", &name], |child, channel| {
        breaks_a_rule(channel.recv_timeout(SOON), child, "is not open");
        told.wait_timeout(SOON).unwrap();
    });
}

fn a_ledger_that_lies_harms_the_liar_alone() {
    let event = Event::manual_reset().unwrap();
    met(&["says that it took all"], |child, channel| {
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"good");
        // It is believed: the copy is in its own table, and stays there.
        channel.send(Message::new(b"").with("event", &event)).unwrap();
        assert_eq!(table::values_of(&event, child.id()).len(), 1);
    });
    met(&["says that it took none"], |child, channel| {
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"good");
        let closed = channel.send(Message::new(b"").with("event", &event));
        assert!(matches!(closed, Err(Error::Disconnected { .. })), "{closed:?}");
        assert_eq!(table::values_of(&event, child.id()), []);
    });
    met(&["takes its objects back"], |_, channel| {
        let lost = channel.recv_timeout(SOON);
        assert!(matches!(lost, Err(Error::Disconnected { .. })), "{lost:?}");
    });
}

fn a_ledger_that_never_stands_still_breaks_nothing() {
    let event = Event::manual_reset().unwrap();
    for _ in 0..5 {
        met(&["scribbles"], |_, channel| {
            for _ in 0..200 {
                let sent = channel.send_timeout(Message::new(b"").with("event", &event), SOON);
                assert!(matches!(sent, Ok(()) | Err(Error::Disconnected { .. })), "{sent:?}");
                let came = channel.recv_timeout(SOON);
                assert!(matches!(came, Ok(_) | Err(Error::Disconnected { .. })), "{came:?}");
            }
        });
    }
}
