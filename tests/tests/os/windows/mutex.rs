//! Tests of mutexes, which are kernel objects on Windows, and of semaphores with a maximum.

use std::time::{Duration, Instant};

use handover::os::windows::{LockError, Mutex, wait_any};
use handover::{Channel, Command, Error, Event, Message, Semaphore, SharedMemory, Stdio};
use handover_tests::{Suite, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "mutex",
    tests: tests![
        mutex_travels_by_each_strategy,
        mutex_excludes_other_threads,
        mutex_of_killed_owner_is_abandoned,
        mutex_excludes_two_processes,
        wait_any_reports_abandoned_mutex,
        lock_error_has_same_text_as_error,
        semaphore_has_a_maximum,
    ],
    roles: tests![exits_with_mutex_locked, holds_the_mutex, counts],
};

fn in_role(name: &str, arguments: &[&str]) -> Command<'static> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn exits_with_mutex_locked(arguments: &[String]) {
    let mutex: Mutex = match arguments[0].as_str() {
        "inheritance" => handover::inherited().unwrap().take("object").unwrap(),
        "duplication" => Channel::parent().unwrap().recv_timeout(SOON).unwrap().take("object").unwrap(),
        _ => Mutex::open_named(&arguments[1]).unwrap(),
    };
    // The process exits with the mutex locked, which the parent observes.
    std::mem::forget(mutex.try_lock().unwrap().expect("it is free"));
}

fn mutex_travels_by_each_strategy() {
    let name = format!("mutex.{}", std::process::id());
    let named = Mutex::create_named(&name).unwrap();
    let own = Mutex::new().unwrap();
    for (strategy, mutex) in [("inheritance", &own), ("duplication", &own), ("naming", &named)] {
        let mut command = in_role("exits_with_mutex_locked", &[strategy, &name]);
        if strategy == "inheritance" {
            command.inherit("object", mutex);
        }
        let mut child = command.channel().spawn().unwrap();
        if strategy == "duplication" {
            child.take_channel().unwrap().send(Message::new(b"").with("object", mutex)).unwrap();
        }
        assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0), "by {strategy}");
        assert!(matches!(mutex.try_lock(), Err(LockError::Abandoned(_))), "by {strategy}");
    }
}

fn mutex_excludes_other_threads() {
    let mutex = Mutex::new().unwrap();
    let guard = mutex.lock().unwrap();
    let again = mutex.try_lock().unwrap().expect("the owning thread can lock it again");
    let elsewhere =
        || std::thread::scope(|scope| scope.spawn(|| mutex.try_lock().unwrap().is_some()).join().unwrap());
    assert!(!elsewhere());
    drop(guard);
    assert!(!elsewhere(), "a second guard still exists");
    drop(again);
    assert!(elsewhere());
    let guard = mutex.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let time = Duration::from_millis(100);
            match mutex.lock_timeout(time) {
                Err(LockError::Failed(Error::TimedOut { timeout: after, .. })) => assert_eq!(after, time),
                other => panic!("{other:?}"),
            }
        });
    });
    drop(guard);
    // Dropping a guard of a mutex that isn't locked has no effect.
    drop(mutex.guard());
    assert!(elsewhere());
    // A thread that ends with the mutex locked abandons it. The next owner is notified once.
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(mutex.lock().unwrap())).join().unwrap();
    });
    let error: Error = mutex.lock().map(drop).unwrap_err().into();
    assert!(matches!(error, Error::Abandoned { .. }), "{error:?}");
    assert!(elsewhere(), "converting it to an error has unlocked it");
}

fn holds_the_mutex(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let mutex: Mutex = channel.recv_timeout(SOON).unwrap().take("mutex").unwrap();
    let _guard = mutex.lock().unwrap();
    channel.send(b"locked").unwrap();
    std::thread::sleep(Duration::from_secs(30));
}

fn mutex_of_killed_owner_is_abandoned() {
    let mutex = Mutex::new().unwrap();
    let mut child = in_role("holds_the_mutex", &[]).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    channel.send(Message::new(b"").with("mutex", &mutex)).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"locked");
    assert!(mutex.try_lock().unwrap().is_none());
    child.kill().unwrap();
    let started = Instant::now();
    match mutex.lock_timeout(SOON) {
        Err(LockError::Abandoned(guard)) => drop(guard),
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    drop(mutex.lock().unwrap());
}

/// Increments a number in shared memory this many times. It holds the mutex during each increment, and doesn't use
/// atomic arithmetic.
fn count(mutex: &Mutex, section: &SharedMemory, times: u32) {
    use std::sync::atomic::Ordering::Relaxed;
    let view = section.view_mut().unwrap();
    let number = view.atomic_u32(0).unwrap();
    for _ in 0..times {
        let guard = mutex.lock().unwrap();
        number.store(number.load(Relaxed) + 1, Relaxed);
        drop(guard);
    }
}

const TIMES: u32 = 100_000;

fn counts(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    let (mutex, section) = (message.take("mutex").unwrap(), message.take("section").unwrap());
    channel.send(b"begins").unwrap();
    count(&mutex, &section, TIMES);
    channel.send(b"done").unwrap();
}

fn mutex_excludes_two_processes() {
    let (mutex, section) = (Mutex::new().unwrap(), SharedMemory::new(4).unwrap());
    let mut child = in_role("counts", &[]).channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    channel.send(Message::new(b"").with("mutex", &mutex).with("section", &section)).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"begins");
    count(&mutex, &section, TIMES);
    assert_eq!(channel.recv_timeout(Duration::from_secs(120)).unwrap().bytes(), b"done");
    let view = section.view_mut().unwrap();
    assert_eq!(view.atomic_u32(0).unwrap().load(std::sync::atomic::Ordering::SeqCst), 2 * TIMES);
}

fn wait_any_reports_abandoned_mutex() {
    let (event, mutex) = (Event::auto_reset().unwrap(), Mutex::new().unwrap());
    let guard = mutex.lock().unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let signaled = wait_any(&[&event, &mutex], SOON).unwrap();
            drop(mutex.guard());
            signaled
        });
        drop(guard);
        let signaled = waiter.join().unwrap();
        assert_eq!((signaled.index, signaled.abandoned()), (1, false));
    });
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(mutex.lock().unwrap())).join().unwrap();
    });
    let signaled = wait_any(&[&event, &mutex], SOON).unwrap();
    assert_eq!((signaled.index, signaled.abandoned()), (1, true));
    drop(mutex.guard());
}

fn semaphore_has_a_maximum() {
    let semaphore = Semaphore::with_maximum(1, 2).unwrap();
    semaphore.wait().unwrap();
    assert_eq!(semaphore.release_returning_previous(1).unwrap(), 0);
    assert_eq!(semaphore.release_returning_previous(1).unwrap(), 1);
    for wrong in [1, 0, u32::MAX] {
        let error = semaphore.release(wrong).unwrap_err();
        assert!(matches!(error, Error::InvalidInput { .. }), "{wrong}: {error:?}");
    }
    assert!(semaphore.try_wait().unwrap() && semaphore.try_wait().unwrap() && !semaphore.try_wait().unwrap());
    let before = table::count();
    for (count, maximum) in [(2, 1), (0, 0), (1, u32::MAX), (u32::MAX, 1)] {
        assert!(matches!(Semaphore::with_maximum(count, maximum), Err(Error::InvalidInput { .. })));
    }
    assert_eq!(table::count(), before);
}

fn lock_error_has_same_text_as_error() {
    let mutex = Mutex::new().unwrap();
    let abandoned = LockError::Abandoned(mutex.guard());
    let text = abandoned.to_string();
    assert_eq!(text, Error::from(abandoned).to_string());
}
