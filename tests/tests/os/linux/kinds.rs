//! Tests of how the kind of a received object is found out: by calls that change nothing, and by marks that its sender can
//! set as it likes, or say in the message.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use handover::faults::{self, Turn, taking};
use handover::{
    BorrowedObject, Channel, Error, Event, Listener, Message, ObjectKind, ReceivedMessage, Result, Semaphore,
    SharedMemory, Timer,
};
use handover_tests::{Suite, expect, frame, raw, table, tests, weaker};
use rustix::io::Errno;

const SOON: Duration = Duration::from_secs(10);
/// The marks of a manual-reset event or timer, of an auto-reset event and of a semaphore.
const MARKS: [i32; 3] = [62, 61, 60];
/// The calls that recognize an eventfd.
const EVENTFD: &str = "write+preadv2+fcntl";
const EVENTFD_WITHOUT_MARK: &str = "write+preadv2";
/// The flag of a frame whose sender says that no object is a semaphore.
const NO_SEMAPHORES: u16 = 4;

pub(super) const SUITE: Suite = Suite {
    name: "kinds",
    tests: tests![
        own_objects_are_taken_without_proc,
        marked_object_of_another_kind_is_no_event,
        marked_object_of_another_kind_must_be_allowed,
        wrong_mark_of_an_eventfd_only_repeats_its_signal,
        refused_calls_change_no_kind,
        type_that_is_not_told_is_read_from_the_link,
        event_takes_three_calls_if_its_sender_says_that_it_is_no_semaphore,
        said_event_of_another_kind_is_no_event,
        said_event_that_is_a_semaphore_only_repeats_its_signal,
        refused_calls_change_no_kind_of_said_events,
        other_flags_close_the_channel,
        messages_of_any_objects_arrive_with_the_kinds_that_proc_shows,
    ],
    roles: &[],
};

/// Sends an object to another endpoint of this process.
fn passed<'a>(
    object: impl Into<BorrowedObject<'a>>,
    allowed: Option<&ObjectKind>,
) -> Result<ReceivedMessage> {
    let (one, other) = Channel::pair()?;
    if let Some(kind) = allowed {
        other.allow(kind.clone());
    }
    one.send(Message::new("").with("object", object))?;
    other.recv_timeout(SOON)
}

/// Sends objects in a frame with these flags, which the library doesn't write, and calls `receive` with the receiver's channel.
fn said<T>(objects: &[BorrowedFd<'_>], flags: u16, receive: impl FnOnce(&Channel) -> T) -> T {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("kinds.{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut listener = Listener::bind(&name).unwrap();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| weaker::Endpoint::connect(&name).unwrap());
        let channel = listener.accept_timeout(SOON).unwrap().accept().unwrap();
        let sender = sender.join().unwrap();
        let names: Vec<String> = (0..objects.len()).map(|index| index.to_string()).collect();
        let entries: Vec<(u32, &[u8])> = names.iter().map(|name| (0, name.as_bytes())).collect();
        let numbers: Vec<u32> = objects.iter().map(table::value).collect();
        let frame = frame::with(frame::frame(0, &entries, b""), 6, &flags.to_le_bytes());
        assert!(sender.write(&frame, &numbers, SOON));
        receive(&channel)
    })
}

/// Receives one object whose sender says that it is no semaphore.
fn said_event(object: BorrowedFd<'_>, allowed: Option<&ObjectKind>) -> Result<ReceivedMessage> {
    said(&[object], NO_SEMAPHORES, |channel| {
        if let Some(kind) = allowed {
            channel.allow(kind.clone());
        }
        channel.recv_timeout(SOON)
    })
}

/// Returns objects that no mark makes an event, with the kernel's names for those without a kind.
fn objects() -> Vec<(&'static str, OwnedFd, ObjectKind)> {
    let (reader, writer) = raw::pipe();
    let other = |name: &str| ObjectKind::Other(name.into());
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    let mut all = vec![
        ("reader of a pipe", reader, ObjectKind::File),
        ("writer of a pipe", writer, ObjectKind::File),
        ("null device", null.into(), ObjectKind::File),
        ("epoll", raw::epoll(), other("eventpoll")),
        ("signalfd", raw::signalfd(), other("signalfd")),
        ("inotify", raw::inotify(), other("inotify")),
    ];
    all.extend(raw::power());
    all.extend(
        raw::objects().into_iter().filter(|(name, ..)| !["foreign event", "semaphore"].contains(name)),
    );
    all
}

fn own_objects_are_taken_without_proc() {
    let (manual, auto) = (Event::manual_reset().unwrap(), Event::auto_reset().unwrap());
    let (semaphore, timer) = (Semaphore::new(3).unwrap(), Timer::manual_reset().unwrap());
    let before = table::count();
    let pass = || -> Result<u32> {
        let (one, other) = Channel::pair()?;
        let objects = Message::new("").with("manual", &manual).with("auto", &auto);
        one.send(objects.with("semaphore", &semaphore).with("timer", &timer))?;
        let message = other.recv_timeout(SOON)?;
        // All is known from the arrival.
        let (taken, calls) = faults::run(None, || {
            let events = (message.take::<Event>("manual")?, message.take::<Event>("auto")?);
            Ok::<_, Error>((events, message.take::<Semaphore>("semaphore")?, message.take::<Timer>("timer")?))
        });
        taken.map(|_| calls)
    };
    for call in ["read", "readlink", "open"] {
        let no_proc = Turn::fails(call, 0..u32::MAX, Errno::NOENT.raw_os_error());
        let (calls, was_asked) = taking([no_proc], pass);
        assert_eq!((calls.unwrap(), was_asked), (0, false), "{call}");
    }
    assert_eq!(table::count(), before);
}

fn marked_object_of_another_kind_is_no_event() {
    let before = table::count();
    for (name, object, kind) in objects() {
        for mark in MARKS {
            raw::set_mark(&object, mark);
            let message = passed(object.as_fd(), Some(&kind)).unwrap();
            assert_eq!(message.kind("object").unwrap(), kind, "{name} {mark}");
            let refused =
                [message.take::<Event>("object").map(drop), message.take::<Semaphore>("object").map(drop)];
            for refused in refused {
                assert!(
                    matches!(refused, Err(Error::WrongKind { found, .. }) if found == kind),
                    "{name} {mark}"
                );
            }
        }
    }
    assert_eq!(table::count(), before);
}

fn marked_object_of_another_kind_must_be_allowed() {
    let before = table::count();
    for (name, object, kind) in objects() {
        let is_accepted = matches!(
            kind,
            ObjectKind::File | ObjectKind::SharedMemory | ObjectKind::Timer | ObjectKind::Socket
        );
        for mark in MARKS {
            raw::set_mark(&object, mark);
            match passed(object.as_fd(), None) {
                Err(Error::KindNotAllowed { found, .. }) => {
                    assert!(found == kind && !is_accepted, "{name} {mark}");
                }
                other => assert!(other.is_ok() && is_accepted, "{name} {mark}: {other:?}"),
            }
        }
    }
    assert_eq!(table::count(), before);
}

/// A sender can mark an eventfd of the other mode. It gains nothing that it couldn't do to any eventfd: it sets an event
/// again, or takes the rest of a semaphore.
fn wrong_mark_of_an_eventfd_only_repeats_its_signal() {
    let before = table::count();
    for mark in [62, 61] {
        let lie = raw::semaphore();
        raw::set_mark(&lie, mark);
        let event: Event = passed(lie.as_fd(), None).unwrap().take("object").unwrap();
        check_signals_end(&event);
    }
    let lie = raw::event();
    raw::set_mark(&lie, 60);
    let semaphore: Semaphore = passed(lie.as_fd(), None).unwrap().take("object").unwrap();
    semaphore.release(5).unwrap();
    semaphore.wait_timeout(SOON).unwrap();
    assert!(!semaphore.try_wait().unwrap(), "one wait takes all, as if another process had taken the rest");
    // Without a mark, the kernel's answer counts.
    let kind = expect::kind_of_semaphore();
    let honest = passed(raw::semaphore().as_fd(), None).unwrap();
    assert_eq!(honest.kind("object").unwrap(), kind);
    if kind == ObjectKind::Semaphore {
        assert!(matches!(honest.take::<Event>("object"), Err(Error::WrongKind { .. })));
        honest.take::<Semaphore>("object").unwrap();
    }
    drop((honest, semaphore, lie));
    assert_eq!(table::count(), before);
}

fn refused_calls_change_no_kind() {
    let (event, auto, semaphore) =
        (Event::manual_reset().unwrap(), Event::auto_reset().unwrap(), Semaphore::new(1).unwrap());
    let (timer, memory) = (Timer::auto_reset().unwrap(), SharedMemory::new(1).unwrap());
    let foreign = [raw::event(), raw::semaphore()];
    let before = table::count();
    for call in ["statx", EVENTFD, "timerfd_gettime"] {
        for code in [Errno::NOSYS, Errno::PERM] {
            // Each of the three calls that recognize an eventfd, and all of them.
            for which in [0..1, 1..2, 2..3, 0..u32::MAX] {
                let turn = Turn::fails(call, which.clone(), code.raw_os_error());
                taking([turn], || {
                    let semaphore_kind = expect::kind_of_semaphore();
                    let kind =
                        |object: BorrowedObject<'_>| passed(object, None).unwrap().kind("object").unwrap();
                    assert_eq!(kind((&event).into()), ObjectKind::Event);
                    assert_eq!(kind((&auto).into()), ObjectKind::Event);
                    assert_eq!(kind((&timer).into()), ObjectKind::Timer);
                    assert_eq!(kind((&memory).into()), ObjectKind::SharedMemory);
                    assert_eq!(kind(foreign[0].as_fd().into()), ObjectKind::Event);
                    assert_eq!(kind(foreign[1].as_fd().into()), semaphore_kind);
                    // Before Linux 6.5, only the mark says that it is one.
                    let own = kind((&semaphore).into());
                    assert!(own == ObjectKind::Semaphore || own == semaphore_kind);
                    let epoll = passed(raw::epoll().as_fd(), None);
                    assert!(
                        matches!(epoll, Err(Error::KindNotAllowed { .. })),
                        "{call} {which:?}: {epoll:?}"
                    );
                });
            }
        }
    }
    assert_eq!(table::count(), before);
}

fn type_that_is_not_told_is_read_from_the_link() {
    let folder = std::fs::File::open("/").unwrap();
    let (reader, _writer) = raw::pipe();
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let before = table::count();
    // A file system may refuse the questions, and its objects still arrive.
    let turns = ["statx", "fstat"].map(|call| Turn::fails(call, 0..u32::MAX, Errno::ACCESS.raw_os_error()));
    let (messages, _) = taking(turns, || {
        [folder.as_fd(), reader.as_fd(), socket.as_fd()].map(|object| passed(object, None).unwrap())
    });
    let kinds = messages.each_ref().map(|message| message.kind("object").unwrap());
    assert_eq!(kinds, [ObjectKind::File, ObjectKind::File, ObjectKind::Socket]);
    drop(messages);
    assert_eq!(table::count(), before);
}

/// Returns the number of system calls of a receive that doesn't wait.
fn calls_of_receive(channel: &Channel) -> u32 {
    let (message, calls) = faults::run(None, || channel.try_recv());
    assert!(message.unwrap().is_some());
    calls
}

fn event_takes_three_calls_if_its_sender_says_that_it_is_no_semaphore() {
    let (auto, manual) = (Event::auto_reset().unwrap(), Event::manual_reset().unwrap());
    let (semaphore, timer, memory) =
        (Semaphore::new(1).unwrap(), Timer::auto_reset().unwrap(), SharedMemory::new(1).unwrap());
    let file = std::fs::File::open("/dev/null").unwrap();
    let before = table::count();
    let received = |message: Message<'_>| {
        let (one, other) = Channel::pair().unwrap();
        one.send(message).unwrap();
        calls_of_receive(&other)
    };
    let message = || Message::new("").with("auto", &auto).with("manual", &manual);
    let none = received(Message::new(""));
    assert_eq!(received(message()) - none, 2 * 3);
    // A memory's type takes one call, and a timer is known after three.
    assert_eq!(received(message().with("memory", &memory).with("timer", &timer)) - none, 2 * 3 + 1 + 3);
    assert_eq!(received(message().with("memory", memory.read_only())) - none, 2 * 3 + 1);
    // A file may have been made of any descriptor.
    assert_eq!(received(message().with("semaphore", &semaphore)) - none, 3 * 4);
    assert_eq!(received(message().with("file", &file)) - none, 2 * 4 + 1);
    assert_eq!(received(Message::new("").with("handle", auto.as_fd())) - none, 4);
    // An endpoint is never a semaphore.
    let (_ours, theirs) = Channel::pair().unwrap();
    assert_eq!(received(message().with_channel("endpoint", theirs)) - none, 2 * 3 + 1);
    // The same of a reply.
    let (one, other) = Channel::pair().unwrap();
    let events = std::thread::scope(|scope| {
        let call = scope.spawn(|| one.call(message(), SOON));
        let asked = other.recv_timeout(SOON).unwrap();
        asked.reply(message()).unwrap();
        call.join().unwrap().unwrap()
    });
    events.take::<Event>("manual").unwrap();
    // A foreign program can say it too, and spares its receiver the page in /proc.
    let foreign = raw::event();
    let descriptors = [foreign.as_fd(), foreign.as_fd()];
    let none = said(&[], 0, calls_of_receive);
    assert_eq!(said(&descriptors, NO_SEMAPHORES, calls_of_receive) - none, 2 * 3);
    assert_eq!(said(&descriptors, 0, calls_of_receive) - none, 2 * 4);
    let no_proc = Turn::fails("read", 0..u32::MAX, Errno::NOENT.raw_os_error());
    let (_, was_asked) = taking([no_proc], || {
        said_event(foreign.as_fd(), None).unwrap().take::<Event>("0").unwrap().set().unwrap();
    });
    assert!(!was_asked && raw::is_signaled(&foreign));
    drop((events, one, other, foreign, _ours));
    assert_eq!(table::count(), before);
}

fn said_event_of_another_kind_is_no_event() {
    let before = table::count();
    for (name, object, kind) in objects() {
        let message = said_event(object.as_fd(), Some(&kind)).unwrap();
        assert_eq!(message.kind("0").unwrap(), kind, "{name}");
        for refused in [message.take::<Event>("0").map(drop), message.take::<Semaphore>("0").map(drop)] {
            assert!(matches!(refused, Err(Error::WrongKind { found, .. }) if found == kind), "{name}");
        }
        let is_accepted = matches!(
            kind,
            ObjectKind::File | ObjectKind::SharedMemory | ObjectKind::Timer | ObjectKind::Socket
        );
        match said_event(object.as_fd(), None) {
            Err(Error::KindNotAllowed { found, .. }) => assert!(found == kind && !is_accepted, "{name}"),
            other => assert!(other.is_ok() && is_accepted, "{name}: {other:?}"),
        }
    }
    assert_eq!(table::count(), before);
}

/// Checks that an event that counts is set again after a reset, as often as it was set, and no more.
fn check_signals_end(event: &Event) {
    let short = Duration::from_millis(20);
    assert!(matches!(event.wait_timeout(short), Err(Error::TimedOut { .. })));
    for _ in 0..3 {
        event.set().unwrap();
    }
    let mut signals = 0;
    while event.try_wait().unwrap() {
        event.reset().unwrap();
        signals += 1;
    }
    assert!((1..=3).contains(&signals), "{signals}");
    assert!(matches!(event.wait_timeout(short), Err(Error::TimedOut { .. })), "it ends");
}

/// A sender can say of a semaphore that it is an event. It gains nothing that it couldn't do to any event.
fn said_event_that_is_a_semaphore_only_repeats_its_signal() {
    let before = table::count();
    for mark in [None, Some(60), Some(61), Some(62)] {
        let lie = raw::semaphore();
        if let Some(mark) = mark {
            raw::set_mark(&lie, mark);
        }
        let message = said_event(lie.as_fd(), None).unwrap();
        assert_eq!(message.kind("0").unwrap(), ObjectKind::Event);
        let event: Event = message.take("0").unwrap();
        check_signals_end(&event);
        // A channel that accepts only semaphores refuses it.
        let refused = said(&[lie.as_fd()], NO_SEMAPHORES, |channel| {
            channel.allow_only([ObjectKind::Semaphore]);
            channel.recv_timeout(SOON)
        });
        assert!(matches!(refused, Err(Error::KindNotAllowed { found: ObjectKind::Event, .. })));
        // The kind that it is passed on with is that of the type that holds it.
        let next = passed(&event, None).unwrap();
        assert_eq!(next.kind("object").unwrap(), ObjectKind::Event);
    }
    assert_eq!(table::count(), before);
}

fn refused_calls_change_no_kind_of_said_events() {
    let foreign = [raw::event(), raw::semaphore()];
    let before = table::count();
    for (call, code) in [
        ("statx", Errno::NOSYS),
        ("statx", Errno::PERM),
        (EVENTFD_WITHOUT_MARK, Errno::NOSYS),
        (EVENTFD_WITHOUT_MARK, Errno::PERM),
    ] {
        for which in [0..1, 1..2, 0..u32::MAX] {
            let turn = Turn::fails(call, which.clone(), code.raw_os_error());
            let is_refused = which.start == 0 || call != "statx";
            taking([turn], || {
                // Without the proof that it is an eventfd, /proc alone is believed.
                let kind = said_event(foreign[1].as_fd(), None).unwrap().kind("0").unwrap();
                let expected = if is_refused { expect::kind_of_semaphore() } else { ObjectKind::Event };
                assert_eq!(kind, expected, "{call} {which:?}");
            });
            taking([Turn::fails(call, which.clone(), code.raw_os_error())], || {
                let kind = said_event(foreign[0].as_fd(), None).unwrap().kind("0").unwrap();
                assert_eq!(kind, ObjectKind::Event, "{call} {which:?}");
            });
        }
    }
    assert_eq!(table::count(), before);
}

fn other_flags_close_the_channel() {
    let event = raw::event();
    let before = table::count();
    for flags in [1, 2, 3, 5, 6, 8, 0x400, 0x404, u16::MAX] {
        said(&[event.as_fd()], flags, |channel| {
            let handles = table::count();
            for _ in 0..2 {
                let outcome = channel.recv_timeout(SOON);
                assert!(matches!(outcome, Err(Error::Protocol { .. })), "{flags}: {outcome:?}");
            }
            assert_eq!(table::count(), handles, "{flags}");
        });
    }
    said(&[], NO_SEMAPHORES, |channel| {
        let outcome = channel.recv_timeout(SOON);
        assert!(matches!(outcome, Err(Error::Protocol { .. })), "{outcome:?}");
    });
    assert_eq!(table::count(), before);
}

/// Returns the kind of an anonymous inode, as its page in /proc shows it.
fn kind_in_proc(object: &impl AsFd) -> ObjectKind {
    let page = format!("/proc/thread-self/fdinfo/{}", object.as_fd().as_raw_fd());
    let page = std::fs::read_to_string(page).unwrap();
    if page.contains("eventfd-semaphore: 1") {
        ObjectKind::Semaphore
    } else if page.contains("eventfd-count:") {
        ObjectKind::Event
    } else if page.contains("clockid:") {
        ObjectKind::Timer
    } else {
        ObjectKind::File
    }
}

/// Own and foreign objects, in messages of all mixtures: the flag of an honest sender changes no kind.
fn messages_of_any_objects_arrive_with_the_kinds_that_proc_shows() {
    let (auto, manual) = (Event::auto_reset().unwrap(), Event::manual_reset().unwrap());
    let (semaphore, timer) = (Semaphore::new(2).unwrap(), Timer::manual_reset().unwrap());
    let (event, counting) = (raw::event(), raw::semaphore());
    // A file made of a semaphore's descriptor is a file to Rust alone.
    let file = std::fs::File::from(raw::semaphore());
    let null = std::fs::File::open("/dev/null").unwrap();
    let objects: [BorrowedObject<'_>; 8] = [
        (&auto).into(),
        (&manual).into(),
        (&timer).into(),
        (&semaphore).into(),
        event.as_fd().into(),
        counting.as_fd().into(),
        (&file).into(),
        (&null).into(),
    ];
    let before = table::count();
    let (one, other) = Channel::pair().unwrap();
    let has_modes = expect::kind_of_semaphore() == ObjectKind::Semaphore;
    let mut with_semaphores = 0;
    // Each set of the objects, twice in different orders.
    for set in 1..512_usize {
        let mut message = Message::new("");
        let chosen = (0..8).map(|index| if set & 256 == 0 { index } else { 7 - index });
        let chosen: Vec<usize> = chosen.filter(|index| set >> index & 1 == 1).collect();
        for index in &chosen {
            message.add(index.to_string(), objects[*index]);
        }
        one.send(message).unwrap();
        let received = other.recv_timeout(SOON).unwrap();
        for index in &chosen {
            let name = index.to_string();
            let kind = received.kind(&name).unwrap();
            let handle: OwnedFd = received.take(&name).unwrap();
            if has_modes {
                assert_eq!(kind, kind_in_proc(&handle), "{index} of {chosen:?}");
                with_semaphores += usize::from(kind == ObjectKind::Semaphore);
            }
        }
    }
    assert!(!has_modes || with_semaphores > 700, "{with_semaphores}");
    drop((one, other));
    assert_eq!(table::count(), before);
}
