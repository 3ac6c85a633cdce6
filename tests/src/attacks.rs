//! What a peer can do wrong, one attack after the other, by its name: the rules of the wire format and of good manners,
//! each broken. What only one system's channels can suffer is in `os`.
//!
//! A hostile process does what it is told on its standard input, holds on to what it has done until it is told to let go,
//! and speaks the format by itself, with bare calls.

use std::any::Any;
use std::io::BufRead;
use std::time::{Duration, Instant};

use handover::{Event, OwnedHandle};

use crate::frame::{frame, frame_of, with};
use crate::{os, raw, table, weaker};

/// How long a hostile process tries.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A rule that is broken, and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// What is done.
    pub name: &'static str,
    /// What becomes of it on the victim's side.
    pub meets: Meets,
    /// Does it to the listener of this name. What this returns stays open until it is told to let go.
    pub(crate) act: fn(&str) -> Held,
}

/// What stays open.
pub(crate) type Held = Box<dyn Any>;

/// What becomes of a attack on the victim's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meets {
    /// The channel ends with the rule that was broken, in which this stands.
    Rule(&'static str),
    /// The other process has ended.
    Gone,
    /// The other end was closed.
    Closed,
    /// Nothing comes, and the deadlines of whoever receives pass.
    Silence,
    /// So many messages arrive.
    Messages(usize),
    /// An object can't be taken, because the channel doesn't let its kind in.
    NotAllowed,
    /// What is sent doesn't get through in time.
    Unread,
    /// Nothing can be sent, because it takes nothing more.
    TakesNothing,
    /// It isn't let in.
    NotLetIn,
    /// Nothing that must be seen.
    Nothing,
}

/// What only this system's channels can suffer.
pub const HERE: &[Attack] = os::MISDEEDS;

/// All of them.
pub fn attacks() -> impl Iterator<Item = &'static Attack> {
    [HEADERS, OBJECTS, ENDINGS, FLOODS, HERE].into_iter().flatten()
}

/// The role of a hostile process: for each line of its input, the attack of that name; an empty line lets go of it.
///
/// # Panics
///
/// If there is no such attack.
pub fn hostile(arguments: &[String]) {
    let mut held = Vec::new();
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the input can be read");
        if line.is_empty() {
            held.clear();
        } else {
            let attack = attacks().find(|attack| attack.name == line).expect("there is such a attack");
            held.push((attack.act)(&arguments[0]));
        }
        println!("done");
    }
}

/// A way in, as an honest client takes it.
pub(crate) fn come_in(listener: &str) -> weaker::End {
    weaker::End::at_door(listener).expect("the listener lets everybody in")
}

/// Comes in, and says this.
pub(crate) fn say(listener: &str, bytes: &[u8]) -> Held {
    say_with(listener, bytes, &[])
}

/// Comes in, and says this with these objects. Whoever has had enough of it closes.
pub(crate) fn say_with(listener: &str, bytes: &[u8], objects: &[u32]) -> Held {
    let end = come_in(listener);
    let _ = end.write(bytes, objects, SOON);
    Box::new(end)
}

/// An event of this process, and its number, which stays so.
pub(crate) fn own() -> u32 {
    let event = Event::manual_reset().expect("the system has room for an event");
    let value = table::value(&event);
    std::mem::forget(event);
    value
}

fn good() -> Vec<u8> {
    frame(0, &[], b"good")
}

/// A frame with one object under this name.
fn named(listener: &str, name: &[u8]) -> Held {
    let own = own();
    say_with(listener, &frame(0, &[(own, name)], b""), &[own])
}

/// A frame with two objects under these names.
fn named_both(listener: &str, one: &[u8], other: &[u8]) -> Held {
    let (own, another) = (own(), own());
    say_with(listener, &frame(0, &[(own, one), (another, other)], b""), &[own, another])
}

/// What is cut off or stalls: a frame with an object, up to a place in it.
fn up_to(listener: &str, place: impl FnOnce(usize) -> usize) -> Box<weaker::End> {
    let own = own();
    let frame = frame(0, &[(own, b"a name")], b"some bytes");
    let end = come_in(listener);
    assert!(end.write(&frame[..place(frame.len())], &[own], SOON));
    Box::new(end)
}

/// The same without an object.
fn bare_up_to(listener: &str, place: usize) -> Box<weaker::End> {
    let end = come_in(listener);
    assert!(end.write(&good()[..place], &[], SOON));
    Box::new(end)
}

const IN_THE_TABLE: usize = 23;

fn closes(end: &weaker::End) -> Held {
    end.close();
    Box::new(())
}

fn ends(_: Box<weaker::End>) -> Held {
    std::process::exit(0);
}

/// Says this again and again, each time with its number, for so long.
fn floods(listener: &str, time: Duration, each: impl Fn(u64) -> (Vec<u8>, Vec<u32>)) -> Held {
    let end = come_in(listener);
    let until = Instant::now() + time;
    for number in 0.. {
        let (bytes, objects) = each(number);
        if Instant::now() > until || !end.write(&bytes, &objects, SOON) {
            break;
        }
    }
    Box::new(end)
}

const A_WHILE: Duration = Duration::from_millis(600);

/// Asks for more than there is room for, and reads so much of it.
fn asks_and_reads(listener: &str, reads: usize) -> Held {
    let end = come_in(listener);
    assert!(end.write(&frame(0, &[], ASKS_FOR_MUCH), &[], SOON));
    for _ in 0..reads {
        let _ = end.read(SOON);
    }
    Box::new(end)
}

/// What the victim answers with much.
pub const ASKS_FOR_MUCH: &[u8] = b"much, please";

/// What the victim answers with an object.
pub const ASKS_FOR_OBJECTS: &[u8] = b"an object, please";

/// What is power over a process, or may be.
pub(crate) fn power(listener: &str, handle: OwnedHandle) -> Held {
    let value = table::value(&handle);
    let held = say_with(listener, &frame(0, &[(value, b"power")], b""), &[value]);
    Box::new((held, handle))
}

/// What says how long a frame is, and which one it is.
pub const HEADERS: &[Attack] = &[
    Attack { name: "noise", meets: Meets::Rule("doesn't begin"), act: |to| say(to, &[0xff; 64]) },
    Attack {
        name: "another protocol",
        meets: Meets::Rule("doesn't begin"),
        act: |to| say(to, b"GET / HTTP/1.1\r\n\r\n"),
    },
    Attack {
        name: "a second byte that is wrong, and nothing else",
        meets: Meets::Rule("doesn't begin"),
        act: |to| say(to, b"Ho"),
    },
    Attack {
        name: "version 0",
        meets: Meets::Rule("another version"),
        act: |to| say(to, &with(good(), 2, &[0])),
    },
    Attack {
        name: "version 2",
        meets: Meets::Rule("another version"),
        act: |to| say(to, &with(good(), 2, &[2])),
    },
    Attack {
        name: "a later version, and no more of the frame",
        meets: Meets::Rule("another version"),
        act: |to| say(to, b"HO\xff"),
    },
    Attack {
        name: "254 objects",
        meets: Meets::Rule("more than 253"),
        act: |to| say(to, &with(good(), 3, &[254])),
    },
    Attack {
        name: "255 objects, and a header alone",
        meets: Meets::Rule("more than 253"),
        act: |to| say(to, &with(good(), 3, &[255])[..20]),
    },
    Attack {
        name: "a byte more than 16 MiB",
        meets: Meets::Rule("more than 16 MiB"),
        act: |to| say(to, &with(good(), 8, &((16 << 20) + 1_u32).to_le_bytes())),
    },
    Attack {
        name: "4 GiB",
        meets: Meets::Rule("more than 16 MiB"),
        act: |to| say(to, &with(good(), 8, &u32::MAX.to_le_bytes())),
    },
    Attack {
        name: "objects without a table",
        meets: Meets::Rule("can't have the size"),
        act: |to| say(to, &with(good(), 3, &[3])),
    },
    Attack {
        name: "a table without objects",
        meets: Meets::Rule("can't have the size"),
        act: |to| say(to, &frame_of(0, 0, b"\x40\0\0\0\x01a", b"")),
    },
    Attack {
        name: "a table of 4 GiB",
        meets: Meets::Rule("can't have the size"),
        act: |to| {
            let own = own();
            say_with(to, &with(frame(0, &[(own, b"a")], b""), 4, &u32::MAX.to_le_bytes()), &[own])
        },
    },
    Attack {
        name: "a table that is a byte too long for its objects",
        meets: Meets::Rule("can't have the size"),
        act: |to| {
            let own = own();
            let longest = u32::try_from(weaker::place(own).len() + 256).expect("a small number");
            let table = with(frame(0, &[(own, b"a")], b""), 4, &(longest + 1).to_le_bytes());
            say_with(to, &table, &[own])
        },
    },
    Attack {
        name: "more bytes than it says",
        meets: Meets::Rule("doesn't begin"),
        act: |to| say(to, &with(good(), 8, &2_u32.to_le_bytes())),
    },
    Attack {
        name: "fewer bytes than it says",
        meets: Meets::Silence,
        act: |to| say(to, &with(good(), 8, &100_u32.to_le_bytes())),
    },
    Attack {
        name: "a first number that isn't zero",
        meets: Meets::Rule("out of order"),
        act: |to| say(to, &frame(1, &[], b"")),
    },
    Attack {
        name: "the last number there is",
        meets: Meets::Rule("out of order"),
        act: |to| say(to, &frame(u64::MAX, &[], b"")),
    },
    Attack {
        name: "a message again",
        meets: Meets::Rule("out of order"),
        act: |to| say(to, &[good(), good()].concat()),
    },
    Attack {
        name: "a message with an object again",
        meets: Meets::Rule("out of order"),
        act: |to| {
            let own = own();
            let end = come_in(to);
            let frame = frame(0, &[(own, b"a")], b"once");
            let _ = end.write(&frame, &[own], SOON) && end.write(&frame, &[own], SOON);
            Box::new(end)
        },
    },
    Attack {
        name: "a message left out",
        meets: Meets::Rule("out of order"),
        act: |to| say(to, &[good(), frame(2, &[], b"")].concat()),
    },
    Attack {
        name: "a number from before",
        meets: Meets::Rule("out of order"),
        act: |to| say(to, &[good(), frame(1, &[], b""), frame(0, &[], b"")].concat()),
    },
];

/// A table that lies, names that are none, and objects that nobody should have.
pub const OBJECTS: &[Attack] = &[
    Attack {
        name: "an empty name",
        meets: Meets::Rule("without a name"),
        act: |to| named_both(to, b"long enough", b""),
    },
    Attack { name: "a name twice", meets: Meets::Rule("twice"), act: |to| named_both(to, b"a", b"a") },
    Attack {
        name: "a name that isn't text",
        meets: Meets::Rule("isn't text"),
        act: |to| named(to, b"\xff\xfe"),
    },
    Attack {
        name: "half a letter in each of two names",
        meets: Meets::Rule("isn't text"),
        act: |to| named_both(to, b"\xc3", b"\xa4"),
    },
    Attack { name: "a NUL in a name", meets: Meets::Rule("NUL"), act: |to| named(to, b"a\0b") },
    Attack {
        name: "a name that reaches beyond the table",
        meets: Meets::Rule("cut off"),
        act: |to| {
            let own = own();
            let length = 20 + weaker::place(own).len();
            say_with(to, &with(frame(0, &[(own, b"abc")], b"x"), length, &[200]), &[own])
        },
    },
    Attack {
        name: "a name that overlaps the next object",
        meets: Meets::Rule("object"),
        act: |to| {
            let (own, another) = (own(), own());
            let length = 20 + weaker::place(own).len();
            let both = frame(0, &[(own, b"abc"), (another, b"def")], b"");
            say_with(to, &with(both, length, &[5]), &[own, another])
        },
    },
    Attack {
        name: "one object more than announced",
        meets: Meets::Rule("longer than its objects"),
        act: |to| {
            let (own, another) = (own(), own());
            let both = frame(0, &[(own, b"a"), (another, b"b")], b"");
            say_with(to, &with(both, 3, &[1]), &[own, another])
        },
    },
    Attack {
        name: "one object fewer than announced",
        meets: Meets::Rule("cut off"),
        act: |to| {
            let own = own();
            say_with(to, &with(frame(0, &[(own, &[b'n'; 50])], b""), 3, &[2]), &[own])
        },
    },
    Attack { name: "a process", meets: Meets::NotAllowed, act: |to| power(to, raw::this_process()) },
];

/// What stalls, and what is cut off by whoever closes and by whoever ends.
pub const ENDINGS: &[Attack] = &[
    Attack { name: "silence from the start", meets: Meets::Silence, act: |to| Box::new(come_in(to)) },
    Attack { name: "a stall after the first byte", meets: Meets::Silence, act: |to| bare_up_to(to, 1) },
    Attack { name: "a stall in the header", meets: Meets::Silence, act: |to| bare_up_to(to, 19) },
    Attack { name: "a stall after the header", meets: Meets::Silence, act: |to| bare_up_to(to, 20) },
    Attack { name: "a stall before the last byte", meets: Meets::Silence, act: |to| bare_up_to(to, 23) },
    Attack {
        name: "a stall in the header, with an object",
        meets: Meets::Silence,
        act: |to| up_to(to, |_| 10),
    },
    Attack {
        name: "a stall in the table, with an object",
        meets: Meets::Silence,
        act: |to| up_to(to, |_| IN_THE_TABLE),
    },
    Attack {
        name: "a stall before the last byte, with an object",
        meets: Meets::Silence,
        act: |to| up_to(to, |length| length - 1),
    },
    Attack {
        name: "a message byte by byte, which is none",
        meets: Meets::Messages(1),
        act: |to| {
            let end = come_in(to);
            for byte in &good() {
                let _ = end.write(std::slice::from_ref(byte), &[], SOON);
                std::thread::sleep(Duration::from_millis(20));
            }
            Box::new(end)
        },
    },
    Attack {
        name: "closes after the first byte",
        meets: Meets::Rule("cut off"),
        act: |to| closes(&bare_up_to(to, 1)),
    },
    Attack {
        name: "closes after the header",
        meets: Meets::Rule("cut off"),
        act: |to| closes(&bare_up_to(to, 20)),
    },
    Attack {
        name: "closes in the table, with an object",
        meets: Meets::Rule("cut off"),
        act: |to| closes(&up_to(to, |_| IN_THE_TABLE)),
    },
    Attack {
        name: "closes before the last byte, with an object",
        meets: Meets::Rule("cut off"),
        act: |to| closes(&up_to(to, |length| length - 1)),
    },
    Attack {
        name: "closes without a word, which is none",
        meets: Meets::Closed,
        act: |to| closes(&come_in(to)),
    },
    Attack { name: "ends without a word", meets: Meets::Gone, act: |to| ends(Box::new(come_in(to))) },
    Attack { name: "ends in the header", meets: Meets::Gone, act: |to| ends(bare_up_to(to, 7)) },
    Attack {
        name: "ends in the table, with an object",
        meets: Meets::Gone,
        act: |to| ends(up_to(to, |_| IN_THE_TABLE)),
    },
    Attack {
        name: "ends before the last byte, with an object",
        meets: Meets::Gone,
        act: |to| ends(up_to(to, |length| length - 1)),
    },
];

/// Too much of it, and never reading.
pub const FLOODS: &[Attack] = &[
    Attack {
        name: "a flood of nothing",
        meets: Meets::Silence,
        act: |to| floods(to, A_WHILE, |_| (Vec::new(), Vec::new())),
    },
    Attack {
        name: "a flood of single bytes",
        meets: Meets::Silence,
        act: |to| {
            let frame = frame(0, &[], &vec![7; 4 << 20]);
            floods(to, A_WHILE, move |number| {
                (vec![frame[usize::try_from(number).expect("a small number")]], Vec::new())
            })
        },
    },
    Attack {
        name: "a flood of messages",
        meets: Meets::Messages(100),
        act: |to| floods(to, A_WHILE, |number| (frame(number, &[], b"flood"), Vec::new())),
    },
    Attack {
        name: "a flood of objects",
        meets: Meets::Messages(20),
        act: |to| {
            let own: Vec<u32> = (0..20).map(|_| own()).collect();
            let names: Vec<String> = (0..20).map(|number| format!("object {number}")).collect();
            floods(to, A_WHILE, move |number| {
                let named: Vec<(u32, &[u8])> =
                    own.iter().copied().zip(names.iter().map(String::as_bytes)).collect();
                (frame(number, &named, b""), own.clone())
            })
        },
    },
    Attack {
        name: "a flood of large messages",
        meets: Meets::Messages(1),
        act: |to| floods(to, A_WHILE, |number| (frame(number, &[], &vec![7; 16 << 20]), Vec::new())),
    },
    Attack {
        name: "twenty connections that say nothing",
        meets: Meets::Silence,
        act: |to| Box::new((0..20).map(|_| come_in(to)).collect::<Vec<_>>()),
    },
    Attack {
        name: "connections that come and go",
        meets: Meets::Nothing,
        act: |to| {
            let until = Instant::now() + A_WHILE;
            while Instant::now() < until {
                // Full or busy is as good.
                drop(crate::door::knock(to));
            }
            Box::new(())
        },
    },
    Attack {
        name: "asks for much, and reads nothing",
        meets: Meets::Unread,
        act: |to| asks_and_reads(to, 0),
    },
    Attack {
        name: "asks for much, and reads the beginning",
        meets: Meets::Unread,
        act: |to| asks_and_reads(to, 1),
    },
];
