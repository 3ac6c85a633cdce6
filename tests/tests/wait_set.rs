//! Tests of sets of objects to wait for.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use handover::{
    Channel, Child, Command, Error, Event, Listener, OwnedHandle, Process, Semaphore, Stdio, Timer, WaitSet,
};
use handover_tests::{count_without_wine_pool, expect, role, table, tests, this_program, until};

const SOON: Duration = Duration::from_secs(10);
/// Longer than any test may take.
const LONG: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            each_kind_is_reported_by_its_key,
            wait_is_empty_at_the_timeout,
            consumed_objects_are_reported_once,
            other_objects_are_reported_until_they_are_reset,
            keys_may_repeat_and_are_removed_together,
            objects_leave_when_they_are_dropped_or_converted,
            signals_of_removed_members_are_kept,
            members_change_while_another_thread_waits,
            every_signal_is_taken_by_exactly_one_of_eight_threads,
            no_member_starves,
            sets_of_any_size_report_their_members,
            one_object_can_be_in_several_sets,
            one_channel_can_have_several_keys,
            messages_in_the_buffer_are_reported,
            exit_is_reported_of_each_channel_to_the_process,
            members_end_in_every_way,
            dropped_set_leaves_no_handles,
            one_thread_serves_many_channels,
            one_thread_serves_the_channels_of_a_listener,
        ],
        tests![sleeps, echoes, exits, has_many_channels, talks],
    )
}

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

fn sleeps(_: &[String]) {
    std::thread::sleep(LONG);
}

fn exits(_: &[String]) {}

fn echoes(_: &[String]) {
    let channel = Channel::parent().unwrap();
    while let Ok(message) = channel.recv_timeout(LONG) {
        if channel.send(message.bytes()).is_err() {
            break;
        }
    }
}

/// Returns the keys that one wait reports.
fn keys(set: &WaitSet, timeout: Duration) -> Vec<u64> {
    set.wait(timeout).unwrap().map(|ready| ready.key()).collect()
}

fn keys_now(set: &WaitSet) -> Vec<u64> {
    set.try_wait().unwrap().map(|ready| ready.key()).collect()
}

/// Returns the keys that waits report until there are `count` different ones, or for a limited time.
fn different_keys(set: &WaitSet, count: usize) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    let deadline = Instant::now() + SOON;
    while seen.len() < count && Instant::now() < deadline {
        seen.extend(keys(set, SOON));
    }
    seen
}

fn each_kind_is_reported_by_its_key() {
    let set = WaitSet::new().unwrap();
    let event = Event::auto_reset().unwrap();
    let semaphore = Semaphore::new(0).unwrap();
    let timer = Timer::auto_reset().unwrap();
    let name = format!("wait-set.{}", std::process::id());
    let mut listener = Listener::bind(&name).unwrap();
    let (mut child, channel) = with_channel("echoes");
    set.add(1, &event).unwrap();
    set.add(2, &semaphore).unwrap();
    set.add(3, &timer).unwrap();
    set.add(4, &listener).unwrap();
    set.add(5, &channel).unwrap();
    set.add(6, &child).unwrap();
    assert_eq!(keys_now(&set), []);
    event.set().unwrap();
    assert_eq!(keys(&set, SOON), [1]);
    semaphore.release(1).unwrap();
    assert_eq!(keys(&set, SOON), [2]);
    timer.set_once(Duration::from_millis(1)).unwrap();
    assert_eq!(keys(&set, SOON), [3]);
    let client = std::thread::spawn(move || Channel::connect_timeout(&name, SOON));
    assert_eq!(keys(&set, SOON), [4]);
    let accepted = listener.try_accept().unwrap().expect("a client waits").accept();
    let _connected = (accepted.unwrap(), client.join().unwrap().unwrap());
    channel.send("hello").unwrap();
    assert_eq!(keys(&set, SOON), [5]);
    assert_eq!(channel.try_recv().unwrap().expect("it is ready").bytes(), b"hello");
    assert_eq!(keys_now(&set), []);
    child.kill().unwrap();
    until("the child's exit is reported", || keys(&set, SOON).contains(&6));
    child.wait_timeout(SOON).unwrap();
}

fn wait_is_empty_at_the_timeout() {
    let set = WaitSet::new().unwrap();
    assert_eq!(set.try_wait().unwrap().len(), 0);
    let event = Event::manual_reset().unwrap();
    set.add(1, &event).unwrap();
    let started = Instant::now();
    assert_eq!(keys(&set, Duration::from_millis(100)), []);
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert!(format!("{set:?}").contains("members: 1"), "{set:?}");
}

fn consumed_objects_are_reported_once() {
    let set = WaitSet::new().unwrap();
    let event = Event::auto_reset().unwrap();
    let semaphore = Semaphore::new(0).unwrap();
    set.add(1, &event).unwrap();
    set.add(2, &semaphore).unwrap();
    for _ in 0..100 {
        event.set().unwrap();
        assert_eq!(keys(&set, SOON), [1]);
        assert_eq!(keys_now(&set), []);
        assert!(!event.try_wait().unwrap());
    }
    semaphore.release(3).unwrap();
    for _ in 0..3 {
        assert_eq!(keys(&set, SOON), [2]);
    }
    assert_eq!(keys_now(&set), []);
    assert!(!semaphore.try_wait().unwrap());
}

fn other_objects_are_reported_until_they_are_reset() {
    let set = WaitSet::new().unwrap();
    let event = Event::manual_reset().unwrap();
    set.add(7, &event).unwrap();
    for _ in 0..3 {
        event.set().unwrap();
        for _ in 0..3 {
            assert_eq!(keys(&set, SOON), [7]);
        }
        event.reset().unwrap();
        assert_eq!(keys_now(&set), []);
    }
}

fn keys_may_repeat_and_are_removed_together() {
    let set = WaitSet::new().unwrap();
    let events: Vec<Event> = (0..4).map(|_| Event::manual_reset().unwrap()).collect();
    for (index, event) in events.iter().enumerate() {
        set.add(if index < 3 { 1 } else { u64::MAX }, event).unwrap();
        event.set().unwrap();
    }
    until("all are reported", || {
        let mut keys = keys(&set, SOON);
        keys.sort_unstable();
        keys == [1, 1, 1, u64::MAX]
    });
    set.remove(1);
    set.remove(2);
    assert_eq!(keys(&set, SOON), [u64::MAX]);
    // An object that was removed can be added again.
    set.add(5, &events[0]).unwrap();
    until("both are reported", || keys(&set, SOON).len() == 2);
    set.remove(u64::MAX);
    assert_eq!(keys(&set, SOON), [5]);
    set.remove(5);
    assert_eq!(keys_now(&set), []);
}

fn objects_leave_when_they_are_dropped_or_converted() {
    let set = WaitSet::new().unwrap();
    let handles = table::count();
    for is_converted in [false, true] {
        let event = Event::manual_reset().unwrap();
        set.add(1, &event).unwrap();
        event.set().unwrap();
        // Another handle to the object doesn't keep it in the set.
        let copy = event.try_clone().unwrap();
        assert_eq!(keys(&set, SOON), [1]);
        if is_converted {
            let handle = OwnedHandle::from(event);
            assert_eq!(keys_now(&set), []);
            drop(handle);
        } else {
            drop(event);
        }
        assert_eq!(keys_now(&set), []);
        set.add(2, &copy).unwrap();
        assert_eq!(keys(&set, SOON), [2]);
    }
    let (child, channel) = with_channel("sleeps");
    let clone = channel.clone();
    set.add(1, &channel).unwrap();
    channel.close();
    assert_eq!(keys(&set, SOON), [1]);
    drop(channel);
    assert_eq!(keys(&set, SOON), [1], "a clone is the same endpoint");
    drop(clone);
    assert_eq!(keys_now(&set), []);
    let process = child.process().clone();
    set.add(3, &process).unwrap();
    drop(child);
    until("the exit is reported", || keys(&set, SOON) == [3]);
    drop(process);
    assert_eq!(keys_now(&set), []);
    until("no handle is left", || table::count() == handles);
}

/// On Windows a thread of the pool takes a signal before a wait reports it.
fn signals_of_removed_members_are_kept() {
    for way in ["remove", "drop the objects", "drop the set"] {
        let set = WaitSet::new().unwrap();
        let event = Event::auto_reset().unwrap();
        let semaphore = Semaphore::new(0).unwrap();
        let (member, other) = (event.try_clone().unwrap(), semaphore.try_clone().unwrap());
        set.add(1, &member).unwrap();
        set.add(1, &other).unwrap();
        event.set().unwrap();
        semaphore.release(1).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        match way {
            "remove" => set.remove(1),
            "drop the objects" => drop((member, other)),
            _ => drop(set),
        }
        event.wait_timeout(SOON).unwrap();
        semaphore.wait_timeout(SOON).unwrap();
        assert!(!event.try_wait().unwrap() && !semaphore.try_wait().unwrap());
    }
}

fn members_change_while_another_thread_waits() {
    let set = WaitSet::new().unwrap();
    std::thread::scope(|scope| {
        let (set, waiting) = (&set, Event::manual_reset().unwrap());
        set.add(1, &waiting).unwrap();
        let waiter = scope.spawn(move || keys(set, LONG));
        std::thread::sleep(Duration::from_millis(50));
        let later = Event::manual_reset().unwrap();
        set.add(2, &later).unwrap();
        set.remove(1);
        waiting.set().unwrap();
        later.set().unwrap();
        assert_eq!(waiter.join().unwrap(), [2]);
    });
    // Members that come and go, and signals, while two threads wait.
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    for ready in set.wait(Duration::from_millis(20)).unwrap() {
                        assert!((10..40).contains(&ready.key()), "{ready:?}");
                    }
                }
            });
        }
        for round in 0..200 {
            let events: Vec<Event> = (0..3).map(|_| Event::auto_reset().unwrap()).collect();
            for (key, event) in (10..).zip(&events) {
                set.add(key * (1 + round % 3), event).unwrap();
                event.set().unwrap();
            }
            if round % 2 == 0 {
                set.remove(10 * (1 + round % 3));
            }
        }
        is_over.store(true, SeqCst);
    });
    assert_eq!(keys_now(&set), [2; 0]);
}

fn every_signal_is_taken_by_exactly_one_of_eight_threads() {
    const COUNT: i32 = 1000;
    let set = WaitSet::new().unwrap();
    let semaphore = Semaphore::new(0).unwrap();
    let over = Event::manual_reset().unwrap();
    set.add(1, &semaphore).unwrap();
    set.add(2, &over).unwrap();
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let mut is_over = false;
                    for ready in set.wait(SOON).unwrap() {
                        match ready.key() {
                            1 => drop(taken.fetch_add(1, SeqCst)),
                            _ => is_over = true,
                        }
                    }
                    if is_over {
                        break;
                    }
                }
            });
        }
        for _ in 0..COUNT / 10 {
            semaphore.release(10).unwrap();
            std::thread::yield_now();
        }
        let count = usize::try_from(COUNT).unwrap();
        until("all signals are taken", || taken.load(SeqCst) >= count);
        over.set().unwrap();
    });
    assert_eq!(taken.load(SeqCst), usize::try_from(COUNT).unwrap());
    assert!(!semaphore.try_wait().unwrap());
}

fn no_member_starves() {
    const COUNT: u64 = 200;
    let set = WaitSet::new().unwrap();
    // All are always ready, which are more than one call reports.
    let events: Vec<Event> = (0..COUNT).map(|_| Event::manual_reset().unwrap()).collect();
    for (key, event) in (0..).zip(&events) {
        set.add(key, event).unwrap();
        event.set().unwrap();
    }
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        seen.extend(keys(&set, SOON));
    }
    assert_eq!(seen.len(), usize::try_from(COUNT).unwrap());
}

fn sets_of_any_size_report_their_members() {
    for count in [1, 64, 65, 1000, expect::events_of_largest_set() as u64] {
        let before = table::count();
        let set = WaitSet::new().unwrap();
        let events: Vec<Event> = (0..count).map(|_| Event::auto_reset().unwrap()).collect();
        for (key, event) in (0..).zip(&events) {
            set.add(key, event).unwrap();
        }
        assert_eq!(keys_now(&set), []);
        for place in [0, count / 2, count - 1] {
            events[usize::try_from(place).unwrap()].set().unwrap();
            assert_eq!(keys(&set, SOON), [place], "{count} members");
        }
        // Half of them are signaled at once.
        let mut expected = BTreeSet::new();
        for (key, event) in (0..).zip(&events).step_by(2) {
            event.set().unwrap();
            expected.insert(key);
        }
        let mut seen = BTreeSet::new();
        while seen.len() < expected.len() {
            let keys = keys(&set, SOON);
            assert!(!keys.is_empty(), "{count} members");
            assert!(keys.into_iter().all(|key| seen.insert(key)), "a signal was reported twice");
        }
        assert_eq!(seen, expected);
        assert_eq!(keys_now(&set), []);
        drop(events);
        assert_eq!(keys_now(&set), []);
        drop(set);
        until("no handle is left", || table::count() == before);
    }
}

fn one_object_can_be_in_several_sets() {
    let (one, other) = (WaitSet::new().unwrap(), WaitSet::new().unwrap());
    let event = Event::manual_reset().unwrap();
    for _ in 0..50 {
        one.add(1, &event).unwrap();
        other.add(2, &event).unwrap();
        event.set().unwrap();
        assert_eq!((keys(&one, SOON), keys(&other, SOON)), (vec![1], vec![2]));
        one.remove(1);
        assert_eq!(keys_now(&one), []);
        assert_eq!(keys(&other, SOON), [2]);
        other.remove(2);
        event.reset().unwrap();
    }
    one.add(1, &event).unwrap();
    drop(one);
    drop(event);
}

fn one_channel_can_have_several_keys() {
    let (_child, channel) = with_channel("echoes");
    let run = || {
        let set = WaitSet::new().unwrap();
        for key in [1, 1, 2] {
            set.add(key, &channel).unwrap();
        }
        channel.send("there").unwrap();
        assert_eq!(different_keys(&set, 2), BTreeSet::from([1, 2]));
        set.remove(1);
        assert_eq!(keys(&set, SOON), [2]);
        assert_eq!(channel.try_recv().unwrap().expect("it is ready").bytes(), b"there");
        assert_eq!(keys_now(&set), []);
        channel.send("and back").unwrap();
        assert_eq!(keys(&set, SOON), [2]);
        assert_eq!(channel.try_recv().unwrap().expect("it is ready").bytes(), b"and back");
    };
    // The first use creates what the process and the channel keep.
    run();
    let before = table::count();
    run();
    until("no handle is left", || table::count() == before);
}

/// Several messages arrive with one read, so the set has to report those that the system shows no more.
fn messages_in_the_buffer_are_reported() {
    const COUNT: usize = 5;
    let started = Instant::now();
    let (_child, channel) = with_channel("echoes");
    let (one, other) = (WaitSet::new().unwrap(), WaitSet::new().unwrap());
    one.add(1, &channel).unwrap();
    for round in 0..20 {
        (0..COUNT).for_each(|_| channel.send("word").unwrap());
        std::thread::sleep(Duration::from_millis(20));
        for received in 0..COUNT {
            assert_eq!(keys(&one, SOON), [1], "{received} received in round {round}");
            // A set that the channel joins later learns it too, also in a wait that has begun.
            if received == 2 {
                std::thread::scope(|scope| {
                    let waiting = scope.spawn(|| keys(&other, SOON));
                    std::thread::sleep(Duration::from_millis(10));
                    other.add(2, &channel).unwrap();
                    assert_eq!(waiting.join().unwrap(), [2]);
                });
                other.remove(2);
            }
            assert_eq!(channel.try_recv().unwrap().expect("it is ready").bytes(), b"word");
        }
        assert_eq!((keys_now(&one), keys_now(&other)), (vec![], vec![]));
    }
    // A send that waits for room reads what arrives, while another thread waits for the set.
    let (_child, channel) = with_channel("talks");
    one.add(3, &channel).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut received = 0;
            while received < TALKS {
                assert_eq!(keys(&one, LONG), [3], "{received} received");
                while channel.try_recv().unwrap().is_some() {
                    received += 1;
                }
            }
        });
        for _ in 0..TALKS {
            channel.send(vec![1; 100_000]).unwrap();
        }
        waiting.join().unwrap();
    });
    assert!(started.elapsed() < LONG, "a wait wasn't told");
}

/// The number of messages that each side of a talk sends.
const TALKS: usize = 50;

fn talks(_: &[String]) {
    let channel = Channel::parent().unwrap();
    for _ in 0..TALKS {
        channel.send(vec![2; 100_000]).unwrap();
    }
    for _ in 0..TALKS {
        channel.recv_timeout(LONG).unwrap();
    }
    std::thread::sleep(LONG);
}

fn exit_is_reported_of_each_channel_to_the_process() {
    /// The half of them is more than one wait reports.
    const COUNT: usize = 180;
    let name = format!("exit.{}", std::process::id());
    let mut listener = Listener::bind(&name).unwrap();
    let mut client = clients_with_channels(&name, COUNT, "sleep");
    let before = table::count();
    let set = WaitSet::new().unwrap();
    let mut channels = Vec::new();
    for key in 0..COUNT {
        let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
        set.add(key as u64, &channel).unwrap();
        let number = channel.recv_timeout(SOON).unwrap();
        channel.send(number.bytes()).unwrap();
        channels.push(Some(channel));
    }
    for channel in channels.iter().flatten() {
        let number = channel.recv_timeout(SOON).unwrap();
        channel.send(number.bytes()).unwrap();
    }
    // Every second channel has left when the process exits.
    for channel in channels.iter_mut().step_by(2) {
        *channel = None;
    }
    assert_eq!(keys_now(&set), []);
    client.kill().unwrap();
    let expected: BTreeSet<u64> = (1..COUNT as u64).step_by(2).collect();
    assert_eq!(different_keys(&set, expected.len()), expected);
    for channel in channels.into_iter().flatten() {
        let error = channel.try_recv().unwrap_err();
        assert!(matches!(error, Error::ProcessExited { .. } | Error::Disconnected { .. }), "{error:?}");
    }
    assert_eq!(keys_now(&set), []);
    drop(set);
    until("no handle is left", || table::count() == before);
}

fn members_end_in_every_way() {
    let set = WaitSet::new().unwrap();
    let (exiting, of_exiting) = with_channel("exits");
    let (mut killed, of_killed) = with_channel("sleeps");
    let (closed, of_closed) = with_channel("sleeps");
    for (key, channel) in [(1, &of_exiting), (2, &of_killed), (3, &of_closed)] {
        set.add(key, channel).unwrap();
    }
    for (key, child) in [(11, &exiting), (12, &killed), (13, &closed)] {
        set.add(key, child).unwrap();
    }
    killed.kill().unwrap();
    of_closed.close();
    assert_eq!(different_keys(&set, 5), BTreeSet::from([1, 2, 3, 11, 12]));
    for channel in [&of_exiting, &of_killed, &of_closed] {
        let error = channel.try_recv().unwrap_err();
        assert!(matches!(error, Error::ProcessExited { .. } | Error::Disconnected { .. }), "{error:?}");
    }
}

fn dropped_set_leaves_no_handles() {
    let events: Vec<Event> = (0..70).map(|_| Event::auto_reset().unwrap()).collect();
    let process = Process::open(std::process::id()).unwrap();
    let run = || {
        let set = WaitSet::new().unwrap();
        events.iter().for_each(|event| set.add(1, event).unwrap());
        set.add(2, &process).unwrap();
        events[69].set().unwrap();
        assert_eq!(keys(&set, SOON), [1]);
        // A signal that no wait takes.
        events[3].set().unwrap();
        drop(set);
        events[3].reset().unwrap();
    };
    run();
    let before = count_without_wine_pool();
    for _ in 0..5 {
        run();
    }
    until("no handle is left", || table::count() == before);
}

fn one_thread_serves_many_channels() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 20;
    let set = WaitSet::new().unwrap();
    let workers: Vec<(Child, Channel)> = (0..CLIENTS).map(|_| with_channel("echoes")).collect();
    for (key, (_, channel)) in (0..).zip(&workers) {
        set.add(key, channel).unwrap();
        channel.send(vec![0; 100]).unwrap();
    }
    let mut rounds = [0; CLIENTS];
    let handles = table::count();
    while rounds.iter().any(|count| *count < ROUNDS) {
        for ready in set.wait(SOON).unwrap() {
            let place = usize::try_from(ready.key()).unwrap();
            let channel = &workers[place].1;
            while let Some(message) = channel.try_recv().unwrap() {
                assert_eq!(message.bytes(), vec![u8::try_from(rounds[place]).unwrap(); 100]);
                rounds[place] += 1;
                if rounds[place] < ROUNDS {
                    channel.send(vec![u8::try_from(rounds[place]).unwrap(); 100]).unwrap();
                }
            }
        }
    }
    assert_eq!(table::count(), handles);
}

/// Connects to the listener `arguments[0]`, `arguments[1]` times. Sends a number on each channel, and expects it back. Then
/// it exits, or if `arguments[2]` is `"sleep"`, it waits to be killed.
fn has_many_channels(arguments: &[String]) {
    let count: u32 = arguments[1].parse().unwrap();
    // This raises the limit of descriptors too.
    assert!(count as usize <= expect::channels_of_one_thread());
    let connect = |number: u32| {
        let channel = Channel::connect_timeout(&arguments[0], LONG).unwrap();
        channel.send(&number.to_le_bytes()).unwrap();
        channel
    };
    let channels: Vec<Channel> = (0..count).map(connect).collect();
    for round in 0..2 {
        for (number, channel) in (0_u32..).zip(&channels) {
            assert_eq!(channel.recv_timeout(LONG).unwrap().bytes(), number.to_le_bytes());
            if round == 0 {
                channel.send(&number.to_le_bytes()).unwrap();
            }
        }
    }
    if arguments[2] == "sleep" {
        std::thread::sleep(LONG);
    }
}

fn clients_with_channels(name: &str, channels: usize, end: &str) -> Child {
    let mut command = Command::new(this_program());
    command.args(role("has_many_channels", &[name, &channels.to_string(), end])).stdin(Stdio::null());
    command.kill_on_drop(true).spawn().unwrap()
}

fn one_thread_serves_the_channels_of_a_listener() {
    const LISTENER: u64 = u64::MAX;
    const CLIENTS: usize = 4;
    let before = table::count();
    let count = expect::channels_of_one_thread() / CLIENTS * CLIENTS;
    let name = format!("many.{}", std::process::id());
    let mut listener = Listener::bind(&name).unwrap();
    let mut clients: Vec<Child> =
        (0..CLIENTS).map(|_| clients_with_channels(&name, count / CLIENTS, "exit")).collect();
    let set = WaitSet::new().unwrap();
    set.add(LISTENER, &listener).unwrap();
    let (mut channels, mut open, mut answers) = (Vec::new(), 0, 0);
    while channels.len() < count || open > 0 {
        let ready = set.wait(LONG).unwrap();
        assert!(ready.len() > 0, "{} channels, {open} open, {answers} answers", channels.len());
        for ready in ready {
            if ready.key() == LISTENER {
                while let Some(incoming) = listener.try_accept().unwrap() {
                    let channel = incoming.accept().unwrap();
                    set.add(channels.len() as u64, &channel).unwrap();
                    channels.push(Some(channel));
                    open += 1;
                }
                continue;
            }
            let slot = &mut channels[usize::try_from(ready.key()).unwrap()];
            let Some(channel) = slot else { continue };
            match channel.try_recv() {
                Ok(Some(message)) => {
                    channel.send(message.bytes()).unwrap();
                    answers += 1;
                }
                Ok(None) => {}
                Err(Error::ProcessExited { .. } | Error::Disconnected { .. }) => {
                    *slot = None;
                    open -= 1;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(answers, 2 * count);
    for client in &mut clients {
        assert_eq!(client.wait_timeout(LONG).unwrap().code(), Some(0));
    }
    drop((clients, set, listener, channels));
    until("no handle is left", || table::count() == before);
}
