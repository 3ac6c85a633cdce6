//! Tests of events as the kernel implements them: eventfds, which other programs may use with other flags.

use std::time::{Duration, Instant};

use handover::{Channel, Child, Command, Error, Event, Message, Semaphore, Stdio, Timer};
use handover_tests::{Suite, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "events",
    tests: tests![
        events_behave_the_same_in_another_process,
        foreign_event_is_auto_reset_and_never_blocks,
        auto_reset_event_wakes_one_of_many_waiters,
        set_and_release_never_block_on_full_counter,
        timer_keeps_reset_mode_in_another_process,
    ],
    roles: tests![uses_events, takes_event, sends_back, waits_for_timers],
};

fn in_role(name: &str) -> (Child, Channel) {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).stdin(Stdio::null()).kill_on_drop(true);
    let mut child = command.channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    (child, channel)
}

fn assert_exits_successfully(mut child: Child, channel: Channel) {
    drop(channel);
    assert_eq!(child.wait_timeout(SOON).unwrap().code(), Some(0));
}

fn uses_events(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    let (manual, auto): (Event, Event) = (message.take("manual").unwrap(), message.take("auto").unwrap());
    // Both events arrive set.
    assert_eq!([(); 3].map(|()| manual.try_wait().unwrap()), [true; 3]);
    assert_eq!([(); 2].map(|()| auto.try_wait().unwrap()), [true, false]);
    manual.reset().unwrap();
    assert!(!manual.try_wait().unwrap());
    channel.send(b"reset").unwrap();
    manual.wait_timeout(SOON).unwrap();
    auto.wait_timeout(SOON).unwrap();
    assert!(manual.try_wait().unwrap() && !auto.try_wait().unwrap());
    auto.set().unwrap();
    channel.send(b"set").unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn events_behave_the_same_in_another_process() {
    let (manual, auto) = (Event::manual_reset().unwrap(), Event::auto_reset().unwrap());
    for event in [&manual, &auto] {
        // Setting an event twice has the same effect as setting it once.
        event.set().unwrap();
        event.set().unwrap();
    }
    let (child, channel) = in_role("uses_events");
    channel.send(Message::new(b"").with("manual", &manual).with("auto", &auto)).unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"reset");
    assert!(!manual.try_wait().unwrap() && !auto.try_wait().unwrap());
    manual.set().unwrap();
    auto.set().unwrap();
    assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"set");
    assert!(manual.try_wait().unwrap() && manual.try_wait().unwrap());
    assert!(auto.try_wait().unwrap() && !auto.try_wait().unwrap());
    assert_exits_successfully(child, channel);
}

/// Returns an event that another program has made: a read of it blocks.
fn foreign_event() -> Event {
    let raw = raw::event();
    let (child, channel) = in_role("takes_event");
    channel.send(Message::new(b"back").with("event", &raw)).unwrap();
    let event = channel.recv_timeout(SOON).unwrap().take("event").unwrap();
    assert_exits_successfully(child, channel);
    event
}

fn foreign_event_is_auto_reset_and_never_blocks() {
    let event = foreign_event();
    let flags = table::entry(std::process::id(), table::value(&event)).unwrap().access;
    assert_eq!(flags & 0o4000, 0, "the control: a read would block");
    let started = Instant::now();
    assert!(!event.try_wait().unwrap());
    event.reset().unwrap();
    assert!(matches!(event.wait_timeout(Duration::from_millis(100)), Err(Error::TimedOut { .. })));
    event.set().unwrap();
    event.set().unwrap();
    assert!(event.try_wait().unwrap());
    assert!(!event.try_wait().unwrap(), "one wait takes both");
    event.set().unwrap();
    event.reset().unwrap();
    assert!(!event.try_wait().unwrap());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let after = table::entry(std::process::id(), table::value(&event)).unwrap().access;
    assert_eq!(after, flags, "the library leaves its file status flags unchanged");
}

fn sends_back(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let semaphore: Semaphore = channel.recv_timeout(SOON).unwrap().take("semaphore").unwrap();
    channel.send(Message::new(b"").with("semaphore", &semaphore)).unwrap();
}

/// Sends an event back; or takes an event as often as possible, and reports how often.
fn takes_event(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    let event: Event = message.take("event").unwrap();
    if message.bytes() == b"back" {
        channel.send(Message::new(b"").with("event", &event)).unwrap();
        return;
    }
    let stop: Event = message.take("stop").unwrap();
    channel.send(b"begins").unwrap();
    let mut taken = 0_u32;
    while !stop.try_wait().unwrap() {
        taken += u32::from(event.try_wait().unwrap());
    }
    taken += u32::from(event.try_wait().unwrap());
    channel.send(taken.to_string().as_str()).unwrap();
    assert!(matches!(channel.recv_timeout(SOON), Err(Error::Disconnected { .. })));
}

fn auto_reset_event_wakes_one_of_many_waiters() {
    // A blocking read would hang the second process: another one can take the event between a poll and a read.
    for event in [Event::auto_reset().unwrap(), foreign_event()] {
        let stop = Event::manual_reset().unwrap();
        let others = [(); 2].map(|()| in_role("takes_event"));
        for (_, channel) in &others {
            channel.send(Message::new(b"").with("event", &event).with("stop", &stop)).unwrap();
            assert_eq!(channel.recv_timeout(SOON).unwrap().bytes(), b"begins");
        }
        const TIMES: u32 = 2000;
        let mut taken = 0;
        for _ in 0..TIMES {
            event.set().unwrap();
            taken += u32::from(event.try_wait().unwrap());
        }
        std::thread::sleep(Duration::from_millis(100));
        stop.set().unwrap();
        for (child, channel) in others {
            let said = channel.recv_timeout(SOON).unwrap().into_bytes();
            taken += std::str::from_utf8(&said).unwrap().parse::<u32>().unwrap();
            assert_exits_successfully(child, channel);
        }
        // Two sets in quick succession can be taken as one, but one set is never taken twice.
        assert!(taken > 0 && taken <= TIMES, "{taken}");
        assert!(!event.try_wait().unwrap());
    }
}

fn set_and_release_never_block_on_full_counter() {
    use std::os::fd::AsFd;
    // The eventfd's counter is at its maximum, which no program does by accident.
    let event = foreign_event();
    let mut file = std::fs::File::from(event.as_fd().try_clone_to_owned().unwrap());
    std::io::Write::write_all(&mut file, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    let started = Instant::now();
    event.set().unwrap();
    assert!(event.try_wait().unwrap() && !event.try_wait().unwrap());
    let semaphore = Semaphore::new(0x7fff_ffff).unwrap();
    let mut file = std::fs::File::from(semaphore.as_fd().try_clone_to_owned().unwrap());
    std::io::Write::write_all(&mut file, &(u64::MAX - 1 - 0x7fff_ffff).to_ne_bytes()).unwrap();
    let error = semaphore.release(1).unwrap_err();
    assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
    // A write to a semaphore of another program would block while its counter is full.
    let raw = raw::semaphore();
    let mut file = std::fs::File::from(raw.as_fd().try_clone_to_owned().unwrap());
    std::io::Write::write_all(&mut file, &(u64::MAX - 3).to_ne_bytes()).unwrap();
    let (child, channel) = in_role("sends_back");
    channel.send(Message::new(b"").with("semaphore", &raw)).unwrap();
    let semaphore: Semaphore = channel.recv_timeout(SOON).unwrap().take("semaphore").unwrap();
    assert_exits_successfully(child, channel);
    semaphore.release(1).unwrap();
    let error = semaphore.release(10).unwrap_err();
    assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

fn waits_for_timers(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let message = channel.recv_timeout(SOON).unwrap();
    let (manual, auto): (Timer, Timer) = (message.take("manual").unwrap(), message.take("auto").unwrap());
    manual.wait_timeout(SOON).unwrap();
    auto.wait_timeout(SOON).unwrap();
    assert!(manual.try_wait().unwrap() && !auto.try_wait().unwrap());
    manual.cancel().unwrap();
    assert!(manual.try_wait().unwrap(), "a timer that is canceled after it expired stays signaled");
    manual.set_once(Duration::from_secs(3600)).unwrap();
    assert!(!manual.try_wait().unwrap(), "a timer that is set again is not signaled");
}

fn timer_keeps_reset_mode_in_another_process() {
    let (manual, auto) = (Timer::manual_reset().unwrap(), Timer::auto_reset().unwrap());
    let (child, channel) = in_role("waits_for_timers");
    channel.send(Message::new(b"").with("manual", &manual).with("auto", &auto)).unwrap();
    manual.set_once(Duration::from_millis(50)).unwrap();
    auto.set_once(Duration::from_millis(50)).unwrap();
    let end = channel.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. } | Error::ProcessExited { .. })), "{end:?}");
    assert_exits_successfully(child, channel);
    assert!(!manual.try_wait().unwrap() && !auto.try_wait().unwrap());
}
