//! Attacks by a peer, each with a name. Each one breaks a rule of the wire format, or stalls, floods or exits. Attacks
//! that are specific to one system are in `os`.
//!
//! A hostile process reads the names of attacks from its standard input, runs them, and keeps their handles open until
//! an empty line. It speaks the wire format with bare system calls, without the library.

use std::any::Any;
use std::io::BufRead;
use std::time::{Duration, Instant};

use handover::{Event, OwnedHandle};

use crate::frame::{frame, frame_of, with};
use crate::{os, raw, table, weaker};

/// The timeout of a hostile process's own reads and writes.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// An attack, and its expected effect on the victim.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// The name, which says what the attack does.
    pub name: &'static str,
    /// The expected effect on the victim.
    pub effect: Effect,
    /// Attacks the listener of the given name. The returned value stays open until an empty line in the input.
    pub(crate) act: fn(&str) -> Held,
}

/// Handles that an attack keeps open.
pub(crate) type Held = Box<dyn Any>;

/// The effect of an attack on the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The channel fails with a protocol error whose text contains this part.
    Violation(&'static str),
    /// The channel fails because the attacker uses this version of the format.
    OtherVersion(u32),
    /// The attacking process has exited.
    Exited,
    /// The attacker has closed its endpoint.
    Closed,
    /// Nothing arrives, and receives time out.
    Silence,
    /// This number of messages arrives.
    Messages(usize),
    /// A message is refused, because the channel doesn't allow the kind of an object.
    NotAllowed,
    /// A send times out, because the attacker doesn't read.
    Unread,
    /// A send fails, because the attacker accepts no more messages.
    Rejected,
    /// The listener doesn't accept the client.
    NotAccepted,
    /// No particular effect is required.
    Nothing,
}

/// The attacks that are specific to this system.
pub const SYSTEM_SPECIFIC: &[Attack] = os::ATTACKS;

/// Returns all attacks.
pub fn attacks() -> impl Iterator<Item = &'static Attack> {
    [HEADERS, OBJECTS, ENDINGS, FLOODS, SYSTEM_SPECIFIC].into_iter().flatten()
}

/// The role of a hostile process. Runs the attack that each line of standard input names; an empty line closes all that
/// the attacks so far keep open.
///
/// # Panics
///
/// Panics if a line names no attack.
pub fn hostile(arguments: &[String]) {
    let mut held = Vec::new();
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the input can be read");
        if line.is_empty() {
            held.clear();
        } else {
            let attack = attacks().find(|attack| attack.name == line).expect("each line names an attack");
            held.push((attack.act)(&arguments[0]));
        }
        println!("done");
    }
}

/// Connects to the listener as an honest client does.
pub(crate) fn connect(listener: &str) -> weaker::Endpoint {
    weaker::Endpoint::connect(listener).expect("the listener accepts")
}

/// Connects, and writes these bytes.
pub(crate) fn send_bytes(listener: &str, bytes: &[u8]) -> Held {
    send_with(listener, bytes, &[])
}

/// Connects, and writes these bytes with these objects. The result of the write is ignored, because the victim may
/// close early.
pub(crate) fn send_with(listener: &str, bytes: &[u8], objects: &[u32]) -> Held {
    let endpoint = connect(listener);
    let _ = endpoint.write(bytes, objects, SOON);
    Box::new(endpoint)
}

/// Connects, and writes these frames one after the other.
fn send_frames(listener: &str, frames: &[Vec<u8>]) -> Held {
    let endpoint = connect(listener);
    let _ = frames.iter().all(|frame| endpoint.write(frame, &[], SOON));
    Box::new(endpoint)
}

/// Creates an event that this process never closes, and returns its handle value.
pub(crate) fn new_event_value() -> u32 {
    let event = Event::manual_reset().expect("the system has room for an event");
    let value = table::value(&event);
    std::mem::forget(event);
    value
}

fn good() -> Vec<u8> {
    frame(0, &[], b"good")
}

/// Sends a frame with one object under this name.
fn named(listener: &str, name: &[u8]) -> Held {
    let own = new_event_value();
    send_with(listener, &frame(0, &[(own, name)], b""), &[own])
}

/// Sends a frame with two objects under these names.
fn named_both(listener: &str, one: &[u8], other: &[u8]) -> Held {
    let (own, another) = (new_event_value(), new_event_value());
    send_with(listener, &frame(0, &[(own, one), (another, other)], b""), &[own, another])
}

/// Sends the beginning of a frame with an object, up to the byte index that `place` computes from the frame's length.
fn up_to(listener: &str, place: impl FnOnce(usize) -> usize) -> Box<weaker::Endpoint> {
    let own = new_event_value();
    let frame = frame(0, &[(own, b"a name")], b"some bytes");
    let endpoint = connect(listener);
    assert!(endpoint.write(&frame[..place(frame.len())], &[own], SOON));
    Box::new(endpoint)
}

/// Sends the beginning of a frame without objects.
fn bare_up_to(listener: &str, place: usize) -> Box<weaker::Endpoint> {
    let endpoint = connect(listener);
    assert!(endpoint.write(&good()[..place], &[], SOON));
    Box::new(endpoint)
}

const IN_THE_TABLE: usize = 35;

fn closes(endpoint: &weaker::Endpoint) -> Held {
    endpoint.close();
    Box::new(())
}

fn ends(_: Box<weaker::Endpoint>) -> Held {
    std::process::exit(0);
}

/// Sends one frame after another for this time. The closure makes each frame from its sequence number.
fn floods(listener: &str, time: Duration, each: impl Fn(u64) -> (Vec<u8>, Vec<u32>)) -> Held {
    let endpoint = connect(listener);
    let until = Instant::now() + time;
    for number in 0.. {
        let (bytes, objects) = each(number);
        if Instant::now() > until || !endpoint.write(&bytes, &objects, SOON) {
            break;
        }
    }
    Box::new(endpoint)
}

const A_WHILE: Duration = Duration::from_millis(600);

/// Requests an answer larger than the buffers, and reads this many times.
fn asks_and_reads(listener: &str, reads: usize) -> Held {
    let endpoint = connect(listener);
    assert!(endpoint.write(&frame(0, &[], ASKS_FOR_MUCH), &[], SOON));
    for _ in 0..reads {
        let _ = endpoint.read(SOON);
    }
    Box::new(endpoint)
}

/// A request that the victim answers with more bytes than the buffers hold.
pub const ASKS_FOR_MUCH: &[u8] = b"much, please";

/// A request that the victim answers with an object.
pub const ASKS_FOR_OBJECTS: &[u8] = b"an object, please";

/// Sends a handle that may give power over a process.
pub(crate) fn power(listener: &str, handle: OwnedHandle) -> Held {
    let value = table::value(&handle);
    let held = send_with(listener, &frame(0, &[(value, b"power")], b""), &[value]);
    Box::new((held, handle))
}

/// Attacks with the header: sizes, counts, versions and sequence numbers.
pub const HEADERS: &[Attack] = &[
    Attack {
        name: "noise",
        effect: Effect::Violation("doesn't begin"),
        act: |to| send_bytes(to, &[0xff; 64]),
    },
    Attack {
        name: "another protocol",
        effect: Effect::Violation("doesn't begin"),
        act: |to| send_bytes(to, b"GET / HTTP/1.1\r\n\r\n"),
    },
    Attack {
        name: "a wrong second byte, and no more",
        effect: Effect::Violation("doesn't begin"),
        act: |to| send_bytes(to, b"Ho"),
    },
    Attack {
        name: "version 0",
        effect: Effect::OtherVersion(0),
        act: |to| send_bytes(to, &with(good(), 2, &[0])),
    },
    Attack {
        name: "version 2",
        effect: Effect::OtherVersion(2),
        act: |to| send_bytes(to, &with(good(), 2, &[2])),
    },
    Attack {
        name: "a later version, and no more of the frame",
        effect: Effect::OtherVersion(255),
        act: |to| send_bytes(to, b"HO\xff"),
    },
    Attack {
        name: "an unknown type",
        effect: Effect::Violation("unknown type"),
        act: |to| send_bytes(to, &with(good(), 3, &[4])),
    },
    Attack {
        name: "a plain message with the id of a call",
        effect: Effect::Violation("unknown type"),
        act: |to| send_bytes(to, &with(good(), 24, &[7])),
    },
    Attack {
        name: "a reply to a call that wasn't made (no attack)",
        effect: Effect::Silence,
        act: |to| send_bytes(to, &with(with(good(), 3, &[2]), 24, &[7])),
    },
    Attack {
        name: "more endpoints than objects",
        effect: Effect::Violation("more endpoints than objects"),
        act: |to| send_bytes(to, &with(good(), 5, &[1])),
    },
    Attack {
        name: "a greeting with bytes",
        effect: Effect::Violation("a greeting has"),
        act: |to| send_bytes(to, &with(good(), 3, &[3])),
    },
    Attack {
        name: "254 objects",
        effect: Effect::Violation("more than 253"),
        act: |to| send_bytes(to, &with(good(), 4, &[254])),
    },
    Attack {
        name: "255 objects, and a header alone",
        effect: Effect::Violation("more than 253"),
        act: |to| send_bytes(to, &with(good(), 4, &[255])[..32]),
    },
    Attack {
        name: "a byte more than 16 MiB",
        effect: Effect::Violation("more than 16 MiB"),
        act: |to| send_bytes(to, &with(good(), 12, &((16 << 20) + 1_u32).to_le_bytes())),
    },
    Attack {
        name: "4 GiB",
        effect: Effect::Violation("more than 16 MiB"),
        act: |to| send_bytes(to, &with(good(), 12, &u32::MAX.to_le_bytes())),
    },
    Attack {
        name: "objects without a table",
        effect: Effect::Violation("can't have the size"),
        act: |to| send_bytes(to, &with(good(), 4, &[3])),
    },
    Attack {
        name: "a table without objects",
        effect: Effect::Violation("can't have the size"),
        act: |to| send_bytes(to, &frame_of(0, 0, b"\x40\0\0\0\x01a", b"")),
    },
    Attack {
        name: "a table of 4 GiB",
        effect: Effect::Violation("can't have the size"),
        act: |to| {
            let own = new_event_value();
            send_with(to, &with(frame(0, &[(own, b"a")], b""), 8, &u32::MAX.to_le_bytes()), &[own])
        },
    },
    Attack {
        name: "a table that is one byte too long for its objects",
        effect: Effect::Violation("can't have the size"),
        act: |to| {
            let own = new_event_value();
            let longest = u32::try_from(weaker::MAX_PLACE + 256).expect("a small number");
            let table = with(frame(0, &[(own, b"a")], b""), 8, &(longest + 1).to_le_bytes());
            send_with(to, &table, &[own])
        },
    },
    Attack {
        name: "more bytes than announced",
        effect: Effect::Violation("doesn't begin"),
        act: |to| {
            let lie = with(good(), 12, &2_u32.to_le_bytes());
            let (announced, behind) = lie.split_at(lie.len() - 2);
            send_frames(to, &[announced.to_vec(), behind.to_vec()])
        },
    },
    Attack {
        name: "fewer bytes than announced",
        effect: Effect::Silence,
        act: |to| send_bytes(to, &with(good(), 12, &100_u32.to_le_bytes())),
    },
    Attack {
        name: "a first sequence number that isn't zero",
        effect: Effect::Violation("out of order"),
        act: |to| send_bytes(to, &frame(1, &[], b"")),
    },
    Attack {
        name: "the highest sequence number",
        effect: Effect::Violation("out of order"),
        act: |to| send_bytes(to, &frame(u64::MAX, &[], b"")),
    },
    Attack {
        name: "a message again",
        effect: Effect::Violation("out of order"),
        act: |to| send_frames(to, &[good(), good()]),
    },
    Attack {
        name: "a message with an object again",
        effect: Effect::Violation("out of order"),
        act: |to| {
            let own = new_event_value();
            let endpoint = connect(to);
            let frame = frame(0, &[(own, b"a")], b"once");
            let _ = endpoint.write(&frame, &[own], SOON) && endpoint.write(&frame, &[own], SOON);
            Box::new(endpoint)
        },
    },
    Attack {
        name: "a message left out",
        effect: Effect::Violation("out of order"),
        act: |to| send_frames(to, &[good(), frame(2, &[], b"")]),
    },
    Attack {
        name: "a number from before",
        effect: Effect::Violation("out of order"),
        act: |to| send_frames(to, &[good(), frame(1, &[], b""), frame(0, &[], b"")]),
    },
];

/// Attacks with the object table: wrong sizes, invalid names, and kinds that are not allowed.
pub const OBJECTS: &[Attack] = &[
    Attack {
        name: "an empty name",
        effect: Effect::Violation("name is empty"),
        act: |to| named_both(to, b"long enough", b""),
    },
    Attack { name: "a name twice", effect: Effect::Violation("twice"), act: |to| named_both(to, b"a", b"a") },
    Attack {
        name: "a name that isn't UTF-8",
        effect: Effect::Violation("isn't text"),
        act: |to| named(to, b"\xff\xfe"),
    },
    Attack {
        name: "half a letter in each of two names",
        effect: Effect::Violation("isn't text"),
        act: |to| named_both(to, b"\xc3", b"\xa4"),
    },
    Attack { name: "a NUL in a name", effect: Effect::Violation("NUL"), act: |to| named(to, b"a\0b") },
    Attack {
        name: "a name that reaches beyond the table",
        effect: Effect::Violation("cut off"),
        act: |to| {
            let own = new_event_value();
            let length = 32 + weaker::place(own).len();
            send_with(to, &with(frame(0, &[(own, b"abc")], b"x"), length, &[200]), &[own])
        },
    },
    Attack {
        name: "a name that overlaps the next object",
        effect: Effect::Violation("object"),
        act: |to| {
            let (own, another) = (new_event_value(), new_event_value());
            let length = 32 + weaker::place(own).len();
            let both = frame(0, &[(own, b"abc"), (another, b"def")], b"");
            send_with(to, &with(both, length, &[5]), &[own, another])
        },
    },
    Attack {
        name: "one object more than announced",
        effect: Effect::Violation("not as long as its objects"),
        act: |to| {
            let (own, another) = (new_event_value(), new_event_value());
            let both = frame(0, &[(own, b"a"), (another, b"b")], b"");
            send_with(to, &with(both, 4, &[1]), &[own, another])
        },
    },
    Attack {
        name: "one object fewer than announced",
        effect: Effect::Violation("cut off"),
        act: |to| {
            let own = new_event_value();
            send_with(to, &with(frame(0, &[(own, &[b'n'; 50])], b""), 4, &[2]), &[own])
        },
    },
    Attack { name: "a process", effect: Effect::NotAllowed, act: |to| power(to, raw::this_process()) },
];

/// Attacks that stall, close or exit in the middle of a frame.
pub const ENDINGS: &[Attack] = &[
    Attack { name: "silence from the start", effect: Effect::Silence, act: |to| Box::new(connect(to)) },
    Attack { name: "a stall after the first byte", effect: Effect::Silence, act: |to| bare_up_to(to, 1) },
    Attack { name: "a stall in the header", effect: Effect::Silence, act: |to| bare_up_to(to, 31) },
    Attack { name: "a stall after the header", effect: Effect::Silence, act: |to| bare_up_to(to, 32) },
    Attack { name: "a stall before the last byte", effect: Effect::Silence, act: |to| bare_up_to(to, 35) },
    Attack {
        name: "a stall in the header, with an object",
        effect: Effect::Silence,
        act: |to| up_to(to, |_| 10),
    },
    Attack {
        name: "a stall in the table, with an object",
        effect: Effect::Silence,
        act: |to| up_to(to, |_| IN_THE_TABLE),
    },
    Attack {
        name: "a stall before the last byte, with an object",
        effect: Effect::Silence,
        act: |to| up_to(to, |length| length - 1),
    },
    Attack {
        name: "a message byte by byte (no attack)",
        effect: Effect::Messages(1),
        act: |to| {
            let endpoint = connect(to);
            for byte in &good() {
                let _ = endpoint.write(std::slice::from_ref(byte), &[], SOON);
                std::thread::sleep(Duration::from_millis(20));
            }
            Box::new(endpoint)
        },
    },
    Attack {
        name: "closes after the first byte",
        effect: Effect::Violation("cut off"),
        act: |to| closes(&bare_up_to(to, 1)),
    },
    Attack {
        name: "closes after the header",
        effect: Effect::Violation("cut off"),
        act: |to| closes(&bare_up_to(to, 32)),
    },
    Attack {
        name: "closes in the table, with an object",
        effect: Effect::Violation("cut off"),
        act: |to| closes(&up_to(to, |_| IN_THE_TABLE)),
    },
    Attack {
        name: "closes before the last byte, with an object",
        effect: Effect::Violation("cut off"),
        act: |to| closes(&up_to(to, |length| length - 1)),
    },
    Attack {
        name: "closes without a message (no attack)",
        effect: Effect::Closed,
        act: |to| closes(&connect(to)),
    },
    Attack { name: "exits without a message", effect: Effect::Exited, act: |to| ends(Box::new(connect(to))) },
    Attack { name: "exits in the header", effect: Effect::Exited, act: |to| ends(bare_up_to(to, 7)) },
    Attack {
        name: "exits in the table, with an object",
        effect: Effect::Exited,
        act: |to| ends(up_to(to, |_| IN_THE_TABLE)),
    },
    Attack {
        name: "exits before the last byte, with an object",
        effect: Effect::Exited,
        act: |to| ends(up_to(to, |length| length - 1)),
    },
];

/// Floods, and attackers that never read.
pub const FLOODS: &[Attack] = &[
    Attack {
        name: "a flood of nothing",
        effect: Effect::Silence,
        act: |to| floods(to, A_WHILE, |_| (Vec::new(), Vec::new())),
    },
    Attack {
        name: "a flood of single bytes",
        effect: Effect::Silence,
        act: |to| {
            let frame = frame(0, &[], &vec![7; 4 << 20]);
            floods(to, A_WHILE, move |number| {
                (vec![frame[usize::try_from(number).expect("a small number")]], Vec::new())
            })
        },
    },
    Attack {
        name: "a flood of messages",
        effect: Effect::Messages(100),
        act: |to| floods(to, A_WHILE, |number| (frame(number, &[], b"flood"), Vec::new())),
    },
    Attack {
        name: "a flood of objects",
        effect: Effect::Messages(20),
        act: |to| {
            let own: Vec<u32> = (0..20).map(|_| new_event_value()).collect();
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
        effect: Effect::Messages(1),
        act: |to| floods(to, A_WHILE, |number| (frame(number, &[], &vec![7; 16 << 20]), Vec::new())),
    },
    Attack {
        name: "twenty silent connections",
        effect: Effect::Silence,
        act: |to| Box::new((0..20).map(|_| connect(to)).collect::<Vec<_>>()),
    },
    Attack {
        name: "connections that open and close",
        effect: Effect::Nothing,
        act: |to| {
            let until = Instant::now() + A_WHILE;
            while Instant::now() < until {
                // A full or busy listener is fine.
                drop(crate::door::connect(to));
            }
            Box::new(())
        },
    },
    Attack {
        name: "asks for much, and reads nothing",
        effect: Effect::Unread,
        act: |to| asks_and_reads(to, 0),
    },
    Attack {
        name: "asks for much, and reads the beginning",
        effect: Effect::Unread,
        act: |to| asks_and_reads(to, 1),
    },
];
