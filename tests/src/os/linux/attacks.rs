//! Attacks with a Unix socket, which carries descriptors beside its bytes.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};

use super::{door, raw, table, weaker};
use crate::attacks::{Attack, Effect, Held, SOON, connect, new_event_value, power, send_with};
use crate::frame::{frame, with};

/// Writes packets, each with this number of new descriptors. The pause between them lets the peer read each one before
/// the next one is there.
fn in_pieces(listener: &str, pieces: &[(&[u8], usize)]) -> Held {
    let endpoint = connect(listener);
    for (bytes, count) in pieces {
        let own: Vec<u32> = (0..*count).map(|_| new_event_value()).collect();
        if !endpoint.write(bytes, &own, SOON) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Box::new(endpoint)
}

fn announced(count: usize) -> Vec<u8> {
    let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    let objects: Vec<(u32, &[u8])> = names.iter().map(|name| (0, name.as_bytes())).collect();
    frame(0, &objects, b"bytes")
}

/// Sends an empty packet.
fn empty(endpoint: &weaker::Endpoint, beside: &[u32]) {
    let beside: Vec<_> = beside.iter().map(|value| table::borrowed(*value)).collect();
    let _ = weaker::send(endpoint.socket, b"", &beside);
}

fn stranger(listener: &str) -> OwnedFd {
    door::connect(listener).expect("a listener exists")
}

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "a descriptor that no message announces",
        effect: Effect::Violation("belong to no message"),
        act: |to| send_with(to, &announced(0), &[new_event_value()]),
    },
    Attack {
        name: "one descriptor fewer than announced",
        effect: Effect::Violation("fewer or more descriptors"),
        act: |to| send_with(to, &announced(2), &[new_event_value()]),
    },
    Attack {
        name: "no descriptor, where one is announced",
        effect: Effect::Violation("without the descriptors"),
        act: |to| send_with(to, &announced(1), &[]),
    },
    Attack {
        name: "one descriptor more than announced",
        effect: Effect::Violation("fewer or more descriptors"),
        act: |to| send_with(to, &announced(1), &[new_event_value(), new_event_value()]),
    },
    Attack {
        name: "a descriptor with the second byte",
        effect: Effect::Violation("descriptors"),
        act: |to| in_pieces(to, &[(&announced(1)[..1], 0), (&announced(1)[1..], 1)]),
    },
    Attack {
        name: "a descriptor with the last byte",
        effect: Effect::Violation("descriptors"),
        act: |to| {
            let frame = announced(1);
            let last = frame.len() - 1;
            in_pieces(to, &[(&frame[..last], 0), (&frame[last..], 1)])
        },
    },
    Attack {
        name: "two descriptors, one with each half",
        effect: Effect::Violation("descriptors"),
        act: |to| in_pieces(to, &[(&announced(2)[..10], 1), (&announced(2)[10..], 1)]),
    },
    Attack {
        name: "a flood of descriptors in an endless message",
        effect: Effect::Violation("descriptors"),
        act: |to| {
            let endpoint = connect(to);
            let own: Vec<u32> = std::iter::repeat_n(new_event_value(), 200).collect();
            for bytes in frame(0, &[], &vec![7; 1 << 16]).chunks(10) {
                if !endpoint.write(bytes, &own, Duration::from_secs(1)) {
                    break;
                }
            }
            Box::new(endpoint)
        },
    },
    Attack {
        name: "sends its own endpoint, and then exits",
        effect: Effect::Exited,
        act: |to| {
            let endpoint = connect(to);
            let _ =
                endpoint.write(&frame(0, &[(0, b"end")], b"keep"), &[table::value(&endpoint.socket)], SOON);
            std::thread::sleep(Duration::from_millis(300));
            std::process::exit(0);
        },
    },
    Attack { name: "an epoll instance", effect: Effect::NotAllowed, act: |to| power(to, raw::epoll()) },
    Attack {
        name: "an empty packet in front of a message",
        effect: Effect::Violation("is empty"),
        act: |to| {
            let endpoint = connect(to);
            empty(&endpoint, &[]);
            let _ = endpoint.write(&announced(0), &[], SOON);
            Box::new(endpoint)
        },
    },
    Attack {
        name: "an empty packet with descriptors",
        effect: Effect::Violation("is empty"),
        act: |to| {
            let endpoint = connect(to);
            empty(&endpoint, &[new_event_value(), new_event_value()]);
            Box::new(endpoint)
        },
    },
    Attack {
        name: "an empty packet in the middle of a message",
        effect: Effect::Violation("is empty"),
        act: |to| {
            let endpoint = connect(to);
            let _ = endpoint.write(&announced(1)[..22], &[new_event_value()], SOON);
            empty(&endpoint, &[]);
            Box::new(endpoint)
        },
    },
    Attack {
        name: "a packet with more bytes than announced",
        effect: Effect::Violation("shorter or longer"),
        act: |to| send_with(to, &with(announced(0), 12, &2_u32.to_le_bytes()), &[]),
    },
    Attack {
        name: "two messages in one packet",
        effect: Effect::Violation("shorter or longer"),
        act: |to| send_with(to, &[announced(0), announced(0)].concat(), &[]),
    },
    Attack {
        name: "the end of a message and the next one in one packet",
        effect: Effect::Violation("shorter or longer"),
        act: |to| {
            let frame = announced(0);
            in_pieces(to, &[(&frame[..33], 0), (&[&frame[33..], &frame].concat(), 0)])
        },
    },
    Attack {
        name: "a packet longer than 200 KiB",
        effect: Effect::Violation("longer than 200 KiB"),
        act: |to| {
            let endpoint = connect(to);
            let _ = weaker::send(endpoint.socket, &frame(0, &[], &[7; 200 * 1024]), &[]);
            Box::new(endpoint)
        },
    },
    Attack {
        name: "half a message, and no more to write",
        effect: Effect::Violation("cut off"),
        act: |to| {
            let endpoint = connect(to);
            let _ = endpoint.write(&announced(1)[..22], &[new_event_value()], SOON);
            let _ = shutdown(endpoint.socket, Shutdown::Write);
            Box::new(endpoint)
        },
    },
    Attack {
        name: "a message before it is accepted, with an unannounced descriptor",
        effect: Effect::Violation("belong to no message"),
        act: |to| {
            let door = stranger(to);
            let own = table::borrowed(new_event_value());
            let _ = weaker::send(door.as_fd(), &announced(0), &[own]);
            Box::new(door)
        },
    },
    Attack {
        name: "noise before it is accepted",
        effect: Effect::Violation("doesn't begin"),
        act: |to| {
            let door = stranger(to);
            let _ = weaker::send(door.as_fd(), b"let me in", &[]);
            Box::new(door)
        },
    },
    Attack {
        name: "connects, and doesn't read the answer",
        effect: Effect::Silence,
        act: |to| Box::new(stranger(to)),
    },
    Attack {
        name: "a hundred clients that wait to be accepted",
        effect: Effect::Silence,
        act: |to| Box::new((0..100).map(|_| stranger(to)).collect::<Vec<_>>()),
    },
];
