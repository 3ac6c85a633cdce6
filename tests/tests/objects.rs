//! What each kind of object does, and that it does it in another process, by whichever strategy it came there.

use std::os::windows::io::{AsHandle, OwnedHandle};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use handover::{
    Access, AsName, Channel, Child, Command, Error, Event, Kind, LockError, Message, Mutex, Object, Section,
    Semaphore, Share, Stdio, Timer, wait_any,
};
use handover_tests::{raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    handover_tests::main(
        tests![
            each_kind_travels_by_each_strategy,
            files_and_pipes_travel_as_what_they_are,
            what_travels_can_be_used_and_not_owned,
            a_mutex_is_one_threads_at_a_time,
            a_mutex_whose_owner_is_killed_is_abandoned,
            a_semaphore_counts,
            a_timer_goes_off,
            a_section_is_seen_whole_or_in_part,
            what_no_section_has_is_an_error,
            views_outlive_the_section,
            two_processes_count_to_two_hundred_thousand,
            all_that_signals_can_be_waited_for_together,
        ],
        tests![uses, sleeps, writes, holds_the_mutex, counts],
    )
}

fn in_role(name: &str, arguments: &[&str]) -> Command<'static> {
    let mut command = Command::new(this_program());
    command.args(role(name, arguments)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn sleeps(_: &[String]) {
    std::thread::sleep(Duration::from_secs(30));
}

const STRATEGIES: [&str; 3] = ["inheritance", "duplication", "naming"];

/// The object, by the strategy that the test says.
fn come<T: Object>(strategy: &str, by_name: impl FnOnce(&str) -> handover::Result<T>, name: &str) -> T {
    match strategy {
        "inheritance" => handover::inherited().unwrap().take("object").unwrap(),
        "duplication" => Channel::parent().unwrap().recv_timeout(SOON).unwrap().take("object").unwrap(),
        _ => by_name(name).unwrap(),
    }
}

/// Does to the object what the test then sees.
fn uses(arguments: &[String]) {
    let [kind, strategy, name] = arguments else { panic!("{arguments:?}") };
    match kind.as_str() {
        "event" => {
            let event = come(strategy, |name| Event::open_named(name, Access::EVENT_USE), name);
            event.set().unwrap();
        }
        "mutex" => {
            let mutex = come(strategy, |name| Mutex::open_named(name, Access::MUTEX_USE), name);
            let guard = mutex.try_lock().unwrap().expect("it is free");
            // Ending with it is what the parent sees.
            std::mem::forget(guard);
        }
        "semaphore" => {
            let semaphore = come(strategy, |name| Semaphore::open_named(name, Access::SEMAPHORE_USE), name);
            assert_eq!(semaphore.release(2).unwrap(), 0);
        }
        "section" => {
            let section = come(strategy, |name| Section::open_named(name, Access::SECTION_USE), name);
            assert_eq!(section.size().unwrap(), 8192, "nobody has said it");
            section.view_mut().unwrap().write(5000, b"from the child").unwrap();
        }
        "timer" => {
            let timer = come(strategy, |name| Timer::open_named(name, Access::TIMER_USE), name);
            timer.set_after(Duration::ZERO).unwrap();
        }
        other => panic!("{other}"),
    }
}

/// Lets a child use the object, and another process not have it.
fn travels<T: Object>(kind: &str, strategy: &str, name: &str, object: &T)
where
    for<'a> Share<'a>: From<&'a T>,
{
    let before = table::count();
    let nobody = in_role("sleeps", &[]).spawn().unwrap();
    let mut command = in_role("uses", &[kind, strategy, name]);
    let mut child: Child = match strategy {
        "inheritance" => command.inherit("object", object).spawn().unwrap(),
        "duplication" => command.channel().spawn().unwrap(),
        _ => command.spawn().unwrap(),
    };
    let channel = child.channel.take();
    if let Some(channel) = &channel {
        channel.send(Message::new(b"").with("object", object)).unwrap();
    }
    assert!(child.wait_timeout(SOON).unwrap().success(), "{kind} by {strategy}");
    assert_eq!(table::values_of(object, nobody.id()), [], "{kind} by {strategy}");
    drop((child, channel, command, nobody));
    assert_eq!(table::count(), before, "{kind} by {strategy}");
}

fn each_kind_travels_by_each_strategy() {
    fn named<N: AsName + ?Sized>(name: &N) -> &N {
        name
    }
    for strategy in STRATEGIES {
        let name = format!("matrix.{strategy}.{}", std::process::id());
        let name = |kind: &str| format!("{name}.{kind}");
        let is_named = strategy == "naming";
        let reset = handover::Reset::Auto;

        let of = name("event");
        let event = if is_named { Event::create_named(named(&of), reset) } else { Event::auto_reset() };
        let event = event.unwrap();
        travels("event", strategy, &of, &event);
        assert!(event.try_wait().unwrap());

        let of = name("mutex");
        let mutex = if is_named { Mutex::create_named(&of) } else { Mutex::new() };
        let mutex = mutex.unwrap();
        travels("mutex", strategy, &of, &mutex);
        assert!(matches!(mutex.try_lock(), Err(LockError::Abandoned(_))));

        let of = name("semaphore");
        let semaphore = if is_named { Semaphore::create_named(&of, 0, 3) } else { Semaphore::new(0, 3) };
        let semaphore = semaphore.unwrap();
        travels("semaphore", strategy, &of, &semaphore);
        let waits = [(); 3].map(|()| semaphore.try_wait().unwrap());
        assert_eq!(waits, [true, true, false]);

        let of = name("section");
        let section = if is_named { Section::create_named(&of, 5001) } else { Section::new(5001) };
        let section = section.unwrap();
        travels("section", strategy, &of, &section);
        let mut bytes = [0; 14];
        section.view().unwrap().read(5000, &mut bytes).unwrap();
        assert_eq!(&bytes, b"from the child");

        let of = name("timer");
        let timer = if is_named { Timer::create_named(&of, reset) } else { Timer::auto_reset() };
        let timer = timer.unwrap();
        travels("timer", strategy, &of, &timer);
        timer.wait_timeout(SOON).unwrap();
    }
}

/// Writes to what it was given.
fn writes(arguments: &[String]) {
    use std::io::Write;
    let mut file: std::fs::File = match arguments[0].as_str() {
        "inheritance" => handover::inherited().unwrap().take("object").unwrap(),
        _ => Channel::parent().unwrap().recv_timeout(SOON).unwrap().take("object").unwrap(),
    };
    file.write_all(b"from the child").unwrap();
}

fn files_and_pipes_travel_as_what_they_are() {
    use std::io::{Read, Seek};
    let path = std::env::temp_dir().join(format!("handover-test-{}", std::process::id()));
    for strategy in &STRATEGIES[..2] {
        let mut file =
            std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let (from, to) = raw::pipe();
        for object in [Share::from(&file), Share::from(&to)] {
            let mut command = in_role("writes", &[strategy]);
            if *strategy == "inheritance" {
                command.inherit("object", object);
            } else {
                command.channel();
            }
            let mut child = command.spawn().unwrap();
            let channel = child.channel.take();
            if let Some(channel) = channel {
                channel.send(Message::new(b"").with("object", object)).unwrap();
                drop(channel);
            }
            assert!(child.wait_timeout(SOON).unwrap().success());
        }
        drop(to);
        for written in [&mut file, &mut std::fs::File::from(from)] {
            let mut text = String::new();
            // A pipe has no place to go back to.
            let _ = written.rewind();
            written.read_to_string(&mut text).unwrap();
            assert_eq!(text, "from the child", "by {strategy}");
        }
    }
    std::fs::remove_file(path).unwrap();
}

fn what_travels_can_be_used_and_not_owned() {
    let child = in_role("sleeps", &[]).spawn().unwrap();
    let mask = |share: Share<'_>| {
        let copy = child.process().duplicate_into(share).unwrap();
        table::entry(child.id(), copy.value().get()).unwrap().access
    };
    let (mutex, semaphore) = (Mutex::new().unwrap(), Semaphore::new(0, 1).unwrap());
    let (section, timer) = (Section::new(1).unwrap(), Timer::manual_reset().unwrap());
    assert_eq!(mask((&mutex).into()), 0x0010_0001);
    assert_eq!(mask((&semaphore).into()), 0x0010_0002);
    assert_eq!(mask((&section).into()), 0x0000_0007);
    assert_eq!(mask((&timer).into()), 0x0010_0003);
    assert_eq!(mask(section.only(Access::SECTION_READ)), 0x0000_0005);
    // A handle that came with less is passed on with no more.
    let copy = child.process().duplicate_into(section.only(Access::SECTION_READ)).unwrap();
    let less: Section = child.process().duplicate_from(copy.value()).unwrap();
    assert_eq!(mask((&less).into()), 0x0000_0005);
    less.view().unwrap();
    match less.view_mut() {
        Err(Error::MissingRight { right, .. }) => assert_eq!(right, "SECTION_MAP_WRITE"),
        other => panic!("{other:?}"),
    }
    let copy = child.process().duplicate_into(semaphore.only(Access::SYNCHRONIZE)).unwrap();
    let less: Semaphore = child.process().duplicate_from(copy.value()).unwrap();
    assert!(matches!(less.release(1), Err(Error::MissingRight { right: "SEMAPHORE_MODIFY_STATE", .. })));
    let copy = child.process().duplicate_into(timer.only(Access::SYNCHRONIZE)).unwrap();
    let less: Timer = child.process().duplicate_from(copy.value()).unwrap();
    assert!(matches!(less.cancel(), Err(Error::MissingRight { right: "TIMER_MODIFY_STATE", .. })));
    assert!(!less.try_wait().unwrap());
    assert!(matches!(child.process().duplicate_from::<Timer>(copy.value()).map(drop), Ok(())));
    assert!(matches!(
        child.process().duplicate_from::<Mutex>(copy.value()),
        Err(Error::WrongKind { expected: Kind::Mutex, found: Kind::Timer, .. })
    ));
}

fn a_mutex_is_one_threads_at_a_time() {
    let mutex = Mutex::new().unwrap();
    let guard = mutex.lock().unwrap();
    let again = mutex.try_lock().unwrap().expect("the same thread gets it once more");
    let elsewhere =
        || std::thread::scope(|scope| scope.spawn(|| mutex.try_lock().unwrap().is_some()).join().unwrap());
    assert!(!elsewhere());
    drop(guard);
    assert!(!elsewhere(), "there is a second guard");
    drop(again);
    assert!(elsewhere());
    let guard = mutex.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let time = Duration::from_millis(100);
            match mutex.lock_timeout(time) {
                Err(LockError::Failed(Error::TimedOut { after, .. })) => assert_eq!(after, time),
                other => panic!("{other:?}"),
            }
        });
    });
    drop(guard);
    // A guard of nothing does nothing.
    drop(mutex.guard());
    assert!(elsewhere());
    // A thread that ends with it abandons it; the next one is told once.
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(mutex.lock().unwrap())).join().unwrap();
    });
    let error: Error = mutex.lock().map(drop).unwrap_err().into();
    assert!(matches!(error, Error::Abandoned), "{error:?}");
    assert!(elsewhere(), "by becoming an error it was released");
}

fn holds_the_mutex(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let mutex: Mutex = channel.recv_timeout(SOON).unwrap().take("mutex").unwrap();
    let _guard = mutex.lock().unwrap();
    channel.send(b"locked").unwrap();
    std::thread::sleep(Duration::from_secs(30));
}

fn a_mutex_whose_owner_is_killed_is_abandoned() {
    let mutex = Mutex::new().unwrap();
    let mut child = in_role("holds_the_mutex", &[]).channel().spawn().unwrap();
    let channel = child.channel.take().unwrap();
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

fn a_semaphore_counts() {
    let semaphore = Semaphore::new(1, 2).unwrap();
    semaphore.wait().unwrap();
    let time = Duration::from_millis(50);
    assert!(matches!(semaphore.wait_timeout(time), Err(Error::TimedOut { .. })));
    assert_eq!(semaphore.release(1).unwrap(), 0);
    assert_eq!(semaphore.release(1).unwrap(), 1);
    for wrong in [1, 0, u32::MAX] {
        let error = semaphore.release(wrong).unwrap_err();
        assert!(matches!(error, Error::InvalidInput { .. }), "{wrong}: {error:?}");
    }
    assert!(semaphore.try_wait().unwrap() && semaphore.try_wait().unwrap() && !semaphore.try_wait().unwrap());
    let before = table::count();
    for (count, maximum) in [(2, 1), (0, 0), (1, u32::MAX), (u32::MAX, 1)] {
        assert!(matches!(Semaphore::new(count, maximum), Err(Error::InvalidInput { .. })));
    }
    assert_eq!(table::count(), before);
}

fn a_timer_goes_off() {
    let (manual, auto) = (Timer::manual_reset().unwrap(), Timer::auto_reset().unwrap());
    let (started, time) = (Instant::now(), Duration::from_millis(60));
    for timer in [&manual, &auto] {
        assert!(!timer.try_wait().unwrap());
        timer.set_after(time).unwrap();
    }
    manual.wait_timeout(SOON).unwrap();
    auto.wait_timeout(SOON).unwrap();
    assert!(started.elapsed() >= time - Duration::from_millis(16), "{:?}", started.elapsed());
    assert!(manual.try_wait().unwrap() && !auto.try_wait().unwrap());
    auto.set_every(Duration::ZERO, Duration::from_millis(20)).unwrap();
    for _ in 0..3 {
        auto.wait_timeout(SOON).unwrap();
    }
    auto.cancel().unwrap();
    let _ = auto.try_wait().unwrap();
    assert!(matches!(auto.wait_timeout(time), Err(Error::TimedOut { .. })), "it was stopped");
    auto.set_after(Duration::from_secs(3600)).unwrap();
    assert!(!auto.try_wait().unwrap());
    for wrong in [Duration::ZERO, Duration::from_micros(900), Duration::from_secs(u64::MAX)] {
        assert!(matches!(auto.set_every(Duration::ZERO, wrong), Err(Error::InvalidInput { .. })));
    }
    assert!(matches!(auto.set_after(Duration::MAX), Err(Error::InvalidInput { .. })));
}

fn a_section_is_seen_whole_or_in_part() {
    let section = Section::new(200_000).unwrap();
    let size = section.size().unwrap();
    assert_eq!(size, 200_704, "whole pages");
    let whole = section.view_mut().unwrap();
    assert_eq!(whole.len(), size);
    assert!(whole.to_vec().iter().all(|byte| *byte == 0));
    whole.write(70_000, b"in the middle").unwrap();
    whole.write(size - 3, b"end").unwrap();
    // From a place where no page begins.
    let part = section.view_of(70_000, 13).unwrap();
    assert_eq!((part.len(), part.to_vec().as_slice()), (13, &b"in the middle"[..]));
    let part = section.view_mut_of(69_996, 100).unwrap();
    part.write(4, b"IN").unwrap();
    let mut bytes = [0; 4];
    whole.read(70_000, &mut bytes).unwrap();
    assert_eq!(&bytes, b"IN t");
    whole.atomic_u64(8).unwrap().store(7, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(whole.atomic_u32(8).unwrap().load(std::sync::atomic::Ordering::SeqCst), 7);
}

fn what_no_section_has_is_an_error() {
    let before = table::count();
    let invalid = |error: Error| assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
    invalid(Section::new(0).unwrap_err());
    let huge = Section::new(1 << 60).unwrap_err();
    assert!(matches!(huge, Error::System { call: "CreateFileMappingW", .. }), "{huge:?}");
    let section = Section::new(4096).unwrap();
    for (from, length) in [(0, 0), (0, 4097), (4096, 1), (1, 4096), (usize::MAX, 1), (1, usize::MAX)] {
        invalid(section.view_of(from, length).unwrap_err());
        invalid(section.view_mut_of(from, length).unwrap_err());
    }
    let view = section.view_mut_of(8, 16).unwrap();
    invalid(view.write(0, &[1; 17]).unwrap_err());
    assert!(view.to_vec().iter().all(|byte| *byte == 0), "none of it was written");
    for at in [16, 17, usize::MAX] {
        invalid(view.write(at, b"x").unwrap_err());
        invalid(view.read(at, &mut [0]).unwrap_err());
        invalid(view.atomic_u32(at).map(drop).unwrap_err());
    }
    view.read(16, &mut []).unwrap();
    for at in [1, 2, 4, 12] {
        invalid(view.atomic_u64(at).map(drop).unwrap_err());
    }
    for at in [1, 2, 3, 14] {
        invalid(view.atomic_u32(at).map(drop).unwrap_err());
    }
    view.atomic_u64(8).map(drop).unwrap();
    drop((section, view));
    assert_eq!(table::count(), before);
}

fn views_outlive_the_section() {
    let section = Section::new(100).unwrap();
    let (writing, reading) = (section.view_mut().unwrap(), section.view().unwrap());
    drop(section);
    writing.write(0, b"still here").unwrap();
    drop(writing);
    assert!(reading.to_vec().starts_with(b"still here"));
}

/// Adds one so many times, each under the mutex, without the help of atomic arithmetic.
fn count(mutex: &Mutex, section: &Section, times: u32) {
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
    let mut message = channel.recv_timeout(SOON).unwrap();
    let (mutex, section) = (message.take("mutex").unwrap(), message.take("section").unwrap());
    channel.send(b"begins").unwrap();
    count(&mutex, &section, TIMES);
    channel.send(b"done").unwrap();
}

fn two_processes_count_to_two_hundred_thousand() {
    let (mutex, section) = (Mutex::new().unwrap(), Section::new(4).unwrap());
    let mut child = in_role("counts", &[]).channel().spawn().unwrap();
    let channel = child.channel.take().unwrap();
    channel.send(Message::new(b"").with("mutex", &mutex).with("section", &section)).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"begins");
    count(&mutex, &section, TIMES);
    assert_eq!(channel.recv_timeout(Duration::from_secs(120)).unwrap().bytes(), b"done");
    let view = section.view_mut().unwrap();
    assert_eq!(view.atomic_u32(0).unwrap().load(std::sync::atomic::Ordering::SeqCst), 2 * TIMES);
}

fn all_that_signals_can_be_waited_for_together() {
    let (event, mutex) = (Event::auto_reset().unwrap(), Mutex::new().unwrap());
    let (semaphore, timer) = (Semaphore::new(0, 1).unwrap(), Timer::auto_reset().unwrap());
    let guard = mutex.lock().unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let came = wait_any(&[&event, &mutex, &semaphore, &timer], SOON).unwrap();
            drop(mutex.guard());
            came
        });
        drop(guard);
        let came = waiter.join().unwrap();
        assert_eq!((came.place, came.abandoned), (1, false));
    });
    // Abandonment is said here as well.
    std::thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(mutex.lock().unwrap())).join().unwrap();
    });
    let came = wait_any(&[&event, &mutex], SOON).unwrap();
    assert_eq!((came.place, came.abandoned), (1, true));
    let guard = mutex.guard();
    semaphore.release(1).unwrap();
    assert_eq!(wait_any(&[&event, &semaphore, &timer], SOON).unwrap(), 1);
    timer.set_after(Duration::ZERO).unwrap();
    assert_eq!(wait_any(&[&event, &semaphore, &timer], SOON).unwrap(), 2);
    drop(guard);
    let handle: OwnedHandle = timer.into();
    assert!(table::same_object(handle.as_handle(), handle.as_handle()));
}
