//! What can be done wrong with values, with the page that both ends share, and in a door that has room for one.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::{door, raw, table, weaker};
use crate::attacks::{ASKS_FOR_OBJECTS, Attack, Held, Meets, SOON, come_in, own, power, say};
use crate::frame::frame;
use weaker::{END, WORDS};

/// Where in the page it stands up to which message the weaker end has taken what was pushed,
const PUSHED: usize = 6;
/// up to which the stronger end has taken what it pulls,
const PULLED: usize = 8;
/// and where that was cut.
const PULLED_CUT: usize = 9;
/// Up to which message the stronger end has its own copies.
const FETCHED: usize = 10;

const GIVING_ENDED: u64 = 1;
const GIVING_CUT: u64 = 2;
const TAKING_ENDED: u64 = 4;

/// An object of its own, and beside it what has this value.
fn value(listener: &str, value: u32) -> Held {
    say(listener, &frame(0, &[(own(), b"own"), (value, b"forged")], b""))
}

/// Each of these values, one after the other.
fn values(listener: &str, all: impl IntoIterator<Item = u32>) -> Held {
    Box::new(all.into_iter().map(|one| value(listener, one)).collect::<Vec<_>>())
}

/// Changes the page, and then says this.
fn with_page(listener: &str, change: impl FnOnce(&[AtomicU64]), bytes: &[u8]) -> Held {
    let end = come_in(listener);
    change(raw::words(&end.handles[1], WORDS));
    let _ = end.write(bytes, &[], SOON);
    Box::new(end)
}

pub(crate) const MISDEEDS: &[Attack] = &[
    Attack {
        name: "NULL, and what has tag bits",
        meets: Meets::Rule("can't be a handle"),
        act: |to| values(to, [0, 1, 2, 3, 5]),
    },
    Attack {
        name: "the current process, which is INVALID_HANDLE_VALUE, and the current thread",
        meets: Meets::Rule("can't be a handle"),
        act: |to| values(to, [u32::MAX, u32::MAX - 1]),
    },
    Attack {
        name: "all other pseudo handles",
        meets: Meets::Rule("can't be a handle"),
        act: |to| values(to, u32::MAX - 11..u32::MAX - 1),
    },
    Attack {
        name: "values with the highest bit",
        meets: Meets::Rule("can't be a handle"),
        act: |to| values(to, [0x8000_0000, 0xffff_fff0, 0xffff_0000]),
    },
    Attack { name: "a huge value", meets: Meets::Rule("is not open"), act: |to| value(to, 0x7fff_fffc) },
    Attack {
        name: "a value that was closed",
        meets: Meets::Rule("is not open"),
        act: |to| {
            let end = come_in(to);
            let (first, closed) = (own(), own());
            let frame = frame(0, &[(own(), b"own"), (closed, b"closed")], b"");
            // What is opened next, to write with, gets the other's place.
            table::close_value(closed);
            table::close_value(first);
            let _ = end.write(&frame, &[], SOON);
            Box::new(end)
        },
    },
    Attack {
        name: "values that others have and it hasn't",
        meets: Meets::Rule("is not open"),
        act: |to| {
            let table = table::of(std::process::id());
            let is_own = |value: &u32| table.iter().any(|entry| entry.value == *value);
            let last = table.iter().map(|entry| entry.value).max().unwrap_or(0);
            // Beyond what coming in takes of its own table.
            let others =
                (1..1000).map(|place| 4 * place).filter(|value| !is_own(value) && *value > last + 400);
            values(to, others.take(5))
        },
    },
    Attack {
        name: "a value twice",
        meets: Meets::Rule("twice"),
        act: |to| {
            let own = own();
            say(to, &frame(0, &[(own, b"a"), (own, b"b")], b""))
        },
    },
    Attack {
        name: "its own end of the channel, and then its end",
        meets: Meets::Gone,
        act: |to| {
            let end = come_in(to);
            let [pipe, page, event] = end.handles.map(|handle| table::value(&handle));
            let frame = frame(0, &[(pipe, b"pipe"), (page, b"page"), (event, b"event")], b"keep");
            let _ = end.write(&frame, &[], SOON);
            std::thread::sleep(Duration::from_millis(300));
            std::process::exit(0);
        },
    },
    Attack { name: "a thread", meets: Meets::NotAllowed, act: |to| power(to, raw::thread()) },
    Attack { name: "a job", meets: Meets::NotAllowed, act: |to| power(to, raw::job()) },
    Attack { name: "a token", meets: Meets::NotAllowed, act: |to| power(to, raw::token()) },
    // The page.
    Attack {
        name: "says that it has taken all that ever will be pushed",
        meets: Meets::Messages(1),
        act: |to| with_page(to, |page| page[PUSHED].store(u64::MAX << 3, SeqCst), &asks(0)),
    },
    Attack {
        name: "says that it takes nothing more, and asks for objects",
        meets: Meets::TakesNothing,
        act: |to| with_page(to, |page| page[PUSHED].store(TAKING_ENDED, SeqCst), &asks(0)),
    },
    Attack {
        name: "takes back what it gives",
        meets: Meets::Closed,
        act: |to| {
            let given = frame(0, &[(own(), b"a")], b"");
            with_page(to, |page| page[PULLED].store(GIVING_ENDED, SeqCst), &given)
        },
    },
    Attack {
        name: "says that what it gives is cut, and gives it",
        meets: Meets::Closed,
        act: |to| {
            let given = frame(0, &[(own(), b"a")], b"");
            let cut = |page: &[AtomicU64]| {
                page[PULLED_CUT].store(0, SeqCst);
                page[PULLED].store(GIVING_CUT, SeqCst);
            };
            with_page(to, cut, &given)
        },
    },
    Attack {
        name: "says that all was fetched that it never gave",
        meets: Meets::Messages(1),
        act: |to| {
            let given = frame(0, &[(own(), b"a")], b"");
            let all = |page: &[AtomicU64]| {
                page[FETCHED].store(u64::MAX, SeqCst);
                page[PULLED].store(u64::MAX << 3, SeqCst);
            };
            with_page(to, all, &given)
        },
    },
    Attack {
        name: "another page: no magic, no version, another maker",
        meets: Meets::Messages(1),
        act: |to| with_page(to, |page| page[..5].iter().for_each(|word| word.store(0, SeqCst)), &asks(0)),
    },
    Attack {
        name: "never says that it has taken what was pushed",
        meets: Meets::Messages(3),
        act: |to| say(to, &[asks(0), asks(1), asks(2)].concat()),
    },
    Attack {
        name: "takes its end twice, and gives it up",
        meets: Meets::Messages(1),
        act: |to| {
            let again = |page: &[AtomicU64]| {
                page[END].store(0, SeqCst);
                page[END].store(2, SeqCst);
            };
            with_page(to, again, &asks(0))
        },
    },
    Attack {
        name: "a page that never stands still",
        meets: Meets::Nothing,
        act: |to| {
            let end = come_in(to);
            let page = raw::words(&end.handles[1], WORDS);
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
                if Instant::now() > until || !end.write(&asks(number), &[], Duration::from_secs(1)) {
                    break;
                }
                let _ = end.read(Duration::from_millis(1));
            }
            Box::new(end)
        },
    },
    // The door.
    Attack {
        name: "stands in the door, and doesn't listen",
        meets: Meets::NotLetIn,
        act: |to| Box::new(at_the_door(to)),
    },
    Attack {
        name: "hears its handles in the door, and never takes them",
        meets: Meets::NotLetIn,
        act: |to| Box::new(weaker::End::in_door(to).expect("somebody listens")),
    },
    Attack {
        name: "hears its handles in the door, and closes them",
        meets: Meets::NotLetIn,
        act: |to| {
            let (end, door) = weaker::End::in_door(to).expect("somebody listens");
            for handle in end.handles {
                table::close_value(table::value(&handle));
            }
            Box::new(door)
        },
    },
    Attack {
        name: "hears its handles in the door, and ends",
        meets: Meets::NotLetIn,
        act: |to| {
            let _in_door = weaker::End::in_door(to).expect("somebody listens");
            std::process::exit(0);
        },
    },
    Attack {
        name: "stands in the door again and again",
        meets: Meets::NotLetIn,
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
        match door::knock(listener) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            outcome => return outcome.expect("somebody listens"),
        }
    }
}
