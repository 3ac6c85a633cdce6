//! What can be done wrong with a socket that carries descriptors beside its bytes.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{SendFlags, Shutdown, send, shutdown};

use super::{door, raw, table, weaker};
use crate::attacks::{Attack, Held, Meets, SOON, come_in, own, power, say_with};
use crate::frame::frame;

/// Writes pieces, each with so many descriptors of its own. Between them is time for the other end to read: of two pieces
/// that lie there together, only the kernel knows with which byte a descriptor came.
fn in_pieces(listener: &str, pieces: &[(&[u8], usize)]) -> Held {
    let end = come_in(listener);
    for (bytes, count) in pieces {
        let own: Vec<u32> = (0..*count).map(|_| own()).collect();
        if !end.write(bytes, &own, SOON) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Box::new(end)
}

fn announced(count: usize) -> Vec<u8> {
    let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    let objects: Vec<(u32, &[u8])> = names.iter().map(|name| (0, name.as_bytes())).collect();
    frame(0, &objects, b"bytes")
}

/// A byte that is urgent, which no frame has, with these descriptors.
fn urgent(end: &weaker::End) {
    let _ = send(end.socket, b"!", SendFlags::OOB | SendFlags::NOSIGNAL);
}

fn stranger(listener: &str) -> OwnedFd {
    door::knock(listener).expect("somebody listens")
}

pub(crate) const MISDEEDS: &[Attack] = &[
    Attack {
        name: "a descriptor that no message announces",
        meets: Meets::Rule("no message announces"),
        act: |to| say_with(to, &announced(0), &[own()]),
    },
    Attack {
        name: "one descriptor fewer than announced",
        meets: Meets::Rule("fewer or more descriptors"),
        act: |to| say_with(to, &announced(2), &[own()]),
    },
    Attack {
        name: "no descriptor, where one is announced",
        meets: Meets::Rule("without the descriptors"),
        act: |to| say_with(to, &announced(1), &[]),
    },
    Attack {
        name: "one descriptor more than announced",
        meets: Meets::Rule("fewer or more descriptors"),
        act: |to| say_with(to, &announced(1), &[own(), own()]),
    },
    Attack {
        name: "a descriptor with the second byte",
        meets: Meets::Rule("descriptors"),
        act: |to| in_pieces(to, &[(&announced(1)[..1], 0), (&announced(1)[1..], 1)]),
    },
    Attack {
        name: "a descriptor with the last byte",
        meets: Meets::Rule("descriptors"),
        act: |to| {
            let frame = announced(1);
            let last = frame.len() - 1;
            in_pieces(to, &[(&frame[..last], 0), (&frame[last..], 1)])
        },
    },
    Attack {
        name: "two descriptors, one with each half",
        meets: Meets::Rule("descriptors"),
        act: |to| in_pieces(to, &[(&announced(2)[..10], 1), (&announced(2)[10..], 1)]),
    },
    Attack {
        name: "a flood of descriptors in a message that never ends",
        meets: Meets::Rule("descriptors"),
        act: |to| {
            let end = come_in(to);
            let own: Vec<u32> = std::iter::repeat_n(own(), 200).collect();
            for bytes in frame(0, &[], &vec![7; 1 << 16]).chunks(10) {
                if !end.write(bytes, &own, Duration::from_secs(1)) {
                    break;
                }
            }
            Box::new(end)
        },
    },
    Attack {
        name: "its own end of the channel, and then its end",
        meets: Meets::Gone,
        act: |to| {
            let end = come_in(to);
            let _ = end.write(&frame(0, &[(0, b"end")], b"keep"), &[table::value(&end.socket)], SOON);
            std::thread::sleep(Duration::from_millis(300));
            std::process::exit(0);
        },
    },
    Attack {
        name: "what can be waited for but not for long: an epoll instance",
        meets: Meets::NotAllowed,
        act: |to| power(to, raw::epoll()),
    },
    Attack {
        name: "an urgent byte in front of a message",
        meets: Meets::Nothing,
        act: |to| {
            let end = come_in(to);
            urgent(&end);
            let _ = end.write(&announced(0), &[], SOON);
            Box::new(end)
        },
    },
    Attack {
        name: "an urgent byte, and nothing else",
        meets: Meets::Nothing,
        act: |to| {
            let end = come_in(to);
            urgent(&end);
            Box::new(end)
        },
    },
    Attack {
        name: "half a message, and no more to write",
        meets: Meets::Rule("cut off"),
        act: |to| {
            let end = come_in(to);
            let _ = end.write(&announced(1)[..22], &[own()], SOON);
            let _ = shutdown(end.socket, Shutdown::Write);
            Box::new(end)
        },
    },
    Attack {
        name: "a message before it is let in, with a descriptor that nothing announces",
        meets: Meets::Rule("no message announces"),
        act: |to| {
            let door = stranger(to);
            let own = table::borrowed(own());
            let _ = weaker::send(door.as_fd(), &announced(0), &[own]);
            Box::new(door)
        },
    },
    Attack {
        name: "noise before it is let in",
        meets: Meets::Rule("doesn't begin"),
        act: |to| {
            let door = stranger(to);
            let _ = weaker::send(door.as_fd(), b"let me in", &[]);
            Box::new(door)
        },
    },
    Attack {
        name: "stands in the door, and doesn't hear that it is let in",
        meets: Meets::Silence,
        act: |to| Box::new(stranger(to)),
    },
    Attack {
        name: "a hundred in the door",
        meets: Meets::Silence,
        act: |to| Box::new((0..100).map(|_| stranger(to)).collect::<Vec<_>>()),
    },
];
