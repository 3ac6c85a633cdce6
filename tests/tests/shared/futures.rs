// The tests of both adapters. `runtime` is one of `handover_tests::adapters`.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::task::Poll;
use std::time::{Duration, Instant};

use handover::{Carried, Command, Error, Event, Message, OwnedHandle, ReceivedMessage, Semaphore, Stdio, Timer};
use handover_tests::{Suite, Sweep, expect, linked_in_role, role, table, tests, this_program, until};

use runtime::{
    AsyncReadExt, AsyncWriteExt, Channel, Child, Listener, TypedChannel, block_on, sleep, spawn, timeout, wait,
};

const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

/// Returns the suite, under this name.
pub(crate) fn suite(name: &'static str) -> Suite {
    Suite { name, tests: tests![
            message_goes_both_ways,
            message_brings_a_socket,
            each_kind_of_object_is_waited_for,
            waits_take_what_blocking_waits_take,
            dropped_waits_take_nothing,
            futures_dropped_at_random_lose_no_signal,
            futures_dropped_at_random_lose_no_message,
            sends_dropped_at_random_arrive_whole_or_not_at_all,
            next_send_finishes_a_dropped_one,
            flush_finishes_a_dropped_send,
            blocking_send_finishes_a_dropped_one,
            sends_of_many_tasks_keep_their_order,
            tasks_and_threads_share_an_endpoint,
            large_messages_in_both_directions_arrive,
            receive_that_is_not_polled_holds_no_send_up,
            receive_that_is_not_polled_holds_no_call_up,
            task_receives_while_a_thread_sends,
            thousand_waits_need_few_threads,
            thousand_calls_get_their_replies,
            reply_goes_over_its_own_channel,
            dropped_call_leaves_the_channel_usable,
            exit_of_the_peer_ends_every_wait,
            close_ends_every_wait,
            endpoint_travels_and_comes_back,
            listener_accepts_and_refuses,
            server_outlives_clients_that_are_killed,
            connect_reports_a_missing_listener,
            select_loop_with_timeouts_loses_nothing,
            streams_of_a_child_are_read_and_written,
            output_of_a_child_is_collected,
            child_is_waited_for_and_killed,
            child_becomes_blocking_again,
            each_failing_call_is_reported,
            peers_killed_at_random_leave_nothing,
            values_with_objects_are_called_and_replied_to,
            dropped_send_of_a_value_keeps_its_channel,
        ], roles: tests![echoes, sends_numbers, never_reads, reads_when_told, copies, prints, connects, exits] }
}

fn values_with_objects_are_called_and_replied_to() {
    type Question = (u32, Carried<Event>);
    let round = || {
        let (one, other) = handover::Channel::pair().unwrap();
        let client = TypedChannel::<Question, String>::new(one.into());
        let server = TypedChannel::<String, Question>::from(handover::TypedChannel::new(other));
        block_on(async {
            let serves = spawn(async move {
                for _ in 0..3 {
                    let ((number, done), reply) = soon(server.recv_request()).await.unwrap();
                    assert!(reply.is_expected());
                    done.set().unwrap();
                    soon(reply.send(&number.to_string())).await.unwrap();
                    assert!(!reply.is_expected());
                }
                let (number, _done) = soon(server.recv()).await.unwrap();
                soon(server.send(&number.to_string())).await.unwrap();
                let outcome = soon(server.recv()).await;
                assert!(matches!(outcome, Err(Error::InvalidValue { .. })), "{outcome:?}");
            });
            for number in 0..3 {
                let question = (number, Event::manual_reset().unwrap().into());
                assert_eq!(soon(client.call(&question)).await.unwrap(), number.to_string());
                assert!(question.1.try_wait().unwrap());
            }
            soon(client.send(&(7, Event::manual_reset().unwrap().into()))).await.unwrap();
            assert_eq!(soon(client.clone().recv()).await.unwrap(), "7");
            soon(client.channel().send("nothing typed")).await.unwrap();
            serves.join().await;
            drop(client.into_channel());
        });
    };
    // The first time, the system opens handles that stay.
    round();
    let before = table::count();
    round();
    until("the handles are closed", || table::count() <= before);
}

fn dropped_send_of_a_value_keeps_its_channel() {
    let (one, _other) = handover::Channel::pair().unwrap();
    let typed = TypedChannel::<(u8, Carried<handover::Channel>), ()>::new(one.into());
    let (ours, theirs) = handover::Channel::pair().unwrap();
    let value = (1, Carried::new(theirs));
    block_on(async {
        // Then the pipe is full, so that nothing of the value is written.
        while timeout(SHORT, typed.channel().send(vec![0; 4096])).await.is_some() {}
        assert!(timeout(SHORT, typed.send(&value)).await.is_none());
    });
    value.1.into_inner().unwrap().send("hello").unwrap();
    assert_eq!(ours.recv_timeout(SOON).unwrap().bytes(), b"hello");
}

/// Waits for a future that has to be ready soon.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(SOON, future).await.expect("ready soon")
}

/// A role: sends each message back, with its objects, until the parent closes the channel. Replies to calls.
fn echoes(_: &[String]) {
    let channel = Channel::from(handover::Channel::parent().unwrap());
    block_on(async {
        loop {
            let message = match soon(channel.recv()).await {
                Ok(message) => message,
                Err(Error::Disconnected { .. }) => return,
                Err(other) => panic!("{other:?}"),
            };
            if message.bytes() == b"take" {
                drop(message.take_channel("endpoint").unwrap());
                continue;
            }
            let names: Vec<String> = message.names().map(str::to_owned).collect();
            let objects: Vec<OwnedHandle> =
                names.iter().map(|name| message.take(name).unwrap()).collect();
            let mut answer = Message::new(message.bytes());
            for (name, object) in names.iter().zip(&objects) {
                answer.add(name, object);
            }
            match message.expects_reply() {
                true => soon(channel.reply(&message, answer)).await.unwrap(),
                false => soon(channel.send(answer)).await.unwrap(),
            }
        }
    });
}

fn message_goes_both_ways() {
    let (child, channel) = linked_in_role("echoes", &[]);
    let channel = Channel::from(channel);
    let event = Event::manual_reset().unwrap();
    block_on(async {
        soon(channel.send(Message::new("hello").with("event", &event))).await.unwrap();
        let message = soon(channel.recv()).await.unwrap();
        assert_eq!(message.bytes(), b"hello");
        let copy: Event = message.take("event").unwrap();
        copy.set().unwrap();
        soon(wait(&event)).await.unwrap();
        let large = vec![7; 3 << 20];
        soon(channel.send(&large)).await.unwrap();
        assert_eq!(soon(channel.recv()).await.unwrap().bytes(), large);
        let reply = soon(channel.call("a call")).await.unwrap();
        assert_eq!(reply.bytes(), b"a call");
    });
    let mut child = Child::from(child);
    drop(channel);
    assert_eq!(block_on(soon(child.wait())).unwrap().code(), Some(0));
}

fn message_brings_a_socket() {
    let (one, other) = handover::Channel::pair().unwrap();
    let [one, other] = [one, other].map(Channel::from);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let round = || {
        block_on(async {
            soon(one.send(Message::new("").with("listener", &listener))).await.unwrap();
            let message = soon(other.recv()).await.unwrap();
            let taken: std::net::TcpListener = message.take("listener").unwrap();
            assert_eq!(taken.local_addr().unwrap(), address);
            soon(other.send(Message::new("").with("listener", &taken))).await.unwrap();
            drop(taken);
            drop(soon(one.recv()).await.unwrap());
        });
    };
    round();
    let before = table::count();
    (0..20).for_each(|_| round());
    until("the handles are closed", || table::count() <= before);
    drop(listener);
    assert!(std::net::TcpListener::bind(address).is_ok());
}

/// Polls the future as often as `polls` says, whenever it is woken or a moment has passed, and then drops it.
async fn at_most<F: Future>(polls: u64, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for poll in 0..=polls {
        if poll > 0 {
            // Other tasks run.
            let mut has_yielded = false;
            poll_fn(|cx| {
                if has_yielded {
                    return Poll::Ready(());
                }
                has_yielded = true;
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
    }
    None
}

/// A sequence of numbers without any order.
struct Random(u64);

impl Random {
    /// Returns a number below the limit.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn pair() -> (Channel, Channel) {
    let (one, other) = handover::Channel::pair().unwrap();
    (one.into(), other.into())
}

fn number(message: &ReceivedMessage) -> u64 {
    u64::from_le_bytes(message.bytes()[..8].try_into().unwrap())
}

fn each_kind_of_object_is_waited_for() {
    let (event, semaphore, timer) =
        (Event::auto_reset().unwrap(), Semaphore::new(0).unwrap(), Timer::auto_reset().unwrap());
    let mut child = Command::new(this_program()).args(role("exits", &[])).spawn().unwrap();
    let before = table::count();
    block_on(async {
        for _ in 0..3 {
            assert!(timeout(SHORT, wait(&event)).await.is_none());
            event.set().unwrap();
            soon(wait(&event)).await.unwrap();
            assert!(!event.try_wait().unwrap());
            assert!(timeout(SHORT, wait(&semaphore)).await.is_none());
            semaphore.release(1).unwrap();
            soon(wait(&semaphore)).await.unwrap();
            assert!(!semaphore.try_wait().unwrap());
            let started = Instant::now();
            timer.set_once(SHORT).unwrap();
            soon(wait(&timer)).await.unwrap();
            assert!(started.elapsed() + Duration::from_millis(20) >= SHORT);
        }
        soon(wait(child.process())).await.unwrap();
        soon(wait(&child)).await.unwrap();
    });
    assert_eq!(table::count(), before);
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(7));
}

fn exits(_: &[String]) {
    std::process::exit(7);
}

fn waits_take_what_blocking_waits_take() {
    let semaphore = Arc::new(Semaphore::new(0).unwrap());
    let event = Arc::new(Event::auto_reset().unwrap());
    let taken = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (semaphore, event, taken) = (semaphore.clone(), event.clone(), taken.clone());
            spawn(async move {
                soon(wait(&*semaphore)).await.unwrap();
                soon(wait(&*event)).await.unwrap();
                taken.fetch_add(1, SeqCst);
            })
        })
        .collect();
    semaphore.release(8).unwrap();
    for count in 1..=8 {
        event.set().unwrap();
        until("a task takes the event", || taken.load(SeqCst) == count);
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(taken.load(SeqCst), count, "one signal releases one task");
    }
    block_on(async {
        for task in tasks {
            task.join().await;
        }
    });
    assert!(!semaphore.try_wait().unwrap() && !event.try_wait().unwrap());
}

fn dropped_waits_take_nothing() {
    let (event, semaphore) = (Event::auto_reset().unwrap(), Semaphore::new(0).unwrap());
    let before = table::count();
    block_on(async {
        for _ in 0..20 {
            assert!(at_most(2, wait(&event)).await.is_none());
            event.set().unwrap();
            sleep(Duration::from_millis(2)).await;
            assert!(event.try_wait().unwrap());
            // Signaled while it waits, and dropped before it is polled again.
            let mut waiting = Box::pin(wait(&semaphore));
            assert!(poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
            semaphore.release(1).unwrap();
            sleep(Duration::from_millis(2)).await;
            drop(waiting);
            assert!(semaphore.try_wait().unwrap());
            assert!(!semaphore.try_wait().unwrap());
        }
    });
    assert_eq!(table::count(), before);
}

fn futures_dropped_at_random_lose_no_signal() {
    const COUNT: u64 = expect::DROPPED_FUTURES;
    let semaphore = Arc::new(Semaphore::new(0).unwrap());
    let released = Arc::new(AtomicU64::new(0));
    let before = table::count();
    let releaser = {
        let (semaphore, released) = (semaphore.clone(), released.clone());
        spawn(async move {
            let mut random = Random(1);
            for _ in 0..COUNT / 4 {
                let count = random.below(4);
                if count > 0 {
                    semaphore.release(u32::try_from(count).unwrap()).unwrap();
                }
                released.fetch_add(count, SeqCst);
                at_most(random.below(3), std::future::pending::<()>()).await;
            }
        })
    };
    let tasks: Vec<_> = (2..6)
        .map(|seed| {
            let semaphore = semaphore.clone();
            spawn(async move {
                let (mut random, mut taken) = (Random(seed), 0);
                for _ in 0..COUNT / 4 {
                    if let Some(waited) = at_most(random.below(4), wait(&*semaphore)).await {
                        waited.unwrap();
                        taken += 1;
                    }
                }
                taken
            })
        })
        .collect();
    let mut taken = block_on(async {
        releaser.join().await;
        let mut taken = 0;
        for task in tasks {
            taken += task.join().await;
        }
        taken
    });
    while semaphore.try_wait().unwrap() {
        taken += 1;
    }
    assert_eq!(taken, released.load(SeqCst));
    drop(semaphore);
    assert_eq!(table::count(), before - 1);
}

/// How many numbers are sent before the sender waits until the receiver has them all, and a moment longer.
const BATCH: u64 = 100;

/// A role: sends as many numbers as the first argument says, each third one with an event. Then waits for the end. With a
/// second argument it pauses after each batch, so that the receiver has to wait, however slow it is.
fn sends_numbers(arguments: &[String]) {
    let channel = handover::Channel::parent().unwrap();
    let event = Event::manual_reset().unwrap();
    for number in 0..arguments[0].parse::<u64>().unwrap() {
        let message = Message::new(number.to_le_bytes().to_vec());
        let message = if number % 3 == 0 { message.with("event", &event) } else { message };
        channel.send_timeout(message, SOON).unwrap();
        if arguments.len() > 1 && number % BATCH == BATCH - 1 {
            channel.recv_timeout(SOON).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let end = channel.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. })), "{end:?}");
}

fn futures_dropped_at_random_lose_no_message() {
    const COUNT: u64 = expect::DROPPED_FUTURES;
    let (child, channel) = linked_in_role("sends_numbers", &[&COUNT.to_string(), "in batches"]);
    let channel = Channel::from(channel);
    let before = table::count();
    let mut dropped = 0;
    block_on(async {
        let (mut random, mut next) = (Random(7), 0);
        while next < COUNT {
            match at_most(random.below(3), channel.recv()).await {
                Some(message) => {
                    let message = message.unwrap();
                    assert_eq!(number(&message), next);
                    assert_eq!(message.names().len(), usize::from(next % 3 == 0));
                    if next % BATCH == BATCH - 1 {
                        soon(channel.send("all are there")).await.unwrap();
                    }
                    next += 1;
                }
                None => dropped += 1,
            }
        }
    });
    assert!(dropped > expect::MIN_DROPPED, "{dropped} futures were dropped");
    let _ = channel.get_ref().try_recv();
    assert!(table::count() <= before + 3, "{} and {before}", table::count());
    handover_tests::assert_exits_successfully(child, channel.into());
}

fn sends_dropped_at_random_arrive_whole_or_not_at_all() {
    const COUNT: u64 = 3_000;
    let (sender, receiver) = pair();
    let event = Event::manual_reset().unwrap();
    let before = table::count();
    // The receiver waits for this, because a fast one could leave space for each message.
    let is_dropped = Arc::new(AtomicBool::new(false));
    let one_is_dropped = Arc::clone(&is_dropped);
    // The numbers of the messages whose send was not dropped.
    let sent = spawn(async move {
        let (mut random, mut sent) = (Random(3), Vec::new());
        for number in 0..COUNT {
            let mut bytes = number.to_le_bytes().to_vec();
            let length = [8, 100, 5_000, 300_000][usize::try_from(random.below(4)).unwrap()];
            bytes.resize(length, u8::try_from(number % 251).unwrap());
            let mut message = Message::new(bytes);
            if random.below(2) == 0 {
                message.add("event", &event);
            }
            match at_most(random.below(6), sender.send(message)).await {
                Some(outcome) => {
                    outcome.unwrap();
                    sent.push(number);
                }
                None => one_is_dropped.store(true, SeqCst),
            }
        }
        soon(sender.flush()).await.unwrap();
        (sent, sender)
    });
    let received = spawn(async move {
        soon(poll_fn(|cx| {
            if is_dropped.load(SeqCst) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
        .await;
        let mut received = Vec::new();
        loop {
            let message = match soon(receiver.recv()).await {
                Ok(message) => message,
                Err(Error::Disconnected { .. }) => return received,
                Err(other) => panic!("{other:?}"),
            };
            let filling = u8::try_from(number(&message) % 251).unwrap();
            assert!(message.bytes()[8..].iter().all(|byte| *byte == filling));
            received.push(number(&message));
        }
    });
    let (sent, received) = block_on(async {
        let (sent, sender) = sent.join().await;
        drop(sender);
        (sent, received.join().await)
    });
    assert!(received.windows(2).all(|pair| pair[0] < pair[1]), "each arrives once, in its order");
    let missing: Vec<_> = sent.iter().filter(|number| received.binary_search(number).is_err()).collect();
    assert_eq!(missing, [&0; 0], "each that was sent arrives");
    until("the handles are closed", || table::count() < before);
}

/// A role: waits for the event in its first message, and then sends the length of each message, until the parent
/// closes the channel.
fn reads_when_told(_: &[String]) {
    let channel = handover::Channel::parent().unwrap();
    let read: Event = channel.recv_timeout(SOON).unwrap().take("read").unwrap();
    read.wait_timeout(SOON).unwrap();
    loop {
        match channel.recv_timeout(SOON) {
            Ok(message) => channel.send(message.bytes().len().to_string()).unwrap(),
            Err(Error::Disconnected { .. }) => return,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Begins to send a large message to a process that doesn't read yet, and drops the future. The process reads once the
/// event is set.
fn half_sent() -> (handover::Child, Channel, Event) {
    let (child, channel) = linked_in_role("reads_when_told", &[]);
    let channel = Channel::from(channel);
    let read = Event::manual_reset().unwrap();
    block_on(async {
        soon(channel.send(Message::new("").with("read", &read))).await.unwrap();
        let event = Event::manual_reset().unwrap();
        let large = Message::new(vec![1; 4 << 20]).with("event", &event);
        assert!(timeout(SHORT, channel.send(large)).await.is_none());
    });
    (child, channel, read)
}

async fn assert_lengths(channel: &Channel, lengths: &[usize]) {
    for length in lengths {
        assert_eq!(soon(channel.recv()).await.unwrap().bytes(), length.to_string().as_bytes());
    }
}

fn next_send_finishes_a_dropped_one() {
    let (child, channel, read) = half_sent();
    block_on(async {
        // It isn't begun while the first one is unfinished.
        assert!(timeout(Duration::from_millis(1), channel.send("dropped")).await.is_none());
        read.set().unwrap();
        soon(channel.send("next")).await.unwrap();
        assert_lengths(&channel, &[4 << 20, 4]).await;
    });
    handover_tests::assert_exits_successfully(child, channel.into());
}

fn flush_finishes_a_dropped_send() {
    let (child, channel, read) = half_sent();
    read.set().unwrap();
    block_on(async {
        soon(channel.flush()).await.unwrap();
        assert_lengths(&channel, &[4 << 20]).await;
    });
    handover_tests::assert_exits_successfully(child, channel.into());
    // A blocking flush does the same.
    let (child, channel, read) = half_sent();
    let channel = handover::Channel::from(channel);
    read.set().unwrap();
    channel.flush(SOON).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), (4 << 20).to_string().as_bytes());
    handover_tests::assert_exits_successfully(child, channel);
}

fn blocking_send_finishes_a_dropped_one() {
    let (child, channel, read) = half_sent();
    let channel = handover::Channel::from(channel);
    let late = channel.send_timeout("too early", Duration::from_millis(1));
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    read.set().unwrap();
    channel.send_timeout("next", SOON).unwrap();
    for length in [4 << 20, 4] {
        assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), length.to_string().as_bytes());
    }
    handover_tests::assert_exits_successfully(child, channel);
}

fn sends_of_many_tasks_keep_their_order() {
    const TASKS: u64 = 20;
    let (sender, receiver) = pair();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let sender = sender.clone();
            spawn(async move {
                for count in 0..100_u64 {
                    let mut bytes = (task << 32 | count).to_le_bytes().to_vec();
                    bytes.resize(if count % 10 == 0 { 100_000 } else { 8 }, 0);
                    soon(sender.send(bytes)).await.unwrap();
                }
            })
        })
        .collect();
    drop(sender);
    block_on(async {
        let mut next = HashMap::new();
        for _ in 0..TASKS * 100 {
            let number = number(&soon(receiver.recv()).await.unwrap());
            let expected = next.entry(number >> 32).or_insert(0);
            assert_eq!(number & 0xffff_ffff, *expected);
            *expected += 1;
        }
        for task in tasks {
            task.join().await;
        }
        assert!(matches!(soon(receiver.recv()).await, Err(Error::Disconnected { .. })));
    });
}

fn tasks_and_threads_share_an_endpoint() {
    const EACH: u64 = 300;
    let (child, channel) = linked_in_role("echoes", &[]);
    let asynchronous = Channel::from(channel.clone());
    let received = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..4_u64)
        .map(|task| {
            let channel = asynchronous.clone();
            spawn(async move {
                for count in 0..EACH {
                    let text = format!("task {task} call {count}");
                    assert_eq!(soon(channel.call(&text)).await.unwrap().bytes(), text.as_bytes());
                    soon(channel.send("message")).await.unwrap();
                }
            })
        })
        .collect();
    let receiver = {
        let (channel, received) = (asynchronous.clone(), received.clone());
        spawn(async move {
            while received.load(SeqCst) < EACH * 6 {
                if let Some(message) = timeout(Duration::from_millis(50), channel.recv()).await {
                    assert_eq!(message.unwrap().bytes(), b"message");
                    received.fetch_add(1, SeqCst);
                }
            }
        })
    };
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let channel = &channel;
            scope.spawn(move || {
                for count in 0..EACH {
                    let text = format!("thread {thread} call {count}");
                    assert_eq!(channel.call(&text, SOON).unwrap().bytes(), text.as_bytes());
                    channel.send_timeout("message", SOON).unwrap();
                }
            });
        }
        scope.spawn(|| {
            while received.load(SeqCst) < EACH * 6 {
                match channel.recv_timeout(Duration::from_millis(50)) {
                    Ok(message) => {
                        assert_eq!(message.bytes(), b"message");
                        received.fetch_add(1, SeqCst);
                    }
                    Err(Error::TimedOut { .. }) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        });
    });
    block_on(async {
        for caller in callers {
            caller.join().await;
        }
        receiver.join().await;
    });
    assert_eq!(received.load(SeqCst), EACH * 6);
    drop(asynchronous);
    handover_tests::assert_exits_successfully(child, channel);
}

fn large_messages_in_both_directions_arrive() {
    let (one, other) = pair();
    let large = Arc::new(vec![5; handover::Channel::MAX_BYTES]);
    let tasks = [one, other].map(|channel| {
        let large = large.clone();
        spawn(async move {
            // Neither receives before it has sent.
            soon(channel.send(&*large)).await.unwrap();
            assert_eq!(soon(channel.recv()).await.unwrap().bytes().len(), large.len());
            // The other task may still be receiving.
            channel
        })
    });
    block_on(async {
        let mut channels = Vec::new();
        for task in tasks {
            channels.push(task.join().await);
        }
    });
}

fn receive_that_is_not_polled_holds_no_send_up() {
    const COUNT: usize = 4;
    let (one, other) = pair();
    let waiting = Arc::new(AtomicU64::new(0));
    let tasks = [one, other].map(|channel| {
        let waiting = waiting.clone();
        spawn(async move {
            let mut received = pin!(channel.recv());
            // Then it waits, as beside a branch of `select!` that sends.
            let polled = poll_fn(|cx| Poll::Ready(received.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
            waiting.fetch_add(1, SeqCst);
            let both = async {
                while waiting.load(SeqCst) < 2 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            soon(both).await;
            for _ in 0..COUNT {
                soon(channel.send(vec![5; 1 << 20])).await.unwrap();
            }
            soon(received).await.unwrap();
            for _ in 1..COUNT {
                soon(channel.recv()).await.unwrap();
            }
            channel.clone()
        })
    });
    block_on(async {
        let mut channels = Vec::new();
        for task in tasks {
            channels.push(task.join().await);
        }
    });
}

fn receive_that_is_not_polled_holds_no_call_up() {
    let (mut child, channel) = linked_in_role("echoes", &[]);
    let channel = Channel::from(channel);
    block_on(async {
        let mut received = pin!(channel.recv());
        let polled = poll_fn(|cx| Poll::Ready(received.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        soon(channel.send("message")).await.unwrap();
        for _ in 0..3 {
            assert_eq!(soon(channel.call("call")).await.unwrap().bytes(), b"call");
        }
        // The reply came behind it.
        assert_eq!(soon(received).await.unwrap().bytes(), b"message");
    });
    drop(channel);
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn task_receives_while_a_thread_sends() {
    let (one, other) = handover::Channel::pair().unwrap();
    let (sender, channel) = (one.clone(), Channel::from(one));
    // Nothing is received at the other end, so one of the sends doesn't end.
    let thread = std::thread::spawn(move || while sender.send_timeout(vec![0; 4096], 2 * SOON).is_ok() {});
    let (arrived, arrives) = std::sync::mpsc::channel();
    let task = spawn(async move {
        while let Ok(message) = channel.recv().await {
            arrived.send(message.bytes().len()).unwrap();
        }
    });
    for length in 0..100 {
        other.send_timeout(vec![7; length], SOON).unwrap();
        assert_eq!(arrives.recv_timeout(SOON), Ok(length));
    }
    assert!(!thread.is_finished());
    other.close();
    thread.join().unwrap();
    block_on(soon(task.join()));
}

fn thousand_waits_need_few_threads() {
    const COUNT: usize = 1_000;
    table::make_room(4 * COUNT);
    let before = table::count();
    let threads = table::threads();
    let events: Vec<_> = (0..COUNT).map(|_| Arc::new(Event::manual_reset().unwrap())).collect();
    let tasks: Vec<_> = events
        .iter()
        .map(|event| {
            let event = event.clone();
            spawn(async move { timeout(SOON * 3, wait(&*event)).await.expect("in time").unwrap() })
        })
        .collect();
    std::thread::sleep(SHORT * 5);
    let most = expect::threads_for_waits(COUNT);
    assert!(table::threads() <= most, "{} threads, {threads} before", table::threads());
    events.iter().for_each(|event| event.set().unwrap());
    block_on(async {
        for task in tasks {
            task.join().await;
        }
    });
    drop(events);
    until("the handles are closed", || table::count() <= before + 1);
}

fn thousand_calls_get_their_replies() {
    let (child, channel) = linked_in_role("echoes", &[]);
    let channel = Channel::from(channel);
    let calls: Vec<_> = (0..1_000_u32)
        .map(|call| {
            let channel = channel.clone();
            spawn(async move {
                let text = call.to_string();
                let reply = timeout(SOON * 3, channel.call(&text)).await.expect("in time").unwrap();
                assert_eq!(reply.bytes(), text.as_bytes());
            })
        })
        .collect();
    block_on(async {
        for call in calls {
            call.join().await;
        }
    });
    handover_tests::assert_exits_successfully(child, channel.into());
}

fn reply_goes_over_its_own_channel() {
    let (one, other) = pair();
    let (strange, _end) = pair();
    block_on(async {
        let call = spawn(async move { soon(one.call("question")).await.unwrap().into_bytes() });
        let question = soon(other.recv()).await.unwrap();
        assert!(question.expects_reply());
        let refused = strange.reply(&question, "answer").await.unwrap_err();
        assert!(refused.to_string().contains("reply over the one that the message came from"), "{refused}");
        assert!(question.expects_reply(), "it can still be replied to");
        soon(other.reply(&question, "answer")).await.unwrap();
        assert!(matches!(other.reply(&question, "again").await, Err(Error::InvalidInput { .. })));
        assert_eq!(call.join().await, b"answer");
    });
}

fn dropped_call_leaves_the_channel_usable() {
    let (child, channel) = linked_in_role("echoes", &[]);
    let channel = Channel::from(channel);
    let event = Event::manual_reset().unwrap();
    block_on(async {
        soon(channel.call("warm up")).await.unwrap();
        let before = table::count();
        let mut random = Random(11);
        for count in 0..500 {
            let text = count.to_string();
            let message = Message::new(&text).with("event", &event);
            let _ = at_most(random.below(4), channel.call(message)).await;
            let reply = soon(channel.call(&text)).await.unwrap();
            assert_eq!(reply.bytes(), text.as_bytes());
        }
        assert!(table::count() <= before + 2, "{} and {before}", table::count());
    });
    handover_tests::assert_exits_successfully(child, channel.into());
}

fn never_reads(_: &[String]) {
    let _channel = handover::Channel::parent().unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

/// Starts tasks that receive, call, send and flush. Returns when each of them waits.
fn waiting_tasks(channel: &Channel) -> [runtime::Task<Error>; 4] {
    let [receives, calls, sends, flushes] = [(); 4].map(|()| channel.clone());
    let tasks = [
        spawn(async move { receives.recv().await.map(drop).unwrap_err() }),
        spawn(async move { calls.call("a call").await.map(drop).unwrap_err() }),
        spawn(async move { sends.send(vec![0; 4 << 20]).await.unwrap_err() }),
        spawn(async move {
            // It waits behind the send.
            sleep(SHORT).await;
            flushes.flush().await.unwrap_err()
        }),
    ];
    std::thread::sleep(SHORT * 3);
    tasks
}

async fn assert_all_end(tasks: [runtime::Task<Error>; 4]) {
    for task in tasks {
        let error = soon(task.join()).await;
        assert!(matches!(error, Error::ProcessExited { .. } | Error::Disconnected { .. }), "{error:?}");
    }
}

fn exit_of_the_peer_ends_every_wait() {
    let before = table::count();
    let (mut child, channel) = linked_in_role("never_reads", &[]);
    let channel = Channel::from(channel);
    let tasks = waiting_tasks(&channel);
    child.kill().unwrap();
    block_on(assert_all_end(tasks));
    drop((child, channel));
    until("the handles are closed", || table::count() <= before);
}

fn close_ends_every_wait() {
    let (_child, channel) = linked_in_role("never_reads", &[]);
    let channel = Channel::from(channel);
    let tasks = waiting_tasks(&channel);
    channel.get_ref().close();
    block_on(assert_all_end(tasks));
}

fn endpoint_travels_and_comes_back() {
    let (child, channel) = linked_in_role("echoes", &[]);
    let channel = Channel::from(channel);
    block_on(async {
        let (ours, theirs) = handover::Channel::pair().unwrap();
        let clone = theirs.clone();
        // An endpoint with clones can't travel. The error gives it back.
        let message = Message::new("take").with_channel("endpoint", theirs);
        let mut error = soon(channel.send(message)).await.unwrap_err();
        assert!(matches!(error, Error::NotSent { .. }), "{error:?}");
        let theirs = error.take_channel("endpoint").expect("it comes back");
        drop(clone);
        soon(channel.send(Message::new("take").with_channel("endpoint", theirs))).await.unwrap();
        // The other process has no use for it, and closes it.
        assert!(matches!(soon(Channel::from(ours).recv()).await, Err(Error::Disconnected { .. })));
    });
    drop(channel);
    drop(child);
}

fn name(test: &str) -> String {
    format!("test.{test}.{}.{}", std::process::id(), env!("CARGO_CRATE_NAME"))
}

/// A role: connects as often as the second argument says, sends a message over each connection, and waits for their ends.
fn connects(arguments: &[String]) {
    let count: u64 = arguments[1].parse().unwrap();
    block_on(async {
        let mut channels = Vec::new();
        for number in 0..count {
            let channel = soon(Channel::connect(&arguments[0])).await.unwrap();
            soon(channel.send(number.to_le_bytes().to_vec())).await.unwrap();
            channels.push(channel);
        }
        for channel in channels {
            let end = timeout(SOON * 3, channel.recv()).await.expect("in time");
            assert!(matches!(end, Err(Error::Disconnected { .. } | Error::ProcessExited { .. })), "{end:?}");
        }
    });
}

fn listener_accepts_and_refuses() {
    let name = name("accepts");
    let mut listener = Listener::bind(&name).unwrap();
    block_on(async {
        // A dropped accept takes no client.
        assert!(timeout(SHORT, listener.accept()).await.is_none());
        let client = {
            let name = name.clone();
            spawn(async move { soon(Channel::connect(&name)).await })
        };
        let incoming = soon(listener.accept()).await.unwrap();
        assert_eq!(incoming.process().id(), std::process::id());
        assert!(!incoming.user().to_string().is_empty());
        let server = soon(incoming.accept()).await.unwrap();
        let client = client.join().await.unwrap();
        soon(client.send("hello")).await.unwrap();
        assert_eq!(soon(server.recv()).await.unwrap().bytes(), b"hello");
        soon(server.send("welcome")).await.unwrap();
        assert_eq!(soon(client.recv()).await.unwrap().bytes(), b"welcome");
        let refused = {
            let name = name.clone();
            spawn(async move { soon(Channel::connect(&name)).await })
        };
        soon(listener.accept()).await.unwrap().refuse();
        let error = refused.join().await.unwrap_err();
        assert!(matches!(error, Error::ConnectionRefused { .. }), "{error:?}");
        // A dropped connect leaves nothing that disturbs the next client.
        let _ = at_most(2, Channel::connect(&name)).await;
        let client = spawn(async move { soon(Channel::connect(&name)).await });
        let server = loop {
            let incoming = soon(listener.accept()).await.unwrap();
            if let Ok(server) = soon(incoming.accept()).await {
                if let Some(Ok(message)) = timeout(SHORT, server.recv()).await {
                    panic!("{message:?}");
                }
                if server.get_ref().try_recv().is_ok() {
                    break server;
                }
            }
        };
        let client = client.join().await.unwrap();
        soon(server.send("welcome")).await.unwrap();
        assert_eq!(soon(client.recv()).await.unwrap().bytes(), b"welcome");
    });
    let _blocking = handover::Listener::from(listener);
}

fn connect_reports_a_missing_listener() {
    block_on(async {
        let error = soon(Channel::connect(&name("missing"))).await.unwrap_err();
        assert!(matches!(error, Error::NoListener { .. }), "{error:?}");
        let error = soon(Channel::connect("a/b")).await.unwrap_err();
        assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
    });
}

fn server_outlives_clients_that_are_killed() {
    const PROCESSES: usize = 20;
    const EACH: usize = expect::CLIENTS_OF_A_PROCESS;
    table::make_room(6 * PROCESSES * EACH);
    let name = name("server");
    let before = table::count();
    let mut listener = Listener::bind(&name).unwrap();
    let mut children: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let mut command = Command::new(this_program());
            command.args(role("connects", &[&name, &EACH.to_string()])).stdin(Stdio::null());
            Child::from(command.kill_on_drop(true).spawn().unwrap())
        })
        .collect();
    const HALF: u64 = (PROCESSES * EACH / 2) as u64;
    let (begun, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients = block_on(async {
        let mut clients = Vec::new();
        for _ in 0..PROCESSES * EACH {
            let incoming = timeout(SOON * 3, listener.accept()).await.expect("a client").unwrap();
            let channel = soon(incoming.accept()).await.unwrap();
            let (begun, ended) = (begun.clone(), ended.clone());
            clients.push(spawn(async move {
                assert_eq!(soon(channel.recv()).await.unwrap().bytes().len(), 8);
                begun.fetch_add(1, SeqCst);
                // It ends when the client is killed.
                let end = timeout(SOON * 3, channel.recv()).await.expect("the end");
                ended.fetch_add(1, SeqCst);
                end.map(drop).unwrap_err()
            }));
        }
        clients
    });
    until("each client has sent a message", || begun.load(SeqCst) == 2 * HALF);
    children[..PROCESSES / 2].iter_mut().for_each(|child| child.kill().unwrap());
    until("the channels to killed clients end", || ended.load(SeqCst) == HALF);
    std::thread::sleep(SHORT);
    assert_eq!(ended.load(SeqCst), HALF, "the others are still served");
    children[PROCESSES / 2..].iter_mut().for_each(|child| child.kill().unwrap());
    block_on(async {
        for client in clients {
            let error = client.join().await;
            assert!(matches!(error, Error::ProcessExited { .. } | Error::Disconnected { .. }), "{error:?}");
        }
        for child in &mut children {
            soon(child.wait()).await.unwrap();
        }
    });
    drop((listener, children));
    until("the handles are closed", || table::count() <= before);
}

fn select_loop_with_timeouts_loses_nothing() {
    const COUNT: u64 = 2_000;
    let (child, channel) = linked_in_role("sends_numbers", &[&COUNT.to_string()]);
    let channel = Channel::from(channel);
    let tick = Timer::auto_reset().unwrap();
    tick.set_periodic(Duration::from_millis(1), Duration::from_millis(1)).unwrap();
    let (next, ticks) = block_on(async {
        let (mut next, mut ticks) = (0, 0);
        while next < COUNT {
            enum Came {
                Message(ReceivedMessage),
                Tick,
            }
            let mut message = pin!(channel.recv());
            let mut ticked = pin!(wait(&tick));
            let came = poll_fn(|cx| {
                if let Poll::Ready(message) = message.as_mut().poll(cx) {
                    return Poll::Ready(Some(Came::Message(message.unwrap())));
                }
                if ticked.as_mut().poll(cx).is_ready() { Poll::Ready(Some(Came::Tick)) } else { Poll::Pending }
            });
            match timeout(Duration::from_micros(300), came).await.flatten() {
                Some(Came::Message(message)) => {
                    assert_eq!(number(&message), next);
                    next += 1;
                }
                Some(Came::Tick) => ticks += 1,
                None => {}
            }
        }
        (next, ticks)
    });
    assert_eq!(next, COUNT);
    assert!(ticks < COUNT * 10);
    handover_tests::assert_exits_successfully(child, channel.into());
}

/// A role: copies its standard input to its output.
fn copies(_: &[String]) {
    std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
}

/// A role: prints as many bytes as the argument says, to both streams.
fn prints(arguments: &[String]) {
    use std::io::Write;
    let count: usize = arguments[0].parse().unwrap();
    for _ in 0..count / 1000 {
        std::io::stdout().write_all(&[b'o'; 1000]).unwrap();
        std::io::stderr().write_all(&[b'e'; 1000]).unwrap();
    }
    std::process::exit(3);
}

fn streams_of_a_child_are_read_and_written() {
    let before = table::count();
    let mut command = Command::new(this_program());
    command.args(role("copies", &[])).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = Child::from(command.spawn().unwrap());
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let text: Vec<u8> = (0..1_000_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let expected = text.clone();
    block_on(async {
        // Nothing arrives yet, and a dropped read takes nothing.
        let mut byte = [0];
        assert!(timeout(SHORT, stdout.read(&mut byte)).await.is_none());
        let writer = spawn(async move {
            soon(stdin.write_all(&text)).await.unwrap();
            soon(stdin.flush()).await.unwrap();
            // Dropping it lets the child read end of file.
        });
        let mut copied = Vec::new();
        let mut random = Random(5);
        let mut buffer = vec![0; 5_000];
        loop {
            let length = 1 + usize::try_from(random.below(5_000)).unwrap();
            match at_most(random.below(3), stdout.read(&mut buffer[..length])).await {
                Some(read) => match read.unwrap() {
                    0 => break,
                    count => copied.extend_from_slice(&buffer[..count]),
                },
                None => sleep(Duration::from_micros(50)).await,
            }
        }
        assert!(copied == expected, "{} and {}", copied.len(), expected.len());
        writer.join().await;
        assert_eq!(soon(child.wait()).await.unwrap().code(), Some(0));
    });
    drop((child, stdout));
    until("the handles are closed", || table::count() <= before);
}

fn output_of_a_child_is_collected() {
    let before = table::count();
    let mut command = Command::new(this_program());
    command.args(role("prints", &["300000"])).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = Child::from(command.spawn().unwrap());
    let output = block_on(soon(child.wait_with_output())).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!((output.stdout, output.stderr), (vec![b'o'; 300_000], vec![b'e'; 300_000]));
    until("the handles are closed", || table::count() <= before);
}

fn child_is_waited_for_and_killed() {
    let (child, channel) = linked_in_role("never_reads", &[]);
    let mut child = Child::from(child);
    block_on(async {
        assert!(timeout(SHORT, child.wait()).await.is_none());
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        let status = soon(child.wait()).await.unwrap();
        assert!(!status.success());
        assert_eq!(child.try_wait().unwrap(), Some(status));
        assert_eq!(soon(child.wait()).await.unwrap(), status);
    });
    drop(channel);
}

fn child_becomes_blocking_again() {
    use std::io::{Read, Write};
    let mut command = Command::new(this_program());
    command.args(role("copies", &[])).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = Child::from(command.spawn().unwrap());
    block_on(async {
        let mut byte = [0];
        assert!(timeout(SHORT, child.stdout.as_mut().unwrap().read(&mut byte)).await.is_none());
        soon(child.stdin.as_mut().unwrap().write_all(b"a")).await.unwrap();
        soon(child.stdin.as_mut().unwrap().flush()).await.unwrap();
    });
    let mut child = handover::Child::from(child);
    let mut stdin = child.stdin.take().unwrap();
    let later = std::thread::spawn(move || {
        std::thread::sleep(SHORT);
        stdin.write_all(b"b").unwrap();
    });
    let mut text = String::new();
    // It waits for the second byte, and for the end.
    child.stdout.as_mut().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "ab");
    later.join().unwrap();
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn each_failing_call_is_reported() {
    let event = Event::auto_reset().unwrap();
    // The failing calls are those of this thread, on which the future is polled.
    let calls = || {
        let (one, other) = handover::Channel::pair()?;
        let one = Channel::from(one);
        let outcome = std::thread::scope(|scope| {
            let server = scope.spawn(|| {
                let call = other.recv_timeout(SOON)?;
                let event: Event = call.take("event")?;
                event.set()?;
                call.reply(Message::new(call.bytes()).with("event", &event))
            });
            let reply: handover::Result<ReceivedMessage> = block_on(async {
                let reply = soon(one.call(Message::new("question").with("event", &event))).await?;
                soon(wait(&event)).await?;
                soon(one.flush()).await?;
                Ok(reply)
            });
            one.get_ref().close();
            let served = server.join().expect("no panic");
            if reply.is_err() {
                // The event may still be set.
                let _ = event.reset();
            }
            let reply = reply?;
            served?;
            reply.take::<Event>("event")
        });
        outcome.map(|event| (event, one, other))
    };
    Sweep::of("futures: call, wait, flush").harmless(expect::HARMLESS_FUTURES).run(calls, drop);
    let speaks = || {
        let mut command = Command::new(this_program());
        command.args(role("prints", &["2000"])).stdin(Stdio::piped()).kill_on_drop(true);
        let child = Child::from(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
        let output = block_on(soon(child.wait_with_output()))?;
        assert_eq!((output.stdout.len(), output.stderr.len()), (2000, 2000));
        Ok(())
    };
    Sweep::of("futures: output of a child").harmless(expect::HARMLESS_FUTURES).run(speaks, |()| {});
}

fn peers_killed_at_random_leave_nothing() {
    let event = Event::manual_reset().unwrap();
    let mut random = Random(13);
    let mut before = 0;
    for round in 0..expect::ROUNDS_OF_KILLS {
        let (mut child, channel) = linked_in_role("echoes", &[]);
        let channel = Channel::from(channel);
        let tasks = (0..4_u64).map(|task| {
            let (channel, mut random) = (channel.clone(), Random(u64::from(round) * 8 + task));
            let event = event.try_clone().unwrap();
            spawn(async move {
                loop {
                    let bytes = vec![7; usize::try_from(random.below(100_000)).unwrap()];
                    let message = Message::new(bytes).with("event", &event);
                    let outcome = match task {
                        0 => channel.call(message).await.map(drop),
                        1 => channel.send(message).await,
                        2 => at_most(random.below(5), channel.call(message)).await.map_or(Ok(()), |reply| reply.map(drop)),
                        _ => channel.recv().await.map(drop),
                    };
                    if let Err(error) = outcome {
                        return error;
                    }
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        child.kill().unwrap();
        block_on(async {
            for task in tasks {
                let error = soon(task.join()).await;
                assert!(matches!(error, Error::ProcessExited { .. } | Error::Disconnected { .. }), "{error:?}");
            }
        });
        child.wait_timeout(SOON).unwrap();
        drop((child, channel));
        if round == 4 {
            // All that a process keeps exists by now.
            before = table::count();
        }
    }
    until("the handles are closed", || table::count() <= before);
}
