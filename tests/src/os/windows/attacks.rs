//! Attacks with handle values, with the shared page, and with a listener's pipe, which serves one client at a time.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::{door, raw, table, weaker};
use crate::attacks::{
    ASKS_FOR_OBJECTS, Attack, Effect, Held, SOON, connect, new_event_value, power, send_bytes,
};
use crate::frame::frame;
use weaker::{END, WORDS};

/// The word with the number of pushed messages that the weaker endpoint has taken.
const PUSHED: usize = 6;
/// The word with the number of pulled messages that the stronger endpoint has taken.
const PULLED: usize = 8;
/// The word with the message number at which pulling was cut.
const PULLED_CUT: usize = 9;
/// The word with the number of messages of whose objects the stronger endpoint has its own copies.
const FETCHED: usize = 10;

const GIVING_ENDED: u64 = 1;
const GIVING_CUT: u64 = 2;
const TAKING_ENDED: u64 = 4;

/// Sends an object of this process's own, and a second one with this forged handle value.
fn value(listener: &str, value: u32) -> Held {
    send_bytes(listener, &frame(0, &[(new_event_value(), b"own"), (value, b"forged")], b""))
}

/// Sends each of these handle values over a connection of its own.
fn values(listener: &str, all: impl IntoIterator<Item = u32>) -> Held {
    Box::new(all.into_iter().map(|one| value(listener, one)).collect::<Vec<_>>())
}

/// Connects, changes the shared page, and then writes these bytes.
fn with_page(listener: &str, change: impl FnOnce(&[AtomicU64]), bytes: &[u8]) -> Held {
    let endpoint = connect(listener);
    change(raw::words(&endpoint.handles[1], WORDS));
    let _ = endpoint.write(bytes, &[], SOON);
    Box::new(endpoint)
}

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "NULL, which stands for a socket, without a record",
        effect: Effect::Violation("not as long as its objects"),
        act: |to| value(to, 0),
    },
    Attack {
        name: "values with tag bits",
        effect: Effect::Violation("can't be a handle"),
        act: |to| values(to, [1, 2, 3, 5]),
    },
    Attack {
        name: "the pseudo handles of the current process and thread",
        effect: Effect::Violation("can't be a handle"),
        act: |to| values(to, [u32::MAX, u32::MAX - 1]),
    },
    Attack {
        name: "all other pseudo handles",
        effect: Effect::Violation("can't be a handle"),
        act: |to| values(to, u32::MAX - 11..u32::MAX - 1),
    },
    Attack {
        name: "values with the highest bit",
        effect: Effect::Violation("can't be a handle"),
        act: |to| values(to, [0x8000_0000, 0xffff_fff0, 0xffff_0000]),
    },
    Attack {
        name: "a huge value",
        effect: Effect::Violation("is not open"),
        act: |to| value(to, 0x7fff_fffc),
    },
    Attack {
        name: "a closed value",
        effect: Effect::Violation("is not open"),
        act: |to| {
            let endpoint = connect(to);
            let (first, closed) = (new_event_value(), new_event_value());
            let frame = frame(0, &[(new_event_value(), b"own"), (closed, b"closed")], b"");
            // `first` is closed last, so that the event that the write creates gets its value and not the value of
            // `closed`.
            table::close_value(closed);
            table::close_value(first);
            let _ = endpoint.write(&frame, &[], SOON);
            Box::new(endpoint)
        },
    },
    Attack {
        name: "values that are open only in other processes",
        effect: Effect::Violation("is not open"),
        act: |to| {
            let table = table::of(std::process::id());
            let is_own = |value: &u32| table.iter().any(|entry| entry.value == *value);
            let last = table.iter().map(|entry| entry.value).max().unwrap_or(0);
            // Beyond the values that connecting takes in this process's table.
            let others =
                (1..1000).map(|place| 4 * place).filter(|value| !is_own(value) && *value > last + 400);
            values(to, others.take(5))
        },
    },
    Attack {
        name: "a value twice",
        effect: Effect::Violation("twice"),
        act: |to| {
            let own = new_event_value();
            send_bytes(to, &frame(0, &[(own, b"a"), (own, b"b")], b""))
        },
    },
    Attack {
        name: "sends its own endpoint, and then exits",
        effect: Effect::Exited,
        act: |to| {
            let endpoint = connect(to);
            let [pipe, page, event] = endpoint.handles.map(|handle| table::value(&handle));
            let frame = frame(0, &[(pipe, b"pipe"), (page, b"page"), (event, b"event")], b"keep");
            let _ = endpoint.write(&frame, &[], SOON);
            std::thread::sleep(Duration::from_millis(300));
            std::process::exit(0);
        },
    },
    Attack { name: "a thread", effect: Effect::NotAllowed, act: |to| power(to, raw::thread()) },
    Attack { name: "a job", effect: Effect::NotAllowed, act: |to| power(to, raw::job()) },
    Attack { name: "a token", effect: Effect::NotAllowed, act: |to| power(to, raw::token()) },
    // Attacks with the shared page.
    Attack {
        name: "claims to have taken all future objects",
        effect: Effect::Messages(1),
        act: |to| with_page(to, |page| page[PUSHED].store(u64::MAX << 3, SeqCst), &asks(0)),
    },
    Attack {
        name: "claims to take no more objects, and asks for some",
        effect: Effect::Rejected,
        act: |to| with_page(to, |page| page[PUSHED].store(TAKING_ENDED, SeqCst), &asks(0)),
    },
    Attack {
        name: "takes its objects back",
        effect: Effect::Closed,
        act: |to| {
            let given = frame(0, &[(new_event_value(), b"a")], b"");
            with_page(to, |page| page[PULLED].store(GIVING_ENDED, SeqCst), &given)
        },
    },
    Attack {
        name: "claims that sending was cut, and sends",
        effect: Effect::Closed,
        act: |to| {
            let given = frame(0, &[(new_event_value(), b"a")], b"");
            let cut = |page: &[AtomicU64]| {
                page[PULLED_CUT].store(0, SeqCst);
                page[PULLED].store(GIVING_CUT, SeqCst);
            };
            with_page(to, cut, &given)
        },
    },
    Attack {
        name: "claims that unsent objects were fetched",
        effect: Effect::Messages(1),
        act: |to| {
            let given = frame(0, &[(new_event_value(), b"a")], b"");
            let all = |page: &[AtomicU64]| {
                page[FETCHED].store(u64::MAX, SeqCst);
                page[PULLED].store(u64::MAX << 3, SeqCst);
            };
            with_page(to, all, &given)
        },
    },
    Attack {
        name: "another page: no magic, no version, another maker",
        effect: Effect::Messages(1),
        act: |to| with_page(to, |page| page[..5].iter().for_each(|word| word.store(0, SeqCst)), &asks(0)),
    },
    Attack {
        name: "never reports that it has taken its objects",
        effect: Effect::Messages(3),
        act: |to| send_bytes(to, &[asks(0), asks(1), asks(2)].concat()),
    },
    Attack {
        name: "takes its endpoint twice, and gives it up",
        effect: Effect::Messages(1),
        act: |to| {
            let again = |page: &[AtomicU64]| {
                page[END].store(0, SeqCst);
                page[END].store(2, SeqCst);
            };
            with_page(to, again, &asks(0))
        },
    },
    Attack {
        name: "a page that changes constantly",
        effect: Effect::Nothing,
        act: |to| {
            let endpoint = connect(to);
            let page = raw::words(&endpoint.handles[1], WORDS);
            let until = Instant::now() + Duration::from_secs(1);
            let mut random = 0x1234_5678_9abc_def0_u64;
            for number in 0.. {
                for _ in 0..50 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    page[usize::try_from(random % 16).expect("a small number")]
                        .store(random.rotate_left(29), SeqCst);
                }
                if Instant::now() > until || !endpoint.write(&asks(number), &[], Duration::from_secs(1)) {
                    break;
                }
                let _ = endpoint.read(Duration::from_millis(1));
            }
            Box::new(endpoint)
        },
    },
    // Attacks while the listener accepts.
    Attack {
        name: "connects, and doesn't read the answer",
        effect: Effect::NotAccepted,
        act: |to| Box::new(at_the_door(to)),
    },
    Attack {
        name: "reads its handle values, and never takes the handles",
        effect: Effect::NotAccepted,
        act: |to| Box::new(weaker::Endpoint::connect_without_taking(to).expect("a listener exists")),
    },
    Attack {
        name: "reads its handle values, and closes the handles",
        effect: Effect::NotAccepted,
        act: |to| {
            let (endpoint, door) = weaker::Endpoint::connect_without_taking(to).expect("a listener exists");
            for handle in endpoint.handles {
                table::close_value(table::value(&handle));
            }
            Box::new(door)
        },
    },
    Attack {
        name: "reads its handle values, and exits",
        effect: Effect::NotAccepted,
        act: |to| {
            let _in_door = weaker::Endpoint::connect_without_taking(to).expect("a listener exists");
            std::process::exit(0);
        },
    },
    Attack {
        name: "connects again and again",
        effect: Effect::NotAccepted,
        act: |to| {
            let until = Instant::now() + Duration::from_secs(3);
            while Instant::now() < until {
                let door = at_the_door(to);
                std::thread::sleep(Duration::from_millis(700));
                drop(door);
            }
            Box::new(())
        },
    },
];

fn asks(number: u64) -> Vec<u8> {
    frame(number, &[], ASKS_FOR_OBJECTS)
}

fn at_the_door(listener: &str) -> std::os::windows::io::OwnedHandle {
    let deadline = Instant::now() + SOON;
    loop {
        match door::connect(listener) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            outcome => return outcome.expect("a listener exists"),
        }
    }
}
