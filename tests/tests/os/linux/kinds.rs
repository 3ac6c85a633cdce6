//! Tests of how the kind of a received object is found out: by calls that change nothing, and by marks that its sender can
//! set as it likes.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use handover::faults::{self, Turn, taking};
use handover::{
    BorrowedObject, Channel, Error, Event, Message, ObjectKind, ReceivedMessage, Result, Semaphore,
    SharedMemory, Timer,
};
use handover_tests::{Suite, expect, raw, table, tests};
use rustix::io::Errno;

const SOON: Duration = Duration::from_secs(10);
/// The marks of a manual-reset event or timer, of an auto-reset event and of a semaphore.
const MARKS: [i32; 3] = [62, 61, 60];
/// The calls that recognize an eventfd.
const EVENTFD: &str = "write+preadv2+fcntl";

pub(super) const SUITE: Suite = Suite {
    name: "kinds",
    tests: tests![
        own_objects_are_taken_without_proc,
        marked_object_of_another_kind_is_no_event,
        marked_object_of_another_kind_must_be_allowed,
        wrong_mark_of_an_eventfd_only_repeats_its_signal,
        refused_calls_change_no_kind,
        type_that_is_not_told_is_read_from_the_link,
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
    let short = Duration::from_millis(20);
    let before = table::count();
    for mark in [62, 61] {
        let lie = raw::semaphore();
        raw::set_mark(&lie, mark);
        let event: Event = passed(lie.as_fd(), None).unwrap().take("object").unwrap();
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
