//! Events as the kernel has them: counters that other programs use too, and some of them otherwise.

use std::time::{Duration, Instant};

use handover::{Channel, Child, Command, Error, Event, Message, Semaphore, Stdio, Timer};
use handover_tests::{Suite, raw, role, table, tests, this_program};

const SOON: Duration = Duration::from_secs(10);

pub(super) const SUITE: Suite = Suite {
    name: "events",
    tests: tests![
        an_event_is_for_another_process_what_it_is_here,
        an_event_of_another_program_resets_itself_and_never_blocks,
        of_many_waiters_in_two_processes_one_gets_it,
        a_full_counter_is_no_reason_to_wait,
        a_timers_way_travels_with_it,
    ],
    roles: tests![uses_events, takes_what_comes, sends_back, waits_for_timers],
};

fn in_role(name: &str) -> (Child, Channel) {
    let mut command = Command::new(this_program());
    command.args(role(name, &[])).stdin(Stdio::null()).kill_on_drop(true);
    let mut child = command.channel().spawn().unwrap();
    let channel = child.take_channel().unwrap();
    (child, channel)
}

fn ends_well(mut child: Child, channel: Channel) {
    drop(channel);
    assert!(child.wait_timeout(SOON).unwrap().success());
}

fn uses_events(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let mut message = channel.recv_timeout(SOON).unwrap();
    let (manual, auto): (Event, Event) = (message.take("manual").unwrap(), message.take("auto").unwrap());
    // They come set.
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

fn an_event_is_for_another_process_what_it_is_here() {
    let (manual, auto) = (Event::manual_reset().unwrap(), Event::auto_reset().unwrap());
    for event in [&manual, &auto] {
        // More than once is as much as once.
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
    ends_well(child, channel);
}

/// An event that this library hasn't made, as it comes from another program: what reads it waits.
fn foreign_event() -> Event {
    let raw = raw::event();
    let (child, channel) = in_role("takes_what_comes");
    channel.send(Message::new(b"back").with("event", &raw)).unwrap();
    let event = channel.recv_timeout(SOON).unwrap().take("event").unwrap();
    ends_well(child, channel);
    event
}

fn an_event_of_another_program_resets_itself_and_never_blocks() {
    let event = foreign_event();
    let flags = table::entry(std::process::id(), table::value(&event)).unwrap().access;
    assert_eq!(flags & 0o4000, 0, "the control: a read of it would wait");
    let started = Instant::now();
    assert!(!event.try_wait().unwrap());
    event.reset().unwrap();
    assert!(matches!(event.wait_timeout(Duration::from_millis(100)), Err(Error::TimedOut { .. })));
    event.set().unwrap();
    event.set().unwrap();
    assert!(event.try_wait().unwrap());
    assert!(!event.try_wait().unwrap(), "both went with one wait");
    event.set().unwrap();
    event.reset().unwrap();
    assert!(!event.try_wait().unwrap());
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let after = table::entry(std::process::id(), table::value(&event)).unwrap().access;
    assert_eq!(after, flags, "its mode is its owner's");
}

fn sends_back(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let semaphore: Semaphore = channel.recv_timeout(SOON).unwrap().take("semaphore").unwrap();
    channel.send(Message::new(b"").with("semaphore", &semaphore)).unwrap();
}

/// Sends an event back, or takes from one as often as it can and says how often.
fn takes_what_comes(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let mut message = channel.recv_timeout(SOON).unwrap();
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

fn of_many_waiters_in_two_processes_one_gets_it() {
    // A read that waits would stop the process that came second: between a look and a read somebody else can take it.
    for event in [Event::auto_reset().unwrap(), foreign_event()] {
        let stop = Event::manual_reset().unwrap();
        let others = [(); 2].map(|()| in_role("takes_what_comes"));
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
            ends_well(child, channel);
        }
        // Two that follow each other at once can be one, and none is two.
        assert!(taken > 0 && taken <= TIMES, "{taken}");
        assert!(!event.try_wait().unwrap());
    }
}

fn a_full_counter_is_no_reason_to_wait() {
    use std::os::fd::AsFd;
    // What no program does by chance: an eventfd has room for no more.
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
    // One of another program, which would wait for room.
    let raw = raw::semaphore();
    let mut file = std::fs::File::from(raw.as_fd().try_clone_to_owned().unwrap());
    std::io::Write::write_all(&mut file, &(u64::MAX - 3).to_ne_bytes()).unwrap();
    let (child, channel) = in_role("sends_back");
    channel.send(Message::new(b"").with("semaphore", &raw)).unwrap();
    let semaphore: Semaphore = channel.recv_timeout(SOON).unwrap().take("semaphore").unwrap();
    ends_well(child, channel);
    semaphore.release(1).unwrap();
    let error = semaphore.release(10).unwrap_err();
    assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

fn waits_for_timers(_: &[String]) {
    let channel = Channel::parent().unwrap();
    let mut message = channel.recv_timeout(SOON).unwrap();
    let (manual, auto): (Timer, Timer) = (message.take("manual").unwrap(), message.take("auto").unwrap());
    manual.wait_timeout(SOON).unwrap();
    auto.wait_timeout(SOON).unwrap();
    assert!(manual.try_wait().unwrap() && !auto.try_wait().unwrap());
    manual.cancel().unwrap();
    assert!(manual.try_wait().unwrap(), "one that was stopped after it went off stays as it is");
    manual.set_once(Duration::from_secs(3600)).unwrap();
    assert!(!manual.try_wait().unwrap(), "one that is set anew is not set");
}

fn a_timers_way_travels_with_it() {
    let (manual, auto) = (Timer::manual_reset().unwrap(), Timer::auto_reset().unwrap());
    let (child, channel) = in_role("waits_for_timers");
    channel.send(Message::new(b"").with("manual", &manual).with("auto", &auto)).unwrap();
    manual.set_once(Duration::from_millis(50)).unwrap();
    auto.set_once(Duration::from_millis(50)).unwrap();
    let end = channel.recv_timeout(SOON);
    assert!(matches!(end, Err(Error::Disconnected { .. } | Error::ProcessExited { .. })), "{end:?}");
    ends_well(child, channel);
    assert!(!manual.try_wait().unwrap() && !auto.try_wait().unwrap());
}
