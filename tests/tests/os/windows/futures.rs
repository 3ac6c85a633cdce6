//! Tests of futures on Windows: whose thread waits, what a dropped wait has taken, and what a dropped stream writes.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use handover::tokio::{Channel, Child, Listener, wait};
use handover::{Command, Error, Event, Message, Semaphore, Stdio, Timer};
use handover_tests::adapters::tokio::{AsyncWriteExt, block_on, prepare, timeout};
use handover_tests::door;
use handover_tests::{
    Suite, assert_exits_successfully, linked_in_role, role, table, tests, this_program, until,
};

const SOON: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

pub(super) const SUITE: Suite = Suite {
    name: "futures",
    tests: tests![
        dropped_wait_puts_back_what_it_has_taken,
        wake_that_drops_its_task_ends_the_wait,
        transfers_outlive_the_threads_that_began_them,
        threads_that_wait_exit_when_they_are_idle,
        channels_without_a_task_keep_no_thread_but_the_first,
        dropped_stdin_writes_what_it_has_accepted,
        dropped_accept_leaves_nothing_in_the_client,
        stream_of_another_kind_is_refused,
    ],
    roles: tests![reads_late, counts_late],
};

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Polls the future once, with a waker that counts.
fn poll_once<F: Future>(future: Pin<&mut F>) -> (Poll<F::Output>, Arc<Counter>) {
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(counter.clone());
    (future.poll(&mut Context::from_waker(&waker)), counter)
}

/// Begins to wait, calls `signal`, and drops the future once the signal is taken.
fn take_and_drop<F: Future>(future: F, signal: impl FnOnce()) {
    let mut future = pin!(future);
    let (polled, counter) = poll_once(future.as_mut());
    assert!(polled.is_pending());
    signal();
    until("the task is woken", || counter.0.load(SeqCst) == 1);
}

fn dropped_wait_puts_back_what_it_has_taken() {
    prepare();
    let (event, semaphore) = (Event::auto_reset().unwrap(), Semaphore::new(0).unwrap());
    let (manual, timer) = (Event::manual_reset().unwrap(), Timer::auto_reset().unwrap());
    let before = table::count();
    for _ in 0..20 {
        take_and_drop(wait(&event), || event.set().unwrap());
        assert!(event.try_wait().unwrap() && !event.try_wait().unwrap());
        take_and_drop(wait(&semaphore), || semaphore.release(1).unwrap());
        assert!(semaphore.try_wait().unwrap() && !semaphore.try_wait().unwrap());
        take_and_drop(wait(&manual), || manual.set().unwrap());
        assert!(manual.try_wait().unwrap());
        manual.reset().unwrap();
        // The documentation says that this one can't be put back.
        take_and_drop(wait(&timer), || timer.set_once(Duration::from_millis(1)).unwrap());
        assert!(!timer.try_wait().unwrap());
    }
    assert_eq!(table::count(), before);
}

/// A task that drops its future when it is woken.
struct Dropped {
    future: Mutex<Option<Boxed>>,
    drops: AtomicUsize,
}

impl Wake for Dropped {
    fn wake(self: Arc<Self>) {
        let future = self.future.lock().unwrap().take();
        drop(future);
        self.drops.fetch_add(1, SeqCst);
    }
}

fn assert_ends_when_woken(future: Boxed, signal: impl FnOnce()) {
    let task = Arc::new(Dropped { future: Mutex::new(None), drops: AtomicUsize::new(0) });
    let waker = Waker::from(task.clone());
    {
        let mut slot = task.future.lock().unwrap();
        let future = slot.insert(future);
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    signal();
    until("the wake has dropped the task", || task.drops.load(SeqCst) > 0);
}

fn wake_that_drops_its_task_ends_the_wait() {
    prepare();
    let before = table::count();
    for _ in 0..20 {
        let event = Arc::new(Event::auto_reset().unwrap());
        let waited = event.clone();
        let future = Box::pin(async move { wait(&*waited).await.unwrap() });
        assert_ends_when_woken(future, || event.set().unwrap());
        assert!(event.try_wait().unwrap(), "the drop has put it back");
        let (one, other) = handover::Channel::pair().unwrap();
        let receiver = Channel::from(one.clone());
        let future = Box::pin(async move { drop(receiver.recv().await) });
        assert_ends_when_woken(future, || other.send("hello").unwrap());
        assert_eq!(one.recv_timeout(SOON).unwrap().bytes(), b"hello");
    }
    until("the handles are closed", || table::count() <= before);
}

/// A role: receives after a moment, and sends the length of each message, until the parent closes the channel.
fn reads_late(_: &[String]) {
    let channel = handover::Channel::parent().unwrap();
    std::thread::sleep(SHORT * 5);
    loop {
        match channel.recv_timeout(SOON) {
            Ok(message) => {
                // The parent begins to receive before that.
                std::thread::sleep(SHORT * 5);
                channel.send(message.bytes().len().to_string()).unwrap();
            }
            Err(Error::Disconnected { .. }) => return,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Polls the future once, in a thread that exits then.
fn begin_in_a_thread<T: Send>(mut future: Pin<&mut (dyn Future<Output = T> + Send)>) {
    std::thread::scope(|scope| {
        let begun =
            scope.spawn(|| future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(begun.join().unwrap());
    });
    // The exit cancels the thread's transfers.
    std::thread::sleep(SHORT);
}

fn transfers_outlive_the_threads_that_began_them() {
    let (child, channel) = linked_in_role("reads_late", &[]);
    let channel = Channel::from(channel);
    let event = Event::manual_reset().unwrap();
    let message = Message::new(vec![1; 5 << 20]).with("event", &event);
    {
        let mut send = pin!(channel.send(message));
        begin_in_a_thread(send.as_mut());
        block_on(timeout(SOON, send)).expect("in time").unwrap();
    }
    {
        let mut receive = pin!(channel.recv());
        begin_in_a_thread(receive.as_mut());
        let received = block_on(timeout(SOON, receive)).expect("in time").unwrap();
        assert_eq!(received.bytes(), (5 << 20).to_string().as_bytes());
    }
    // A send that is dropped there is finished by the next.
    {
        let mut send = pin!(channel.send(vec![2; 3 << 20]));
        let _ = poll_once(send.as_mut());
    }
    block_on(timeout(SOON, channel.flush())).expect("in time").unwrap();
    let received = block_on(timeout(SOON, channel.recv())).expect("in time").unwrap();
    assert_eq!(received.bytes(), (3 << 20).to_string().as_bytes());
    assert_exits_successfully(child, channel.into());
}

fn threads_that_wait_exit_when_they_are_idle() {
    const COUNT: usize = 300;
    prepare();
    let before = (table::threads(), table::count());
    let events: Vec<_> = (0..COUNT).map(|_| Event::manual_reset().unwrap()).collect();
    let mut waits: Vec<_> = events.iter().map(|event| Box::pin(wait(event))).collect();
    for wait in &mut waits {
        assert!(poll_once(wait.as_mut()).0.is_pending());
    }
    let threads = table::threads();
    assert!((before.0 + 4..=before.0 + 5).contains(&threads), "{threads} and {}", before.0);
    drop(waits);
    drop(events);
    until("the threads have exited", || table::threads() <= before.0);
    assert_eq!(table::count(), before.1);
}

fn channels_without_a_task_keep_no_thread_but_the_first() {
    const COUNT: usize = 100;
    prepare();
    let before = (table::threads(), table::count());
    let pair = || handover::Channel::pair().map(|(one, other)| (Channel::from(one), other)).unwrap();
    let pairs: Vec<_> = (0..COUNT).map(|_| pair()).collect();
    let mut receives: Vec<_> = pairs.iter().map(|(channel, _)| Box::pin(channel.recv())).collect();
    for receive in &mut receives {
        assert!(poll_once(receive.as_mut()).0.is_pending());
    }
    assert!(table::threads() > before.0);
    drop(receives);
    until("the threads have exited", || table::threads() <= before.0);
    for (channel, other) in &pairs {
        other.send("after").unwrap();
        assert_eq!(block_on(timeout(SOON, channel.recv())).expect("in time").unwrap().bytes(), b"after");
    }
    drop(pairs);
    until("the handles are closed", || table::count() <= before.1);
}

/// A role: reads its standard input after a moment, and exits with a status that says whether it is as long as the argument says.
fn counts_late(arguments: &[String]) {
    use std::io::Read;
    std::thread::sleep(SHORT * 3);
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).unwrap();
    let is_right = bytes.len().to_string() == arguments[0] && bytes.iter().all(|byte| *byte == 7);
    std::process::exit(if is_right { 3 } else { 4 });
}

fn dropped_stdin_writes_what_it_has_accepted() {
    const LENGTH: usize = 2 * 64 * 1024;
    prepare();
    let before = table::count();
    let mut command = Command::new(this_program());
    command.args(role("counts_late", &[&LENGTH.to_string()])).stdin(Stdio::piped()).kill_on_drop(true);
    let mut child = Child::from(command.spawn().unwrap());
    let mut stdin = child.stdin.take().unwrap();
    block_on(async {
        // More than the pipe holds, so the last write is under way.
        timeout(SOON, stdin.write_all(&[7; LENGTH])).await.expect("in time").unwrap();
        drop(stdin);
        assert_eq!(timeout(SOON, child.wait()).await.expect("in time").unwrap().code(), Some(3));
    });
    drop(child);
    until("the handles are closed", || table::count() <= before);
    // A child that exits without reading ends the write.
    let mut command = Command::new(this_program());
    command.args(role("counts_late", &["0"])).stdin(Stdio::piped()).kill_on_drop(true);
    let mut child = Child::from(command.spawn().unwrap());
    let mut stdin = child.stdin.take().unwrap();
    block_on(async {
        timeout(SOON, stdin.write_all(&[7; LENGTH])).await.expect("in time").unwrap();
        drop(stdin);
        child.kill().unwrap();
        timeout(SOON, child.wait()).await.expect("in time").unwrap();
    });
    drop(child);
    until("the handles are closed", || table::count() <= before);
}

fn dropped_accept_leaves_nothing_in_the_client() {
    prepare();
    let name = format!("test.futures.{}", std::process::id());
    let mut listener = Listener::bind(&name).unwrap();
    // This process is the client too, so the handles of its endpoint would be here.
    for _ in 0..3 {
        let before = table::count();
        let client = door::connect(&name).unwrap();
        let incoming = block_on(timeout(SOON, listener.accept())).expect("in time").unwrap();
        {
            let mut accept = pin!(incoming.accept());
            assert!(poll_once(accept.as_mut()).0.is_pending());
            assert!(table::count() >= before + 8, "{} and {before}", table::count());
        }
        drop(client);
        until("the handles are closed", || table::count() <= before);
    }
}

fn stream_of_another_kind_is_refused() {
    let file = std::fs::File::open("NUL").unwrap();
    let stdin = std::process::ChildStdin::from(std::os::windows::io::OwnedHandle::from(file));
    let mut stdin = handover::tokio::ChildStdin::from(stdin);
    let error = block_on(stdin.write_all(b"bytes")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("overlapped"), "{error}");
}
